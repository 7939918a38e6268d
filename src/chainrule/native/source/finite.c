/* Whether values are finite. */
#include "threads.h"
#include "vector.h"

#define SOME 4096 /* values that a thread takes at once */

typedef struct {
    const float *x;
    int strange;
    Shares values;
} Work;

static void worker(void *arg) {
    Work *a = arg;
    vec strange = {0};
    for (long first, count; (count = take(&a->values, &first));) {
        const float *x = a->x + first;
        for (; count >= LANES; count -= LANES, x += LANES) strange += load(x) - load(x);
        vec rest = load_some(x, first_lanes(count));
        strange += rest - rest;
    }
    if (sum_of(strange) != 0) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
}

/* Give 0, or 1 where one of n values is NaN or infinite. */
EXPORT int NAME(not_finite)(const float *x, long n, int threads) {
    Work a = {.x = x, .values = share(n, SOME, threads)};
    chainrule_parallel(worker, &a, threads);
    return a.strange;
}

#define MANY (1 << 17) /* values from which waking the other threads pays */

/* The same for `count` arrays, one after the other, x[i] of n[i] values; all are looked at. */
EXPORT int NAME(any_not_finite)(const float *const *x, const long *n, long count, int threads) {
    int strange = 0;
    for (long i = 0; i < count; i++)
        strange |= NAME(not_finite)(x[i], n[i], n[i] < MANY ? 1 : threads);
    return strange;
}
