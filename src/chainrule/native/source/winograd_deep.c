/* Convolution by Winograd's F(4x4, 3x3) where there are few tiles of many channels.
 *
 * Transformed filters would be four times as large as the plain ones, and be read once or twice: here
 * all tiles are transformed first, and filters just before they are used, a panel of outputs and
 * some inputs at a time, so that these never leave the cache.
 */
#include "threads.h"
#include "winograd_conv.h"

#define INPUTS 128 /* whose filters are transformed at a time */
#define TILES 12   /* that a thread transforms at a time */

typedef struct {
    Conv3 s;
    Filters filters;
    Results to;
    const float *x, *u; /* u: the filters, transformed before; else null */
    float *v, *scratch;
    long block, v_step, u_step, m_step, mine; /* tiles; floats between entries, and threads */
    int strange;                              /* whether a result is not finite */
    Shares tiles, panels;
} Work;

static void tiles_worker(void *arg) {
    Work *a = arg;
    float *nowhere = a->scratch + arrive(&a->tiles) * a->mine;
    for (long c = 0; c < a->s.c; c++) nowhere[c] = 0;
    for (long first, count; (count = take(&a->tiles, &first));)
        read_tiles(&a->s, a->x, nowhere, first, count, a->v + first * LANES, a->block, a->v_step);
}

/* Multiply all tiles with the filters from the inputs [in, in + count) to a panel of outputs. */
INLINE void multiply_panel(const Work *a, long panel, long in, long count, float *room, float *m,
                           const int wide) {
    long step = a->block * LANES, u_step = a->u_step;
    const float *u = room;
    if (a->u) {
        u = a->u + panel * a->s.c + in * wide * LANES, u_step = a->s.c * a->s.k;
    } else {
        for (long i = 0; i < count; i++)
            UNROLL for (int j = 0; j < wide; j++)
                transform_filters(&a->filters, panel + j * LANES, in + i,
                                  room + (i * wide + j) * LANES, u_step);
    }
    for (int p = 0; p < POINTS; p++)
        for (long t = 0; t < a->block; t += ROWS)
            multiply_rows(a->v + p * a->v_step + in / LANES * step + t * LANES, step, count / LANES,
                          u + p * u_step, m + p * a->m_step + t * LANES, step, in == 0, wide);
}

static void panels_worker(void *arg) {
    Work *a = arg;
    const Conv3 *s = &a->s;
    float *u = a->scratch + arrive(&a->panels) * a->mine + s->c, *m = u + POINTS * a->u_step;
    vec strange = {0};
    for (long number; take(&a->panels, &number);) {
        long panel = number * PANEL, end = smaller(panel + PANEL, s->k);
        for (long in = 0; in < s->c; in += INPUTS) {
            long count = smaller(INPUTS, s->c - in);
            if (end - panel == PANEL)
                multiply_panel(a, panel, in, count, u, m, 2);
            else
                multiply_panel(a, panel, in, count, u, m, 1);
        }
        for (long t = 0; t < tiles_of(s); t++)
            for (long k = panel; k < end; k += LANES)
                write_results(s, &a->to, t, k, m + (k - panel) * a->block + t * LANES, a->m_step,
                              &strange);
    }
    if (sum_of(strange) != 0) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
}

static Work plan(const long *sizes, int threads) {
    Work a = {.s = *(const Conv3 *)sizes};
    a.block = up_to(tiles_of(&a.s), ROWS);
    a.v_step = apart(a.s.c * a.block), a.u_step = apart(smaller(INPUTS, a.s.c) * PANEL);
    a.m_step = apart(PANEL * a.block), a.mine = a.s.c + POINTS * (a.u_step + a.m_step);
    a.tiles = share(tiles_of(&a.s), TILES, threads);
    a.panels = share((a.s.k + PANEL - 1) / PANEL, 1, threads);
    return a;
}

/* Bytes of scratch memory that winograd_deep needs. */
EXPORT long NAME(winograd_deep_scratch)(const long *sizes, int threads) {
    Work a = plan(sizes, threads);
    return (POINTS * a.v_step + a.mine * threads) * (long)sizeof(float);
}

/* As winograd_conv, which see, by another order of the work. */
EXPORT int NAME(winograd_deep)(const long *sizes, const float *x, const float *w, int rotated,
                               const float *bias, float *y, float *scratch, int relu, int threads,
                               const float *u, const float *more) {
    Work a = plan(sizes, threads);
    a.filters = rotated ? filters_of(w, a.s.c, a.s.k, 1) : filters_of(w, a.s.k, a.s.c, 0);
    a.x = x, a.to = (Results){y, bias, more, relu}, a.u = u;
    a.v = scratch, a.scratch = scratch + POINTS * a.v_step;
    chainrule_parallel(tiles_worker, &a, threads);
    chainrule_parallel(panels_worker, &a, threads);
    return a.strange;
}
