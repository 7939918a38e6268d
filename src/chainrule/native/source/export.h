/* Names of what this library shows to the outside.
 *
 * The build compiles every kernel file twice, with ISA defined as avx2 and as avx512:
 *
 *     EXPORT void NAME(relu)(const float *x, float *y, long n) { ... }
 *
 * gives chainrule_relu_avx2 and chainrule_relu_avx512.  Whatever else a file defines is static, or
 * bears NAME too, since two functions of one name would not link.
 */
#ifndef CHAINRULE_EXPORT_H
#define CHAINRULE_EXPORT_H

#define EXPORT __attribute__((visibility("default")))

/* Two steps, so that ISA is replaced by its value before it is pasted. */
#define CHAINRULE_PASTE(name, isa) chainrule_##name##_##isa
#define CHAINRULE_NAMED(name, isa) CHAINRULE_PASTE(name, isa)
#define NAME(name) CHAINRULE_NAMED(name, ISA)

#endif
