/* The gradient of a 3x3 convolution by its weight, by the transposed Winograd F(4x4, 3x3), where
 * images are large.
 *
 * A part is a range of the tiles and of the output channels; each part sums its products in memory
 * of its own, in a fixed order, so that the result does not depend on who computes it.
 */
#include "threads.h"
#include "winograd_gradient.h"

typedef struct {
    Conv3 s;
    const float *x, *gy;
    float *gw, *sums, *scratch;
    long block, v_step, g_step, share; /* tiles a block; floats between entries, and threads */
    long tile_parts, channel_parts, channels; /* how the work is divided; channels of a part */
    int strange; /* whether a result is not finite */
    Shares parts, vectors; /* of the work, and of the output channels */
} Work;

/* Sums of products of part (tiles, channels) lie as [part][36][panel][c / ROWS][ROWS][PANEL]. */
static long sums_of_point(const Work *a) { return a->s.c * up_to(a->s.k, PANEL); }

static void multiply_block(const Work *a, const float *v, const float *g, long count, long from,
                           long to, float *sums, int fresh) {
    long ins = a->s.c;
    for (int p = 0; p < POINTS; p++, sums += sums_of_point(a))
        for (long k = from; k < to; k += PANEL) {
            const float *panel = g + p * a->g_step + (k - from) * a->block;
            for (long c = 0; c < ins; c += ROWS) {
                const float *rows = v + p * a->v_step + c / LANES * a->block * LANES + c % LANES;
                float *at = sums + k * ins + c * PANEL;
                if (to - k >= PANEL)
                    multiply_channels(rows, panel, count, at, fresh, 2);
                else
                    multiply_channels(rows, panel, count, at, fresh, 1);
            }
        }
}

static void compute_part(const Work *a, long part, float *memory) {
    const Conv3 *s = &a->s;
    long tiles = tiles_of(s), which = part / a->channel_parts;
    long per = (tiles + a->tile_parts - 1) / a->tile_parts;
    long begin = smaller(which * per, tiles), end = smaller(begin + per, tiles);
    long from = part % a->channel_parts * a->channels, to = smaller(from + a->channels, s->k);
    float *nowhere = memory, *v = nowhere + up_to(s->c > s->k ? s->c : s->k, LANES);
    float *g = v + POINTS * a->v_step, *sums = a->sums + which * POINTS * sums_of_point(a);
    for (long c = 0; c < s->c || c < s->k; c++) nowhere[c] = 0;
    for (long first = begin; first < end || first == begin; first += a->block) {
        long count = smaller(a->block, end - first);
        read_tiles(s, a->x, nowhere, first, count, v, a->block, a->v_step);
        read_gradients(s, a->gy, nowhere, first, count, from, to, g, a->block, a->g_step);
        multiply_block(a, v, g, count, from, to, sums, first == begin);
    }
}

static void products_worker(void *arg) {
    Work *a = arg;
    long mine = arrive(&a->parts);
    for (long part; take(&a->parts, &part);) compute_part(a, part, a->scratch + mine * a->share);
}

static void gradient_worker(void *arg) {
    Work *a = arg;
    long point = sums_of_point(a);
    vec strange = {0};
    for (long v; take(&a->vectors, &v);) {
        long k = v * LANES, panel = k / PANEL * PANEL;
        for (long c = 0; c < a->s.c; c++) {
            float gw[9][LANES];
            write_gradient(a->sums + panel * a->s.c + c * PANEL + k - panel, point, a->tile_parts,
                           POINTS * point, gw, &strange);
            put_gradient(&a->s, gw, a->gw, k, c);
        }
    }
    if (sum_of(strange) != 0) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
}

static Work plan(const long *sizes, long block, long tile_parts, long channel_parts) {
    Work a = {.s = *(const Conv3 *)sizes, .block = block};
    a.tile_parts = tile_parts, a.channel_parts = channel_parts;
    a.channels = up_to((a.s.k + channel_parts - 1) / channel_parts, PANEL);
    a.v_step = apart(a.s.c * block), a.g_step = apart(a.channels * block);
    a.share = up_to(a.s.c > a.s.k ? a.s.c : a.s.k, LANES) + POINTS * (a.v_step + a.g_step);
    return a;
}

/* Bytes of scratch memory that winograd_weights needs. */
EXPORT long NAME(winograd_weights_scratch)(const long *sizes, long block, long tile_parts,
                                           long channel_parts, int threads) {
    Work a = plan(sizes, block, tile_parts, channel_parts);
    return (a.share * threads + tile_parts * POINTS * sums_of_point(&a)) * (long)sizeof(float);
}

/* x (N, H, W, C), gy (N, OH, OW, K) -> gw (K, C, 3, 3), plain.  C and K are multiples of LANES;
 * `scratch` begins at a cache line.  Gives 0, or 1 where a result is not finite. */
EXPORT int NAME(winograd_weights)(const long *sizes, const float *x, const float *gy, float *gw,
                                  float *scratch, long block, long tile_parts, long channel_parts,
                                  int threads) {
    Work a = plan(sizes, block, tile_parts, channel_parts);
    a.x = x, a.gy = gy, a.gw = gw, a.scratch = scratch, a.sums = scratch + a.share * threads;
    a.parts = share(tile_parts * channel_parts, 1, threads);
    a.vectors = share(a.s.k / LANES, 1, threads);
    chainrule_parallel(products_worker, &a, threads);
    chainrule_parallel(gradient_worker, &a, threads);
    return a.strange;
}
