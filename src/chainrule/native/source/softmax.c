/* Softmax and its logarithm of rows, and their gradients.
 *
 * What is not finite means what it means in the formulas: exp(-inf) is 0; a row that holds NaN or
 * +inf, or nothing but -inf, is NaN.
 */
#include "rows.h"

typedef struct {
    const float *x, *gy; /* gy is null in the forward; x is y in the backward */
    float *out;
    long length;
    int log;
    Shares rows;
} Work;

INLINE void forward_row(const float *x, float *y, long length, const int log) {
    vec most = spread(largest_of(x, length)), none = spread(-__builtin_inff());
    double total = 0;
    STRETCHES(at, end, length) {
        vec sum = {0};
        VECTORS(i, at, end) {
            vec e = exp_below(get(x + i, end - i, none) - most);
            sum += e;
            if (!log) put(y + i, end - i, e);
        }
        total += sum_across(sum);
    }
    vec scale = log ? small_log(spread((float)total)) : spread((float)(1 / total));
    VECTORS(i, 0, length) {
        vec v = get((log ? x : y) + i, length - i, none);
        put(y + i, length - i, log ? v - most - scale : v * scale);
    }
}

INLINE void backward_row(const float *y, const float *gy, float *gx, long length, const int log) {
    double total = 0;
    STRETCHES(at, end, length) {
        vec sum = {0};
        VECTORS(i, at, end) {
            vec g = get(gy + i, end - i, (vec){0});
            sum += log ? g : g * get(y + i, end - i, (vec){0});
        }
        total += sum_across(sum);
    }
    vec inner = spread((float)total);
    VECTORS(i, 0, length) {
        vec v = get(y + i, length - i, (vec){0}), g = get(gy + i, length - i, (vec){0});
        put(gx + i, length - i, log ? g - exp_below(v) * inner : v * (g - inner));
    }
}

INLINE void row(const Work *w, long at, const int log) {
    if (w->gy)
        backward_row(w->x + at, w->gy + at, w->out + at, w->length, log);
    else
        forward_row(w->x + at, w->out + at, w->length, log);
}

static void worker(void *arg) {
    Work *w = arg;
    for (long first, count; (count = take(&w->rows, &first));)
        for (long at = first * w->length; count--; at += w->length)
            w->log ? row(w, at, 1) : row(w, at, 0);
}

/* x -> y, or with gy (not null) y, gy -> gx, for each of `rows`. */
EXPORT int NAME(softmax)(const float *x, const float *gy, float *out, long rows, long length,
                         int log, int threads) {
    Work w = {x, gy, out, length, log, share_rows(rows, length, threads)};
    chainrule_parallel(worker, &w, threads);
    return 0;
}
