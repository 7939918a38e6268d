/* Vectors of floats; the compiler's own vector types.
 *
 * Their width follows the instruction set, unless the build defines LANES: half vectors with all of
 * AVX-512's registers (ISA avx512half) serve arrays whose channels fill no whole one. */
#ifndef CHAINRULE_VECTOR_H
#define CHAINRULE_VECTOR_H

#include <immintrin.h>

#ifdef __AVX512F__
#define REGISTERS 32
#ifndef LANES
#define LANES 16
#endif
#else
#define REGISTERS 16
#define LANES 8
#endif

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int ivec __attribute__((vector_size(LANES * 4)));
typedef float vec_at __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static inline vec load(const float *from) { return *(const vec_at *)from; }
static inline void store(float *to, vec x) { *(vec_at *)to = x; }
static inline vec spread(float x) { return x - (vec){0}; }

/* Which lanes a shorter vector has: what lies beyond them is neither read nor written. */
#if LANES == 16
typedef __mmask16 some;
static inline some first_lanes(long count) {
    return (some)(count >= LANES ? 0xffff : (1u << count) - 1);
}
static inline vec load_some(const float *from, some lanes) {
    return (vec)_mm512_maskz_loadu_ps(lanes, from);
}
static inline void store_some(float *to, some lanes, vec x) {
    _mm512_mask_storeu_ps(to, lanes, (__m512)x);
}
#elif REGISTERS == 32
typedef __mmask8 some;
static inline some first_lanes(long count) {
    return (some)(count >= LANES ? 0xff : (1u << count) - 1);
}
static inline vec load_some(const float *from, some lanes) {
    return (vec)_mm256_maskz_loadu_ps(lanes, from);
}
static inline void store_some(float *to, some lanes, vec x) {
    _mm256_mask_storeu_ps(to, lanes, (__m256)x);
}
#else
typedef __m256i some;
static inline some first_lanes(long count) {
    int n = count >= LANES ? LANES : (int)count;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vec load_some(const float *from, some lanes) {
    return (vec)_mm256_maskload_ps(from, lanes);
}
static inline void store_some(float *to, some lanes, vec x) {
    _mm256_maskstore_ps(to, lanes, (__m256)x);
}
#endif

static inline float sum_of(vec x) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += x[lane];
    return sum;
}

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

static inline long smaller(long a, long b) { return a < b ? a : b; }
static inline long up_to(long n, long step) { return (n + step - 1) / step * step; }

#endif
