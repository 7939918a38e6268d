/* Winograd's minimal filtering F(4x4, 3x3): sixteen results of a 3x3 window by 36 products, not 144.
 *
 *     y = A' [(G w G') . (B' x B)] A      x a tile of 6x6, w of 3x3, y of 4x4, . entry by entry
 *
 * Lavin and Gray, Fast algorithms for convolutional neural networks (2016).  The matrices are those
 * of Toom and Cook for the points 0, +-3/4, +-3/2 and infinity: all numbers below are exact
 * in float, and the largest error is a fifth of that of the usual points 0, +-1, +-2.
 *
 * The gradient by the weight is the transposed map: gw = G' [(B' x B) . (A gy A')] G.
 */
#ifndef CHAINRULE_WINOGRAD_H
#define CHAINRULE_WINOGRAD_H

#include "vector.h"

#define A1 0.75f
#define A2 (A1 * A1)
#define A3 (A1 * A2)
#define B1 1.5f
#define B2 (B1 * B1)
#define B3 (B1 * B2)
#define NORM_0 (1 / (A2 * B2))
#define NORM_A (1 / (2 * A2 * (A2 - B2)))
#define NORM_B (1 / (2 * B2 * (B2 - A2)))

#define POINTS 36 /* entries of a tile after its transform */
#define OUT 4     /* results a side */
#define IN 6      /* values a side that they read */

/* A convolution with windows of 3x3 and steps of 1, of channels-last arrays. */
typedef struct {
    long n, h, w, c;   /* of the input */
    long k, oh, ow;    /* of the output */
    long pad_h, pad_w; /* before the input */
} Conv3;

static inline long tiles_down(const Conv3 *s) { return (s->oh + OUT - 1) / OUT; }
static inline long tiles_across(const Conv3 *s) { return (s->ow + OUT - 1) / OUT; }
static inline long tiles_of(const Conv3 *s) { return s->n * tiles_down(s) * tiles_across(s); }

/* Floats between a tile's entries: an odd number of cache lines more than the block needs, since
 * 36 streams whose distance is a power of two fall into the same few sets of the cache. */
static inline long apart(long floats) { return up_to(floats, 2 * LANES) + LANES; }

/* B' along six values. */
INLINE void read_tile(const vec *d, vec *to) {
    vec even_a = d[4] - B2 * d[2], odd_a = A1 * d[3] - (A1 * B2) * d[1];
    vec even_b = d[4] - A2 * d[2], odd_b = B1 * d[3] - (B1 * A2) * d[1];
    to[0] = (A2 * B2) * d[0] - (A2 + B2) * d[2] + d[4];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = (A2 * B2) * d[1] - (A2 + B2) * d[3] + d[5];
}

/* A' along six values. */
INLINE void write_tile(const vec *m, vec *to) {
    vec sum_a = m[1] + m[2], less_a = m[1] - m[2];
    vec sum_b = m[3] + m[4], less_b = m[3] - m[4];
    to[0] = m[0] + sum_a + sum_b;
    to[1] = A1 * less_a + B1 * less_b;
    to[2] = A2 * sum_a + B2 * sum_b;
    to[3] = A3 * less_a + B3 * less_b + m[5];
}

/* A along four values. */
INLINE void read_gradient(const vec *g, vec *to) {
    vec even_a = g[0] + A2 * g[2], odd_a = A1 * g[1] + A3 * g[3];
    vec even_b = g[0] + B2 * g[2], odd_b = B1 * g[1] + B3 * g[3];
    to[0] = g[0];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = g[3];
}

/* G along three values. */
INLINE void read_filter(const vec *w, vec *to) {
    vec even_a = NORM_A * w[0] + (NORM_A * A2) * w[2], odd_a = (NORM_A * A1) * w[1];
    vec even_b = NORM_B * w[0] + (NORM_B * B2) * w[2], odd_b = (NORM_B * B1) * w[1];
    to[0] = NORM_0 * w[0];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = w[2];
}

/* G' along six values. */
INLINE void write_filter(const vec *u, vec *to) {
    vec sum_a = u[1] + u[2], less_a = u[1] - u[2];
    vec sum_b = u[3] + u[4], less_b = u[3] - u[4];
    to[0] = NORM_0 * u[0] + NORM_A * sum_a + NORM_B * sum_b;
    to[1] = (NORM_A * A1) * less_a + (NORM_B * B1) * less_b;
    to[2] = (NORM_A * A2) * sum_a + (NORM_B * B2) * sum_b + u[5];
}

/* Where each of a tile's side x side pixels lies, `nowhere` for those beyond the array's border. */
INLINE void find_pixels(const float *x, long image, long top, long left, long h, long w, long c,
                        int side, const float *nowhere, const float **pixel) {
    for (long i = 0; i < side; i++)
        for (long j = 0; j < side; j++) {
            long row = top + i, column = left + j;
            int inside = row >= 0 && row < h && column >= 0 && column < w;
            pixel[i * side + j] = inside ? x + ((image * h + row) * w + column) * c : nowhere;
        }
}

/* Transform the tiles [first, first + count) of x; entry p of tile t and channel block b goes to
 * v + p * step + (b * block + t) * LANES. */
INLINE void read_tiles(const Conv3 *s, const float *x, const float *nowhere, long first, long count,
                       float *v, long block, long step) {
    long down = tiles_down(s), across = tiles_across(s);
    for (long t = 0; t < count; t++) {
        long tile = first + t, column = tile % across, row = tile / across % down;
        const float *pixel[IN * IN];
        find_pixels(x, tile / (across * down), row * OUT - s->pad_h, column * OUT - s->pad_w, s->h,
                    s->w, s->c, IN, nowhere, pixel);
        for (long b = 0; b < s->c / LANES; b++) {
            vec rows[IN][IN];
            UNROLL for (int i = 0; i < IN; i++) {
                vec d[IN];
                UNROLL for (int j = 0; j < IN; j++) d[j] = load(pixel[i * IN + j] + b * LANES);
                read_tile(d, rows[i]);
            }
            float *to = v + (b * block + t) * LANES;
            UNROLL for (int j = 0; j < IN; j++) {
                vec d[IN], e[IN];
                UNROLL for (int i = 0; i < IN; i++) d[i] = rows[i][j];
                read_tile(d, e);
                UNROLL for (int i = 0; i < IN; i++) store(to + (i * IN + j) * step, e[i]);
            }
        }
    }
}

#endif
