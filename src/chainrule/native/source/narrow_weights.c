/* The gradient of a convolution of few channels by its weight and bias.
 *
 * Images are divided into parts, each summed in a fixed order in memory of its own: first over some
 * rows in registers, then over pieces, then over parts, so that long sums stay exact.
 */
#include "narrow.h"

#if REGISTERS == 32
#define MOST 25 /* taps that are summed at once */
#define WIDE 15 /* of them in a row */
#else
#define MOST 10
#define WIDE 10
#endif

#define PIECE 1024 /* positions, and later sums, that are added one after the other at most */

typedef struct {
    Narrow s;
    const float *x, *gy;
    float *gw, *gb, *scratch, *sums;
    Shares parts;
} Work;

/* Sums of a part lie as [vector of outputs][row][column, channel][LANES], then the bias's. */
static long sums_of_part(const Narrow *s) { return vectors_of(s) * (taps_of(s) + 1) * LANES; }

/* Copy an image into the padded one, whose border is zero. */
static void pad_image(const Narrow *s, const float *x, float *to) {
    long wide = padded_width(s), columns = smaller(s->w, wide - s->left);
    for (long i = 0; i < s->h && i + s->top < padded_height(s); i++)
        for (long j = 0; j < columns * s->c; j++)
            to[((i + s->top) * wide + s->left) * s->c + j] = x[i * s->w * s->c + j];
}

/* How many rows of an image are summed in registers before they are added to the sums. */
static long rows_of_piece(const Narrow *s) {
    long rows = PIECE / s->ow;
    return rows < 1 ? 1 : smaller(rows, s->oh);
}

static long pieces_of_image(const Narrow *s) {
    return (s->oh + rows_of_piece(s) - 1) / rows_of_piece(s);
}

/* Add the products of `rows` x `columns` taps with a vector of output channels over `count` rows. */
INLINE void taps(const Narrow *s, const float *x, const float *gy, long count, some lanes,
                 float *sums, const int rows, const int columns) {
    long wide = padded_width(s) * s->c;
    vec sum[MOST];
    UNROLL for (int t = 0; t < rows * columns; t++) sum[t] = (vec){0};
    for (long i = 0; i < count; i++, x += wide)
        for (long j = 0; j < s->ow; j++, gy += s->k) {
            vec g = load_some(gy, lanes);
            UNROLL for (int r = 0; r < rows; r++)
                UNROLL for (int c = 0; c < columns; c++)
                    sum[r * columns + c] += x[r * wide + j * s->c + c] * g;
        }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < columns; c++) {
            float *to = sums + (r * pairs_of(s) + c) * LANES;
            store(to, load(to) + sum[r * columns + c]);
        }
}

static void sum_bias(const Narrow *s, const float *gy, long count, some lanes, float *to) {
    vec sum = {0};
    for (long p = 0; p < count * s->ow; p++) sum += load_some(gy + p * s->k, lanes);
    store(to, load(to) + sum);
}

/* `count` rows of one image, `rows` of the window's rows and `columns` of its pairs at once. */
INLINE void piece(const Work *a, const float *x, const float *gy, long count, float *sums,
                  const int rows, const int columns) {
    const Narrow *s = &a->s;
    long wide = padded_width(s) * s->c, pairs = pairs_of(s);
    for (long v = 0; v < vectors_of(s); v++, sums += (taps_of(s) + 1) * LANES) {
        some lanes = first_lanes(s->k - v * LANES);
        for (long i = 0; i < s->kh; i += rows)
            for (long c = 0; c < pairs; c += columns)
                taps(s, x + i * wide + c, gy + v * LANES, count, lanes,
                     sums + (i * pairs + c) * LANES, rows, columns);
        if (a->gb) sum_bias(s, gy + v * LANES, count, lanes, sums + taps_of(s) * LANES);
    }
}

#define CASE(rows, columns) \
    case (rows) * 16 + (columns): \
        piece(a, x, gy, count, sums, rows, columns); \
        break;

/* How many columns and rows of the window are summed at once: as many as divide it and fit. */
static long columns_at_once(const Narrow *s) {
    long columns = smaller(WIDE, pairs_of(s));
    while (pairs_of(s) % columns) columns--;
    return columns;
}

static long rows_at_once(const Narrow *s, long columns) {
    int square = (columns == 5 || columns == 3) && s->kh == columns && columns * columns <= MOST;
    return square ? columns : 1;
}

static void one_piece(const Work *a, const float *x, const float *gy, long count, float *sums) {
    long columns = columns_at_once(&a->s);
    switch (rows_at_once(&a->s, columns) * 16 + columns) {
        CASE(1, 1) CASE(1, 2) CASE(1, 3) CASE(1, 4) CASE(1, 5) CASE(1, 6) CASE(1, 7) CASE(1, 8)
        CASE(1, 9) CASE(1, 10) CASE(3, 3)
#if REGISTERS == 32
        CASE(1, 11) CASE(1, 12) CASE(1, 13) CASE(1, 14) CASE(1, 15) CASE(5, 5)
#endif
    }
}

static void worker(void *arg) {
    Work *a = arg;
    const Narrow *s = &a->s;
    long mine = arrive(&a->parts);
    float *x = a->scratch + mine * padded_size(s);
    for (long i = 0; i < padded_size(s); i += LANES) store(x + i, (vec){0});
    for (long part; take(&a->parts, &part);) {
        float *sums = a->sums + part * sums_of_part(s);
        for (long i = 0; i < sums_of_part(s); i += LANES) store(sums + i, (vec){0});
        for (long n = part * s->n / a->parts.total; n < (part + 1) * s->n / a->parts.total; n++) {
            pad_image(s, a->x + n * s->h * s->w * s->c, x);
            const float *gy = a->gy + n * s->oh * s->ow * s->k;
            for (long i = 0; i < s->oh; i += rows_of_piece(s))
                one_piece(a, x + i * padded_width(s) * s->c, gy + i * s->ow * s->k,
                          smaller(rows_of_piece(s), s->oh - i), sums);
        }
    }
}

/* Add the parts, and lay the sums out as gw (K, C, KH, KW) and gb (K). */
static void gather(const Work *a) {
    const Narrow *s = &a->s;
    for (long part = 1; part < a->parts.total; part++)
        for (long i = 0; i < sums_of_part(s); i++) a->sums[i] += a->sums[part * sums_of_part(s) + i];
    for (long k = 0; k < s->k; k++) {
        const float *from = a->sums + k / LANES * (taps_of(s) + 1) * LANES + k % LANES;
        for (long tap = 0; tap < taps_of(s); tap++) {
            long i = tap / pairs_of(s), j = tap % pairs_of(s) / s->c, c = tap % s->c;
            a->gw[((k * s->c + c) * s->kh + i) * s->kw + j] = from[tap * LANES];
        }
        if (a->gb) a->gb[k] = from[taps_of(s) * LANES];
    }
}

/* At least one for each thread, and so many that none adds more than PIECE pieces. */
static long parts_of(const Narrow *s, int threads) {
    long needed = (s->n * pieces_of_image(s) + PIECE - 1) / PIECE;
    return needed > threads ? needed : threads;
}

/* Bytes of scratch memory that narrow_weights needs. */
EXPORT long NAME(narrow_weights_scratch)(const long *sizes, int threads) {
    const Narrow *s = (const Narrow *)sizes;
    long sums = sums_of_part(s) * parts_of(s, threads);
    return (padded_size(s) * threads + sums) * (long)sizeof(float);
}

/* x (N, H, W, C), gy (N, OH, OW, K) -> gw (K, C, KH, KW) plain, gb (K) where it is not null. */
EXPORT int NAME(narrow_weights)(const long *sizes, const float *x, const float *gy, float *gw,
                                float *gb, float *scratch, int threads) {
    Work a = {.s = *(const Narrow *)sizes, .x = x, .gy = gy, .gw = gw, .gb = gb};
    a.parts = share(parts_of(&a.s, threads), 1, threads), a.scratch = scratch, a.sums = scratch + threads * padded_size(&a.s);
    chainrule_parallel(worker, &a, threads);
    gather(&a);
    return 0;
}
