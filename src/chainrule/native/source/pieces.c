/* Activations of straight and parabolic pieces and their gradients, each in one pass.
 *
 * NaN and infinity mean what they mean in the formulas, so that nobody has to look for them first.
 */
#include "exponent.h"
#include "threads.h"

#define PIECE 4096 /* numbers that a thread takes at a time */

enum { LEAKY, CLIP, HARD_SIGMOID, HARD_SWISH, THRESHOLD, HARD_SHRINK, SOFT_SHRINK };

typedef struct {
    const float *x, *gy; /* gy is null in the forward */
    float *out;
    long size;
    float a, b; /* the settings: slope; limits; threshold and value; lambda */
    int kind, strange; /* whether an x is not finite */
    Shares pieces;
} Work;

INLINE vec value(vec x, vec a, vec b, const int kind) {
    switch (kind) {
    case LEAKY: return pick(x > 0, x, a * x);
    case CLIP: return clip(x, a, b);
    case HARD_SIGMOID: return clip(x + 3, spread(0), spread(6)) / 6;
    case HARD_SWISH: return clip(x + 3, spread(0), spread(6)) * x / 6;
    case THRESHOLD: return pick(x <= a, b, x);
    case HARD_SHRINK: return keep(~(size_of(x) <= a), x);
    default: return x - clip(x, -a, a);
    }
}

INLINE vec gradient(vec x, vec g, vec a, vec b, const int kind) {
    switch (kind) {
    case LEAKY: return pick(x > 0, g, a * g);
    case CLIP: return keep((x > a) & (x < b), g);
    case HARD_SIGMOID: return keep(size_of(x) < 3, g / 6);
    case HARD_SWISH: return keep(~(x <= -3), pick(x >= 3, spread(1), x / 3 + 0.5f) * g);
    case THRESHOLD: return keep(~(x <= a), g);
    default: return keep(size_of(x) > a, g);
    }
}

INLINE void range(const Work *w, long at, long end, vec *strange, const int kind, const int back) {
    vec a = spread(w->a), b = spread(w->b);
    for (; at + LANES <= end; at += LANES) {
        vec x = load(w->x + at);
        if (!back) *strange += x - x;
        store(w->out + at, back ? gradient(x, load(w->gy + at), a, b, kind) : value(x, a, b, kind));
    }
    if (at == end) return;
    some lanes = first_lanes(end - at);
    vec x = load_some(w->x + at, lanes);
    *strange += x - x;
    vec g = back ? load_some(w->gy + at, lanes) : x;
    store_some(w->out + at, lanes, back ? gradient(x, g, a, b, kind) : value(x, a, b, kind));
}

#define CASE(kind) \
    case kind: \
        back ? range(w, at, end, &strange, kind, 1) : range(w, at, end, &strange, kind, 0); \
        break;

static void worker(void *arg) {
    Work *w = arg;
    int back = w->gy != 0;
    vec strange = {0};
    for (long piece; take(&w->pieces, &piece);) {
        long at = piece * PIECE, end = smaller(at + PIECE, w->size);
        switch (w->kind) {
            CASE(LEAKY) CASE(CLIP) CASE(HARD_SIGMOID) CASE(HARD_SWISH)
            CASE(THRESHOLD) CASE(HARD_SHRINK) CASE(SOFT_SHRINK)
        }
    }
    if (sum_of(strange) != 0) __atomic_store_n(&w->strange, 1, __ATOMIC_RELAXED);
}

/* x -> y, or with gy (not null) -> gx.  Gives 0, or in the forward 1 where x is not finite. */
EXPORT int NAME(pieces)(const float *x, const float *gy, float *out, long size, float a, float b,
                        int kind, int threads) {
    Work w = {x, gy, out, size, a, b, kind, 0, {0}};
    w.pieces = share((size + PIECE - 1) / PIECE, 1, threads);
    chainrule_parallel(worker, &w, threads);
    return w.strange;
}
