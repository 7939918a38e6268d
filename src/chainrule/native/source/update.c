/* A step of an optimiser, each array being read and written once.
 *
 * A rule says what becomes of a number w of a parameter and of its state a, b, c, by the gradient
 * g.  The numbers n of a rule begin with the decay; their order is that of the rule of the same
 * name in Python, which has the formula and its source.
 */
#include "exponent.h"
#include "threads.h"

#define PIECE 4096 /* numbers that a thread takes at a time */
#define MOST 8     /* numbers of a rule */

/* Bits of `how`. */
#define UPHILL 1
#define DECAY 2  /* is added to the gradient */
#define SHRINK 4 /* multiplies w */
#define FREE 8   /* means something else in each rule, as do those above it */

typedef struct {
    float *w;
    const float *g;
    float *a, *b, *c; /* null: not wanted */
    long size;
    float n[MOST];
    int how;
} Update;

typedef struct {
    Update update;
    Shares pieces;
} Work;

/* The same places of all arrays. */
typedef struct {
    vec w, g, a, b, c;
} Cell;

#if LANES == 16
INLINE vec root_of(vec x) { return (vec)_mm512_sqrt_ps((__m512)x); }
#else
INLINE vec root_of(vec x) { return (vec)_mm256_sqrt_ps((__m256)x); }
#endif

/* The larger of two, NaN where either is. */
INLINE vec largest(vec x, vec y) { return pick(x == x, larger_of(x, y), x); }

/* The gradient of what is to fall, with its decay; a decay of w itself is done. */
INLINE vec pulled(const Update *u, Cell *at) {
    if (u->how & SHRINK) at->w *= u->n[0];
    vec d = u->how & UPHILL ? -at->g : at->g;
    return u->how & DECAY ? d + u->n[0] * at->w : d;
}

/* A running mean that moves towards d by a share, exact at both ends. */
INLINE vec follow(vec mean, vec d, float weight) {
    vec way = d - mean;
    return weight < 0.5f && weight > -0.5f ? mean + weight * way : d - (1 - weight) * way;
}

INLINE vec follow_square(vec mean, vec d, float keep, float rest) {
    return keep * mean + (rest * d) * d;
}

/* decay, rate, momentum, 1 - dampening; a: momentum. */
INLINE void sgd(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    if (u->a) {
        at->a = u->how & FREE ? d : n[2] * at->a + n[3] * d;
        d = u->how & 2 * FREE ? d + n[2] * at->a : at->a;
    }
    at->w -= n[1] * d;
}

/* decay, 1 - beta1, beta2, 1 - beta2, rate, root of the second bias, eps; a, b: the moments; c: the
 * largest b so far. */
INLINE void adam(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    at->a = follow(at->a, d, n[1]);
    at->b = follow_square(at->b, d, n[2], n[3]);
    if (u->c) at->c = largest(at->c, at->b);
    at->w -= n[4] * at->a / (root_of(u->c ? at->c : at->b) / n[5] + n[6]);
}

/* decay, 1 - beta1, beta2, rate, eps; a: mean; b: largest size. */
INLINE void adamax(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    at->a = follow(at->a, d, n[1]);
    at->b = largest(n[2] * at->b, size_of(d) + n[4]);
    at->w -= n[3] * at->a / at->b;
}

/* decay, 1 - beta1, beta2, 1 - beta2, second bias, rates of the gradient and the mean, eps; a, b:
 * the moments. */
INLINE void nadam(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    at->a = follow(at->a, d, n[1]);
    at->b = follow_square(at->b, d, n[2], n[3]);
    vec scale = root_of(at->b / n[4]) + n[7];
    at->w -= n[5] * d / scale;
    at->w -= n[6] * at->a / scale;
}

/* decay, 1 - beta1, beta2, 1 - beta2, rate, eps; a, b: the moments; FREE: divided by b's root. */
INLINE void radam(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    at->a = follow(at->a, d, n[1]);
    at->b = follow_square(at->b, d, n[2], n[3]);
    vec move = n[4] * at->a;
    at->w -= u->how & FREE ? move / (root_of(at->b) + n[5]) : move;
}

/* decay, rate, eps; a: sum of squares. */
INLINE void adagrad(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    at->a += d * d;
    at->w -= n[1] * d / (root_of(at->a) + n[2]);
}

/* decay, rho, 1 - rho, eps, rate; a, b: mean squares of gradients and of steps. */
INLINE void adadelta(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    at->a = follow_square(at->a, d, n[1], n[2]);
    vec move = root_of(at->b + n[3]) / root_of(at->a + n[3]) * d;
    at->b = follow_square(at->b, move, n[1], n[2]);
    at->w -= n[4] * move;
}

/* decay, alpha, 1 - alpha, eps, momentum, rate; a: mean square; b: momentum; c: mean. */
INLINE void rmsprop(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at);
    at->a = follow_square(at->a, d, n[1], n[2]);
    vec square = at->a;
    if (u->c) {
        at->c = follow(at->c, d, n[2]);
        square -= at->c * at->c;
    }
    vec scale = root_of(square) + n[3];
    if (u->b) {
        at->b = n[4] * at->b + d / scale;
        at->w -= n[5] * at->b;
    } else {
        at->w -= n[5] * d / scale;
    }
}

/* -, shrinking, growth, least, largest; a: the gradient before; b: sizes of steps. */
INLINE void rprop(const Update *u, Cell *at) {
    const float *n = u->n;
    vec d = pulled(u, at), both = d * at->a, none = {0};
    vec size = at->b * pick(both > 0, n[2] + none, pick(both < 0, n[1] + none, 1 + none));
    at->b = pick(size == size, clip(size, n[3] + none, n[4] + none), size);
    at->a = pick(both < 0, none, d);
    at->w -= pick(at->a > 0, 1 + none, pick(at->a < 0, none - 1, none)) * at->b;
}

/* `whole`: a full vector; else the lanes. */
INLINE void step(const Update *u, long i, some lanes, const int whole,
                 void (*const rule)(const Update *, Cell *)) {
    Cell at = {0};
#define FETCH(from) (whole ? load((from) + i) : load_some((from) + i, lanes))
    at.w = FETCH(u->w);
    at.g = FETCH(u->g);
    if (u->a) at.a = FETCH(u->a);
    if (u->b) at.b = FETCH(u->b);
    if (u->c) at.c = FETCH(u->c);
    rule(u, &at);
#define KEEP(to, x) (whole ? store((to) + i, x) : store_some((to) + i, lanes, x))
    if (u->a) KEEP(u->a, at.a);
    if (u->b) KEEP(u->b, at.b);
    if (u->c) KEEP(u->c, at.c);
    KEEP(u->w, at.w);
}

INLINE void work(Work *shared, void (*const rule)(const Update *, Cell *)) {
    Update u = shared->update; /* a copy, which no array can be taken to overlap */
    for (long piece; take(&shared->pieces, &piece);) {
        long i = piece * PIECE, end = smaller(i + PIECE, u.size);
        for (; i + LANES <= end; i += LANES) step(&u, i, first_lanes(LANES), 1, rule);
        if (i < end) step(&u, i, first_lanes(end - i), 0, rule);
    }
}

/* update_RULE changes `size` numbers of w and of the state; g is read. */
#define RULE(rule) \
    static void rule##_worker(void *arg) { work(arg, rule); } \
    EXPORT int NAME(update_##rule)(float *w, const float *g, float *a, float *b, float *c, \
                                   long size, float n0, float n1, float n2, float n3, float n4, \
                                   float n5, float n6, float n7, int how, int threads) { \
        Work all = {{w, g, a, b, c, size, {n0, n1, n2, n3, n4, n5, n6, n7}, how}, {0}}; \
        all.pieces = share((size + PIECE - 1) / PIECE, 1, threads); \
        chainrule_parallel(rule##_worker, &all, threads); \
        return 0; \
    }

RULE(sgd)
RULE(adam)
RULE(adamax)
RULE(nadam)
RULE(radam)
RULE(adagrad)
RULE(adadelta)
RULE(rmsprop)
RULE(rprop)
