/* A step of stochastic gradient descent with momentum, each array being read and written once.
 *
 *     d = +-g + decay w,   v = momentum v + kept d,   w = w - rate (v, or d + momentum v ahead of it)
 */
#include "threads.h"
#include "vector.h"

#define PIECE 4096 /* numbers that a thread takes at a time */

/* Bits of `how`. */
#define FIRST 1 /* v begins as d */
#define AHEAD 2 /* Nesterov's */
#define UPHILL 4

typedef struct {
    float *w, *v; /* v is null without momentum */
    const float *g;
    long size;
    float rate, decay, momentum, kept;
    int how;
    Shares pieces;
} Step;

INLINE void step(const Step *a, long at, some lanes, const int whole) {
    vec w = whole ? load(a->w + at) : load_some(a->w + at, lanes);
    vec d = whole ? load(a->g + at) : load_some(a->g + at, lanes);
    if (a->how & UPHILL) d = -d;
    d += a->decay * w;
    if (a->v) {
        vec v = d;
        if (!(a->how & FIRST)) {
            v = whole ? load(a->v + at) : load_some(a->v + at, lanes);
            v = a->momentum * v + a->kept * d;
        }
        whole ? store(a->v + at, v) : store_some(a->v + at, lanes, v);
        d = a->how & AHEAD ? d + a->momentum * v : v;
    }
    w -= a->rate * d;
    whole ? store(a->w + at, w) : store_some(a->w + at, lanes, w);
}

static void worker(void *arg) {
    Step *a = arg;
    for (long piece; take(&a->pieces, &piece);) {
        long at = piece * PIECE, end = smaller(at + PIECE, a->size);
        for (; at + LANES <= end; at += LANES) step(a, at, first_lanes(LANES), 1);
        if (at < end) step(a, at, first_lanes(end - at), 0);
    }
}

/* Change `size` numbers of w and v; g is read. */
EXPORT int NAME(sgd)(float *w, const float *g, float *v, long size, float rate, float decay,
                     float momentum, float kept, int how, int threads) {
    Step a = {w, v, g, size, rate, decay, momentum, kept, how, {0}};
    a.pieces = share((size + PIECE - 1) / PIECE, 1, threads);
    chainrule_parallel(worker, &a, threads);
    return 0;
}
