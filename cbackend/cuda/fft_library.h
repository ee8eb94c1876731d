/* Fourier transforms by cuFFT. */
#ifndef CB_FFT_LIBRARY_H
#define CB_FFT_LIBRARY_H

enum cb_fft_kind { CB_FFT_C2C, CB_FFT_R2C, CB_FFT_C2R };

/* `lines` transforms of n points; strides between the points of a line, distances between lines */
struct cb_fft_lines {
    int kind;
    bool wide, forward;
    int64_t n, lines, in_stride, in_distance, out_stride, out_distance;
};
bool cb_library_has_fft();
/* without a factor; in and out may be the same memory in the same layout. in may be overwritten where kind is
 * CB_FFT_C2R. */
int cb_library_fft(const cb_fft_lines &l, void *in, void *out);
#endif
