/* The table of this instruction-set level. */
#include "cpu.h"

#define CB_TEXT_(x) #x
#define CB_TEXT(x) CB_TEXT_(x)

__attribute__((visibility("hidden"))) const cb_backend CB_FN(cpu) = {
    .name = CB_TEXT(CB_LEVEL),
    .copy = CB_FN(copy),
    .fill = CB_FN(fill),
    .arange = CB_FN(arange),
    .elementwise = CB_FN(elementwise),
};
