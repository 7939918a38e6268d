/* Convolution by Winograd's F(4x4, 3x3): forward, and the gradient by the input.
 *
 * The latter is the same convolution with rotated filters and channels exchanged.  Blocks of tiles
 * are transformed, multiplied and transformed back while they are in the cache.
 */
#include "threads.h"
#include "winograd.h"

#if REGISTERS == 32
#define ROWS 12 /* tiles that are multiplied at once: 24 of 32 registers hold their sums */
#else
#define ROWS 4
#endif
#define PANEL (2 * LANES) /* output channels that are computed at once */

/* Filters -------------------------------------------------------------------------------------- */

typedef struct {
    const float *w;
    float *u;
    long outs, ins, out_step, in_step;
    int rotated;
    Shares vectors; /* of outs */
} Filters;

/* Transform LANES filters of each of the inputs; u lies as [36][panel of outs][input][PANEL]. */
static void transform_filters(const Filters *f, long out) {
    long panel = out / PANEL * PANEL, wide = smaller(PANEL, f->outs - panel);
    for (long in = 0; in < f->ins; in++) {
        float taps[9][LANES];
        for (int lane = 0; lane < LANES; lane++) {
            const float *w = f->w + (out + lane) * f->out_step + in * f->in_step;
            for (int tap = 0; tap < 9; tap++) taps[f->rotated ? 8 - tap : tap][lane] = w[tap];
        }
        vec rows[3][IN];
        UNROLL for (int i = 0; i < 3; i++) {
            vec w[3] = {load(taps[3 * i]), load(taps[3 * i + 1]), load(taps[3 * i + 2])};
            read_filter(w, rows[i]);
        }
        float *to = f->u + panel * f->ins + in * wide + out - panel;
        UNROLL for (int j = 0; j < IN; j++) {
            vec w[3] = {rows[0][j], rows[1][j], rows[2][j]}, e[IN];
            read_filter(w, e);
            UNROLL for (int i = 0; i < IN; i++)
                store(to + (i * IN + j) * f->outs * f->ins, e[i]);
        }
    }
}

static void filters_worker(void *arg) {
    Filters *f = arg;
    for (long v; take(&f->vectors, &v);) transform_filters(f, v * LANES);
}

/* w (K, C, 3, 3) -> u for the forward, or for the gradient by the input if `rotated`. */
EXPORT int NAME(winograd_filters)(const float *w, float *u, long k, long c, int rotated,
                                  int threads) {
    Filters f = {w, u, k, c, 9 * c, 9, 0, share(k / LANES, 1, threads)};
    if (rotated) f = (Filters){w, u, c, k, 9, 9 * c, 1, share(c / LANES, 1, threads)};
    chainrule_parallel(filters_worker, &f, threads);
    return 0;
}

/* Products ------------------------------------------------------------------------------------- */

/* ROWS tiles by `wide` vectors of outputs: v [block][tile][LANES], u [input][wide * LANES]. */
INLINE void multiply_rows(const float *v, long v_step, long blocks, const float *u, float *m,
                          long m_step, const int wide) {
    vec sum[ROWS][2];
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < wide; j++) sum[i][j] = (vec){0};
    for (long b = 0; b < blocks; b++, v += v_step) {
#pragma clang loop unroll_count(4)
        for (int c = 0; c < LANES; c++, u += wide * LANES) {
            vec w[2];
            UNROLL for (int j = 0; j < wide; j++) w[j] = load(u + j * LANES);
            UNROLL for (int i = 0; i < ROWS; i++) {
                vec x = spread(v[i * LANES + c]);
                UNROLL for (int j = 0; j < wide; j++) sum[i][j] += x * w[j];
            }
        }
    }
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < wide; j++) store(m + j * m_step + i * LANES, sum[i][j]);
}

/* The convolution ------------------------------------------------------------------------------ */

typedef struct {
    Conv3 s;
    const float *x, *u, *bias;
    float *y, *scratch;
    long block, v_step, m_step, share; /* tiles a block; floats between entries, and threads */
    int relu, strange;                 /* whether a result is not finite */
    Shares tiles;
} Work;

static void multiply_block(const Work *a, const float *v, float *m, long count) {
    long ins = a->s.c, outs = a->s.k;
    for (int p = 0; p < POINTS; p++) {
        const float *u = a->u + p * ins * outs;
        for (long k = 0; k < outs; k += PANEL)
            for (long t = 0; t < count; t += ROWS) {
                const float *from = v + p * a->v_step + t * LANES;
                float *to = m + p * a->m_step + (k / LANES * a->block + t) * LANES;
                if (outs - k >= PANEL)
                    multiply_rows(from, a->block * LANES, ins / LANES, u + k * ins, to,
                                  a->block * LANES, 2);
                else
                    multiply_rows(from, a->block * LANES, ins / LANES, u + k * ins, to,
                                  a->block * LANES, 1);
            }
    }
}

/* Write the results of one tile; give their sum of what x - x leaves, 0 where all are finite. */
INLINE void write_one(const Work *a, const float *m, float *y, long rows, long columns, long k,
                      vec *strange) {
    const Conv3 *s = &a->s;
    vec half[IN][OUT], bias = a->bias ? load(a->bias + k) : (vec){0};
    UNROLL for (int j = 0; j < IN; j++) {
        vec d[IN];
        UNROLL for (int i = 0; i < IN; i++) d[i] = load(m + (i * IN + j) * a->m_step);
        write_tile(d, half[j]);
    }
    UNROLL for (int i = 0; i < OUT; i++) {
        vec d[IN], e[OUT];
        UNROLL for (int j = 0; j < IN; j++) d[j] = half[j][i];
        write_tile(d, e);
        UNROLL for (int j = 0; j < OUT; j++) {
            vec value = e[j] + bias;
            *strange += value - value;
            if (a->relu) value = (vec)((value > 0) & (ivec)value);
            if (i < rows && j < columns) store(y + (i * s->ow + j) * s->k + k, value);
        }
    }
}

static int write_tiles(const Work *a, const float *m, long first, long count) {
    const Conv3 *s = &a->s;
    long down = tiles_down(s), across = tiles_across(s);
    vec strange = {0};
    for (long t = 0; t < count; t++) {
        long tile = first + t, column = tile % across, row = tile / across % down;
        long top = row * OUT, left = column * OUT, image = tile / (across * down);
        float *y = a->y + ((image * s->oh + top) * s->ow + left) * s->k;
        long rows = smaller(OUT, s->oh - top), columns = smaller(OUT, s->ow - left);
        for (long k = 0; k < s->k; k += LANES)
            write_one(a, m + (k / LANES * a->block + t) * LANES, y, rows, columns, k, &strange);
    }
    return sum_of(strange) != 0; /* NaN differs from 0 too */
}

static void conv_worker(void *arg) {
    Work *a = arg;
    long mine = arrive(&a->tiles);
    float *nowhere = a->scratch + mine * a->share, *v = nowhere + up_to(a->s.c, LANES);
    float *m = v + POINTS * a->v_step;
    for (long c = 0; c < a->s.c; c++) nowhere[c] = 0;
    for (long first, count; (count = take(&a->tiles, &first));) {
        read_tiles(&a->s, a->x, nowhere, first, count, v, a->block, a->v_step);
        multiply_block(a, v, m, count);
        if (write_tiles(a, m, first, count)) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
    }
}

static Work plan(const long *sizes, long block, int threads) {
    Work a = {.s = *(const Conv3 *)sizes, .block = block};
    a.tiles = share(tiles_of(&a.s), block, threads);
    a.v_step = apart(a.s.c * block), a.m_step = apart(a.s.k * block);
    a.share = up_to(a.s.c, LANES) + POINTS * (a.v_step + a.m_step);
    return a;
}

/* Bytes of scratch memory that winograd_conv needs. */
EXPORT long NAME(winograd_conv_scratch)(const long *sizes, long block, int threads) {
    return plan(sizes, block, threads).share * threads * (long)sizeof(float);
}

/* x (N, H, W, C), u of winograd_filters -> y (N, OH, OW, K) + bias (where it is not null), its
 * negative values replaced by 0 with `relu`.  C and K are multiples of LANES, `block` of ROWS;
 * `scratch` begins at a cache line.  Gives 0, or 1 where a result before ReLU is not finite. */
EXPORT int NAME(winograd_conv)(const long *sizes, const float *x, const float *u, const float *bias,
                               float *y, float *scratch, long block, int relu, int threads) {
    Work a = plan(sizes, block, threads);
    a.x = x, a.u = u, a.bias = bias, a.y = y, a.scratch = scratch, a.relu = relu;
    chainrule_parallel(conv_worker, &a, threads);
    return a.strange;
}
