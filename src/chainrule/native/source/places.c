/* Numbers taken by an index of their own each, and the gradient: added where they stood. */
#include "threads.h"
#include "vector.h"

#include <string.h>

/* x and gx (outer, length, inner), y and the index (outer, count, inner). */
typedef struct {
    const float *x, *gy;
    float *y, *gx;
    const long *index;
    long length, inner, count;
    int wrong;
    Shares outer;
} Work;

/* Whether all places of one of the outer arrays exist. */
INLINE int pick_from(const Work *w, const float *x, long at, const long inner) {
    long wrong = 0;
    for (long j = 0; j < w->count; j++)
        for (long i = 0; i < inner; i++, at++) {
            long place = w->index[at], inside = (unsigned long)place < (unsigned long)w->length;
            wrong |= !inside;
            w->y[at] = x[(inside ? place : 0) * inner + i];
        }
    return !wrong;
}

static void pick(void *arg) {
    Work *w = arg;
    long size = w->count * w->inner;
    int right = 1;
    for (long first, count; (count = take(&w->outer, &first));)
        for (long o = first; o < first + count; o++) {
            const float *x = w->x + o * w->length * w->inner;
            right &= w->inner == 1 ? pick_from(w, x, o * size, 1)
                                   : pick_from(w, x, o * size, w->inner);
        }
    if (!right) __atomic_store_n(&w->wrong, 1, __ATOMIC_RELAXED);
}

INLINE void add_to(const Work *w, float *gx, long at, const long inner) {
    for (long j = 0; j < w->count; j++)
        for (long i = 0; i < inner; i++, at++) gx[w->index[at] * inner + i] += w->gy[at];
}

static void add(void *arg) {
    Work *w = arg;
    long whole = w->length * w->inner, size = w->count * w->inner;
    for (long first, count; (count = take(&w->outer, &first));)
        for (long o = first; o < first + count; o++) {
            float *gx = w->gx + o * whole;
            memset(gx, 0, (unsigned long)whole * sizeof *gx);
            w->inner == 1 ? add_to(w, gx, o * size, 1) : add_to(w, gx, o * size, w->inner);
        }
}

/* x, index -> y[o, j, i] = x[o, index[o, j, i], i].  Gives 1 where there is no such place, which
 * the formulas then name. */
EXPORT int NAME(places)(const float *x, const long *index, float *y, long outer, long length,
                        long inner, long count, int threads) {
    Work w = {.x = x, .y = y, .index = index, .length = length, .inner = inner, .count = count};
    w.outer = share(outer, 8, threads);
    chainrule_parallel(pick, &w, threads);
    return w.wrong;
}

/* gy -> gx, by an index that was found right. */
EXPORT int NAME(places_back)(const float *gy, const long *index, float *gx, long outer,
                             long length, long inner, long count, int threads) {
    Work w = {.gy = gy, .gx = gx, .index = index, .length = length, .inner = inner, .count = count};
    w.outer = share(outer, 8, threads);
    chainrule_parallel(add, &w, threads);
    return 0;
}
