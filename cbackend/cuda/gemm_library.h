/* Matrix products by cuBLASLt. */
#ifndef CB_GEMM_LIBRARY_H
#define CB_GEMM_LIBRARY_H

/* CB_ERR_UNSUPPORTED, without a message, where the library is not there or has no algorithm */
int cb_library_gemm(const cb_gemm *g);
/* every row of the result becomes the bias */
int cb_repeat_bias(const cb_gemm *g);
#endif
