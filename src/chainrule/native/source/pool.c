/* Largest values of windows that lie side by side, with or without ReLU, in one pass each way. */
#include "threads.h"
#include "vector.h"

#define SOME 16 /* rows that a thread takes at a time */
#define NOBODY 255 /* the winner where ReLU cut off: no gradient passes */

typedef unsigned char bytes __attribute__((vector_size(LANES)));
typedef unsigned char bytes_at __attribute__((vector_size(LANES), aligned(1), may_alias));

/* Sizes of x (N, H, W, C) and y (N, OH, OW, C), and the window's, which are its steps too. */
typedef struct {
    long n, h, w, c, oh, ow, kh, kw;
} Pool;

typedef struct {
    Pool s;
    const float *x;
    float *y, *gx;
    unsigned char *winners; /* (N, OH, OW, C rounded up to LANES) */
    int relu, strange;
    Shares rows;
} Work;

/* One window and LANES channels: the largest value, and which of the entries it is. */
INLINE void find_largest(const Work *a, const float *x, long out, long c, vec *strange,
                         const long kh, const long kw) {
    const Pool *s = &a->s;
    some lanes = first_lanes(s->c - c);
    vec best = load_some(x + c, lanes);
    ivec winner = {0};
    *strange += best - best;
    for (long i = 0; i < kh; i++)
        for (long j = 0; j < kw; j++) {
            if (i + j == 0) continue;
            vec value = load_some(x + (i * s->w + j) * s->c + c, lanes);
            ivec larger = value > best;
            *strange += value - value;
            best = (vec)((larger & (ivec)value) | (~larger & (ivec)best));
            winner = (larger & (int)(i * kw + j)) | (~larger & winner);
        }
    if (a->relu) {
        ivec alive = best > 0;
        best = (vec)(alive & (ivec)best);
        winner = (alive & winner) | (~alive & NOBODY);
    }
    store_some(a->y + out * s->c + c, lanes, best);
    *(bytes_at *)(a->winners + out * up_to(s->c, LANES) + c) = __builtin_convertvector(winner, bytes);
}

INLINE void forward_row(const Work *a, long row, vec *strange, const long kh, const long kw) {
    const Pool *s = &a->s;
    const float *x = a->x + (row / s->oh * s->h + row % s->oh * kh) * s->w * s->c;
    for (long j = 0; j < s->ow; j++)
        for (long c = 0; c < s->c; c += LANES)
            find_largest(a, x + j * kw * s->c, row * s->ow + j, c, strange, kh, kw);
}

INLINE void backward_row(const Work *a, long row, const long kh, const long kw) {
    const Pool *s = &a->s;
    float *gx = a->gx + (row / s->oh * s->h + row % s->oh * kh) * s->w * s->c;
    for (long j = 0; j < s->ow; j++)
        for (long c = 0; c < s->c; c += LANES) {
            long out = row * s->ow + j;
            some lanes = first_lanes(s->c - c);
            vec g = load_some(a->y + out * s->c + c, lanes);
            bytes who = *(const bytes_at *)(a->winners + out * up_to(s->c, LANES) + c);
            ivec winner = __builtin_convertvector(who, ivec);
            for (long t = 0; t < kh * kw; t++) {
                vec value = (vec)((winner == (int)t) & (ivec)g);
                store_some(gx + (t / kw * s->w + j * kw + t % kw) * s->c + c, lanes, value);
            }
        }
    for (long i = 0; i < kh; i++) /* columns that no window holds */
        for (long k = s->ow * kw * s->c; k < s->w * s->c; k++) gx[i * s->w * s->c + k] = 0;
    if (row % s->oh == s->oh - 1) /* and rows */
        for (long k = kh * s->w * s->c; k < (s->h - (s->oh - 1) * kh) * s->w * s->c; k++) gx[k] = 0;
}

static void forward_worker(void *arg) {
    Work *a = arg;
    const Pool *s = &a->s;
    vec strange = {0};
    for (long first, count; (count = take(&a->rows, &first));)
        for (long row = first; row < first + count; row++)
            if (s->kh == 2 && s->kw == 2)
                forward_row(a, row, &strange, 2, 2);
            else
                forward_row(a, row, &strange, s->kh, s->kw);
    if (sum_of(strange) != 0) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
}

static void backward_worker(void *arg) {
    Work *a = arg;
    const Pool *s = &a->s;
    for (long first, count; (count = take(&a->rows, &first));)
        for (long row = first; row < first + count; row++)
            if (s->kh == 2 && s->kw == 2)
                backward_row(a, row, 2, 2);
            else
                backward_row(a, row, s->kh, s->kw);
}

/* x -> y, its negative values replaced by 0 with `relu`, and the winners; equal values: the first.
 * Gives 0, or 1 where x is not finite throughout. */
EXPORT int NAME(pool_max)(const long *sizes, const float *x, float *y, unsigned char *winners,
                          int relu, int threads) {
    Work a = {.s = *(const Pool *)sizes, .x = x, .y = y, .winners = winners, .relu = relu};
    a.rows = share(a.s.n * a.s.oh, SOME, threads);
    chainrule_parallel(forward_worker, &a, threads);
    return a.strange;
}

/* gy -> gx: each value where its window's winner is, 0 elsewhere. */
EXPORT int NAME(pool_max_back)(const long *sizes, float *gy, unsigned char *winners, float *gx,
                               int threads) {
    Work a = {.s = *(const Pool *)sizes, .y = gy, .winners = winners, .gx = gx};
    a.rows = share(a.s.n * a.s.oh, SOME, threads);
    chainrule_parallel(backward_worker, &a, threads);
    return 0;
}
