/* Images sampled where a grid says, and both gradients.
 *
 * Where a place lies is worked out as the formula does it, rounding for rounding, so that both see
 * the same neighbours.  An element beyond the border is a 0 that is weighed like the others: a
 * weight that is not finite shows.
 */
#include <math.h>

#include "threads.h"
#include "vector.h"

#define PLACES 64 /* that a thread takes at a time */

enum { BILINEAR, NEAREST, BICUBIC };
enum { ZEROS, BORDER, REFLECTION };

/* x (n, sizes, c) with up to three sizes, the first of them 1 for images; places for each image. */
typedef struct {
    long n, c, places, axes, size[3], mode, padding, aligned;
} Sample;

typedef struct {
    Sample s;
    const float *x, *grid, *gy;
    float *out;
    long parts;
    Shares items;
} Work;

/* What a place sees along one axis: -1 for an element beyond the border; weights, their slopes. */
typedef struct {
    long at[4];
    float weight[4], slope[4];
} Axis;

/* Move a place beyond the border into the image; give which way it goes there, 0 if it is held. */
INLINE float inside(const Sample *s, float *at, long size) {
#pragma clang fp contract(off)
    float turn = 1, last = (float)(size - 1);
    if (s->padding == ZEROS) return 1;
    if (s->padding == REFLECTION) {
        float low = s->aligned ? 0 : -0.5f, span = (float)(s->aligned ? size - 1 : size);
        if (span == 0) {
            *at = 0;
            return 0;
        }
        float away = *at - low, there = fmodf(fabsf(away), 2 * span), back = 2 * span - there;
        turn = (there > back) != (away < 0) ? -1 : 1;
        *at = (back < there ? back : there) + low;
    }
    if (!(*at > 0 && *at < last)) turn = 0;
    *at = *at > 0 ? (*at < last ? *at : last) : 0; /* NaN becomes 0 */
    return turn;
}

INLINE void cubic(Axis *a, float t, float steep) {
    const float k = -0.75f;
    float before = t + 1, back = 1 - t, after = 2 - t;
    a->weight[0] = ((k * before - 5 * k) * before + 8 * k) * before - 4 * k;
    a->weight[1] = ((k + 2) * t - (k + 3)) * t * t + 1;
    a->weight[2] = ((k + 2) * back - (k + 3)) * back * back + 1;
    a->weight[3] = ((k * after - 5 * k) * after + 8 * k) * after - 4 * k;
    a->slope[0] = ((3 * k * before - 10 * k) * before + 8 * k) * steep;
    a->slope[1] = (3 * (k + 2) * t - 2 * (k + 3)) * t * steep;
    a->slope[2] = -(3 * (k + 2) * back - 2 * (k + 3)) * back * steep;
    a->slope[3] = -((3 * k * after - 10 * k) * after + 8 * k) * steep;
}

INLINE Axis look(const Sample *s, float coordinate, long size, long stride, const long axes,
                 const long each) {
#pragma clang fp contract(off)
    float half = (float)(s->aligned ? size - 1 : size) / 2, shift = s->aligned ? 0 : -0.5f;
    float one = coordinate + 1, product = one * half;
    float at = axes == 2 ? (float)((double)one * half + shift) : product + shift;
    float place[4] = {0}, steep = half;
    Axis a;
    if (each < 4) steep *= inside(s, &at, size);
    float low = each == 1 ? rintf(at) : floorf(at), t = at - low;
    if (each == 4) {
        cubic(&a, t, steep);
        UNROLL for (long k = 0; k < 4; k++) {
            place[k] = low + (float)(k - 1);
            inside(s, place + k, size);
        }
    } else {
        place[0] = low;
        place[1] = low + 1;
        a.weight[0] = each == 1 ? 1 : 1 - t;
        a.weight[1] = t;
        a.slope[0] = -steep;
        a.slope[1] = steep;
    }
    UNROLL for (long k = 0; k < each; k++) /* false for NaN */
        a.at[k] = place[k] >= 0 && place[k] <= (float)(size - 1) ? (long)place[k] * stride : -1;
    return a;
}

/* The elements that a place sees, all axes together: weights, and slopes along each axis. */
typedef struct {
    long taps;
    long at[16];
    float weight[16], slope[3][16];
} Seen;

INLINE void combine(const Sample *s, const float *grid, Seen *all, const long axes, const long each,
                    const int steep) {
    Axis axis[3];
    long stride = s->c;
    UNROLL for (long d = 0; d < axes; d++) { /* the innermost first, as in the grid */
        axis[d] = look(s, grid[d], s->size[2 - d], stride, axes, each);
        stride *= s->size[2 - d];
    }
    UNROLL for (long n = 0; n < (axes == 3 ? each * each * each : each * each); n++) {
        long pick[3] = {n % each, n / each % each, n / each / each}, at = 0;
        float weight = 1;
        UNROLL for (long d = 0; d < axes; d++) {
            long one = axis[d].at[pick[d]];
            at = (one | at) < 0 ? -1 : at + one;
            weight *= axis[d].weight[pick[d]];
        }
        all->at[n] = at;
        all->weight[n] = weight;
        if (steep) UNROLL for (long d = 0; d < axes; d++) {
            float slope = axis[d].slope[pick[d]];
            UNROLL for (long e = 0; e < axes; e++)
                if (e != d) slope *= axis[e].weight[pick[e]];
            all->slope[d][n] = slope;
        }
    }
    all->taps = axes == 3 ? each * each * each : each * each;
}

/* Say what a place sees; the slopes where they are asked for. */
INLINE void see(const Work *w, long place, Seen *all, const int steep) {
    const Sample *s = &w->s;
    const float *grid = w->grid + place * s->axes;
    long each = s->mode == BICUBIC ? 4 : s->mode == BILINEAR ? 2 : 1;
    switch (10 * s->axes + each) {
    case 21: combine(s, grid, all, 2, 1, steep); break;
    case 22: combine(s, grid, all, 2, 2, steep); break;
    case 24: combine(s, grid, all, 2, 4, steep); break;
    case 31: combine(s, grid, all, 3, 1, steep); break;
    default: combine(s, grid, all, 3, 2, steep);
    }
}

INLINE vec load_part(const float *from, long left) {
    return left >= LANES ? load(from) : load_some(from, first_lanes(left));
}
INLINE void store_part(float *to, long left, vec x) {
    if (left >= LANES)
        store(to, x);
    else
        store_some(to, first_lanes(left), x);
}

/* Drop what lies beyond the border; give the sum of its weights times 0. */
static float drop(Seen *all) {
    float nothing = 0;
    long kept = 0;
    for (long t = 0; t < all->taps; t++) {
        if (all->at[t] < 0) {
            nothing += 0 * all->weight[t];
            continue;
        }
        all->at[kept] = all->at[t];
        all->weight[kept++] = all->weight[t];
    }
    all->taps = kept;
    return nothing;
}

static void forward(const Work *w, long place) {
    const Sample *s = &w->s;
    const float *x = w->x + place / s->places * s->size[0] * s->size[1] * s->size[2] * s->c;
    float *y = w->out + place * s->c;
    Seen all;
    see(w, place, &all, 0);
    float nothing = drop(&all);
    for (long c = 0; c < s->c; c += LANES) {
        vec sum = spread(nothing);
        for (long t = 0; t < all.taps; t++)
            sum += all.weight[t] * load_part(x + all.at[t] + c, s->c - c);
        store_part(y + c, s->c - c, sum);
    }
}

/* The gradient of the grid: gy times what y changes by along each axis. */
static void grid_gradient(const Work *w, long place) {
    const Sample *s = &w->s;
    const float *x = w->x + place / s->places * s->size[0] * s->size[1] * s->size[2] * s->c;
    const float *g = w->gy + place * s->c;
    vec total[3] = {{0}};
    Seen all;
    if (s->mode == NEAREST) /* flat wherever it is not a step */
        all.taps = 0;
    else
        see(w, place, &all, 1);
    for (long t = 0; t < all.taps; t++) {
        vec met = {0};
        for (long c = 0; c < s->c; c += LANES) {
            vec gy = load_part(g + c, s->c - c);
            met += gy * (all.at[t] < 0 ? spread(0) : load_part(x + all.at[t] + c, s->c - c));
        }
        for (long d = 0; d < s->axes; d++) total[d] += all.slope[d][t] * met;
    }
    for (long d = 0; d < s->axes; d++) w->out[place * s->axes + d] = sum_of(total[d]);
}

/* The gradient of one image, or of some of its channels: nobody else writes there. */
static void input_gradient(const Work *w, long item) {
    const Sample *s = &w->s;
    long image = item / w->parts, part = item % w->parts, vectors = (s->c + LANES - 1) / LANES;
    long from = part * vectors / w->parts * LANES;
    long to = smaller((part + 1) * vectors / w->parts * LANES, s->c);
    long pixels = s->size[0] * s->size[1] * s->size[2];
    float *gx = w->out + image * pixels * s->c;
    for (long k = 0; k < pixels; k++)
        for (long c = from; c < to; c++) gx[k * s->c + c] = 0;
    for (long place = image * s->places; place < (image + 1) * s->places; place++) {
        const float *g = w->gy + place * s->c;
        Seen all;
        see(w, place, &all, 0);
        drop(&all);
        for (long t = 0; t < all.taps; t++) {
            float *row = gx + all.at[t];
            for (long c = from; c < to; c += LANES) {
                vec sum = load_part(row + c, to - c);
                store_part(row + c, to - c, sum + all.weight[t] * load_part(g + c, to - c));
            }
        }
    }
}

static void forward_worker(void *arg) {
    Work *w = arg;
    for (long first, count; (count = take(&w->items, &first));)
        for (long place = first; place < first + count; place++) forward(w, place);
}

static void grid_worker(void *arg) {
    Work *w = arg;
    for (long first, count; (count = take(&w->items, &first));)
        for (long place = first; place < first + count; place++) grid_gradient(w, place);
}

static void input_worker(void *arg) {
    Work *w = arg;
    for (long item; take(&w->items, &item);) input_gradient(w, item);
}

/* x, grid -> y. */
EXPORT int NAME(grid_sample)(const long *sizes, const float *x, const float *grid, float *y,
                             int threads) {
    Work w = {.s = *(const Sample *)sizes, .x = x, .grid = grid, .out = y};
    w.items = share(w.s.n * w.s.places, PLACES, threads);
    chainrule_parallel(forward_worker, &w, threads);
    return 0;
}

/* x, grid, gy -> the gradient of the grid. */
EXPORT int NAME(grid_sample_grid)(const long *sizes, const float *x, const float *grid,
                                  const float *gy, float *ggrid, int threads) {
    Work w = {.s = *(const Sample *)sizes, .x = x, .grid = grid, .gy = gy, .out = ggrid};
    w.items = share(w.s.n * w.s.places, PLACES, threads);
    chainrule_parallel(grid_worker, &w, threads);
    return 0;
}

/* grid, gy -> the gradient of x; its sums do not depend on who computes which part. */
EXPORT int NAME(grid_sample_input)(const long *sizes, const float *grid, const float *gy, float *gx,
                                   int threads) {
    Work w = {.s = *(const Sample *)sizes, .grid = grid, .gy = gy, .out = gx};
    long vectors = (w.s.c + LANES - 1) / LANES;
    w.parts = w.s.n >= threads ? 1 : smaller(threads, vectors);
    w.items = share(w.s.n * w.parts, 1, threads);
    chainrule_parallel(input_worker, &w, threads);
    return 0;
}
