/* Functions of up to three values each, and their gradients, in one pass over arrays that
 * broadcast.
 *
 * NaN and infinity mean what they mean in the formulas.
 */
#include "exponent.h"
#include "threads.h"

#define PIECE 4096 /* numbers that a thread takes at a time, or the rows that hold so many */
#define TILE 1024 /* numbers of short rows that are computed as one */
#define SMALLEST_NORMAL 1.17549435e-38f

/* The numbers are those of `Kind` in backends/onednn/loops.py.  `x` and `y` are what the
 * forward had and gave; g is the gradient that arrives. */
enum {
    ADD, SUB, MUL, DIV, MAX, MIN, /* of a, b */
    MUL_FIRST, MUL_SECOND, DIV_FIRST, DIV_SECOND, /* gradients of a, b, g */
    SHARE_FIRST, SHARE_SECOND,    /* a, b, g: what the larger gets; at a tie both get half */
    LESS_TIMES,                   /* (a - b) c */
    EQUAL_TIMES, SAME_TIMES,      /* c where a = b, else 0; NaN being the same as NaN */
    RATIO_TIMES,                  /* (a / b) c, a / 0 being 0 */
    EXP, LOG, SQRT, RSQRT, ABS, NEG, RECIPROCAL, POWER, CLAMP, SCALE,  /* of x */
    SQRT_BACK, RSQRT_BACK, ABS_BACK, RECIPROCAL_BACK, POWER_BACK, CLAMP_BACK, /* x or y, g */
    WHERE, WHERE_NOT,             /* bytes a: b where they are not 0 (or are), else c */
};

/* Sizes of the result, and how far apart an operand's elements are along them (0: the same). */
typedef struct {
    long outer, rows, inner;
    struct {
        long outer, rows, inner;
    } step[3];
} Loops;

typedef struct {
    Loops s;
    const char *operand[3];
    float *out[2], p, q; /* one or two results; the settings: exponent, limits, factor */
    int kind[2];
    long cuts; /* pieces of a row */
    int tiled; /* whether several rows are computed as one */
    Shares pieces;
} Work;

/* Operands that are the same for each row, several times beside each other; for which `outer`. */
typedef struct {
    float of[3][TILE];
    long outer;
} Tiles;

INLINE vec root_of(vec x) {
#if LANES == 16
    return (vec)_mm512_sqrt_ps((__m512)x);
#else
    return (vec)_mm256_sqrt_ps((__m256)x);
#endif
}

INLINE int any_of(ivec where) {
#if LANES == 16
    return _mm512_movepi32_mask((__m512i)where) != 0;
#else
    return _mm256_movemask_ps((__m256)where) != 0;
#endif
}

INLINE vec log_of(vec x) {
    ivec normal = (x >= SMALLEST_NORMAL) & (x < __builtin_inff());
    if (!any_of(~normal)) return small_log(x);
    ivec tiny = x < SMALLEST_NORMAL;
    vec y = small_log(pick(tiny, x * 0x1p23f, x)) - keep(tiny, spread(15.9423851f));
    y = pick(x == __builtin_inff(), x, y);
    y = pick(x == 0, spread(-__builtin_inff()), y);
    return pick(x < 0, spread(__builtin_nanf("")), y);
}

/* x^n for whole n from 1. */
INLINE vec whole_power(vec x, int n) {
    vec y = spread(1);
    for (; n; n >>= 1, x *= x)
        if (n & 1) y *= x;
    return y;
}

INLINE vec value(vec a, vec b, vec c, float p, float q, const int kind) {
    vec one = spread(1);
    switch (kind) {
    case ADD: return a + b;
    case SUB: return a - b;
    case MUL: return a * b;
    case DIV: return a / b;
    case MAX: return pick((a >= b) | (a != a), a, b);
    case MIN: return pick((a <= b) | (a != a), a, b);
    case MUL_FIRST: return c * b;
    case MUL_SECOND: return c * a;
    case DIV_FIRST: return c / b;
    case DIV_SECOND: return -c * (a / b / b);
    case SHARE_FIRST: return keep(~(a < b), pick(a == b, c * 0.5f, c));
    case SHARE_SECOND: return keep(~(b < a), pick(a == b, c * 0.5f, c));
    case LESS_TIMES: return (a - b) * c;
    case EQUAL_TIMES: return keep(a == b, one) * c;
    case SAME_TIMES: return keep((a == b) | ((a != a) & (b != b)), one) * c;
    case RATIO_TIMES: return keep(b != 0, a / b) * c;
    case EXP: return exp_of(a);
    case LOG: return log_of(a);
    case SQRT: return root_of(a);
    case RSQRT: return 1 / root_of(a);
    case ABS: return size_of(a);
    case NEG: return -a;
    case RECIPROCAL: return 1 / a;
    case POWER: return whole_power(a, (int)p);
    case CLAMP: return clip(a, spread(p), spread(q));
    case SCALE: return a * p;
    case SQRT_BACK: return b / (2 * a);
    case RSQRT_BACK: return -0.5f * b * (a * a * a);
    case ABS_BACK: return b * (keep(a > 0, one) - keep(a < 0, one));
    case RECIPROCAL_BACK: return -b * (a * a);
    case POWER_BACK: return b * (whole_power(a, (int)p - 1) * p);
    case CLAMP_BACK: return keep((a >= p) & (a <= q), b);
    case WHERE: return pick((ivec)a, b, c);
    default: return pick((ivec)a, c, b);
    }
}

typedef signed char bytes __attribute__((vector_size(LANES)));
typedef signed char bytes_at __attribute__((vector_size(LANES), aligned(1), may_alias));

INLINE vec mask_of(bytes some) { return (vec)(__builtin_convertvector(some, ivec) != 0); }

INLINE vec some_mask(const char *from, long count) {
    bytes some = {0};
    for (long i = 0; i < count; i++) some[i] = from[i];
    return mask_of(some);
}

/* `count` numbers of one row; an operand that is one number there is read from `held`. */
INLINE void part(const Work *w, const char *const from[3], float *out, long count, const int kind) {
    const int masked = kind == WHERE || kind == WHERE_NOT;
    const float *at[3];
    const char *mask = from[0];
    long step[3];
    vec held[3];
    for (int i = 0; i < 3; i++) {
        step[i] = w->s.step[i].inner * LANES;
        at[i] = (const float *)from[i];
        if (step[i]) continue;
        if (masked && i == 0) {
            held[0] = (vec)((ivec){0} + 0x01010101 * (*mask != 0));
            mask = (const char *)held;
        } else {
            held[i] = spread(*at[i]);
            at[i] = (const float *)&held[i];
        }
    }
    for (; count >= LANES; count -= LANES, out += LANES) {
        vec a = masked ? mask_of(*(const bytes_at *)mask) : load(at[0]);
        store(out, value(a, load(at[1]), load(at[2]), w->p, w->q, kind));
        for (int i = 0; i < 3; i++) at[i] += step[i];
        mask += step[0];
    }
    if (!count) return;
    some lanes = first_lanes(count);
    vec a = masked ? some_mask(mask, count) : load_some(at[0], lanes);
    vec b = load_some(at[1], lanes), c = load_some(at[2], lanes);
    store_some(out, lanes, value(a, b, c, w->p, w->q, kind));
}

/* Rows beside each other: give how many. */
INLINE long rows_at_once(const Work *w, const char *from[3], long outer, Tiles *t) {
    const long count = TILE / w->s.inner;
    for (int i = 0; i < 3; i++) {
        if (w->s.step[i].rows || !w->s.step[i].inner) continue;
        for (long k = 0; t->outer != outer && k < count; k++)
            __builtin_memcpy(t->of[i] + k * w->s.inner, from[i], (size_t)w->s.inner * 4);
        from[i] = (const char *)t->of[i];
    }
    t->outer = outer;
    return count;
}

INLINE void block(const Work *w, float *out, long first, long count, Tiles *t, const int kind) {
    const Loops *s = &w->s;
    const int masked = kind == WHERE || kind == WHERE_NOT;
    long cut = first % w->cuts, row = first / w->cuts % s->rows, outer = first / w->cuts / s->rows;
    for (long done; count > 0; count -= done) {
        long begin = cut * PIECE, size = smaller(PIECE, s->inner - begin);
        const char *from[3];
        for (int i = 0; i < 3; i++) {
            long at = outer * s->step[i].outer + row * s->step[i].rows + begin * s->step[i].inner;
            from[i] = w->operand[i] + at * (masked && i == 0 ? 1 : 4);
        }
        done = 1;
        if (w->tiled) done = rows_at_once(w, from, outer, t);
        done = smaller(done, smaller(count, s->rows - row));
        part(w, from, out + (outer * s->rows + row) * s->inner + begin, size * done, kind);
        if (++cut < w->cuts) continue;
        cut = 0;
        row += done;
        if (row < s->rows) continue;
        row = 0;
        outer++;
    }
}

#define CASE(kind) \
    case kind: \
        block(w, w->out[i], first, count, &tiles, kind); \
        break;

static void worker(void *arg) {
    Work *w = arg;
    Tiles tiles;
    tiles.outer = -1;
    for (long first, count; (count = take(&w->pieces, &first));)
        for (int i = 0; i < 2 && w->out[i]; i++)
            switch (w->kind[i]) {
                CASE(ADD) CASE(SUB) CASE(MUL) CASE(DIV) CASE(MAX) CASE(MIN)
                CASE(MUL_FIRST) CASE(MUL_SECOND) CASE(DIV_FIRST) CASE(DIV_SECOND)
                CASE(SHARE_FIRST) CASE(SHARE_SECOND) CASE(LESS_TIMES)
                CASE(EQUAL_TIMES) CASE(SAME_TIMES) CASE(RATIO_TIMES)
                CASE(EXP) CASE(LOG) CASE(SQRT) CASE(RSQRT) CASE(ABS) CASE(NEG) CASE(RECIPROCAL)
                CASE(POWER) CASE(CLAMP) CASE(SCALE)
                CASE(SQRT_BACK) CASE(RSQRT_BACK) CASE(ABS_BACK) CASE(RECIPROCAL_BACK)
                CASE(POWER_BACK) CASE(CLAMP_BACK) CASE(WHERE) CASE(WHERE_NOT)
            }
}

/* Rows are tiled where they are short, and every operand has them one behind the other, or the
 * same numbers for each, of which a mask would have bytes. */
static int can_tile(const Loops *s, int masked) {
    if (s->rows == 1 || s->inner == 1 || s->inner > TILE / 4) return 0;
    for (int i = 0; i < 3; i++) {
        int repeats = s->step[i].rows == 0, one = s->step[i].inner == 0;
        if (one ? !repeats : repeats ? masked && i == 0 : s->step[i].rows != s->inner) return 0;
    }
    return 1;
}

/* out = the function of a, b, c: floats, but a may be bytes; what the function does not read is a
 * pointer to any number, with steps of 0.  `also`, if not null, is another function's result.
 * `loops` is a Loops. */
EXPORT int NAME(elementwise)(const long *loops, const void *a, const void *b, const void *c,
                             float *out, float *also, float p, float q, int kind, int also_kind,
                             int threads) {
    Work w = {*(const Loops *)loops, {a, b, c}, {out, also}, p, q, {kind, also_kind}, 0, 0, {0}};
    w.cuts = (w.s.inner + PIECE - 1) / PIECE;
    w.tiled = can_tile(&w.s, kind == WHERE || kind == WHERE_NOT);
    long rows = PIECE / w.s.inner;
    w.pieces = share(w.s.outer * w.s.rows * w.cuts, rows > 1 ? rows : 1, threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}
