/* What both ways of running a Winograd convolution share: transforming LANES filters, multiplying
 * ROWS tiles, writing one tile's results.
 */
#ifndef CHAINRULE_WINOGRAD_CONV_H
#define CHAINRULE_WINOGRAD_CONV_H

#include "winograd.h"

#if REGISTERS == 32
#define ROWS 12 /* tiles that are multiplied at once: 24 of 32 registers hold their sums */
#else
#define ROWS 4
#endif
#define PANEL (2 * LANES) /* output channels that are computed at once */

/* Filters w (K, C, 3, 3) as one direction sees them: outs and ins are K and C, or C and K with the
 * windows rotated for the gradient by the input. */
typedef struct {
    const float *w;
    long outs, ins, out_step, in_step;
    int rotated;
} Filters;

static inline Filters filters_of(const float *w, long k, long c, int rotated) {
    Filters forward = {w, k, c, 9 * c, 9, 0}, back = {w, c, k, 9, 9 * c, 1};
    return rotated ? back : forward;
}

/* Transform the filters from one input to the outputs [out, out + LANES); entry p to u + p * step. */
INLINE void transform_filters(const Filters *f, long out, long in, float *u, long step) {
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
    UNROLL for (int j = 0; j < IN; j++) {
        vec w[3] = {rows[0][j], rows[1][j], rows[2][j]}, e[IN];
        read_filter(w, e);
        UNROLL for (int i = 0; i < IN; i++) store(u + (i * IN + j) * step, e[i]);
    }
}

/* ROWS tiles by `wide` vectors of outputs: v [block][tile][LANES], u [input][wide * LANES]; the
 * sums are added to those in m unless they are the first. */
INLINE void multiply_rows(const float *v, long v_step, long blocks, const float *u, float *m,
                          long m_step, int first, const int wide) {
    vec sum[ROWS][2];
    UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < wide; j++)
            sum[i][j] = first ? (vec){0} : load(m + j * m_step + i * LANES);
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

/* Where results go, and what is done to them on the way. */
typedef struct {
    float *y;
    const float *bias, *more; /* of each channel, and of each place of y; null where there is none */
    int relu;
} Results;

/* Write one tile's results for the channels [k, k + LANES) from its entries, m_step apart; add to
 * `strange` what x - x leaves of each: 0 where all are finite. */
INLINE void write_results(const Conv3 *s, const Results *to, long tile, long k, const float *m,
                          long m_step, vec *strange) {
    long down = tiles_down(s), across = tiles_across(s);
    long top = tile / across % down * OUT, left = tile % across * OUT, image = tile / (across * down);
    long rows = smaller(OUT, s->oh - top), columns = smaller(OUT, s->ow - left);
    long at = ((image * s->oh + top) * s->ow + left) * s->k + k;
    vec half[IN][OUT], bias = to->bias ? load(to->bias + k) : (vec){0};
    UNROLL for (int j = 0; j < IN; j++) {
        vec d[IN];
        UNROLL for (int i = 0; i < IN; i++) d[i] = load(m + (i * IN + j) * m_step);
        write_tile(d, half[j]);
    }
    UNROLL for (int i = 0; i < OUT; i++) {
        vec d[IN], e[OUT];
        UNROLL for (int j = 0; j < IN; j++) d[j] = half[j][i];
        write_tile(d, e);
        UNROLL for (int j = 0; j < OUT; j++) {
            long place = at + (i * s->ow + j) * s->k;
            int inside = i < rows && j < columns;
            vec value = e[j] + bias;
            if (to->more && inside) value += load(to->more + place);
            *strange += value - value;
            if (to->relu) value = (vec)((value > 0) & (ivec)value);
            if (inside) store(to->y + place, value);
        }
    }
}

#endif
