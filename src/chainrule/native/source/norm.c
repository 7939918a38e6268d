/* Normalisation of images: by batch, by groups of channels, by channel; with ReLU or without.
 *
 * An image is `rows` positions of `channels` values side by side, or in C order each channel its
 * own line of `rows` values.  A batch normalisation is that of one image of all positions, each
 * channel a group.  Lines are cut into blocks, whatever the number of threads.  A block adds up
 * its values less one of them, in float32; the blocks are joined in float64, so that a large mean
 * costs no digits.
 */
#include <math.h>

#include "exponent.h"
#include "threads.h"

#define SLAB 1024 /* channels that are passed over together, at most */
#define TOGETHER 2 /* rows that share a reading of their channels' factors */
#define SHORT 128 /* values of such rows, at most: of longer ones memory is read faster in order */
#define PIECE 32768 /* values of a block, about */

typedef struct {
    long images, rows, channels, groups, plain;
} Norm;

/* What is known of each channel of each image: y = (x - centre) * gain + shift, and
 * gx = gain * gy - slope * (x - centre) - rest. */
enum { CENTRE, GAIN, SHIFT, SLOPE, REST, FACTORS };

/* The passes; the first two add up, the others write. */
enum { SPREAD, ALONG, FORWARD, BACKWARD, SCALE };

typedef struct {
    Norm s;
    long lines, width, blocks, slabs, folds; /* a line has rows of `width` channels */
    const float *x, *gy;
    float *out;
    float *from, *sum, *square; /* (lines, blocks, width): what a pass added up, and from where */
    float *factor[FACTORS]; /* (images, channels) each */
    double *joined[4]; /* (channels,) each */
    int pass, relu;
    Shares pieces;
} Work;

/* Rows of few channels are taken several at a time, as one that fills whole vectors. */
static long folded(long width) {
    long folds = 1;
    if (width == 1 || width >= 4 * LANES) return 1;
    while (folds * width % LANES || folds * width < 4 * LANES) folds++;
    return folds;
}

static Work begin(const long *sizes, float *scratch) {
    Work w = {.s = *(const Norm *)sizes};
    Norm *s = &w.s;
    w.lines = s->plain ? s->images * s->channels : s->images;
    w.width = s->plain ? 1 : s->channels;
    long few = smaller(PIECE / w.width, 1024), size = w.width == 1 ? 4096 : few < 128 ? 128 : few;
    w.blocks = (s->rows + size - 1) / size;
    w.folds = folded(w.width);
    w.slabs = (w.width + SLAB - 1) / SLAB;
    long all = s->images * s->channels;
    w.joined[0] = (double *)scratch;
    for (int k = 1; k < 4; k++) w.joined[k] = w.joined[0] + k * s->channels;
    w.factor[0] = scratch + 8 * s->channels;
    for (int k = 1; k < FACTORS; k++) w.factor[k] = w.factor[0] + k * all;
    w.from = w.factor[0] + FACTORS * all;
    w.sum = w.from + all * w.blocks;
    w.square = w.sum + all * w.blocks;
    return w;
}

/* The bytes of scratch memory that both directions need. */
EXPORT long NAME(norm_scratch)(const long *sizes) {
    Work w = begin(sizes, 0);
    return 4 * (8 * w.s.channels + w.s.images * w.s.channels * (FACTORS + 3 * w.blocks));
}

static inline long start_of(const Work *w, long block) { return block * w->s.rows / w->blocks; }

INLINE vec get(const float *from, some lanes, const int whole) {
    return whole ? load(from) : load_some(from, lanes);
}

typedef struct {
    vec factor[FACTORS], sum, square;
} Column;

/* One vector, and what its pass does with it. */
INLINE void visit(const Work *w, long here, Column *k, some lanes, const int whole, const int pass,
                  const int relu) {
    vec d = {0}, z = {0}, y;
    if (relu || pass != SCALE) d = get(w->x + here, lanes, whole) - k->factor[CENTRE];
    if (relu || pass == FORWARD) z = d * k->factor[GAIN] + k->factor[SHIFT];
    if (pass == SPREAD) {
        k->sum += d;
        k->square += d * d;
        return;
    }
    if (pass == FORWARD) {
        y = relu ? keep(~(z <= 0), z) : z;
    } else {
        vec g = get(w->gy + here, lanes, whole);
        if (relu) g = keep(~(z <= 0), g);
        if (pass == ALONG) {
            k->sum += g;
            k->square += g * d;
            return;
        }
        y = g * k->factor[GAIN];
        if (pass == BACKWARD) y = y - k->factor[SLOPE] * d - k->factor[REST];
    }
    if (whole)
        store(w->out + here, y);
    else
        store_some(w->out + here, lanes, y);
}

/* LANES channels of some rows, `step` apart. */
INLINE void column(const Work *w, long at, long step, long i, const float *const *k, float *sums,
                   some lanes, const long rows, const int whole, const int pass, const int relu) {
    Column one = {0};
    for (int f = 0; f < (pass == SPREAD ? 1 : FACTORS); f++)
        one.factor[f] = get(k[f] + i, lanes, whole);
    UNROLL
    for (long r = 0; r < rows; r++)
        visit(w, at + r * step + i, &one, lanes, whole, pass, relu);
    if (pass > ALONG) return;
    store(sums + i, load(sums + i) + one.sum);
    store(sums + SLAB + i, load(sums + SLAB + i) + one.square);
}

INLINE void band(const Work *w, long at, long step, long width, const float *const *k, float *sums,
                 const long rows, const int pass, const int relu) {
    long i = 0;
    for (; i + LANES <= width; i += LANES)
        column(w, at, step, i, k, sums, first_lanes(LANES), rows, 1, pass, relu);
    if (i < width)
        column(w, at, step, i, k, sums, first_lanes(width - i), rows, 0, pass, relu);
}

/* From where a block's values are counted: the middle one of three, since one may be far off. */
INLINE float middle(const float *x, long rows, long step) {
    float a = x[0], b = x[rows / 2 * step], c = x[(rows - 1) * step];
    float low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c < high ? c : high;
}

/* Some values of one channel, side by side. */
INLINE void alone(const Work *w, long line, long number, const int pass, const int relu) {
    long first = start_of(w, number), end = line * w->s.rows + start_of(w, number + 1);
    long i = line * w->s.rows + first, to = line * w->blocks + number;
    Column k[4] = {0};
    if (pass == SPREAD) w->from[to] = middle(w->x + i, end - i, 1);
    for (int f = 0; f < (pass == SPREAD ? 1 : FACTORS); f++)
        for (int v = 0; v < 4; v++)
            k[v].factor[f] = spread(pass == SPREAD ? w->from[to] : w->factor[f][line]);
    for (; i + 4 * LANES <= end; i += 4 * LANES) {
        UNROLL
        for (int v = 0; v < 4; v++)
            visit(w, i + v * LANES, k + v, first_lanes(LANES), 1, pass, relu);
    }
    for (; i + LANES <= end; i += LANES) visit(w, i, k, first_lanes(LANES), 1, pass, relu);
    if (i < end) {
        some lanes = first_lanes(end - i);
        float centre[LANES]; /* 0 where there is no value, so that none is added */
        store(centre, k[1].factor[CENTRE]);
        k[1].factor[CENTRE] = load_some(centre, lanes);
        visit(w, i, k + 1, lanes, 0, pass, relu);
    }
    if (pass > ALONG) return;
    w->sum[to] = sum_of((k[0].sum + k[1].sum) + (k[2].sum + k[3].sum));
    w->square[to] = sum_of((k[0].square + k[1].square) + (k[2].square + k[3].square));
}

/* Some rows of a slab of channels. */
INLINE void block(const Work *w, long line, long number, long slab, const int pass, const int relu) {
    long first = start_of(w, number), rows = start_of(w, number + 1) - first;
    long c = slab * SLAB, width = smaller(SLAB, w->width - c), folds = w->folds;
    long at = (line * w->s.rows + first) * w->width + c, known = line * w->width + c;
    float wide[FACTORS][SLAB], sums[2 * SLAB];
    const float *k[FACTORS];
    long to = (line * w->blocks + number) * w->width + c;
    for (long i = 0; pass == SPREAD && i < width; i++)
        w->from[to + i] = middle(w->x + at + i, rows, w->width);
    for (int f = 0; f < (pass == SPREAD ? 1 : FACTORS); f++) {
        k[f] = pass == SPREAD ? w->from + to : w->factor[f] + known;
        if (folds == 1) continue;
        for (long i = 0; i < smaller(folds, rows) * width; i += width)
            for (long j = 0; j < width; j++) wide[f][i + j] = k[f][j];
        k[f] = wide[f];
    }
    if (pass <= ALONG)
        for (long i = 0; i < up_to(folds * width, LANES); i++) sums[i] = sums[SLAB + i] = 0;
    long step = folds * w->width, span = folds * width, r = 0;
    for (; span <= SHORT && r + TOGETHER * folds <= rows; r += TOGETHER * folds)
        band(w, at + r * w->width, step, span, k, sums, TOGETHER, pass, relu);
    for (; r + folds <= rows; r += folds)
        band(w, at + r * w->width, step, span, k, sums, 1, pass, relu);
    if (r < rows) band(w, at + r * w->width, step, (rows - r) * width, k, sums, 1, pass, relu);
    if (pass > ALONG) return;
    for (long i = 0; i < width; i++) {
        float sum = 0, square = 0;
        for (long f = i; f < span; f += width) {
            sum += sums[f];
            square += sums[SLAB + f];
        }
        w->sum[to + i] = sum;
        w->square[to + i] = square;
    }
}

INLINE void piece_of(const Work *w, long piece, const int pass, const int relu) {
    long slab = piece % w->slabs, line = piece / w->slabs / w->blocks;
    long number = piece / w->slabs % w->blocks;
    if (w->width == 1)
        alone(w, line, number, pass, relu);
    else
        block(w, line, number, slab, pass, relu);
}

#define CASE(pass) \
    case pass: \
        w->relu ? piece_of(w, piece, pass, 1) : piece_of(w, piece, pass, 0); \
        break;

static void worker(void *arg) {
    Work *w = arg;
    for (long first, count; (count = take(&w->pieces, &first));)
        for (long piece = first; piece < first + count; piece++)
            switch (w->pass) {
                case SPREAD: piece_of(w, piece, SPREAD, 0); break;
                CASE(ALONG) CASE(FORWARD) CASE(BACKWARD) CASE(SCALE)
            }
}

static void run(Work *w, int pass, int threads) {
    long values = w->s.rows / w->blocks * smaller(w->width, SLAB) + 1;
    w->pass = pass;
    w->pieces = share(w->lines * w->blocks * w->slabs, smaller(1 + 8192 / values, 64), threads);
    chainrule_parallel(worker, w, threads);
}

/* Add over an image's blocks: of the values, or (with the mean) of their squared distances. */
INLINE void join_spread(Work *w, long image, double *to, const double *mean, const int plain) {
    for (long c = 0; c < w->s.channels; c++) to[c] = 0;
    for (long b = 0; b < w->blocks; b++) {
        double n = start_of(w, b + 1) - start_of(w, b);
        for (long c = 0; c < w->s.channels; c++) {
            long line = plain ? image * w->s.channels + c : image, column = plain ? 0 : c;
            long place = (line * w->blocks + b) * w->width + column;
            double e = w->from[place];
            if (mean) {
                e -= mean[c];
                to[c] += w->square[place] + (2 * w->sum[place] + n * e) * e;
            } else {
                to[c] += n * e + w->sum[place];
            }
        }
    }
}

/* Add what the blocks of an image have: the sums of gy, and of gy * (x - centre). */
INLINE void join_along(Work *w, long image, double *total, double *along, const int plain) {
    for (long c = 0; c < w->s.channels; c++) total[c] = along[c] = 0;
    for (long b = 0; b < w->blocks; b++)
        for (long c = 0; c < w->s.channels; c++) {
            long line = plain ? image * w->s.channels + c : image, column = plain ? 0 : c;
            long place = (line * w->blocks + b) * w->width + column;
            total[c] += w->sum[place];
            along[c] += w->square[place];
        }
}

/* Give each channel of a group the sum over the group, divided by n. */
static void over_groups(const Norm *s, double *values, double n) {
    long per = s->channels / s->groups;
    for (long c = 0; c < s->channels; c += per) {
        double sum = 0;
        for (long i = c; i < c + per; i++) sum += values[i];
        for (long i = c; i < c + per; i++) values[i] = sum / n;
    }
}

static double group_size(const Norm *s) { return (double)s->rows * s->channels / s->groups; }

/* Mean, variance and what `kept` holds of an image's groups: the mean's rounding, 1 / deviation. */
static void statistics(Work *w, long image, float *mean, float *variance, double *kept, double eps) {
    const Norm *s = &w->s;
    double *m = w->joined[0], *v = w->joined[1];
    s->plain ? join_spread(w, image, m, 0, 1) : join_spread(w, image, m, 0, 0);
    over_groups(s, m, group_size(s));
    s->plain ? join_spread(w, image, v, m, 1) : join_spread(w, image, v, m, 0);
    over_groups(s, v, group_size(s));
    long per = s->channels / s->groups;
    for (long g = 0; g < s->groups; g++) {
        long unit = image * s->groups + g;
        double spread = v[g * per] > 0 ? v[g * per] : v[g * per] - v[g * per]; /* NaN stays */
        mean[unit] = (float)m[g * per];
        variance[unit] = (float)spread;
        kept[2 * unit] = m[g * per] - mean[unit];
        kept[2 * unit + 1] = 1 / sqrt(spread + eps);
    }
}

/* Fill in the factors of the forward. */
static void prepare(Work *w, long image, const float *mean, const double *kept, const float *weight,
                    const float *bias) {
    const Norm *s = &w->s;
    long per = s->channels / s->groups;
    for (long c = 0; c < s->channels; c++) {
        long at = image * s->channels + c, unit = image * s->groups + c / per;
        double gain = kept[2 * unit + 1] * (weight ? weight[c] : 1);
        w->factor[CENTRE][at] = mean[unit];
        w->factor[GAIN][at] = (float)gain;
        w->factor[SHIFT][at] = (float)((bias ? bias[c] : 0) - kept[2 * unit] * gain);
    }
}

static int strange(const float *values, long count) {
    float sum = 0;
    for (long i = 0; values && i < count; i++) sum += values[i] - values[i];
    return sum != 0;
}

/* x -> y; the statistics are written, or with `given` read.  `kept` is for the backward.
 * Gives 1 where what y is made of, x apart if `given`, is not finite: then y is not written. */
EXPORT int NAME(norm)(const long *sizes, const float *x, const float *weight, const float *bias,
                      float *y, float *mean, float *variance, double *kept, float *scratch,
                      double eps, int given, int relu, int threads) {
    Work w = begin(sizes, scratch);
    long units = w.s.images * w.s.groups;
    w.x = x, w.out = y, w.relu = relu;
    if (!given) run(&w, SPREAD, threads);
    for (long image = 0; image < w.s.images; image++) {
        if (!given) statistics(&w, image, mean, variance, kept, eps);
        for (long u = image * w.s.groups; given && u < (image + 1) * w.s.groups; u++) {
            if (!(variance[u] + eps > 0)) return 1;
            kept[2 * u] = 0;
            kept[2 * u + 1] = 1 / sqrt(variance[u] + eps);
        }
        prepare(&w, image, mean, kept, weight, bias);
    }
    if (strange(mean, units) || strange(variance, units)) return 1;
    if (strange(weight, w.s.channels) || strange(bias, w.s.channels)) return 1;
    run(&w, FORWARD, threads);
    return 0;
}

/* gy -> gx (which may be null), and the sums gweight and gbias (both may be null if `given`). */
EXPORT int NAME(norm_back)(const long *sizes, const float *x, const float *gy, const float *weight,
                           const float *bias, const float *mean, const double *kept, float *gx,
                           float *gweight, float *gbias, float *scratch, int given, int relu,
                           int threads) {
    Work w = begin(sizes, scratch);
    const Norm *s = &w.s;
    double *total = w.joined[0], *along = w.joined[1], n = group_size(s);
    long per = s->channels / s->groups;
    w.x = x, w.gy = gy, w.out = gx, w.relu = relu;
    for (long i = 0; i < s->images; i++) prepare(&w, i, mean, kept, weight, bias);
    if (gweight || !given) run(&w, ALONG, threads);
    double *by_weight = w.joined[2], *by_bias = w.joined[3];
    for (long c = 0; gweight && c < s->channels; c++) by_weight[c] = by_bias[c] = 0;
    for (long image = 0; (gweight || !given) && image < s->images; image++) {
        s->plain ? join_along(&w, image, total, along, 1) : join_along(&w, image, total, along, 0);
        for (long c = 0; c < s->channels; c++) {
            const double *k = kept + 2 * (image * s->groups + c / per);
            along[c] -= k[0] * total[c];
            if (gweight) by_weight[c] += along[c] * k[1], by_bias[c] += total[c];
            if (weight) total[c] *= weight[c], along[c] *= weight[c];
        }
        over_groups(s, total, n);
        over_groups(s, along, n);
        for (long c = 0; !given && c < s->channels; c++) {
            const double *k = kept + 2 * (image * s->groups + c / per);
            double slope = k[1] * k[1] * k[1] * along[c];
            w.factor[SLOPE][image * s->channels + c] = (float)slope;
            w.factor[REST][image * s->channels + c] = (float)(k[1] * total[c] - k[0] * slope);
        }
    }
    for (long c = 0; gweight && c < s->channels; c++)
        gweight[c] = (float)by_weight[c], gbias[c] = (float)by_bias[c];
    if (gx) run(&w, given ? SCALE : BACKWARD, threads);
    return 0;
}

/* x -> x * gain, or with `shift` (not null) x * gain + shift; both are (images, channels). */
EXPORT int NAME(scale_channels)(const long *sizes, const float *x, const float *gain,
                                const float *shift, float *out, float *scratch, int threads) {
    Work w = begin(sizes, scratch);
    for (long i = 0; i < w.s.images * w.s.channels; i++) {
        w.factor[CENTRE][i] = 0;
        w.factor[GAIN][i] = gain[i];
        w.factor[SHIFT][i] = shift ? shift[i] : 0;
    }
    w.x = w.gy = x, w.out = out;
    run(&w, shift ? FORWARD : SCALE, threads);
    return 0;
}
