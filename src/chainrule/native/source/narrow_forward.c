/* The forward of a convolution of few channels. */
#include "narrow.h"

#if REGISTERS == 32
#define MOST 14 /* positions that are computed at once */
#else
#define MOST 8
#endif

typedef struct {
    Narrow s;
    const float *x, *bias, *packed;
    float *y, *scratch;
    int relu;
    Shares images;
} Work;

/* w (K, C, KH, KW) -> [vector of outputs][row][channel][column][LANES], zeros beyond K. */
static void pack(const Narrow *s, const float *w, float *to) {
    for (long v = 0; v < vectors_of(s); v++)
        for (long i = 0; i < s->kh; i++)
            for (long c = 0; c < s->c; c++)
                for (long j = 0; j < s->kw; j++)
                    for (long k = v * LANES; k < (v + 1) * LANES; k++)
                        *to++ = k < s->k ? w[((k * s->c + c) * s->kh + i) * s->kw + j] : 0;
}

/* Lay an image out with its border, rows of one channel together: [row][channel][column]. */
static void spread_image(const Narrow *s, const float *x, float *to) {
    long wide = padded_width(s);
    for (long i = 0; i < padded_height(s); i++) {
        long row = i - s->top;
        for (long c = 0; c < s->c; c++, to += wide) {
            long first = smaller(s->left, wide), last = smaller(s->left + s->w, wide);
            if (row < 0 || row >= s->h) first = last = wide;
            for (long j = 0; j < first; j++) to[j] = 0;
            const float *from = x + row * s->w * s->c + c - s->left * s->c;
            for (long j = first; j < last; j++) to[j] = from[j * s->c];
            for (long j = last; j < wide; j++) to[j] = 0;
        }
    }
}

/* `count` neighbouring positions of a vector of outputs. */
INLINE void positions(const Narrow *s, const float *x, const float *w, vec bias, int relu, float *y,
                      some lanes, const int count) {
    long wide = padded_width(s);
    vec sum[MOST];
    UNROLL for (int p = 0; p < count; p++) sum[p] = bias;
    for (long i = 0; i < s->kh * s->c; i++, x += wide)
        for (long j = 0; j < s->kw; j++, w += LANES) {
            vec tap = load(w);
            UNROLL for (int p = 0; p < count; p++) sum[p] += x[j + p] * tap;
        }
    UNROLL for (int p = 0; p < count; p++) {
        /* not `> 0`: NaN stays */
        if (relu) sum[p] = (vec)(~(sum[p] < 0) & (ivec)sum[p]);
        store_some(y + p * s->k, lanes, sum[p]);
    }
}

/* One image, `count` positions at once; the last ones of a row may be computed twice. */
INLINE void image(const Work *a, const float *x, float *y, const int count) {
    const Narrow *s = &a->s;
    for (long v = 0; v < vectors_of(s); v++) {
        const float *w = a->packed + v * taps_of(s) * LANES;
        some lanes = first_lanes(s->k - v * LANES);
        vec bias = a->bias ? load_some(a->bias + v * LANES, lanes) : (vec){0};
        for (long i = 0; i < s->oh; i++)
            for (long j = 0; j < s->ow; j += count) {
                long at = smaller(j, s->ow - count);
                positions(s, x + i * s->c * padded_width(s) + at, w, bias, a->relu,
                          y + (i * s->ow + at) * s->k + v * LANES, lanes, count);
            }
    }
}

#define CASE(count) \
    case count: \
        image(a, x, y, count); \
        break;

static void worker(void *arg) {
    Work *a = arg;
    const Narrow *s = &a->s;
    long mine = arrive(&a->images);
    float *x = a->scratch + mine * padded_size(s);
    long pieces = (s->ow + MOST - 1) / MOST;
    for (long n; take(&a->images, &n);) {
        spread_image(s, a->x + n * s->h * s->w * s->c, x);
        float *y = a->y + n * s->oh * s->ow * s->k;
        switch ((s->ow + pieces - 1) / pieces) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#if REGISTERS == 32
            CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif
        }
    }
}

static long packed_size(const Narrow *s) { return vectors_of(s) * taps_of(s) * LANES; }

/* Bytes of scratch memory that narrow_conv needs without filters that were packed before. */
EXPORT long NAME(narrow_conv_scratch)(const long *sizes, int threads) {
    const Narrow *s = (const Narrow *)sizes;
    return (packed_size(s) + threads * padded_size(s)) * (long)sizeof(float);
}

/* Bytes that narrow_filters writes. */
EXPORT long NAME(narrow_filters_scratch)(const long *sizes) {
    return packed_size((const Narrow *)sizes) * (long)sizeof(float);
}

/* Lay the filters w (K, C, KH, KW) out for narrow_conv. */
EXPORT int NAME(narrow_filters)(const long *sizes, const float *w, float *packed) {
    pack((const Narrow *)sizes, w, packed);
    return 0;
}

/* x (N, H, W, C), w (K, C, KH, KW) plain -> y (N, OH, OW, K) + bias (where it is not null), negative
 * values replaced by 0 with `relu`.  Where `packed` is not null it has the filters, laid out, and w
 * is not read. */
EXPORT int NAME(narrow_conv)(const long *sizes, const float *x, const float *w, const float *bias,
                             float *y, float *scratch, int threads, int relu, const float *packed) {
    Work a = {.s = *(const Narrow *)sizes, .x = x, .bias = bias, .y = y, .relu = relu};
    a.packed = packed ? packed : scratch, a.scratch = scratch;
    if (!packed) {
        pack(&a.s, w, scratch);
        a.scratch += packed_size(&a.s);
    }
    a.images = share(a.s.n, 1, threads);
    chainrule_parallel(worker, &a, threads);
    return 0;
}
