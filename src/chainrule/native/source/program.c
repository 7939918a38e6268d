/* Many calls of functions, one after the other: a network without an interpreter in between.
 *
 * Functions are called with all arguments that a call has room for.  On x86-64 those that take fewer
 * do not see the others, and whole numbers and addresses are passed alike: System V ABI, 3.2.3.
 */
#include "threads.h"

#define ARGUMENTS 12

typedef long (*Function)(long, long, long, long, long, long, long, long, long, long, long, long);

typedef struct {
    Function function;
    long strict; /* what a result other than 0 means: 1 an error, 0 nothing, 2 values not finite */
    long argument[ARGUMENTS];
} Step;

EXPORT int chainrule_program(const Step *steps, long count, long *strange);

/* Run them; give the number of the step that failed, from 1 on, or 0.  `strange` is set to 1 where
 * a kernel met values that are not finite. */
int chainrule_program(const Step *steps, long count, long *strange) {
    for (long i = 0; i < count; i++) {
        const long *a = steps[i].argument;
        int status = (int)steps[i].function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8],
                                            a[9], a[10], a[11]);
        if (!status || !steps[i].strict) continue;
        if (steps[i].strict == 1) return (int)i + 1;
        *strange = 1;
    }
    return 0;
}
