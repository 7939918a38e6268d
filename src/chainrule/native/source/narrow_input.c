/* The gradient of a convolution of few channels by its input.
 *
 * A position of the gradient spreads into kh rows of kw * c neighbouring values of the input, so
 * the lanes hold these, and the sums are added where they belong in a padded image.
 */
#include "narrow.h"

#if REGISTERS == 32
#define SUMS 10 /* vectors of sums of each of the two positions */
#else
#define SUMS 5
#endif

typedef struct {
    Narrow s;
    const float *gy, *w;
    float *gx, *packed, *scratch;
    long vectors; /* of a window's row */
    Shares images;
} Work;

/* w (K, C, KH, KW) -> [row][k][vector][LANES] of pairs (column, channel), zeros beyond them. */
static void pack(const Work *a) {
    const Narrow *s = &a->s;
    long wide = a->vectors * LANES;
    for (long i = 0; i < s->kh; i++)
        for (long k = 0; k < s->k; k++) {
            float *to = a->packed + (i * s->k + k) * wide;
            for (long pair = 0; pair < wide; pair++) {
                long j = pair / s->c, c = pair % s->c;
                to[pair] = j < s->kw ? a->w[((k * s->c + c) * s->kh + i) * s->kw + j] : 0;
            }
        }
}

/* Add what `count` positions at gy, gy + far * k, ... spread into `rows` rows of gx. */
INLINE void positions(const Work *a, const float *gy, const float *w, float *gx, long far,
                      const int rows, const int vectors, const int count) {
    const Narrow *s = &a->s;
    long wide = padded_width(s) * s->c;
    /* Beyond the pairs lie zeros times gy, which are no zeros where gy is infinite. */
    some last = first_lanes(pairs_of(s) - (vectors - 1) * LANES);
    vec sum[2][SUMS];
    UNROLL for (int p = 0; p < count; p++)
        UNROLL for (int v = 0; v < rows * vectors; v++) sum[p][v] = (vec){0};
    for (long k = 0; k < s->k; k++, w += vectors * LANES) {
        vec g[2];
        UNROLL for (int p = 0; p < count; p++) g[p] = spread(gy[p * far * s->k + k]);
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v++) {
                vec tap = load(w + i * s->k * vectors * LANES + v * LANES);
                UNROLL for (int p = 0; p < count; p++) sum[p][i * vectors + v] += g[p] * tap;
            }
    }
    UNROLL for (int p = 0; p < count; p++)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v++) {
                float *to = gx + p * far * s->c + i * wide + v * LANES;
                vec value = load(to) + sum[p][i * vectors + v];
                if (v < vectors - 1)
                    store(to, value);
                else
                    store_some(to, last, value);
            }
}

/* One image: `rows` rows of the window at once, two positions far from each other. */
INLINE void image(const Work *a, const float *gy, float *gx, const int rows, const int vectors) {
    const Narrow *s = &a->s;
    long far = s->ow / 2, wide = padded_width(s) * s->c;
    for (long first = 0; first + rows <= s->kh; first += rows) {
        const float *w = a->packed + first * s->k * vectors * LANES;
        for (long i = 0; i < s->oh; i++) {
            const float *g = gy + i * s->ow * s->k;
            float *to = gx + (i + first) * wide;
            for (long j = 0; j < far; j++)
                positions(a, g + j * s->k, w, to + j * s->c, far, rows, vectors, 2);
            if (s->ow % 2)
                positions(a, g + 2 * far * s->k, w, to + 2 * far * s->c, 0, rows, vectors, 1);
        }
    }
}

static void take_inside(const Narrow *s, const float *from, float *gx) {
    long wide = padded_width(s), last = smaller(s->left + s->w, wide);
    for (long i = 0; i < s->h; i++) {
        float *to = gx + i * s->w * s->c;
        long row = i + s->top, count = row < padded_height(s) ? last - s->left : 0;
        for (long j = 0; j < count * s->c; j++) to[j] = from[(row * wide + s->left) * s->c + j];
        for (long j = count * s->c; j < s->w * s->c; j++) to[j] = 0;
    }
}

#define CASE(rows, vectors) \
    case (rows) * 4 + (vectors) - 1: \
        image(a, gy, to, rows, vectors); \
        break;

/* How many of the window's rows are computed at once: as many as divide it and fit. */
static long rows_at_once(const Work *a) {
    long rows = smaller(smaller(SUMS / a->vectors, 5), a->s.kh);
    while (a->s.kh % rows) rows--;
    return rows;
}

static void worker(void *arg) {
    Work *a = arg;
    const Narrow *s = &a->s;
    long mine = arrive(&a->images);
    float *to = a->scratch + mine * padded_size(s);
    long rows = rows_at_once(a);
    for (long n; take(&a->images, &n);) {
        const float *gy = a->gy + n * s->oh * s->ow * s->k;
        for (long i = 0; i < padded_size(s); i += LANES) store(to + i, (vec){0});
        switch (rows * 4 + a->vectors - 1) {
            CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(1, 2) CASE(2, 2)
#if REGISTERS == 32
            CASE(3, 2) CASE(4, 2) CASE(5, 2)
#endif
#if LANES == 8
            CASE(1, 3) CASE(1, 4)
#if REGISTERS == 32
            CASE(2, 3) CASE(3, 3) CASE(2, 4)
#endif
#endif
        }
        take_inside(s, to, a->gx + n * s->h * s->w * s->c);
    }
}

static Work plan(const long *sizes) {
    Work a = {.s = *(const Narrow *)sizes};
    a.vectors = (pairs_of(&a.s) + LANES - 1) / LANES;
    return a;
}

static long packed_size(const Work *a) { return a->s.kh * a->s.k * a->vectors * LANES; }

/* Bytes of scratch memory that narrow_input needs. */
EXPORT long NAME(narrow_input_scratch)(const long *sizes, int threads) {
    Work a = plan(sizes);
    return (packed_size(&a) + threads * padded_size(&a.s)) * (long)sizeof(float);
}

/* gy (N, OH, OW, K), w (K, C, KH, KW) plain -> gx (N, H, W, C); kw * c is at most WIDEST. */
EXPORT int NAME(narrow_input)(const long *sizes, const float *gy, const float *w, float *gx,
                              float *scratch, int threads) {
    Work a = plan(sizes);
    a.gy = gy, a.w = w, a.gx = gx;
    a.packed = scratch, a.scratch = scratch + packed_size(&a);
    a.images = share(a.s.n, 1, threads);
    pack(&a);
    chainrule_parallel(worker, &a, threads);
    return 0;
}
