/* What every kernel compiled at run time begins with: rtc.cu writes `#include "rtc.h"` and the chain's own
 * code. The files included from here travel inside the library (embed.cmake). */
#ifndef CB_RTC_H
#define CB_RTC_H

#define CB_RTC 1
#if defined(CB_EMULATE)
#include "emulate.h"
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "types.h"
#include "vmath.h"

enum {
#define DTYPE(id, name, kind, size, storage, arithmetic) CB_##id,
#include "dtypes.def"
#undef DTYPE
    CB_RTC_DTYPES
};
#include "casts.h"
#include "pack.h"
#include "rtc_arguments.h"

/* the formulas of ops.def are written with these */
#define M(f) f##_f32
#define T(c) ((float)(c))

/* items [i, i + count) of dense memory */
template <typename S> CB_DEV void cb_rtc_load(const void *data, int64_t i, int count, float *to) {
    const S *from = (const S *)data + i;
    if (count == cb_each::ITEMS) {
        const cb_each::pack<S> p = *(const cb_each::pack<S> *)from;
        for (int j = 0; j < cb_each::ITEMS; j++) to[j] = cb_to<float>(p.item[j]);
    } else {
        for (int j = 0; j < cb_each::ITEMS; j++) to[j] = j < count ? cb_to<float>(from[j]) : 0.0f;
    }
}
template <typename S> CB_DEV void cb_rtc_store(void *data, int64_t i, int count, const float *from) {
    S *to = (S *)data + i;
    if (count == cb_each::ITEMS) {
        cb_each::pack<S> p;
        for (int j = 0; j < cb_each::ITEMS; j++) p.item[j] = cb_to<S>(from[j]);
        *(cb_each::pack<S> *)to = p;
    } else {
        for (int j = 0; j < count; j++) to[j] = cb_to<S>(from[j]);
    }
}
/* Ends a step: its result is rounded, not contracted with the next one's arithmetic, as in eager mode. */
CB_DEV float cb_rtc_step(float v) {
#if !defined(CB_EMULATE)
    asm("" : "+f"(v));
#endif
    return v;
}
/* what a value is after it was stored as an S */
template <typename S> CB_DEV float cb_rtc_rounded(float v) { return cb_to<float>(cb_to<S>(v)); }
#endif
