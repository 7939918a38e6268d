/* exp, log and their kin of whole vectors, to a few units in the last place.
 *
 * NaN comes through; what overflows is infinite; exp of what underflows is subnormal, then 0.
 * Polynomials after Moshier's Cephes library (expf, logf); the ranges are reduced by ln 2 in two
 * parts, so that the larger part times a whole number is exact.
 */
#ifndef CHAINRULE_EXPONENT_H
#define CHAINRULE_EXPONENT_H

#include "vector.h"

#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f

INLINE vec pick(ivec where, vec yes, vec no) {
    return (vec)((where & (ivec)yes) | (~where & (ivec)no));
}
INLINE vec keep(ivec where, vec x) { return (vec)(where & (ivec)x); }
INLINE vec size_of(vec x) { return (vec)((ivec)x & 0x7fffffff); }

/* The larger or smaller of two; where one is NaN, the second. */
#if LANES == 16
INLINE vec larger_of(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec smaller_of(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#else
INLINE vec larger_of(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vec smaller_of(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
#endif

INLINE vec clip(vec x, vec low, vec high) { return smaller_of(high, larger_of(low, x)); }

/* x = n ln 2 + r with a whole n: give r, and n as a float.  For |x| up to 2^22. */
INLINE vec reduced(vec x, vec *n) {
    const float whole = 12582912.0f; /* 1.5 * 2^23: adding it rounds to whole numbers */
    *n = (x * 1.44269504f + whole) - whole;
    return x - *n * LN2_HIGH - *n * LN2_LOW;
}

/* e^r - 1 for |r| <= ln 2 / 2. */
INLINE vec small_expm1(vec r) {
    vec p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r;
}

/* e^r for |r| <= ln 2 / 2; a polynomial fitted to it, 8e-9 from it. */
INLINE vec small_exp(vec r) {
    vec p = 1.393373357e-3f * r + 8.363235742e-3f;
    p = p * r + 4.166646302e-2f;
    p = p * r + 1.666657627e-1f;
    p = p * r + 0.5f;
    return p * (r * r) + (r + 1);
}

/* y 2^n for whole n from -150 to 128, overflowing and vanishing as a product does. */
#if LANES == 16
INLINE vec scaled(vec y, vec n) { return (vec)_mm512_scalef_ps((__m512)y, (__m512)n); }
#elif REGISTERS == 32
INLINE vec scaled(vec y, vec n) { return (vec)_mm256_scalef_ps((__m256)y, (__m256)n); }
#else
INLINE vec power(ivec n) { return (vec)((n + 127) << 23); } /* 2^n for n from -126 to 127 */
INLINE vec scaled(vec y, vec n) {
    ivec whole = __builtin_convertvector(pick(n == n, n, spread(0)), ivec), half = whole >> 1;
    return y * power(half) * power(whole - half);
}
#endif

INLINE vec exp_of(vec x) {
    vec n, r = reduced(clip(x, spread(-104), spread(89)), &n);
    return scaled(small_exp(r), n);
}

/* e^x - 1, exact near 0 too. */
INLINE vec expm1_of(vec x) {
    vec n, r = reduced(clip(x, spread(-30), spread(89)), &n);
    /* 2^n (e^r - 1) + 2^n - 1 */
    vec y = scaled(small_expm1(r) + (1 - scaled(spread(1), -n)), n);
    return pick(x == 0, x, y); /* -0 stays -0 */
}

/* ln x for x from the smallest normal number to the largest; NaN comes through. */
INLINE vec small_log(vec x) {
    ivec bits = (ivec)x, low;
    ivec e = ((bits >> 23) & 0xff) - 126;
    vec m = (vec)((bits & 0x7fffff) | 0x3f000000); /* from 1/2 to 1 */
    low = m < 0.707106781f;
    m = pick(low, m + m, m) - 1;
    vec n = __builtin_convertvector(e + low, vec); /* low is -1 where true */
    vec p = 7.0376836292e-2f * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    vec z = m * m;
    vec y = p * m * z + n * LN2_LOW - 0.5f * z;
    return pick(x == x, m + y + n * LN2_HIGH, x);
}

/* ln (1 + x) for x from 0 to the largest number; NaN comes through. */
INLINE vec log1p_of(vec x) {
    vec w = 1 + x, lost = x - (w - 1);
    vec y = small_log(w);
    return pick(x < 1, y + lost / w, y);
}

/* ln (1 + x) for x from 0 to 1, by atanh(x / (2 + x)), right relative to its value. */
INLINE vec small_log1p(vec x) {
    vec s = x / (2 + x), z = s * s;
    vec p = 1.161982304e-1f * z + 1.085159961e-1f;
    p = p * z + 1.429629515e-1f;
    p = p * z + 1.999985061e-1f;
    p = p * z + 3.333333367e-1f;
    s += s;
    return p * z * s + s;
}

/* e^-|x|, which is never too large. */
INLINE vec exp_below_1(vec x) {
    vec n, r = reduced(larger_of(spread(-104), -size_of(x)), &n);
    return scaled(small_exp(r), n);
}

/* 1 / (1 + e^-x), and the same of -x: both are right relative to their values. */
INLINE vec sigmoids_of(vec x, vec *other) {
    vec e = exp_below_1(x), large = 1 / (1 + e), small = e * large;
    *other = pick(x < 0, large, small);
    return pick(x < 0, small, large);
}

INLINE vec sigmoid_of(vec x) {
    vec e = exp_below_1(x);
    return pick(x < 0, e, spread(1)) / (1 + e);
}

/* (e^2x - 1) / (e^2x + 1), exact near 0 too; beyond 10 it is 1. */
INLINE vec tanh_of(vec x) {
    vec e = expm1_of(smaller_of(spread(20), 2 * size_of(x)));
    return (vec)((ivec)(e / (e + 2)) | ((ivec)x & (int)0x80000000));
}

#endif
