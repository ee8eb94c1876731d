/* Steps of an LSTM against plain loops, in both precisions; operands that do not fit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cbackend.h"

static int failures;
#define CHECK(condition) \
    ((condition) ? 0 : (failures++, fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition)))

enum { N = 5, H = 19 };

static cb_tensor *made(int dtype, int64_t columns, uint64_t seed) {
    return cb_random(0, dtype, CB_CPU, 2, (int64_t[]){N, columns}, seed, 0, -2, 2);
}

static double at(const cb_tensor *x, int64_t i) {
    return x->dtype == CB_F32 ? ((float *)x->data)[i] : ((double *)x->data)[i];
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void test_steps(int dtype, double tolerance) {
    cb_tensor *pre = made(dtype, 4 * H, 1), *hidden = made(dtype, 4 * H, 2), *c = made(dtype, H, 3);
    cb_tensor *acts = made(dtype, 4 * H, 4), *next = made(dtype, H, 5), *h = made(dtype, H, 6);
    CHECK(cb_lstm_cell(pre, hidden, c, acts, next, h, 1) == CB_OK);
    cb_tensor *dh = made(dtype, H, 7), *dc = made(dtype, H, 8), *d = made(dtype, 4 * H, 9);
    cb_tensor *before = cb_clone(dc);
    CHECK(cb_lstm_cell_grad(dh, dc, acts, next, c, d, 1) == CB_OK);
    for (int64_t r = 0; r < N; r++)
        for (int64_t j = 0; j < H; j++) {
            int64_t k = 4 * H * r + j, i = H * r + j;
            double gate[4], slope[4];
            for (int g = 0; g < 4; g++) {
                double x = at(pre, k + g * H) + at(hidden, k + g * H);
                gate[g] = g == 2 ? tanh(x) : sigmoid(x);
                slope[g] = g == 2 ? 1 - gate[g] * gate[g] : gate[g] * (1 - gate[g]);
                CHECK(fabs(at(acts, k + g * H) - gate[g]) < tolerance);
            }
            double cell = gate[1] * at(c, i) + gate[0] * gate[2], squashed = tanh(cell);
            CHECK(fabs(at(next, i) - cell) < tolerance);
            CHECK(fabs(at(h, i) - gate[3] * squashed) < tolerance);
            double whole = at(before, i) + at(dh, i) * gate[3] * (1 - squashed * squashed);
            CHECK(fabs(at(d, k) - whole * gate[2] * slope[0]) < tolerance);
            CHECK(fabs(at(d, k + H) - whole * at(c, i) * slope[1]) < tolerance);
            CHECK(fabs(at(d, k + 2 * H) - whole * gate[0] * slope[2]) < tolerance);
            CHECK(fabs(at(d, k + 3 * H) - at(dh, i) * squashed * slope[3]) < tolerance);
            CHECK(fabs(at(dc, i) - whole * gate[1]) < tolerance);
        }
    cb_tensor *all[] = {pre, hidden, c, acts, next, h, dh, dc, d, before};
    for (int i = 0; i < 10; i++) cb_release(all[i]);
}

static void test_bad_operands(void) {
    cb_tensor *wide = made(CB_F32, 4 * H, 1), *c = made(CB_F32, H, 2), *other = made(CB_F64, H, 3);
    cb_tensor *turned = cb_transpose(c, 0, 1), *meta = cb_as_meta(c), *meta_wide = cb_as_meta(wide);
    CHECK(cb_lstm_cell(wide, wide, c, wide, c, NULL, 1) == CB_ERR_NULL);
    CHECK(cb_lstm_cell(wide, wide, NULL, wide, c, c, 1) == CB_ERR_NULL);
    CHECK(cb_lstm_cell(wide, wide, c, wide, c, other, 1) == CB_ERR_DTYPE);
    CHECK(cb_lstm_cell(wide, c, c, wide, c, c, 1) == CB_ERR_SHAPE);
    CHECK(cb_lstm_cell_grad(c, c, wide, c, turned, wide, 1) == CB_ERR_SHAPE);
    CHECK(cb_lstm_cell_grad(c, c, wide, turned, c, wide, 1) == CB_ERR_SHAPE);
    CHECK(cb_lstm_cell(meta_wide, meta_wide, meta, meta_wide, meta, meta, 1) == CB_OK);
    cb_tensor *all[] = {wide, c, other, turned, meta, meta_wide};
    for (int i = 0; i < 6; i++) cb_release(all[i]);
}

int main(void) {
    cb_init(NULL);
    test_steps(CB_F32, 2e-6);
    test_steps(CB_F64, 1e-12);
    test_bad_operands();
    return failures != 0;
}
