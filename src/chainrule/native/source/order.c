/* Sorting along an axis, and the k largest or smallest: values and where they stood.
 *
 * A number becomes a whole one of the same order, its place beside it in 64 bits.  Equal numbers
 * keep their order, as 0 and -0 are; NaN is the largest.
 */
#include "threads.h"
#include "vector.h"

#include <string.h>

#define FEW 32    /* entries that are inserted one by one */
#define RADIX 256 /* entries that share a byte are kept together, byte by byte */

typedef unsigned long entry; /* the number above, its place below */

typedef struct {
    const float *x;
    float *y;
    long *index;
    entry *scratch;
    long length, inner, count; /* x is (outer, length, inner), y (outer, count, inner) */
    int descending;
    Shares runs;
} Work;

INLINE unsigned key_of(float x, int descending) {
    union {
        float f;
        unsigned u;
    } bits = {x + 0.0f}; /* -0 becomes 0 */
    unsigned up = bits.u ^ (bits.u >> 31 ? 0xffffffffu : 0x80000000u);
    if (x != x) up = 0xffffffffu;
    return descending ? ~up : up;
}

INLINE entry entry_of(const Work *w, const float *x, long i) {
    return (entry)key_of(x[i * w->inner], w->descending) << 32 | (entry)i;
}

/* Keep the `most` smallest of `count` + 1 entries in order; give how many there are. */
INLINE long insert(entry *kept, long count, long most, entry e) {
    if (count == most && e > kept[count - 1]) return count;
    long at = count < most ? count : count - 1;
    for (; at > 0 && kept[at - 1] > e; at--) kept[at] = kept[at - 1];
    kept[at] = e;
    return count < most ? count + 1 : count;
}

/* Order entries, which stand in the order of their places, by their four upper bytes. */
static entry *by_bytes(entry *from, entry *to, long n) {
    unsigned counts[4][RADIX];
    memset(counts, 0, sizeof counts);
    for (long i = 0; i < n; i++)
        for (int byte = 0; byte < 4; byte++) counts[byte][from[i] >> (32 + 8 * byte) & 255]++;
    for (int byte = 0; byte < 4; byte++) {
        unsigned *begin = counts[byte], sum = 0;
        int shift = 32 + 8 * byte;
        if (begin[from[0] >> shift & 255] == n) continue;
        for (int b = 0; b < RADIX; b++) {
            unsigned own = begin[b];
            begin[b] = sum;
            sum += own;
        }
        for (long i = 0; i < n; i++) to[begin[from[i] >> shift & 255]++] = from[i];
        entry *swap = from;
        from = to, to = swap;
    }
    return from;
}

static void order_run(const Work *w, long run, entry *first) {
    long o = run / w->inner, i = run % w->inner, n = w->length;
    const float *x = w->x + o * n * w->inner + i;
    entry *found = first;
    if (w->count <= FEW) {
        long kept = 0;
        for (long k = 0; k < n; k++) kept = insert(found, kept, w->count, entry_of(w, x, k));
    } else {
        for (long k = 0; k < n; k++) first[k] = entry_of(w, x, k);
        found = by_bytes(first, first + n, n);
    }
    long at = o * w->count * w->inner + i;
    for (long k = 0; k < w->count; k++, at += w->inner) {
        long place = (long)(found[k] & 0xffffffffu);
        w->index[at] = place;
        w->y[at] = x[place * w->inner];
    }
}

static long span(long length, long count) { return count <= FEW ? FEW : 2 * length; }

static void worker(void *arg) {
    Work *w = arg;
    entry *own = w->scratch + span(w->length, w->count) * arrive(&w->runs);
    for (long first, count; (count = take(&w->runs, &first));)
        for (long run = first; run < first + count; run++) order_run(w, run, own);
}

/* x (outer, length, inner) -> the `count` first in order along its middle axis, and their places.
 * The length is below 2^31. */
EXPORT int NAME(order)(const float *x, float *y, long *index, entry *scratch, long outer,
                       long length, long inner, long count, int descending, int threads) {
    Work w = {x, y, index, scratch, length, inner, count, descending, {0}};
    w.runs = share(outer * inner, 1, threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}

EXPORT long NAME(order_scratch)(long length, long count, int threads) {
    return span(length, count) * (long)sizeof(entry) * threads;
}
