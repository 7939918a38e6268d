/* Normalisation of rows: layer normalisation, by the root mean square, and to length 1.
 *
 * A row's xhat = (x - centre - offset) * r; gx = r (g - slope xhat - shift), where g = gy * weight.
 * Values are centred twice, so that a large mean does not carry its rounding into the variance.
 */
#include <math.h>

#include "rows.h"

enum { LAYER, ROOT, UNIT };

/* What a row leaves for its gradient. */
typedef struct {
    float centre, offset, r, share; /* `share` of the sum of g * xhat is the slope */
} Row;

typedef struct {
    const float *x, *gy, *weight, *bias; /* weight and bias may be null */
    float *out, *parts;                  /* the sums of gy * xhat and of gy, by parts of the rows */
    Row *kept;
    long total, length, each; /* rows; values in one; rows in a part */
    double eps;
    int kind, strange;
    Shares rows;
} Work;

typedef struct {
    double first, second;
} Sums;

/* The sums of x - centre and of its square. */
INLINE Sums moments(const float *x, float centre, long length) {
    Sums sums = {0, 0};
    STRETCHES(at, end, length) {
        vec a = {0}, b = {0}, a2 = {0}, b2 = {0}, c = spread(centre);
        PAIRS(i, at, end) {
            vec d = get(x + i, end - i, c) - c, d2 = get(x + i + LANES, end - i - LANES, c) - c;
            a += d, a2 += d2;
            b += d * d, b2 += d2 * d2;
        }
        sums.first += sum_across(a + a2);
        sums.second += sum_across(b + b2);
    }
    return sums;
}

INLINE Row measure(const Work *w, const float *x, const int kind) {
    double n = (double)w->length;
    Row row = {0, 0, 0, (float)(1 / n)};
    if (kind == LAYER) row.centre = (float)(moments(x, 0, w->length).first / n);
    Sums sums = moments(x, row.centre, w->length);
    if (kind == LAYER) {
        double offset = sums.first / n, variance = sums.second / n - offset * offset;
        row.offset = (float)offset;
        row.r = (float)(1 / sqrt((variance < 0 ? 0 : variance) + w->eps));
    } else if (kind == ROOT) {
        row.r = (float)(1 / sqrt(sums.second / n + w->eps));
    } else {
        double norm = sqrt(sums.second);
        row.r = (float)(1 / (norm < w->eps ? w->eps : norm));
        row.share = norm < w->eps ? 0 : 1;
    }
    return row;
}

INLINE void forward_row(Work *w, long number, const int kind) {
    long n = w->length;
    const float *x = w->x + number * n;
    float *y = w->out + number * n;
    Row row = w->kept[number] = measure(w, x, kind);
    if (!(row.r > 0 && row.r < __builtin_inff()))
        __atomic_store_n(&w->strange, 1, __ATOMIC_RELAXED);
    const float *weight = w->weight, *bias = w->bias;
    VECTORS(i, 0, n) {
        vec v = (get(x + i, n - i, (vec){0}) - row.centre - row.offset) * row.r;
        if (weight) v *= get(weight + i, n - i, (vec){0});
        if (bias) v += get(bias + i, n - i, (vec){0});
        put(y + i, n - i, v);
    }
}

INLINE void add_to(float *sum, long left, vec x) { put(sum, left, get(sum, left, (vec){0}) + x); }

/* The sums of g and of g * xhat; those of gy * xhat and gy over rows go to `part`. */
INLINE Sums products(const Work *w, const float *x, const float *gy, Row row, float *part) {
    Sums sums = {0, 0};
    long n = w->length;
    const float *weight = w->weight;
    STRETCHES(at, end, n) {
        vec a = {0}, b = {0};
        VECTORS(i, at, end) {
            vec g = get(gy + i, end - i, (vec){0});
            vec xhat = (get(x + i, end - i, (vec){0}) - row.centre - row.offset) * row.r;
            if (part) {
                add_to(part + i, end - i, g * xhat);
                add_to(part + n + i, end - i, g);
            }
            if (weight) g *= get(weight + i, end - i, (vec){0});
            a += g;
            b += g * xhat;
        }
        sums.first += sum_across(a);
        sums.second += sum_across(b);
    }
    return sums;
}

INLINE void backward_row(Work *w, long number, float *part, const int kind) {
    long n = w->length;
    const float *x = w->x + number * n, *gy = w->gy + number * n, *weight = w->weight;
    float *gx = w->out + number * n;
    Row row = w->kept[number];
    Sums sums = products(w, x, gy, row, part);
    /* Below eps no gradient passes through the length, whatever the sum is. */
    float slope = row.share == 0 ? 0 : (float)(sums.second * row.share);
    float shift = kind == LAYER ? (float)(sums.first * row.share) : 0;
    VECTORS(i, 0, n) {
        vec g = get(gy + i, n - i, (vec){0});
        vec xhat = (get(x + i, n - i, (vec){0}) - row.centre - row.offset) * row.r;
        if (weight) g *= get(weight + i, n - i, (vec){0});
        put(gx + i, n - i, row.r * (g - slope * xhat - shift));
    }
}

INLINE void block(Work *w, long part, const int kind) {
    float *sums = w->parts ? w->parts + part * 2 * w->length : 0;
    if (sums) __builtin_memset(sums, 0, 8 * (unsigned long)w->length);
    long end = smaller((part + 1) * w->each, w->total);
    for (long number = part * w->each; number < end; number++)
        w->gy ? backward_row(w, number, sums, kind) : forward_row(w, number, kind);
}

static void worker(void *arg) {
    Work *w = arg;
    for (long part; take(&w->rows, &part);)
        switch (w->kind) {
        case LAYER: block(w, part, LAYER); break;
        case ROOT: block(w, part, ROOT); break;
        default: block(w, part, UNIT);
        }
}

static void run(Work *w, int threads) {
    w->rows = share((w->total + w->each - 1) / w->each, 1, threads);
    chainrule_parallel(worker, w, threads);
}

/* x [, weight [, bias]] -> y and what the gradient needs, four floats a row.
 * Gives 0, or 1 where a row is not finite, or has no length to be divided by. */
EXPORT int NAME(row_norm)(const float *x, const float *weight, const float *bias, float *y,
                          float *kept, long rows, long length, long each, double eps, int kind,
                          int threads) {
    Work w = {.x = x, .weight = weight, .bias = bias, .out = y, .kept = (Row *)kept, .eps = eps};
    w.total = rows, w.length = length, w.each = each, w.kind = kind;
    run(&w, threads);
    return w.strange;
}

/* The parts' sums at `from` of each, all together; nothing where `to` is null. */
static void join(const Work *w, const float *from, float *to) {
    long step = 2 * w->length, all = (w->total + w->each - 1) / w->each * step;
    VECTORS(i, 0, to ? w->length : 0) {
        vec sum = {0};
        for (long at = i; at < all; at += step) sum += get(from + at, w->length - i, (vec){0});
        put(to + i, w->length - i, sum);
    }
}

/* x, gy, kept [, weight] -> gx, and the sums over the rows of gy * xhat and of gy where they are
 * not null.  Where one is not, `parts` has 2 * length floats for each `each` rows. */
EXPORT int NAME(row_norm_back)(const float *x, const float *gy, float *kept, const float *weight,
                               float *gx, float *parts, float *gweight, float *gbias, long rows,
                               long length, long each, int kind, int threads) {
    Work w = {.x = x, .gy = gy, .weight = weight, .out = gx, .parts = parts, .kept = (Row *)kept};
    w.total = rows, w.length = length, w.each = each, w.kind = kind;
    run(&w, threads);
    join(&w, parts, gweight);
    join(&w, parts + length, gbias);
    return 0;
}
