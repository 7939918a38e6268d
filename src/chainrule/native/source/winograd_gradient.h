/* What both ways of computing the gradient by the weight share: transforming gradients, multiplying
 * ROWS input channels, writing LANES output channels of one.
 */
#ifndef CHAINRULE_WINOGRAD_GRADIENT_H
#define CHAINRULE_WINOGRAD_GRADIENT_H

#include "winograd.h"

#if REGISTERS == 32
#define ROWS 8 /* input channels that are multiplied at once */
#else
#define ROWS 4
#endif
#define PANEL (2 * LANES) /* output channels that are multiplied at once */

/* Transform the tiles [first, first + count) of gy, channels [from, to): entry p of tile t and
 * channel k goes to g + p * step + panel * block + t * PANEL + k in its panel. */
INLINE void read_gradients(const Conv3 *s, const float *gy, const float *nowhere, long first,
                           long count, long from, long to, float *g, long block, long step) {
    long down = tiles_down(s), across = tiles_across(s);
    for (long t = 0; t < count; t++) {
        long tile = first + t, column = tile % across, row = tile / across % down;
        const float *pixel[OUT * OUT];
        find_pixels(gy, tile / (across * down), row * OUT, column * OUT, s->oh, s->ow, s->k, OUT,
                    nowhere, pixel);
        for (long k = from; k < to; k += LANES) {
            vec rows[OUT][IN];
            UNROLL for (int i = 0; i < OUT; i++) {
                vec d[OUT];
                UNROLL for (int j = 0; j < OUT; j++) d[j] = load(pixel[i * OUT + j] + k);
                read_gradient(d, rows[i]);
            }
            long panel = (k - from) / PANEL * PANEL;
            float *at = g + panel * block + t * PANEL + k - from - panel;
            UNROLL for (int j = 0; j < IN; j++) {
                vec d[OUT] = {rows[0][j], rows[1][j], rows[2][j], rows[3][j]}, e[IN];
                read_gradient(d, e);
                UNROLL for (int i = 0; i < IN; i++) store(at + (i * IN + j) * step, e[i]);
            }
        }
    }
}

/* Sum the products of ROWS input and `wide` vectors of output channels over the tiles, then add that
 * to what is in `sums` unless `fresh`: so a long sum is one of sums of blocks. */
INLINE void multiply_channels(const float *v, const float *g, long count, float *sums, int fresh,
                              const int wide) {
    vec sum[ROWS][2];
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < wide; j++)
            sum[i][j] = (vec){0};
#pragma clang loop unroll_count(2)
    for (long t = 0; t < count; t++, v += LANES, g += PANEL) {
        vec w[2];
        UNROLL for (int j = 0; j < wide; j++) w[j] = load(g + j * LANES);
        UNROLL for (int i = 0; i < ROWS; i++) {
            vec x = spread(v[i]);
            UNROLL for (int j = 0; j < wide; j++) sum[i][j] += x * w[j];
        }
    }
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < wide; j++) {
            float *to = sums + i * PANEL + j * LANES;
            store(to, fresh ? sum[i][j] : load(to) + sum[i][j]);
        }
}

/* Transform the sums of LANES output channels of one input channel, `point` apart, those of parts
 * `part` apart being added; add what x - x leaves of the results to `strange`. */
INLINE void write_gradient(const float *sums, long point, long parts, long part, float (*gw)[LANES],
                           vec *strange) {
    vec half[IN][3];
    UNROLL for (int j = 0; j < IN; j++) {
        vec d[IN];
        UNROLL for (int i = 0; i < IN; i++) {
            const float *from = sums + (i * IN + j) * point;
            d[i] = load(from);
            for (long p = 1; p < parts; p++) d[i] += load(from + p * part);
        }
        write_filter(d, half[j]);
    }
    UNROLL for (int i = 0; i < 3; i++) {
        vec d[IN], e[3];
        UNROLL for (int j = 0; j < IN; j++) d[j] = half[j][i];
        write_filter(d, e);
        UNROLL for (int j = 0; j < 3; j++) {
            *strange += e[j] - e[j];
            store(gw[3 * i + j], e[j]);
        }
    }
}

/* Put the gradients of the filters from input c to the outputs [k, k + LANES) into gw (K, C, 3, 3). */
INLINE void put_gradient(const Conv3 *s, float (*from)[LANES], float *gw, long k, long c) {
    for (int lane = 0; lane < LANES; lane++)
        for (int tap = 0; tap < 9; tap++)
            gw[((k + lane) * s->c + c) * 9 + tap] = from[tap][lane];
}

#endif
