/* Cross-entropy and negative log-likelihood of rows of scores against labels, and their gradients.
 *
 * The forward leaves e^(x - max) of each row and what divides it, from which the gradient is made
 * without another exponential.  What is not finite means what it means in the formulas.
 */
#include "rows.h"

/* What a row leaves for its gradient: what its e is multiplied by, its label's logarithm. */
typedef struct {
    float scale, chosen;
} Row;

enum { NONE, SUM, MEAN };

/* Settings; `ignored` is the label that counts for nothing. */
typedef struct {
    long rows, classes, ignored, reduction;
    double smoothing;
} Settings;

typedef struct {
    Settings s;
    const float *x, *weight, *gy; /* weight is null for ones; x is e in the backward */
    const long *labels;
    float *out, *errors; /* e or gx, null in the forward of a likelihood */
    Row *kept; /* behind the last one: what gy is divided by */
    int likelihood, strange;
    Shares rows;
} Work;

INLINE float *divisor(const Work *w) { return &w->kept[w->s.rows].scale; }

INLINE float weight_of(const Work *w, long label) {
    return label == w->s.ignored ? 0 : w->weight ? w->weight[label] : 1;
}

/* x -> e; give the largest x, and the sums of e and of x less the largest. */
INLINE float exponentials(const float *x, float *e, long n, double *total, double *rest) {
    vec most = spread(largest_of(x, n)), none = spread(-__builtin_inff());
    STRETCHES(at, end, n) {
        vec sum = {0}, less = {0};
        VECTORS(i, at, end) {
            vec d = get(x + i, end - i, none) - most, value = exp_below(d);
            sum += value;
            if (rest) less += get(x + i, end - i, most) - most;
            put(e + i, end - i, value);
        }
        *total += sum_across(sum);
        if (rest) *rest += sum_across(less);
    }
    return most[0];
}

INLINE void forward_row(Work *w, long row) {
    long n = w->s.classes, label = w->labels[row];
    const float *x = w->x + row * n;
    double total = 0, rest = 0, s = w->s.smoothing;
    float most = 0, log = 0;
    if (!w->likelihood) {
        float *e = w->out + row * n;
        most = s != 0 ? exponentials(x, e, n, &total, &rest) : exponentials(x, e, n, &total, 0);
        log = small_log(spread((float)total))[0];
        w->kept[row].scale = (float)(1 / total);
    }
    w->errors[row] = 0;
    if (label == w->s.ignored) return;
    if (label < 0 || label >= n) {
        __atomic_store_n(&w->strange, 1, __ATOMIC_RELAXED);
        return;
    }
    float chosen = w->kept[row].chosen = x[label] - most - log, error = -chosen;
    if (s != 0) error = (float)((1 - s) * error - s / (double)n * (rest - (double)n * log));
    w->errors[row] = error * weight_of(w, label);
}

INLINE void backward_row(const Work *w, long row) {
    long n = w->s.classes, label = w->labels[row];
    float *gx = w->out + row * n;
    int counts = label != w->s.ignored;
    float g = counts ? w->gy[w->s.reduction == NONE ? row : 0] / *divisor(w) : 0;
    float s = (float)w->s.smoothing, hit = (1 - s) * g * weight_of(w, label);
    if (w->likelihood) {
        __builtin_memset(gx, 0, 4 * (unsigned long)n);
    } else {
        const float *e = w->x + row * n;
        float scale = w->kept[row].scale * (hit + s * g), rest = s / (float)n * g;
        VECTORS(i, 0, n) put(gx + i, n - i, get(e + i, n - i, (vec){0}) * scale - rest);
    }
    if (counts) gx[label] -= hit;
}

static void worker(void *arg) {
    Work *w = arg;
    for (long row, count; (count = take(&w->rows, &row));)
        for (; count--; row++) w->gy ? backward_row(w, row) : forward_row(w, row);
}

/* The errors' sum, divided by that of the weights of the labels that count for the mean. */
static void reduce(const Work *w, float *y) {
    double total = 0, weights = 0;
    STRETCHES(at, end, w->s.rows) {
        vec sum = {0};
        VECTORS(i, at, end) sum += get(w->errors + i, end - i, (vec){0});
        total += sum_across(sum);
    }
    for (long row = 0; row < w->s.rows; row++) weights += weight_of(w, w->labels[row]);
    if (w->s.reduction == MEAN) *divisor(w) = (float)weights;
    *y = (float)total / *divisor(w);
}

/* x, labels [, weight] -> errors, and y unless that is them; for the gradient e and `kept`, two
 * floats a row and one.  Without e (null) x holds logarithms of likelihoods.  Gives 0, or 1 where
 * a label is none of the classes. */
EXPORT int NAME(row_loss)(const Settings *s, const float *x, const long *labels,
                          const float *weight, float *e, float *kept, float *errors, float *y,
                          int threads) {
    Work w = {.s = *s, .x = x, .weight = weight, .labels = labels, .out = e, .errors = errors};
    w.kept = (Row *)kept, w.likelihood = !e;
    w.rows = share_rows(s->rows, s->classes, threads);
    *divisor(&w) = 1;
    chainrule_parallel(worker, &w, threads);
    if (s->reduction != NONE && !w.strange) reduce(&w, y);
    return w.strange;
}

/* e (null for likelihoods), labels [, weight], kept, gy -> gx; gy is one number, or one a row. */
EXPORT int NAME(row_loss_back)(const Settings *s, const float *e, const long *labels,
                               const float *weight, float *kept, const float *gy, float *gx,
                               int threads) {
    Work w = {.s = *s, .x = e, .weight = weight, .labels = labels, .out = gx, .gy = gy};
    w.kept = (Row *)kept, w.likelihood = !e;
    w.rows = share_rows(s->rows, s->classes, threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}
