/* What the loader asks before any kernel runs. */
#include <cpuid.h>

#include "threads.h"

/* The loader refuses another number (ABI in library.py): raise both when what a function takes or
 * does changes. */
#define CHAINRULE_ABI 5

int (*chainrule_thread_num_fn)(void);

EXPORT int chainrule_abi(void);
EXPORT const char *chainrule_sources(void);
EXPORT int chainrule_level(void);
EXPORT void chainrule_start(void *gomp_parallel, void *omp_get_thread_num);

int chainrule_abi(void) { return CHAINRULE_ABI; }

/* The hash of the sources' text, given by the build. */
const char *chainrule_sources(void) { return CHAINRULE_SOURCES; }

/* The level of x86-64 whose instructions the processor has whole: 4, 3, or 0 for less.  The build
 * lets the compiler use them all, while oneDNN's own name for AVX2 promises AVX2 alone.  Whether
 * the system keeps the registers is for oneDNN to say, and is asked of it. */
int chainrule_level(void) {
    const unsigned v3_1c = bit_FMA | bit_MOVBE | bit_F16C | bit_AVX | bit_POPCNT;
    const unsigned v3_7b = bit_AVX2 | bit_BMI | bit_BMI2;
    const unsigned v4_7b =
        bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
    const unsigned lzcnt = 1u << 5; /* has one name in GCC's header and another in clang's */
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & v3_1c) != v3_1c) return 0;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(c & lzcnt)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & v3_7b) != v3_7b) return 0;
    return (b & v4_7b) == v4_7b ? 4 : 3;
}

void chainrule_start(void *gomp_parallel, void *omp_get_thread_num) {
    chainrule_place(gomp_parallel);
    chainrule_thread_num_fn = (int (*)(void))omp_get_thread_num;
}
