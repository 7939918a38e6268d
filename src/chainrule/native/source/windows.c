/* Pooling over any windows in up to three dimensions, largest values and averages.
 *
 * Each target gathers from its sources: forward a window from the positions that it holds, backward
 * a position from the windows that hold it.  So no two threads write to one place, sums have one
 * order, and padding, overlaps, gaps and windows of several sizes are all the same: links, listed
 * axis by axis.  NaN and infinity mean what they mean in the reference.
 */
#include <math.h>

#include "exponent.h"
#include "threads.h"

#define BLOCK 4 /* vectors of channels at a time */
#define PIECE 256 /* values that are added one after the other: more would lose digits */
#define NOBODY -1 /* the winner where no gradient passes; 255 as a byte */

enum { SUM, WEIGHTED, LARGEST, WINNERS };

typedef unsigned char bytes __attribute__((vector_size(LANES)));
typedef unsigned char bytes_at __attribute__((vector_size(LANES), aligned(1), may_alias));

typedef struct {
    const long *first;   /* target i has the links first[i] to first[i + 1] - 1 */
    const long *from;    /* how many positions the link's source is from the image's first */
    const int *number;   /* what it adds to the entry's number in its window */
    const float *weight; /* WEIGHTED: of each link; SUM: of each target, the number of entries */
} Axis;

/* Images, the targets' sizes, channels, the positions of an image of sources; tables of links. */
typedef struct {
    long n, d, h, w, c, sources;
    Axis axis[3];
} Pool;

typedef struct {
    const Pool *p;
    const float *in;
    float *out;
    void *winners; /* bytes, channels rounded up to LANES; or, if wide, ints */
    int kind, wide, relu, strange;
    Shares items;
} Work;

/* What is computed together: one target's channels c to c + LANES * vectors - 1. */
typedef struct {
    const Work *a;
    const float *in;        /* channel c of the image's first source */
    long c, channels, t;    /* the target along its row */
    long source, to;        /* the image's first source; the target */
    long i, i_end, j, j_end; /* the row's links along the first two axes */
    Axis d, h, w;
    float count; /* SUM: entries along the first two axes */
    some lanes;  /* where not all are there */
} Place;

/* The vectors at a time; whether all lanes are there; whether the row has one link on each of the
 * first two axes, as in the gradients of windows side by side. */
#define TYPES const int vectors, const int whole, const int single
#define EACH UNROLL for (int v = 0; v < vectors; v++)
#define LINES \
    for (long i = o->i; i < (single ? o->i + 1 : o->i_end); i++) \
        for (long j = o->j; j < (single ? o->j + 1 : o->j_end); j++)

INLINE vec get(const Place *o, const float *from, const int whole) {
    return whole ? load(from) : load_some(from, o->lanes);
}

INLINE void put(const Place *o, vec x, const int v, const int whole) {
    float *to = o->a->out + o->to * o->channels + o->c + v * LANES;
    whole ? store(to, x) : store_some(to, o->lanes, x);
}

INLINE void *winner_at(const Place *o, long at, const int v, const int wide) {
    long c = o->c + v * LANES;
    if (wide) return (int *)o->a->winners + at * o->channels + c;
    return (unsigned char *)o->a->winners + at * up_to(o->channels, LANES) + c;
}

INLINE ivec get_winner(const Place *o, long at, const int v, const int whole, const int wide) {
    const void *from = winner_at(o, at, v, wide);
    if (wide) return (ivec)get(o, from, whole);
    return __builtin_convertvector(*(const bytes_at *)from, ivec);
}

INLINE void put_winner(const Place *o, ivec x, const int v, const int whole, const int wide) {
    void *to = winner_at(o, o->to, v, wide);
    if (!wide)
        *(bytes_at *)to = __builtin_convertvector(x & 255, bytes);
    else if (whole)
        store(to, (vec)x);
    else
        store_some(to, o->lanes, (vec)x);
}

/* x / by, rounded as the division is: the remainder corrects the product. */
INLINE vec divide(vec x, float by, float inverse) {
    vec q = x * inverse, more = (x - q * by) * inverse + q;
    return pick(more == more, more, q);
}

/* Sums begin with -0, which changes nothing that is added to it. */
INLINE void sum(const Place *o, vec *strange, const int weighted, TYPES) {
    long first = o->w.first[o->t], end = o->w.first[o->t + 1];
    vec total[BLOCK] = {0};
    LINES {
        const float *in = o->in + (o->d.from[i] + o->h.from[j]) * o->channels;
        float line_weight = weighted ? o->d.weight[i] * o->h.weight[j] : 1;
        vec line[BLOCK];
        EACH line[v] = spread(-0.0f);
        for (long k = first; k < end;) {
            vec piece[BLOCK];
            EACH piece[v] = spread(-0.0f);
            for (long stop = smaller(k + PIECE, end); k < stop; k++) {
                const float *x = in + o->w.from[k] * o->channels;
                vec weight = spread(weighted ? line_weight * o->w.weight[k] : 1);
                EACH piece[v] += get(o, x + v * LANES, whole) * weight;
            }
            EACH line[v] += piece[v];
        }
        EACH total[v] += line[v];
    }
    float count = weighted ? 1 : o->count * o->w.weight[o->t], inverse = 1 / count;
    EACH {
        if (!weighted) {
            total[v] = divide(total[v], count, inverse);
            *strange += total[v] - total[v];
        }
        put(o, total[v], v, whole);
    }
}

/* A NaN that is found must stay; `careful` sees to it, else `odd` tells of values not finite. */
INLINE void largest(const Place *o, vec *odd, const int careful, const int wide, TYPES) {
    long first = o->w.first[o->t], end = o->w.first[o->t + 1];
    int none = o->i == o->i_end || o->j == o->j_end || first == end;
    int start = none ? NOBODY : o->d.number[o->i] + o->h.number[o->j] + o->w.number[first];
    vec best[BLOCK];
    ivec winner[BLOCK];
    EACH best[v] = spread(-INFINITY), winner[v] = (ivec){0} + start;
    if (none) odd[0] = spread(INFINITY); /* which is the result */
    LINES {
        const float *in = o->in + (o->d.from[i] + o->h.from[j]) * o->channels;
        int line_number = o->d.number[i] + o->h.number[j];
        for (long k = first; k < end; k++) {
            const float *x = in + o->w.from[k] * o->channels;
            int number = line_number + o->w.number[k];
            EACH {
                vec value = get(o, x + v * LANES, whole);
                ivec better = value > best[v];
                if (careful) better |= value != value;
                else odd[v] += value * 0;
                best[v] = pick(better, value, best[v]);
                winner[v] = (better & number) | (~better & winner[v]);
            }
        }
    }
    EACH {
        if (o->a->relu && !none) {
            ivec dead = best[v] <= 0;
            best[v] = keep(~dead, best[v]);
            winner[v] |= dead; /* NOBODY */
        }
        put(o, best[v], v, whole);
        put_winner(o, winner[v], v, whole, wide);
    }
}

INLINE void winners(const Place *o, const int wide, TYPES) {
    long first = o->w.first[o->t], end = o->w.first[o->t + 1];
    vec total[BLOCK] = {0};
    LINES {
        long line = o->d.from[i] + o->h.from[j];
        int line_number = o->d.number[i] + o->h.number[j];
        for (long k = first; k < end; k++) {
            long at = line + o->w.from[k];
            int number = line_number + o->w.number[k];
            EACH {
                ivec winner = get_winner(o, o->source + at, v, whole, wide);
                vec g = get(o, o->in + at * o->channels + v * LANES, whole);
                total[v] += keep(winner == number, g);
            }
        }
    }
    EACH put(o, total[v], v, whole);
}

INLINE void largest_row(const Place *from, vec *strange, long count, const int wide, TYPES) {
    vec odd[BLOCK] = {0}, all = {0};
    for (Place o = *from; o.t < count; o.t++, o.to++)
        largest(&o, odd, 0, wide, vectors, whole, single);
    EACH all += odd[v];
    if (sum_of(all) == 0) return;
    *strange += all;
    for (Place o = *from; o.t < count; o.t++, o.to++)
        largest(&o, odd, 1, wide, vectors, whole, single);
}

INLINE void row_of(Place o, vec *strange, long count, TYPES) {
    const int kind = o.a->kind, wide = o.a->wide;
    if (!whole) o.lanes = first_lanes(o.channels - o.c);
#define ALL(run) \
    { \
        for (; o.t < count; o.t++, o.to++) run; \
        break; \
    }
    switch (kind) {
    case SUM: ALL(sum(&o, strange, 0, vectors, whole, single))
    case WEIGHTED: ALL(sum(&o, strange, 1, vectors, whole, single))
    case LARGEST:
        wide ? largest_row(&o, strange, count, 1, vectors, whole, single)
             : largest_row(&o, strange, count, 0, vectors, whole, single);
        break;
    default:
        if (wide) ALL(winners(&o, 1, vectors, whole, single))
        ALL(winners(&o, 0, vectors, whole, single))
    }
}

INLINE void row(const Place *o, vec *strange, long count, const int vectors, const int whole) {
    if (o->i + 1 == o->i_end && o->j + 1 == o->j_end)
        row_of(*o, strange, count, vectors, whole, 1);
    else
        row_of(*o, strange, count, vectors, whole, 0);
}

/* A row of targets, and a block of their channels. */
static void item(const Work *a, long number, vec *strange) {
    const Pool *p = a->p;
    long blocks = (p->c + BLOCK * LANES - 1) / (BLOCK * LANES), at = number / blocks;
    long d = at / p->h % p->d, h = at % p->h;
    Place o = {.a = a, .channels = p->c, .to = at * p->w};
    o.d = p->axis[0], o.h = p->axis[1], o.w = p->axis[2];
    o.c = number % blocks * BLOCK * LANES;
    o.source = at / (p->h * p->d) * p->sources;
    long end = smaller(p->c, o.c + BLOCK * LANES);
    o.i = o.d.first[d], o.i_end = o.d.first[d + 1];
    o.j = o.h.first[h], o.j_end = o.h.first[h + 1];
    if (a->kind == SUM) o.count = o.d.weight[d] * o.h.weight[h];
    while (o.c < end) {
        long rest = (end - o.c) / LANES;
        o.in = a->in + o.source * p->c + o.c;
        if (rest >= 4)
            row(&o, strange, p->w, 4, 1), o.c += 4 * LANES;
        else if (rest >= 2)
            row(&o, strange, p->w, 2, 1), o.c += 2 * LANES;
        else
            rest ? row(&o, strange, p->w, 1, 1) : row(&o, strange, p->w, 1, 0), o.c += LANES;
    }
}

static void worker(void *arg) {
    Work *a = arg;
    vec strange = {0};
    for (long first, count; (count = take(&a->items, &first));)
        for (long i = first; i < first + count; i++) item(a, i, &strange);
    if (sum_of(strange) != 0) __atomic_store_n(&a->strange, 1, __ATOMIC_RELAXED);
}

/* in -> out by one of the kinds: SUM and WEIGHTED are averages and their gradient, LARGEST and
 * WINNERS the largest values, with ReLU or without, and theirs.  Of equal values the first wins, of
 * NaN the last.  Gives 0, or 1 where the results of SUM or LARGEST may not be finite throughout. */
EXPORT int NAME(windows)(const long *settings, const float *in, float *out, void *winners,
                         int kind, int wide, int relu, int threads) {
    Work a = {(const Pool *)settings, in, out, winners, kind, wide, relu, 0, {0}};
    const Pool *p = a.p;
    long items = p->n * p->d * p->h * ((p->c + BLOCK * LANES - 1) / (BLOCK * LANES));
    long chunk = items / (8 * threads);
    a.items = share(items, chunk < 1 ? 1 : smaller(chunk, 16), threads);
    chainrule_parallel(worker, &a, threads);
    return a.strange;
}
