/* Threads that run at once, each on a processor of its own.
 *
 * Linux likes to wake a thread on the processor of the one that wakes it.  After a pause the caller
 * and OpenMP's thread then share one, and since both mostly sleep nothing moves them apart:
 * measured, every parallel call took 0.2 ms longer, for seconds, with the other processor idle.  A
 * caller that comes back on its helper's processor steps aside, and stays there by itself.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "threads.h"

#define PATIENCE 8 /* calls between two steps aside: where all processors are busy, none helps */

static void (*parallel)(void (*)(void *), void *, unsigned, unsigned);

typedef struct {
    void (*fn)(void *);
    void *arg;
    int processor; /* where a helper ended */
} Call;

static __thread int rest;

static void step_aside(int processor) {
    cpu_set_t own, others;
    if (sched_getaffinity(0, sizeof own, &own) || !CPU_ISSET(processor, &own)) return;
    others = own;
    CPU_CLR(processor, &others);
    if (!CPU_COUNT(&others) || sched_setaffinity(0, sizeof others, &others)) return;
    sched_setaffinity(0, sizeof own, &own); /* it is moved; where it may run later is as before */
}

static void run(void *arg) {
    Call *call = arg;
    call->fn(call->arg);
    if (chainrule_thread_num_fn())
        __atomic_store_n(&call->processor, sched_getcpu(), __ATOMIC_RELAXED);
}

void chainrule_parallel(void (*fn)(void *), void *arg, int threads) {
    if (threads == 1) {
        fn(arg);
        return;
    }
    Call call = {fn, arg, -1};
    parallel(run, &call, (unsigned)threads, 0);
    if (rest > 0) {
        rest--;
    } else if (sched_getcpu() == call.processor) {
        rest = PATIENCE;
        step_aside(call.processor);
    }
}

static void nothing(void *arg) { (void)arg; }

/* Wake the helpers, and see to it that they have a processor of their own, before somebody else's
 * parallel work: oneDNN shares it out beforehand, so that two threads on one processor would take
 * twice as long as one. */
void chainrule_settle(int threads) { chainrule_parallel(nothing, 0, threads); }

void chainrule_place(void *gomp_parallel) {
    parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))gomp_parallel;
}
