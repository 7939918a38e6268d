/* Convolutions of few channels, with steps of 1: an image with its borders stays in the cache.
 *
 * oneDNN's kernels fill their registers with channels, of which the first layers have one to six.
 * Here the lanes hold what there is enough of: output channels forward and in the gradient by the
 * weight, (column, channel) pairs of a window's row in the gradient by the input.
 */
#ifndef CHAINRULE_NARROW_H
#define CHAINRULE_NARROW_H

#include "threads.h"
#include "vector.h"

#define WIDEST 32 /* most (column, channel) pairs in a window's row */

/* Sizes of x (N, H, W, C), y (N, OH, OW, K), the window, and the border above and left. */
typedef struct {
    long n, h, w, c, k, oh, ow;
    long kh, kw, top, left;
} Narrow;

static inline long pairs_of(const Narrow *s) { return s->kw * s->c; }
static inline long padded_height(const Narrow *s) { return s->oh + s->kh - 1; }
static inline long padded_width(const Narrow *s) { return s->ow + s->kw - 1; }
static inline long vectors_of(const Narrow *s) { return (s->k + LANES - 1) / LANES; }
static inline long taps_of(const Narrow *s) { return s->kh * pairs_of(s); }

/* Floats of a padded image, with what vectors may touch beyond it. */
static inline long padded_size(const Narrow *s) {
    return up_to(padded_height(s) * padded_width(s) * s->c + 2 * WIDEST, LANES);
}

#endif
