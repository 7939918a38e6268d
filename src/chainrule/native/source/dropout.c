/* Random masks: what stays is scaled, and moved by one number; what is dropped is 0, moved by
 * another.  NaN and infinity times 0 are NaN, as in the formula. */
#include "exponent.h"
#include "threads.h"

#define PIECE 4096 /* numbers that a thread takes at a time */

typedef unsigned char bytes __attribute__((vector_size(LANES)));
typedef unsigned char bytes_at __attribute__((vector_size(LANES), aligned(1), may_alias));

typedef struct {
    const float *x;
    const unsigned char *mask; /* 1 for what stays */
    float *out;
    long size;
    float scale, stays, dropped;
    int moved;
    Shares pieces;
} Work;

INLINE vec masked(const Work *w, vec x, bytes mask, const int moved) {
    ivec stays = __builtin_convertvector(mask, ivec) != 0;
    vec y = x * keep(stays, spread(w->scale));
    return moved ? y + pick(stays, spread(w->stays), spread(w->dropped)) : y;
}

INLINE void range(const Work *w, long at, long end, const int moved) {
    for (; at + LANES <= end; at += LANES)
        store(w->out + at, masked(w, load(w->x + at), *(const bytes_at *)(w->mask + at), moved));
    if (at == end) return;
    some lanes = first_lanes(end - at);
    bytes last = {0};
    for (long i = 0; i < end - at; i++) last[i] = w->mask[at + i];
    store_some(w->out + at, lanes, masked(w, load_some(w->x + at, lanes), last, moved));
}

static void worker(void *arg) {
    Work *w = arg;
    for (long piece; take(&w->pieces, &piece);) {
        long at = piece * PIECE, end = smaller(at + PIECE, w->size);
        w->moved ? range(w, at, end, 1) : range(w, at, end, 0);
    }
}

/* x -> x * mask * scale, with `moved` plus `stays` where the mask is 1, and `dropped` elsewhere. */
EXPORT int NAME(dropout)(const float *x, const unsigned char *mask, float *out, long size,
                         float scale, float stays, float dropped, int moved, int threads) {
    Work w = {x, mask, out, size, scale, stays, dropped, moved, {0}};
    w.pieces = share((size + PIECE - 1) / PIECE, 1, threads);
    chainrule_parallel(worker, &w, threads);
    return 0;
}
