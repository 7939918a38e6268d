/* The length of x - y + eps for rows of two matrices, and its gradients, each in one pass. */
#include "threads.h"
#include "vector.h"

#include <math.h>

#define LONG 4096 /* squares that are added in floats; the sums of such parts in doubles */

typedef struct {
    const float *x, *y, *z, *gz;
    float *out, *gx, *gy; /* the lengths; gradients, each null where it is not wanted */
    long columns;
    float eps;
    Shares rows;
} Work;

static float length(const float *x, const float *y, long n, float eps) {
    double sum = 0;
    for (long part = 0; part < n; part += LONG) {
        long i = part, end = smaller(part + LONG, n);
        vec sums[4] = {0};
        for (; i + 4 * LANES <= end; i += 4 * LANES)
            UNROLL for (int v = 0; v < 4; v++) {
                vec d = load(x + i + v * LANES) - load(y + i + v * LANES) + eps;
                sums[v] += d * d;
            }
        for (; i < end; i += LANES) {
            some lanes = first_lanes(end - i);
            vec d = load_some(x + i, lanes) - load_some(y + i, lanes) + eps;
            d *= d;
            for (long lane = 0; lane < smaller(end - i, LANES); lane++) sums[0][lane] += d[lane];
        }
        sum += sum_of(sums[0] + sums[1] + (sums[2] + sums[3]));
    }
    return sqrtf((float)sum);
}

/* (x - y + eps) / z * g, which is 0 where z is. */
static void row_back(const Work *w, long row) {
    long at = row * w->columns, n = w->columns;
    float z = w->z[row], g = w->gz[row];
    for (long i = 0; i < n; i += LANES) {
        some lanes = first_lanes(n - i);
        vec d = load_some(w->x + at + i, lanes) - load_some(w->y + at + i, lanes) + w->eps;
        d = (z == 0 ? spread(0) : d / z) * g;
        if (w->gx) store_some(w->gx + at + i, lanes, d);
        if (w->gy) store_some(w->gy + at + i, lanes, -d);
    }
}

static void worker(void *arg) {
    Work *w = arg;
    for (long first, count; (count = take(&w->rows, &first));)
        for (long row = first; row < first + count; row++) {
            const float *x = w->x + row * w->columns, *y = w->y + row * w->columns;
            if (w->gz) row_back(w, row);
            else w->out[row] = length(x, y, w->columns, w->eps);
        }
}

/* x, y (rows, columns) -> z (rows,). */
EXPORT int NAME(distance)(const float *x, const float *y, float *z, long rows, long columns,
                          float eps, int threads) {
    Work w = {.x = x, .y = y, .out = z, .columns = columns, .eps = eps};
    w.rows = share(rows, 4, threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}

/* x, y, z, gz -> gx, gy, each unless it is null. */
EXPORT int NAME(distance_back)(const float *x, const float *y, const float *z, const float *gz,
                               float *gx, float *gy, long rows, long columns, float eps,
                               int threads) {
    Work w = {x, y, z, gz, 0, gx, gy, columns, eps, {0}};
    w.rows = share(rows, 4, threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}
