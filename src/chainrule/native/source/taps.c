/* Resampling and padding: each place of y is a sum of weighed places of x, along lines and columns.
 *
 * Every case is the same two tables, its gradient their transposes: whatever the mode, terms are
 * those of the formula, so that NaN and infinity spread as they do there.  First the lines that a
 * line of y sees are weighed into one, then that line's places.
 */
#include <string.h>

#include "threads.h"
#include "vector.h"

#define PIECE 8192 /* numbers of y, about, that a thread takes at a time */

/* Place i of `out` is the sum of weight[t] * source[t] for start[i] <= t < start[i + 1], or with no
 * term the value beyond; it and those behind it, run[i] together, are copies of neighbours. */
typedef struct {
    long in, out;
    const int *start, *source, *run;
    const float *weight;
} Axis;

typedef struct {
    long n, c;
    Axis lines, columns;
} Taps;

typedef struct {
    const Taps *s;
    const float *x;
    float *y, *scratch, value; /* a line of x for each thread */
    Shares pieces;
} Work;

/* to = or, with `more`, += the sum of a few terms, each of them `count` numbers. */
INLINE void weigh(float *to, const float *from, const int *source, const float *weight,
                  long stride, long count, const long terms, const int more) {
    const float *at[4];
    vec by[4];
    UNROLL for (long t = 0; t < terms; t++) {
        at[t] = from + source[t] * stride;
        by[t] = spread(weight[t]);
    }
    long k = 0;
    for (; k + LANES <= count; k += LANES) {
        vec sum = by[0] * load(at[0] + k);
        if (more) sum += load(to + k);
        UNROLL for (long t = 1; t < terms; t++) sum += by[t] * load(at[t] + k);
        store(to + k, sum);
    }
    if (k == count) return;
    some lanes = first_lanes(count - k);
    vec sum = by[0] * load_some(at[0] + k, lanes);
    if (more) sum += load_some(to + k, lanes);
    UNROLL for (long t = 1; t < terms; t++) sum += by[t] * load_some(at[t] + k, lanes);
    store_some(to + k, lanes, sum);
}

#define CASE(terms, more) \
    case terms: weigh(to, from, source, weight, stride, count, terms, more); break;

/* Write the sum of place i's terms. */
INLINE void sum_terms(float *to, const float *from, const Axis *a, long i, long stride,
                      long count) {
    const int *source = a->source + a->start[i], *end = a->source + a->start[i + 1];
    const float *weight = a->weight + a->start[i];
    switch (end - source) {
        CASE(1, 0) CASE(2, 0) CASE(3, 0)
    default: weigh(to, from, source, weight, stride, count, 4, 0);
    }
    while ((source += 4) < end) {
        weight += 4;
        switch (end - source) {
            CASE(1, 1) CASE(2, 1) CASE(3, 1)
        default: weigh(to, from, source, weight, stride, count, 4, 1);
        }
    }
}

static void fill(float *to, float value, long count) {
    for (long k = 0; k < count; k++) to[k] = value;
}

/* One channel: vectors would hold one number. */
static void single(float *y, const float *line, const Axis *a, float value) {
    for (long j = 0; j < a->out; j++) {
        long run = a->run[j], first = a->start[j];
        if (run > 1) {
            memcpy(y + j, line + a->source[first], (size_t)run * sizeof *y);
            j += run - 1;
            continue;
        }
        float sum = a->start[j + 1] > first ? 0 : value;
        for (long t = first; t < a->start[j + 1]; t++) sum += a->weight[t] * line[a->source[t]];
        y[j] = sum;
    }
}

static void line_of(const Work *w, long number, float *scratch) {
    const Taps *s = w->s;
    const Axis *lines = &s->lines, *columns = &s->columns;
    long i = number % lines->out, c = s->c, width = columns->in * c;
    const float *x = w->x + number / lines->out * lines->in * width, *line = scratch;
    float *y = w->y + number * columns->out * c;
    if (lines->start[i] == lines->start[i + 1]) {
        fill(y, w->value, columns->out * c);
        return;
    }
    if (lines->run[i])
        line = x + lines->source[lines->start[i]] * width;
    else
        sum_terms(scratch, x, lines, i, width, width);
    if (c == 1) {
        single(y, line, columns, w->value);
        return;
    }
    for (long j = 0; j < columns->out;) {
        long run = columns->run[j] ? columns->run[j] : 1;
        if (columns->start[j] == columns->start[j + 1])
            fill(y + j * c, w->value, c);
        else
            sum_terms(y + j * c, line, columns, j, c, run * c);
        j += run;
    }
}

static void worker(void *arg) {
    Work *w = arg;
    float *scratch = w->scratch + arrive(&w->pieces) * w->s->columns.in * w->s->c;
    for (long first, count; (count = take(&w->pieces, &first));)
        for (long number = first; number < first + count; number++) line_of(w, number, scratch);
}

/* x (n, lines in, columns in, c) -> y (n, lines out, columns out, c). */
EXPORT int NAME(taps)(const long *sizes, const float *x, float *y, float *scratch, float value,
                      int threads) {
    const Taps *s = (const Taps *)sizes;
    Work w = {s, x, y, scratch, value, {0}};
    w.pieces = share(s->n * s->lines.out, 1 + PIECE / (1 + s->columns.out * s->c), threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}
