/* Losses with an error for each element, and their gradients, each in one pass.
 *
 * Errors of a piece are added in vectors of floats, the pieces in doubles, in their order.
 */
#include "exponent.h"
#include "threads.h"

#define PIECE 4096 /* numbers that a thread takes at a time */

enum { SQUARE, ABSOLUTE, SMOOTH, HUBER, LOGITS, SOFT_MARGIN };

typedef struct {
    const float *x, *t, *gy; /* gy is null in the forward, one number where errors were added */
    float *out, *gt;         /* errors, or null; gradients, each null where it is not wanted */
    double *sums;
    long size;
    float scale, width; /* of gy; beta or delta */
    int kind, each;     /* whether gy is a number for each error */
    Shares pieces;
} Work;

INLINE vec bent(vec d, vec width) {
    vec size = size_of(d), inner = pick(size > width, width, size);
    return inner * (size - 0.5f * inner);
}

INLINE vec log_one_plus_exp(vec x) {
    return log1p_of(exp_of(-size_of(x))) + pick(x < 0, spread(0), x);
}

INLINE vec error(vec x, vec t, vec width, const int kind) {
    vec d = x - t, below = pick(x > 0, spread(0), x);
    switch (kind) {
    case SQUARE: return d * d;
    case ABSOLUTE: return size_of(d);
    case SMOOTH: return bent(d, width) / width;
    case HUBER: return bent(d, width);
    case LOGITS: /* nothing cancels; NaN at -infinity, as in the formula */
        return (1 - t) * (x - below) - t * below + log1p_of(exp_of(-size_of(x)));
    default: return log_one_plus_exp(-x * t);
    }
}

/* 1, 0 or -1; 0 for NaN. */
INLINE vec sign_of(vec d) { return keep(d > 0, spread(1)) - keep(d < 0, spread(1)); }

INLINE void slopes(vec x, vec t, vec g, vec width, vec *gx, vec *gt, const int kind) {
    vec d = x - t, e;
    switch (kind) {
    case SQUARE: *gx = 2 * g * d; break;
    case ABSOLUTE: *gx = g * sign_of(d); break;
    case SMOOTH: *gx = g * (clip(d, -width, width) / width); break;
    case HUBER: *gx = g * clip(d, -width, width); break;
    case LOGITS:
        e = exp_of(-size_of(x));
        d = 1 / (1 + e); /* the sigmoid of |x|; that of -|x| is e d */
        *gx = g * ((1 - t) * pick(x < 0, e * d, d) - t * pick(x < 0, d, e * d));
        *gt = g * -x;
        return;
    default:
        d = -g * sigmoid_of(-x * t);
        *gx = d * t;
        *gt = d * x;
        return;
    }
    *gt = -*gx;
}

INLINE float forward(const Work *w, long at, long end, const int kind) {
    vec width = spread(w->width), sum = {0};
    for (; at + LANES <= end; at += LANES) {
        vec e = error(load(w->x + at), load(w->t + at), width, kind);
        if (w->out) store(w->out + at, e);
        sum += e;
    }
    if (at < end) {
        some lanes = first_lanes(end - at);
        vec e = error(load_some(w->x + at, lanes), load_some(w->t + at, lanes), width, kind);
        if (w->out) store_some(w->out + at, lanes, e);
        for (long lane = 0; lane < end - at; lane++) sum[lane] += e[lane];
    }
    return sum_of(sum);
}

INLINE void backward(const Work *w, long at, long end, const int kind) {
    vec width = spread(w->width), g = spread(w->each ? 0 : w->gy[0] * w->scale), gx, gt;
    for (; at + LANES <= end; at += LANES) {
        if (w->each) g = load(w->gy + at);
        slopes(load(w->x + at), load(w->t + at), g, width, &gx, &gt, kind);
        if (w->out) store(w->out + at, gx);
        if (w->gt) store(w->gt + at, gt);
    }
    if (at == end) return;
    some lanes = first_lanes(end - at);
    if (w->each) g = load_some(w->gy + at, lanes);
    vec x = load_some(w->x + at, lanes), t = load_some(w->t + at, lanes);
    slopes(x, t, g, width, &gx, &gt, kind);
    if (w->out) store_some(w->out + at, lanes, gx);
    if (w->gt) store_some(w->gt + at, lanes, gt);
}

#define CASE(kind) \
    case kind: \
        w->gy ? backward(w, at, end, kind) : (void)(sum = forward(w, at, end, kind)); \
        break;

static void worker(void *arg) {
    Work *w = arg;
    for (long piece; take(&w->pieces, &piece);) {
        long at = piece * PIECE, end = smaller(at + PIECE, w->size);
        float sum = 0;
        switch (w->kind) {
            CASE(SQUARE) CASE(ABSOLUTE) CASE(SMOOTH) CASE(HUBER) CASE(LOGITS) CASE(SOFT_MARGIN)
        }
        if (w->sums) w->sums[piece] = sum;
    }
}

/* x, t -> the errors, or with sums (not null, as many as pieces) -> scale times their sum. */
EXPORT int NAME(loss)(const float *x, const float *t, float *out, double *sums, long size,
                      float scale, float width, int kind, int threads) {
    Work w = {.x = x, .t = t, .out = sums ? 0 : out, .sums = sums, .size = size};
    w.width = width, w.kind = kind;
    long pieces = (size + PIECE - 1) / PIECE;
    w.pieces = share(pieces, 1, threads);
    chainrule_parallel(worker, &w, threads);
    if (sums) {
        double sum = 0;
        for (long piece = 0; piece < pieces; piece++) sum += sums[piece];
        *out = (float)(sum * scale);
    }
    return 0;
}

/* x, t, and gy of each error, or one gy to be scaled -> gx, gt, each unless it is null. */
EXPORT int NAME(loss_back)(const float *x, const float *t, const float *gy, float *gx, float *gt,
                           long size, float scale, float width, int each, int kind, int threads) {
    Work w = {x, t, gy, gx, gt, 0, size, scale, width, kind, each, {0}};
    w.pieces = share((size + PIECE - 1) / PIECE, 1, threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}
