/* Rows of a table taken by index, one by one or summed in bags, and the gradient of the table. */
#include "threads.h"
#include "vector.h"

#include <string.h>

#define WIDE 256 /* columns that a thread adds at a time */

/* x and gx (outer, length, inner); y and gy (outer, bags, inner).  Bag b of each of the outer
 * tables has the entries ends[b] to ends[b + 1] - 1 of the index; without ends, entry b alone. */
typedef struct {
    const float *x, *gy;
    float *y, *gx;
    const long *index, *ends;
    long length, inner, bags, padding; /* entries equal to `padding` count for nothing */
    long width;                        /* columns of a part */
    int mean, wrong;
    Shares parts;
} Work;

INLINE long begin_of(const Work *w, long bag) { return w->ends ? w->ends[bag] : bag; }

/* What a bag's rows are multiplied by: 1, or 1 by how many they are. */
static float scale_of(const Work *w, long bag) {
    long count = 0;
    if (!w->mean) return 1;
    for (long k = begin_of(w, bag); k < begin_of(w, bag + 1); k++)
        count += w->index[k] != w->padding;
    return count > 1 ? 1 / (float)count : 1;
}

static int is_wrong(const Work *w, long bag) {
    for (long k = begin_of(w, bag); k < begin_of(w, bag + 1); k++)
        if ((unsigned long)w->index[k] >= (unsigned long)w->length) return 1;
    return 0;
}

/* `count` vectors of a bag's sum from column c on. */
INLINE void sum_columns(const Work *w, const float *x, float *y, long bag, long c, float scale,
                        const int count) {
    vec sum[4] = {0};
    some lanes = first_lanes(w->inner - c);
    for (long k = begin_of(w, bag); k < begin_of(w, bag + 1); k++) {
        if (w->index[k] == w->padding) continue;
        const float *row = x + w->index[k] * w->inner + c;
        UNROLL for (int v = 0; v < count; v++)
            sum[v] += count == 1 ? load_some(row, lanes) : load(row + v * LANES);
    }
    UNROLL for (int v = 0; v < count; v++) {
        if (w->mean) sum[v] *= scale;
        if (count == 1) store_some(y + c, lanes, sum[v]);
        else store(y + c + v * LANES, sum[v]);
    }
}

static void copy_row(float *to, const float *from, long n) {
    long c = 0;
    for (; c + LANES <= n; c += LANES) store(to + c, load(from + c));
    if (c < n) store_some(to + c, first_lanes(n - c), load_some(from + c, first_lanes(n - c)));
}

static void forward(void *arg) {
    Work *w = arg;
    for (long first, count; (count = take(&w->parts, &first));)
        for (long part = first; part < first + count; part++) {
            long bag = part % w->bags, c = 0;
            const float *x = w->x + part / w->bags * w->length * w->inner;
            float *y = w->y + part * w->inner, scale = scale_of(w, bag);
            if (is_wrong(w, bag)) {
                __atomic_store_n(&w->wrong, 1, __ATOMIC_RELAXED);
                return;
            }
            if (!w->ends) {
                copy_row(y, x + w->index[bag] * w->inner, w->inner);
                continue;
            }
            for (; c + 4 * LANES <= w->inner; c += 4 * LANES)
                sum_columns(w, x, y, bag, c, scale, 4);
            for (; c < w->inner; c += LANES) sum_columns(w, x, y, bag, c, scale, 1);
        }
}

INLINE void add_row(float *to, const float *from, long n) {
    long c = 0;
    for (; c + LANES <= n; c += LANES) store(to + c, load(to + c) + load(from + c));
    if (c == n) return;
    some lanes = first_lanes(n - c);
    store_some(to + c, lanes, load_some(to + c, lanes) + load_some(from + c, lanes));
}

/* Each part has columns of its own, so that rows are added in the order of the index. */
static void backward(void *arg) {
    Work *w = arg;
    long across = (w->inner + w->width - 1) / w->width;
    float scaled[WIDE];
    for (long part; take(&w->parts, &part);) {
        long o = part / across, c = part % across * w->width, n = smaller(w->width, w->inner - c);
        float *gx = w->gx + o * w->length * w->inner + c;
        for (long row = 0; row < w->length; row++)
            memset(gx + row * w->inner, 0, (unsigned long)n * sizeof *gx);
        for (long bag = 0; bag < w->bags; bag++) {
            const float *g = w->gy + (o * w->bags + bag) * w->inner + c;
            float scale = scale_of(w, bag);
            if (scale != 1) {
                for (long i = 0; i < n; i++) scaled[i] = g[i] * scale;
                g = scaled;
            }
            for (long k = begin_of(w, bag); k < begin_of(w, bag + 1); k++)
                if (w->index[k] != w->padding) add_row(gx + w->index[k] * w->inner, g, n);
        }
    }
}

/* x, index, ends or null -> y: rows, or sums or means of them.  Gives 1 where a row does not
 * exist, or where the ends do not begin at 0, rise and end at `count`; the formulas then say so. */
EXPORT int NAME(rows)(const float *x, const long *index, const long *ends, float *y, long outer,
                      long length, long inner, long bags, long count, long padding, int mean,
                      int threads) {
    Work w = {.x = x, .y = y, .index = index, .ends = ends, .length = length, .inner = inner};
    w.bags = bags, w.padding = padding, w.mean = mean;
    if (ends) {
        if (ends[0] != 0 || ends[bags] != count) return 1;
        for (long b = 0; b < bags; b++)
            if (ends[b] > ends[b + 1]) return 1;
    }
    w.parts = share(outer * bags, 16, threads);
    chainrule_parallel(forward, &w, threads);
    return w.wrong;
}

/* gy -> gx, by what was found right. */
EXPORT int NAME(rows_back)(const float *gy, const long *index, const long *ends, float *gx,
                           long outer, long length, long inner, long bags, long padding, int mean,
                           int threads) {
    Work w = {.gy = gy, .gx = gx, .index = index, .ends = ends, .length = length, .inner = inner};
    w.bags = bags, w.padding = padding, w.mean = mean;
    w.width = smaller(outer < threads ? up_to((inner + threads - 1) / threads, LANES) : inner, WIDE);
    w.parts = share(outer * ((inner + w.width - 1) / w.width), 1, threads);
    chainrule_parallel(backward, &w, threads);
    return 0;
}
