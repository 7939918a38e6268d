/* Rows of several arrays side by side, and cut apart again: one pass over the memory. */
#include "threads.h"
#include "vector.h"

#define PIECE 16384 /* numbers, about, that a thread takes at a time */

/* Sizes: rows, how many parts, and the length of each in a row. */
typedef struct {
    const long *sizes;
    float *const *parts, *whole;
    long total;
    int apart;
    Shares rows;
} Work;

INLINE void copy(float *to, const float *from, long count) {
    long k = 0;
    for (; k + LANES <= count; k += LANES) store(to + k, load(from + k));
    if (k < count) {
        some lanes = first_lanes(count - k);
        store_some(to + k, lanes, load_some(from + k, lanes));
    }
}

static void worker(void *arg) {
    Work *w = arg;
    const long parts = w->sizes[1], *length = w->sizes + 2;
    for (long first, count; (count = take(&w->rows, &first));)
        for (long row = first; row < first + count; row++) {
            float *whole = w->whole + row * w->total;
            for (long p = 0; p < parts; whole += length[p++]) {
                if (!w->parts[p]) continue; /* a gradient that nobody wants */
                float *part = w->parts[p] + row * length[p];
                w->apart ? copy(part, whole, length[p]) : copy(whole, part, length[p]);
            }
        }
}

/* The parts -> whole, or with `apart` whole -> the parts that are not null. */
EXPORT int NAME(join)(const long *sizes, float *const *parts, float *whole, int apart,
                      int threads) {
    Work w = {.sizes = sizes, .parts = parts, .whole = whole, .apart = apart};
    for (long p = 0; p < sizes[1]; p++) w.total += sizes[2 + p];
    w.rows = share(sizes[0], 1 + PIECE / (1 + w.total), threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}
