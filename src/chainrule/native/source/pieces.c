/* Activations of straight and parabolic pieces and their gradients, each in one pass.
 *
 * NaN and infinity mean what they mean in the formulas, so that nobody has to look for them first.
 */
#include "exponent.h"

enum { LEAKY, CLIP, HARD_SIGMOID, HARD_SWISH, THRESHOLD, HARD_SHRINK, SOFT_SHRINK };

#define SIXTH (1.0f / 6) /* times 6 it is 1 */

INLINE vec value(vec x, vec a, vec b, vec c, const int kind) {
    (void)c;
    switch (kind) {
    case LEAKY: return pick(x > 0, x, a * x);
    case CLIP: return clip(x, a, b);
    case HARD_SIGMOID: return clip(x + 3, spread(0), spread(6)) * SIXTH;
    case HARD_SWISH: return clip(x + 3, spread(0), spread(6)) * SIXTH * x;
    case THRESHOLD: return pick(x <= a, b, x);
    case HARD_SHRINK: return keep(~(size_of(x) <= a), x);
    default: return x - clip(x, -a, a);
    }
}

INLINE vec gradient(vec x, vec g, vec a, vec b, vec c, const int kind) {
    (void)c;
    switch (kind) {
    case LEAKY: return pick(x > 0, g, a * g);
    case CLIP: return keep((x > a) & (x < b), g);
    case HARD_SIGMOID: return keep(size_of(x) < 3, g * SIXTH);
    case HARD_SWISH: return keep(~(x <= -3), pick(x >= 3, spread(1), x / 3 + 0.5f) * g);
    case THRESHOLD: return keep(~(x <= a), g);
    default: return keep(size_of(x) > a, g);
    }
}

#define KINDS \
    CASE(LEAKY) CASE(CLIP) CASE(HARD_SIGMOID) CASE(HARD_SWISH) \
    CASE(THRESHOLD) CASE(HARD_SHRINK) CASE(SOFT_SHRINK)
#define ENTRY pieces
#include "pointwise.h"
