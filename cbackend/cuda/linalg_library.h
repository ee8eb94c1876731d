/* Linear algebra by cuSOLVER, matrix by matrix: factors of large matrices, QR, eigenvalues, singular values.
 */
#ifndef CB_LINALG_LIBRARY_H
#define CB_LINALG_LIBRARY_H

#include "../src/linalg.h"

bool cb_library_has_linalg();
/* what cb_cuda_lapack is asked for, of the kinds LU, Cholesky, QR, EIGH and SVD; CB_ERR_UNSUPPORTED: another
 */
int cb_library_lapack(const cb_lapack *j);

/* ---- by kernels of linalg.cu ---- */
/* operand `which` of the job, broadcast to its batch: dense items of [rows, columns]; transposed: of
 * [columns, rows] */
int cb_linalg_copy(const cb_lapack *j, int which, bool transposed, void *to);
/* dense items [rows, columns] become [columns, rows] of `to`; items of `from` are `apart` elements apart */
int cb_linalg_transpose(int dtype, int64_t count, int64_t rows, int64_t columns, int64_t apart,
                        const void *from, void *to);
/* dense items of `each` numbers, to places `apart` elements apart */
int cb_linalg_spread(int dtype, int64_t count, int64_t each, int64_t apart, const void *from, void *to);
/* the triangle of Hermitian items [n, n] that `part` names (0 lower, 1 upper, 2 the mean of both) into the
 * lower one; the upper one becomes zero, or with `both` its conjugate, and everything is transposed */
int cb_linalg_triangle(int dtype, int64_t count, int64_t n, int part, bool both, void *a);
/* the upper triangles of column-major items [rows, columns], `apart` elements apart with leading dimension
 * ld, as row-major ones */
int cb_linalg_take_upper(int dtype, int64_t count, int64_t rows, int64_t columns, int64_t ld, int64_t apart,
                         const void *from, void *to);
/* flags[i]: does item i of `each` numbers have inf or nan? In host memory. */
int cb_linalg_bad_items(int dtype, int64_t count, int64_t each, const void *a, uint8_t *flags);
int cb_linalg_fill_nan(int dtype, int64_t items, void *a);
#endif
