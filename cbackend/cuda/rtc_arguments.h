/* The one argument of kernels compiled at run time: results come first, then operands. */
#ifndef CB_RTC_ARGUMENTS_H
#define CB_RTC_ARGUMENTS_H

struct cb_rtc_arguments {
    int64_t numel;
    void *data[16];
    float value[16];  /* of numbers */
    int64_t shape[12],
        strides[16][12]; /* where the memory is not dense; the last dimension is the innermost */
};
#endif
