/* Sums, sums of squares and extremes over one axis of (outer, n, inner), in parts.
 *
 * A part is at most 4096 values, one after the other; which they are depends on the sizes alone, so
 * that the same numbers come out on any number of threads.  NaN comes through.
 */
#include "threads.h"
#include "vector.h"

#define LONG 4096
#define WIDE 1024 /* columns that a thread takes at a time */
#define WORTH 16384 /* numbers of a part of rows */

/* The numbers are those of `Fold` in backends/onednn/reduction.py. */
enum { SUM, SQUARES, SPREAD, EQUAL, SAME, MOST, LEAST, PRODUCTS };

typedef struct {
    long outer, n, inner;
    long parts, rows, groups; /* of n: parts and the rows in one; groups of columns */
    const float *x, *m;       /* m: a number for each result, or (PRODUCTS) for each of x */
    float *to;                /* (outer, parts, inner) */
    int kind;
    Shares items;
} Work;

INLINE vec either(ivec where, vec yes, vec no) {
    return (vec)((where & (ivec)yes) | (~where & (ivec)no));
}

INLINE vec begin_of(const int kind) {
    const float far = __builtin_inff();
    vec zero = {0};
    return kind == MOST ? zero - far : kind == LEAST ? zero + far : zero;
}

/* Two sums, or extremes, in one. */
INLINE vec joined(vec a, vec b, const int kind) {
    if (kind == MOST) return either((b > a) | (b != b), b, a);
    if (kind == LEAST) return either((b < a) | (b != b), b, a);
    return a + b;
}

/* Take x into what was gathered. */
INLINE vec taken(vec a, vec x, vec m, const int kind) {
    const vec one = (vec){0} + 1;
    switch (kind) {
    case SQUARES: return a + x * x;
    case SPREAD: return a + (x - m) * (x - m);
    case EQUAL: return a + (vec)((x == m) & (ivec)one);
    case SAME: return a + (vec)(((x == m) | ((x != x) & (m != m))) & (ivec)one);
    case PRODUCTS: return a + x * m;
    default: return joined(a, x, kind);
    }
}

INLINE vec turned(vec a, int by) {
    ivec from;
    for (int i = 0; i < LANES; i++) from[i] = (i + by) % LANES;
#if LANES == 16
    return (vec)_mm512_permutexvar_ps((__m512i)from, (__m512)a);
#else
    return (vec)_mm256_permutevar8x32_ps((__m256)a, (__m256i)from);
#endif
}

/* All lanes, to one. */
INLINE float within(vec a, const int kind) {
    UNROLL for (int half = LANES / 2; half; half /= 2) a = joined(a, turned(a, half), kind);
    return a[0];
}

/* A row's `count` numbers, to one. */
INLINE float along(const float *x, const float *m, long count, const int kind) {
    enum { APART = 4 };
    const long step = kind == PRODUCTS ? LANES : 0;
    vec a[APART], held = {0};
    if (kind == SPREAD || kind == EQUAL || kind == SAME) held = spread(*m);
    for (int k = 0; k < APART; k++) a[k] = begin_of(kind);
    for (; count >= APART * LANES; count -= APART * LANES, x += APART * LANES, m += APART * step)
        UNROLL for (int k = 0; k < APART; k++)
            a[k] = taken(a[k], load(x + k * LANES), step ? load(m + k * step) : held, kind);
    for (; count >= LANES; count -= LANES, x += LANES, m += step)
        a[0] = taken(a[0], load(x), step ? load(m) : held, kind);
    if (count) { /* lanes beyond the end stay as they were */
        some lanes = first_lanes(count);
        vec b = taken(a[1], load_some(x, lanes), step ? load_some(m, lanes) : held, kind);
        float before[LANES], after[LANES];
        store(before, a[1]);
        store(after, b);
        for (long i = 0; i < count; i++) before[i] = after[i];
        a[1] = load(before);
    }
    a[0] = joined(a[0], a[1], kind);
    a[2] = joined(a[2], a[3], kind);
    return within(joined(a[0], a[2], kind), kind);
}

/* `rows` rows of `wide` vectors beside each other, or of the first lanes of one. */
INLINE void down(const Work *w, const float *x, const float *m, float *to, long rows,
                 const int wide, some lanes, const int whole, const int kind) {
    const int products = kind == PRODUCTS, fixed = kind == SPREAD || kind == EQUAL || kind == SAME;
    vec a[8], held[8];
    UNROLL for (int k = 0; k < wide; k++) {
        a[k] = begin_of(kind);
        held[k] = (vec){0};
        if (fixed) held[k] = whole ? load(m + k * LANES) : load_some(m, lanes);
    }
    for (long r = 0; r < rows; r++, x += w->inner) {
        UNROLL for (int k = 0; k < wide; k++) {
            vec value = whole ? load(x + k * LANES) : load_some(x, lanes);
            if (products) held[k] = whole ? load(m + k * LANES) : load_some(m, lanes);
            a[k] = taken(a[k], value, held[k], kind);
        }
        if (products) m += w->inner;
    }
    UNROLL for (int k = 0; k < wide; k++)
        whole ? store(to + k * LANES, a[k]) : store_some(to, lanes, a[k]);
}

INLINE void columns(const Work *w, long item, const int kind) {
    long group = item % w->groups, part = item / w->groups % w->parts;
    long outer = item / w->groups / w->parts, first = part * w->rows;
    long rows = smaller(w->rows, w->n - first), c = group * WIDE, end = smaller(c + WIDE, w->inner);
    long begin = (outer * w->n + first) * w->inner;
    const float *x = w->x + begin;
    const float *m = kind == PRODUCTS ? w->m + begin : w->m + outer * w->inner;
    float *to = w->to + (outer * w->parts + part) * w->inner;
    some all = first_lanes(LANES);
    const long eight = 8 * LANES, four = 4 * LANES;
    for (; c + eight <= end; c += eight) down(w, x + c, m + c, to + c, rows, 8, all, 1, kind);
    for (; c + four <= end; c += four) down(w, x + c, m + c, to + c, rows, 4, all, 1, kind);
    for (; c + LANES <= end; c += LANES) down(w, x + c, m + c, to + c, rows, 1, all, 1, kind);
    if (c < end) down(w, x + c, m + c, to + c, rows, 1, first_lanes(end - c), 0, kind);
}

INLINE void items(const Work *w, long first, long count, const int kind) {
    for (long item = first; item < first + count; item++)
        if (w->inner > 1) {
            columns(w, item, kind);
        } else {
            long outer = item / w->parts, begin = outer * w->n + item % w->parts * w->rows;
            const float *m = kind == PRODUCTS ? w->m + begin : w->m + outer;
            long end = (outer + 1) * w->n;
            w->to[item] = along(w->x + begin, m, smaller(w->rows, end - begin), kind);
        }
}

#define CASE(kind) \
    case kind: \
        items(w, first, count, kind); \
        break;

static void worker(void *arg) {
    Work *w = arg;
    for (long first, count; (count = take(&w->items, &first));)
        switch (w->kind) {
            CASE(SUM) CASE(SQUARES) CASE(SPREAD) CASE(EQUAL) CASE(SAME)
            CASE(MOST) CASE(LEAST) CASE(PRODUCTS)
        }
}

/* Join the parts of each result, and of `fold` results that are one. */
static void join(const Work *w, float *out, long fold, double divisor) {
    const long kept = w->inner / fold;
    const int extreme = w->kind == MOST || w->kind == LEAST;
    for (long outer = 0; outer < w->outer; outer++)
        for (long i = 0; i < kept; i++) {
            const float *from = w->to + outer * w->parts * w->inner + i;
            double sum = 0;
            float best = from[0];
            for (long k = 0; k < w->parts * fold; k++) {
                float x = from[k * kept];
                sum += x;
                if (x != x || (w->kind == MOST ? x > best : x < best)) best = x;
            }
            out[outer * kept + i] = extreme ? best : (float)(sum / divisor);
        }
}

/* Sizes: outer, n, inner, fold.  `fold` rows of n lie beside each other in inner, and m has them
 * all; x (outer, n, inner) -> out (outer, inner / fold), each sum divided by the divisor. */
static Work planned(const long *sizes) {
    Work w = {.outer = sizes[0], .n = sizes[1], .inner = sizes[2], .groups = 1};
    if (w.inner > 1) {
        long most = WORTH / smaller(w.inner, WIDE);
        most = most < 64 ? 64 : smaller(most, LONG);
        w.parts = (w.n + most - 1) / most;
        w.groups = (w.inner + WIDE - 1) / WIDE;
    } else {
        w.parts = (w.n + LONG - 1) / LONG;
    }
    w.rows = (w.n + w.parts - 1) / w.parts;
    w.parts = (w.n + w.rows - 1) / w.rows; /* none is empty */
    return w;
}

EXPORT long NAME(reduce_scratch)(const long *sizes) {
    Work w = planned(sizes);
    return w.outer * w.parts * w.inner * 4;
}

EXPORT int NAME(reduce)(const long *sizes, const float *x, const float *m, float *out,
                        float *scratch, float divisor, int kind, int threads) {
    Work w = planned(sizes);
    int alone = w.parts == 1 && sizes[3] == 1 && divisor == 1;
    w.x = x, w.m = m, w.to = alone ? out : scratch, w.kind = kind;
    long chunk = w.inner > 1 ? WORTH / (w.rows * smaller(w.inner, WIDE)) : LONG / w.rows;
    w.items = share(w.outer * w.parts * w.groups, chunk > 1 ? chunk : 1, threads);
    chainrule_parallel(worker, &w, threads);
    if (!alone) join(&w, out, sizes[3], divisor);
    return 0;
}
