/* Activations by exponentials and their gradients, each in one pass.
 *
 * NaN and infinity mean what they mean in the formulas (0 times infinity is NaN), and no finite
 * value gives anything else.
 */
#include "exponent.h"

enum { SIGMOID, TANH, EXPONENTIAL, SILU, MISH, SOFTPLUS, LOG_SIGMOID, GELU_ERF, GELU_TANH };

#define ROOT_HALF 0.707106781f
#define ROOT_TWO_OVER_PI 0.797884561f
#define CUBIC 0.044715f

/* erfc(z) for z >= 0, given e^(-z^2): that times t q(t) with t = 1 / (1 + z/2); q is a polynomial
 * fitted to erfc(z) e^(z^2) / t, 1e-8 of the value from it. */
INLINE vec erfc_of(vec z, vec e) {
    vec t = 1 / (1 + 0.5f * z);
    vec q = 4.319543338e-02f * t - 2.347335934e-01f;
    q = q * t + 4.936949330e-01f;
    q = q * t - 4.549739895e-01f;
    q = q * t + 1.321770454e-01f;
    q = q * t - 5.921135818e-02f;
    q = q * t + 9.346243447e-02f;
    q = q * t + 1.753159758e-01f;
    q = q * t + 2.468845747e-01f;
    q = q * t + 2.820937538e-01f;
    q = q * t + 2.820947952e-01f;
    return e * t * q;
}

/* The part of the normal distribution below x, given e^(-x^2 / 2). */
INLINE vec normal_below(vec x, vec e) {
    vec tail = 0.5f * erfc_of(size_of(x) * ROOT_HALF, e);
    return pick(x < 0, tail, 1 - tail);
}

/* n = e^x (e^x + 2): tanh(log(1 + e^x)) is n / (n + 2).  Beyond 20 it is 1. */
INLINE vec mish_part(vec x, vec *e) {
    *e = exp_of(pick(x > 20, spread(20), x));
    return *e * (*e + 2);
}

INLINE vec gelu_inner(vec x) { return ROOT_TWO_OVER_PI * (x + CUBIC * x * x * x); }

INLINE vec softplus_of(vec x) {
    return keep(~(x < 0), x) + small_log1p(exp_below_1(x));
}

INLINE vec value(vec x, vec a, vec b, vec c, const int kind) {
    switch (kind) {
    case SIGMOID: return sigmoid_of(x);
    case TANH: return tanh_of(x);
    case EXPONENTIAL: return pick(x > 0, c * x, a * expm1_of(b * x));
    case SILU: return x * sigmoid_of(x);
    case MISH: {
        vec e, n = mish_part(x, &e);
        return pick(x > 20, x, x * (n / (n + 2)));
    }
    case SOFTPLUS: return pick(a * x > b, x, softplus_of(a * x) * c);
    case LOG_SIGMOID: return -softplus_of(-x);
    case GELU_ERF: return x * normal_below(x, exp_of(-0.5f * x * x));
    default: return x * sigmoid_of(2 * gelu_inner(x));
    }
}

/* Of sigmoid and tanh, x is the result. */
INLINE vec gradient(vec x, vec g, vec a, vec b, vec c, const int kind) {
    switch (kind) {
    case SIGMOID: return (1 - x) * x * g;
    case TANH: return (1 - x * x) * g;
    case EXPONENTIAL: return pick(x <= 0, a * b * exp_of(b * x), c) * g;
    case SILU: {
        vec rest, s = sigmoids_of(x, &rest);
        return s * (1 + x * rest) * g;
    }
    case MISH: { /* 1 - t^2 = 4 (n + 1) / (n + 2)^2 */
        vec e, n = mish_part(x, &e), r = 1 / (n + 2);
        vec slope = n * r + x * (e / (1 + e)) * (4 * (n + 1) * r * r);
        return pick(x > 20, 1 + 0 * x, slope) * g;
    }
    case SOFTPLUS: return pick(a * x > b, g, sigmoid_of(a * x) * g);
    case LOG_SIGMOID: return sigmoid_of(-x) * g;
    case GELU_ERF: {
        vec e = exp_of(-0.5f * x * x);
        return (normal_below(x, e) + 0.5f * ROOT_TWO_OVER_PI * x * e) * g;
    }
    default: { /* beyond 20 the sigmoid is 0 or 1 and the inner slope does not matter */
        vec near = clip(x, spread(-20), spread(20)), rest, s = sigmoids_of(2 * gelu_inner(x), &rest);
        vec slope = 2 * ROOT_TWO_OVER_PI * (1 + 3 * CUBIC * near * near);
        return (s + x * (s * rest) * slope) * g;
    }
    }
}

#define KINDS \
    CASE(SIGMOID) CASE(TANH) CASE(EXPONENTIAL) CASE(SILU) CASE(MISH) \
    CASE(SOFTPLUS) CASE(LOG_SIGMOID) CASE(GELU_ERF) CASE(GELU_TANH)
#define ENTRY curves
#include "pointwise.h"
