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
INLINE vec clip(vec x, vec low, vec high) {
    x = pick(x < low, low, x);
    return pick(x > high, high, x);
}

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

/* 2^n for whole n from -126 to 127. */
INLINE vec power(ivec n) { return (vec)((n + 127) << 23); }

INLINE vec exp_of(vec x) {
    vec n, r = reduced(clip(x, spread(-104), spread(89)), &n);
    ivec whole = __builtin_convertvector(pick(n == n, n, spread(0)), ivec), half = whole >> 1;
    /* In two factors, since 2^128 is none, and the last subnormal is 2^-149. */
    return (small_expm1(r) + 1) * power(half) * power(whole - half);
}

/* e^x - 1, exact near 0 too. */
INLINE vec expm1_of(vec x) {
    vec n, r = reduced(clip(x, spread(-30), spread(89)), &n);
    ivec whole = __builtin_convertvector(pick(n == n, n, spread(0)), ivec), half = whole >> 1;
    vec first = power(half), second = power(whole - half), e = small_expm1(r);
    vec y = (e * first + (first - 1 / second)) * second;
    return pick(x == 0, x, pick(r == x, e, y)); /* -0 stays -0 */
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

/* 1 / (1 + e^-x); e^-x overflows to infinity and gives 0. */
INLINE vec sigmoid_of(vec x) { return 1 / (1 + exp_of(-x)); }

/* (e^2x - 1) / (e^2x + 1), exact near 0 too. */
INLINE vec tanh_of(vec x) {
    vec e = expm1_of(clip(2 * x, spread(-20), spread(20)));
    return pick(x == 0, x, e / (e + 2));
}

#endif
