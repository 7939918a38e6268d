/* Running sums and products along an axis, from either end, and the gradient of products.
 *
 * They are in doubles inside, and in the order of the formulas, so that no number differs.
 */
#include "threads.h"
#include "vector.h"

#define SIDE 8 /* runs side by side, so that an addition need not wait for the one before it */

enum { SUM, PRODUCT, SHARES };

typedef struct {
    const float *x, *y, *g; /* x alone, or for SHARES all of them */
    float *out;
    long length, inner; /* x is (outer, length, inner) */
    int kind, back, zero;
    Shares runs;
} Work;

/* `count` runs, whose first elements lie `apart` and whose next ones `step`; whether no x is 0. */
INLINE int some_runs(const Work *w, long at, const long count, long apart, const int kind) {
    long step = w->inner;
    double total[SIDE];
    int alive = 1;
    for (long r = 0; r < count; r++) total[r] = kind == PRODUCT;
    at += w->back ? (w->length - 1) * step : 0;
    for (long i = 0; i < w->length; i++, at += w->back ? -step : step)
        for (long r = 0; r < count; r++) {
            long k = at + r * apart;
            if (kind == SUM) total[r] += w->x[k];
            if (kind == PRODUCT) total[r] *= w->x[k];
            if (kind == SHARES) {
                total[r] += w->g[k] * w->y[k];
                alive &= w->x[k] != 0;
            }
            w->out[k] = (float)(kind == SHARES ? total[r] / w->x[k] : total[r]);
        }
    return alive;
}

INLINE int all_runs(const Work *w, long first, long count, const int kind) {
    long end = first + count;
    int alive = 1;
    while (first < end) {
        long o = first / w->inner, i = first % w->inner, at = o * w->length * w->inner + i;
        if (w->inner == 1) { /* runs one behind the other */
            int whole = end - first >= SIDE;
            alive &= whole ? some_runs(w, at, SIDE, w->length, kind)
                           : some_runs(w, at, 1, 0, kind);
            first += whole ? SIDE : 1;
        } else {
            int whole = smaller(end - first, w->inner - i) >= SIDE;
            alive &= whole ? some_runs(w, at, SIDE, 1, kind) : some_runs(w, at, 1, 0, kind);
            first += whole ? SIDE : 1;
        }
    }
    return alive;
}

static void worker(void *arg) {
    Work *w = arg;
    int alive = 1;
    for (long first, count; (count = take(&w->runs, &first));)
        switch (w->kind) {
        case SUM: all_runs(w, first, count, SUM); break;
        case PRODUCT: all_runs(w, first, count, PRODUCT); break;
        default: alive &= all_runs(w, first, count, SHARES);
        }
    if (!alive) __atomic_store_n(&w->zero, 1, __ATOMIC_RELAXED);
}

/* x (outer, length, inner) -> its running sums or products, from the end with `back`; or
 * (sum of g y from here on) / x, then 1 is given where an x is 0, which is for the formulas. */
EXPORT int NAME(scan)(const float *x, const float *y, const float *g, float *out, long outer,
                      long length, long inner, int kind, int back, int threads) {
    Work w = {x, y, g, out, length, inner, kind, back, 0, {0}};
    w.runs = share(outer * inner, 4 * SIDE, threads);
    chainrule_parallel(worker, &w, threads);
    return w.zero;
}
