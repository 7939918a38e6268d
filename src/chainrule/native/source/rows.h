/* Rows: values that lie side by side and belong together, such as the scores of the classes. */
#ifndef CHAINRULE_ROWS_H
#define CHAINRULE_ROWS_H

#include "exponent.h"
#include "threads.h"

#define STRETCH (1 << 14) /* values of a row that are added in float32; stretches in float64 */
#define AT_ONCE 8192      /* values, in whole rows, that a thread takes at a time */

/* Run over a row's stretches, and over the vectors of one. */
#define STRETCHES(at, end, length) \
    for (long at = 0, end; end = smaller(at + STRETCH, length), at < (length); at = end)
#define VECTORS(i, at, end) for (long i = at; i < (end); i += LANES)
#define PAIRS(i, at, end) for (long i = at; i < (end); i += 2 * LANES) /* for sums apart */

/* The next vector of a row that has `left` values more; `other` stands where it has none. */
INLINE vec get(const float *from, long left, vec other) {
    if (left >= LANES) return load(from);
    if (left <= 0) return other;
    some lanes = first_lanes(left);
#if LANES == 16
    return (vec)_mm512_mask_loadu_ps((__m512)other, lanes, from);
#elif REGISTERS == 32
    return (vec)_mm256_mask_loadu_ps((__m256)other, lanes, from);
#else
    return (vec)_mm256_blendv_ps((__m256)other, (__m256)load_some(from, lanes), (__m256)lanes);
#endif
}

INLINE void put(float *to, long left, vec x) {
    if (left >= LANES)
        store(to, x);
    else
        store_some(to, first_lanes(left), x);
}

/* Folded in halves: a few steps where one lane after the other would be sixteen. */
INLINE __m128 quarter(vec x, const int largest) {
#if LANES == 16
    __m256 a = _mm512_castps512_ps256((__m512)x), b = _mm512_extractf32x8_ps((__m512)x, 1);
    __m256 half = largest ? _mm256_max_ps(a, b) : _mm256_add_ps(a, b);
#else
    __m256 half = (__m256)x;
#endif
    __m128 c = _mm256_castps256_ps128(half), d = _mm256_extractf128_ps(half, 1);
    return largest ? _mm_max_ps(c, d) : _mm_add_ps(c, d);
}

INLINE float sum_across(vec x) {
    __m128 four = quarter(x, 0);
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(four) + four[1];
}

INLINE float largest_across(vec x) {
    __m128 four = quarter(x, 1);
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return four[1] > four[0] ? four[1] : four[0];
}

INLINE float largest_of(const float *x, long length) {
    vec best = spread(-__builtin_inff()), other = best, none = best;
    PAIRS(i, 0, length) {
        best = larger_of(get(x + i, length - i, none), best);
        other = larger_of(get(x + i + LANES, length - i - LANES, none), other);
    }
    return largest_across(larger_of(best, other));
}

/* e^x for x <= 0; NaN comes through.  Without AVX-512 in two factors: see exp_of. */
INLINE vec exp_below(vec x) {
    vec n, r = reduced(larger_of(spread(-104), x), &n), e = small_expm1(r) + 1;
#if LANES == 16
    return (vec)_mm512_scalef_ps((__m512)e, (__m512)n);
#elif REGISTERS == 32
    return (vec)_mm256_scalef_ps((__m256)e, (__m256)n);
#else
    ivec whole = (ivec)_mm256_cvtps_epi32((__m256)n), half = whole >> 1;
    return e * power(half) * power(whole - half);
#endif
}

INLINE Shares share_rows(long rows, long length, int threads) {
    return share(rows, length < AT_ONCE ? AT_ONCE / length : 1, threads);
}

#endif
