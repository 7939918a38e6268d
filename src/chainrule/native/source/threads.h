/* Running a function on several threads: those of the OpenMP runtime that oneDNN brought.
 *
 * A pool of our own would spin against that one.  The two entry points are GNU's, Intel's runtime
 * has them too; chainrule_start is given them when the library is loaded.
 */
#ifndef CHAINRULE_THREADS_H
#define CHAINRULE_THREADS_H

#include "export.h"

extern int (*chainrule_thread_num_fn)(void);

/* Call fn(arg) on so many threads at once, this one among them; come back when all are done.
 * Where OpenMP has fewer threads to give, fewer run: work is shared by taking it, not by number. */
void chainrule_parallel(void (*fn)(void *), void *arg, int threads);
void chainrule_place(void *gomp_parallel);
EXPORT void chainrule_settle(int threads);

/* Items 0 to total - 1, shared among threads: each begins with a range of its own, which the kernel
 * before it has mostly left in that processor's cache, and then takes what others have left. */
#define MOST_RANGES 64

typedef struct {
    long total, chunk, ranges, workers;
    struct {
        long next, pad[7]; /* a cache line each, since threads write them */
    } range[MOST_RANGES];
} Shares;

static inline Shares share(long total, long chunk, int threads) {
    Shares s = {.total = total, .chunk = chunk};
    s.ranges = threads < MOST_RANGES ? threads : MOST_RANGES;
    for (long r = 0; r < s.ranges; r++) s.range[r].next = r * total / s.ranges;
    return s;
}

/* Number the threads that come here: 0, 1, ... in the order of their coming. */
static inline long arrive(Shares *s) {
    return __atomic_fetch_add(&s->workers, 1, __ATOMIC_RELAXED);
}

/* Give the first of the next items and their number, `chunk` at most; 0 when all are taken. */
static inline long take(Shares *s, long *first) {
    long own = chainrule_thread_num_fn();
    for (long i = 0; i < s->ranges; i++) {
        long r = (own + i) % s->ranges, end = (r + 1) * s->total / s->ranges;
        long begin = __atomic_fetch_add(&s->range[r].next, s->chunk, __ATOMIC_RELAXED);
        if (begin < end) {
            *first = begin;
            return end - begin < s->chunk ? end - begin : s->chunk;
        }
    }
    return 0;
}

#endif
