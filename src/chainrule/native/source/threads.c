/* Threads that run at once, each on a processor of its own.
 *
 * Linux likes to wake a thread on the processor of the one that wakes it.  After a pause the caller
 * and OpenMP's thread then share one, and since both mostly sleep nothing moves them apart:
 * measured, every parallel call took 0.2 to 1 ms longer, for seconds, with the other processor idle.
 * A caller that meets a helper on its processor keeps that helper off it: from then on it is woken
 * elsewhere.  Only OpenMP's own threads are told where to run.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "threads.h"

#define PATIENCE 2 /* calls between two moves: where all processors are busy, none helps */
#define MOST 64    /* helpers that are watched */

static void (*parallel)(void (*)(void *), void *, unsigned, unsigned);

typedef struct {
    void (*fn)(void *);
    void *arg;
    struct {
        int processor, thread; /* where a helper ended, and the system's number of it */
    } helper[MOST];
} Call;

static __thread int rest, own_number;

static void keep_off(int thread, int processor) {
    cpu_set_t others;
    if (sched_getaffinity(0, sizeof others, &others) || !CPU_ISSET(processor, &others)) return;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others)) sched_setaffinity(thread, sizeof others, &others);
}

static void run(void *arg) {
    Call *call = arg;
    call->fn(call->arg);
    int number = chainrule_thread_num_fn();
    if (!number || number >= MOST) return;
    if (!own_number) own_number = (int)syscall(SYS_gettid);
    call->helper[number].processor = sched_getcpu();
    call->helper[number].thread = own_number;
}

void chainrule_parallel(void (*fn)(void *), void *arg, int threads) {
    if (threads == 1) {
        fn(arg);
        return;
    }
    Call call = {.fn = fn, .arg = arg};
    int watched = threads < MOST ? threads : MOST;
    for (int i = 1; i < watched; i++) call.helper[i].processor = -1;
    parallel(run, &call, (unsigned)threads, 0);
    if (rest-- > 0) return;
    int here = sched_getcpu();
    rest = 0;
    for (int i = 1; i < watched; i++)
        if (call.helper[i].processor == here) {
            keep_off(call.helper[i].thread, here);
            rest = PATIENCE;
        }
}

static void nothing(void *arg) { (void)arg; }

/* Wake the helpers, and see to it that they have a processor of their own, before somebody else's
 * parallel work: oneDNN shares it out beforehand, so that two threads on one processor would take
 * twice as long as one. */
void chainrule_settle(int threads) {
    chainrule_parallel(nothing, 0, threads);
}

void chainrule_place(void *gomp_parallel) {
    parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))gomp_parallel;
}
