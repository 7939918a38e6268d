/* A function of each number of an array, and its gradient, one pass each.
 *
 * Included by a file that defines value(x, a, b, c, kind), gradient(x, g, a, b, c, kind), KINDS, a
 * CASE for each of its kinds, and ENTRY, the name under which it is called.
 */
#include "threads.h"
#include "vector.h"

#define PIECE 4096 /* numbers that a thread takes at a time */

typedef struct {
    const float *x, *gy; /* gy is null in the forward */
    float *out;
    long size;
    float a, b, c; /* the settings */
    int kind, strange; /* whether an x is not finite */
    Shares pieces;
} Work;

INLINE void range(const Work *w, long at, long end, vec *strange, const int kind, const int back) {
    const float *from = w->x, *gy = w->gy;
    float *out = w->out;
    vec a = spread(w->a), b = spread(w->b), c = spread(w->c);
    for (; at + LANES <= end; at += LANES) {
        vec x = load(from + at);
        if (!back) *strange += x - x;
        vec y = back ? gradient(x, load(gy + at), a, b, c, kind) : value(x, a, b, c, kind);
        store(out + at, y);
    }
    if (at == end) return;
    some lanes = first_lanes(end - at);
    vec x = load_some(from + at, lanes);
    *strange += x - x;
    vec g = back ? load_some(gy + at, lanes) : x;
    store_some(out + at, lanes,
               back ? gradient(x, g, a, b, c, kind) : value(x, a, b, c, kind));
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
        switch (w->kind) { KINDS }
    }
    if (sum_of(strange) != 0) __atomic_store_n(&w->strange, 1, __ATOMIC_RELAXED);
}

/* x -> y, or with gy (not null) -> gx.  Gives 0, or in the forward 1 where x is not finite. */
EXPORT int NAME(ENTRY)(const float *x, const float *gy, float *out, long size, float a, float b,
                       float c, int kind, int threads) {
    Work w = {x, gy, out, size, a, b, c, kind, 0, {0}};
    w.pieces = share((size + PIECE - 1) / PIECE, 1, threads);
    chainrule_parallel(worker, &w, threads);
    return w.strange;
}
