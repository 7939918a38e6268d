/* The gradient of a 3x3 convolution by its weight where there are few tiles of many channels.
 *
 * Sums of products would be four times as large as the gradient: here all tiles are transformed
 * first, and the sums of a panel of outputs and some inputs are finished while they are in the cache.
 */
#include "threads.h"
#include "winograd_gradient.h"

#define INPUTS 64 /* whose sums are made at a time */
#define TILES 12  /* that a thread transforms at a time */

typedef struct {
    Conv3 s;
    const float *x, *gy;
    float *gw, *v, *g, *scratch;
    long block, v_step, g_step, sums_step, mine; /* tiles; floats between entries, and threads */
    int strange;                                 /* whether a result is not finite */
    Shares tiles, pieces;                        /* of the images, and of the gradient */
} Work;

static long groups_of_inputs(const Conv3 *s) { return (s->c + INPUTS - 1) / INPUTS; }

static void tiles_worker(void *arg) {
    Work *a = arg;
    const Conv3 *s = &a->s;
    float *nowhere = a->scratch + arrive(&a->tiles) * a->mine;
    for (long c = 0; c < s->c || c < s->k; c++) nowhere[c] = 0;
    for (long first, count; (count = take(&a->tiles, &first));) {
        read_tiles(s, a->x, nowhere, first, count, a->v + first * LANES, a->block, a->v_step);
        read_gradients(s, a->gy, nowhere, first, count, 0, s->k, a->g + first * PANEL, a->block,
                       a->g_step);
    }
}

/* The gradient of the filters from the inputs [in, in + count) to a panel of outputs. */
INLINE void compute_piece(const Work *a, long panel, long in, long count, float *sums,
                          vec *strange, const int wide) {
    for (int p = 0; p < POINTS; p++)
        for (long c = 0; c < count; c += ROWS) {
            long at = in + c;
            multiply_channels(
                a->v + p * a->v_step + at / LANES * a->block * LANES + at % LANES,
                a->g + p * a->g_step + panel * a->block, tiles_of(&a->s),
                sums + p * a->sums_step + c * PANEL, 1, wide);
        }
    for (long c = 0; c < count; c++)
        for (int j = 0; j < wide; j++) {
            float gw[9][LANES];
            write_gradient(sums + c * PANEL + j * LANES, a->sums_step, 1, 0, gw, strange);
            put_gradient(&a->s, gw, a->gw, panel + j * LANES, in + c);
        }
}

static void pieces_worker(void *arg) {
    Work *a = arg;
    const Conv3 *s = &a->s;
    float *sums = a->scratch + arrive(&a->pieces) * a->mine;
    vec strange = {0};
    for (long piece; take(&a->pieces, &piece);) {
        long panel = piece / groups_of_inputs(s) * PANEL, in = piece % groups_of_inputs(s) * INPUTS;
        long count = smaller(INPUTS, s->c - in);
        if (s->k - panel >= PANEL)
            compute_piece(a, panel, in, count, sums, &strange, 2);
        else
            compute_piece(a, panel, in, count, sums, &strange, 1);
    }
    if (sum_of(strange) != 0) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
}

static Work plan(const long *sizes, int threads) {
    Work a = {.s = *(const Conv3 *)sizes};
    a.block = tiles_of(&a.s);
    a.v_step = apart(a.s.c * a.block), a.g_step = apart(up_to(a.s.k, PANEL) * a.block);
    a.sums_step = apart(smaller(INPUTS, a.s.c) * PANEL);
    a.mine = POINTS * a.sums_step + up_to(a.s.c > a.s.k ? a.s.c : a.s.k, LANES);
    a.tiles = share(a.block, TILES, threads);
    a.pieces = share((a.s.k + PANEL - 1) / PANEL * groups_of_inputs(&a.s), 1, threads);
    return a;
}

/* Bytes of scratch memory that winograd_deep_weights needs. */
EXPORT long NAME(winograd_deep_weights_scratch)(const long *sizes, int threads) {
    Work a = plan(sizes, threads);
    return (POINTS * (a.v_step + a.g_step) + a.mine * threads) * (long)sizeof(float);
}

/* As winograd_weights, which see, by another order of the work. */
EXPORT int NAME(winograd_deep_weights)(const long *sizes, const float *x, const float *gy, float *gw,
                                       float *scratch, int threads) {
    Work a = plan(sizes, threads);
    a.x = x, a.gy = gy, a.gw = gw;
    a.v = scratch, a.g = a.v + POINTS * a.v_step, a.scratch = a.g + POINTS * a.g_step;
    chainrule_parallel(tiles_worker, &a, threads);
    chainrule_parallel(pieces_worker, &a, threads);
    return a.strange;
}
