/* Running a function on several threads: those of the OpenMP runtime that oneDNN brought.
 *
 * A pool of our own would spin against that one.  The two entry points are GNU's, Intel's runtime
 * has them too; chainrule_start is given them when the library is loaded.
 */
#ifndef CHAINRULE_THREADS_H
#define CHAINRULE_THREADS_H

#include "export.h"

extern void (*chainrule_parallel_fn)(void (*)(void *), void *, unsigned, unsigned);
extern int (*chainrule_thread_num_fn)(void);

/* Call fn(arg) on so many threads at once, this one among them; come back when all are done.
 * Where OpenMP has fewer threads to give, fewer run: work is shared by taking it, not by number. */
static inline void chainrule_parallel(void (*fn)(void *), void *arg, int threads) {
    if (threads == 1)
        fn(arg);
    else
        chainrule_parallel_fn(fn, arg, (unsigned)threads, 0);
}

/* The number of the thread that asks: 0 is the one that called chainrule_parallel. */
static inline int chainrule_thread(void) { return chainrule_thread_num_fn(); }

#endif
