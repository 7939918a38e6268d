/* Convolution by Winograd's F(4x4, 3x3) where images are large: forward, and gradient by the input.
 *
 * The latter is the same convolution with rotated filters and channels exchanged.  All filters are
 * transformed first; then blocks of tiles are transformed, multiplied and transformed back while
 * they are in the cache.
 */
#include "threads.h"
#include "winograd_conv.h"

typedef struct {
    Conv3 s;
    Filters filters;
    Results to;
    const float *x, *u;
    float *to_u, *scratch;
    long block, v_step, m_step, mine; /* tiles a block; floats between entries, and threads */
    int strange;                      /* whether a result is not finite */
    Shares vectors, tiles;
} Work;

/* u lies as [36][panel of outs][input][PANEL]. */
static void filters_worker(void *arg) {
    Work *a = arg;
    const Filters *f = &a->filters;
    for (long v; take(&a->vectors, &v);) {
        long out = v * LANES, panel = out / PANEL * PANEL, wide = smaller(PANEL, f->outs - panel);
        for (long in = 0; in < f->ins; in++)
            transform_filters(f, out, in, a->to_u + panel * f->ins + in * wide + out - panel,
                              f->outs * f->ins);
    }
}

static void multiply_block(const Work *a, const float *v, float *m, long count) {
    long ins = a->s.c, outs = a->s.k, step = a->block * LANES;
    for (int p = 0; p < POINTS; p++) {
        const float *u = a->u + p * ins * outs;
        for (long k = 0; k < outs; k += PANEL)
            for (long t = 0; t < count; t += ROWS) {
                const float *from = v + p * a->v_step + t * LANES;
                float *to = m + p * a->m_step + k / LANES * step + t * LANES;
                if (outs - k >= PANEL)
                    multiply_rows(from, step, ins / LANES, u + k * ins, to, step, 1, 2);
                else
                    multiply_rows(from, step, ins / LANES, u + k * ins, to, step, 1, 1);
            }
    }
}

static void tiles_worker(void *arg) {
    Work *a = arg;
    const Conv3 *s = &a->s;
    float *nowhere = a->scratch + arrive(&a->tiles) * a->mine, *v = nowhere + s->c;
    float *m = v + POINTS * a->v_step;
    vec strange = {0};
    for (long c = 0; c < s->c; c++) nowhere[c] = 0;
    for (long first, count; (count = take(&a->tiles, &first));) {
        read_tiles(s, a->x, nowhere, first, count, v, a->block, a->v_step);
        multiply_block(a, v, m, count);
        for (long t = 0; t < count; t++)
            for (long k = 0; k < s->k; k += LANES)
                write_results(s, &a->to, first + t, k, m + (k / LANES * a->block + t) * LANES,
                              a->m_step, &strange);
    }
    if (sum_of(strange) != 0) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
}

static Work plan(const long *sizes, long block, int threads) {
    Work a = {.s = *(const Conv3 *)sizes, .block = block};
    a.v_step = apart(a.s.c * block), a.m_step = apart(a.s.k * block);
    a.mine = a.s.c + POINTS * (a.v_step + a.m_step);
    a.vectors = share(a.s.k / LANES, 1, threads), a.tiles = share(tiles_of(&a.s), block, threads);
    return a;
}

/* Bytes of scratch memory that winograd_conv needs without filters that were transformed before. */
EXPORT long NAME(winograd_conv_scratch)(const long *sizes, long block, int threads) {
    Work a = plan(sizes, block, threads);
    return (POINTS * a.s.c * a.s.k + a.mine * threads) * (long)sizeof(float);
}

/* Transform the filters w (K, C, 3, 3) to u, which takes 36 C K floats, for winograd_conv and
 * winograd_deep. */
EXPORT int NAME(winograd_filters)(const long *sizes, const float *w, float *u, int threads) {
    Work a = plan(sizes, ROWS, threads);
    a.filters = filters_of(w, a.s.k, a.s.c, 0), a.to_u = u;
    chainrule_parallel(filters_worker, &a, threads);
    return 0;
}

/* x (N, H, W, C), w plain -> y (N, OH, OW, K) + bias + more (an array like y), where these are not
 * null; negative values are replaced by 0 with `relu`.  w is (K, C, 3, 3), with `rotated`
 * (C, K, 3, 3); where u is not null it has the filters, transformed, and w is not read.  C and K are
 * multiples of LANES, `block` of ROWS; `scratch` begins at a cache line.  Gives 0, or 1 where a
 * result before ReLU is not finite. */
EXPORT int NAME(winograd_conv)(const long *sizes, const float *x, const float *w, int rotated,
                               const float *bias, float *y, float *scratch, long block, int relu,
                               int threads, const float *u, const float *more) {
    Work a = plan(sizes, block, threads);
    a.x = x, a.to = (Results){y, bias, more, relu}, a.u = u, a.scratch = scratch;
    if (!u) {
        a.filters = rotated ? filters_of(w, a.s.c, a.s.k, 1) : filters_of(w, a.s.k, a.s.c, 0);
        a.u = a.to_u = scratch, a.scratch = scratch + POINTS * a.s.c * a.s.k;
        chainrule_parallel(filters_worker, &a, threads);
    }
    chainrule_parallel(tiles_worker, &a, threads);
    return a.strange;
}
