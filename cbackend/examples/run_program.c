/* Classifies digits with a model that was exported from Python (ft.export), without Python.
 *
 *     run_program MODEL.safetensors IMAGES [OPENBLAS]
 *
 * The model takes one float32 tensor [n, ...] and gives scores [n, classes]. IMAGES holds float32 values, one
 * image after another. Prints the class of each, one a line. OPENBLAS, or the environment variable CB_BLAS,
 * is the path of that library. */
#include <stdio.h>
#include <stdlib.h>

#include "cbackend.h"

static int failed(const char *doing) {
    fprintf(stderr, "run_program: %s: %s\n", doing, cb_error_message());
    return 1;
}

static int wrong(const char *what) {
    fprintf(stderr, "run_program: expected %s.\n", what);
    return 1;
}

/* One batch: prints the classes of its first `used` images. */
static int classify(const cb_program *model, float *batch, int64_t used) {
    const cb_tensor *in = cb_program_input(model, 0), *out = cb_program_result(model, 0);
    cb_tensor *images = cb_from_bytes(batch, CB_F32, in->ndim, in->shape), *scores = NULL;
    int status = images ? cb_program_run(model, 1, &images, 0, 0, &scores) : cb_error_code();
    cb_tensor *dense = status ? NULL : cb_contiguous(scores);
    if (dense) {
        int64_t classes = out->shape[1];
        const float *row = dense->data;
        for (int64_t i = 0; i < used; i++, row += classes) {
            int64_t best = 0;
            for (int64_t k = 1; k < classes; k++)
                if (row[k] > row[best]) best = k;
            printf("%lld\n", (long long)best);
        }
    }
    cb_release(dense);
    cb_release(scores);
    cb_release(images);
    return dense ? 0 : failed("running the model");
}

static int classify_all(const cb_program *model, FILE *images) {
    const cb_tensor *in = cb_program_input(model, 0), *out = cb_program_result(model, 0);
    if (cb_program_input_count(model) != 1 || cb_program_result_count(model) != 1 || in->dtype != CB_F32 ||
        out->dtype != CB_F32 || in->ndim < 1 || in->numel < 1 || out->ndim != 2 || out->shape[1] < 1 ||
        out->shape[0] != in->shape[0])
        return wrong("a model from one float32 tensor [n, ...] to float32 [n, classes]");
    int64_t per_image = in->numel / in->shape[0];
    float *batch = calloc((size_t)in->numel, sizeof *batch);
    if (!batch) return wrong("memory for a batch");
    int status = 0;
    size_t read = (size_t)in->numel;
    while (!status && read == (size_t)in->numel) {
        read = fread(batch, sizeof *batch, (size_t)in->numel, images);
        if (read % (size_t)per_image) status = wrong("whole images");
        if (!status && read) status = classify(model, batch, (int64_t)read / per_image);
    }
    free(batch);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4) return wrong("MODEL.safetensors IMAGES [OPENBLAS]");
    const char *blas = argc > 3 ? argv[3] : getenv("CB_BLAS");
    if (cb_init(NULL)) return failed("starting");
    if (blas && cb_load_blas(blas)) return failed("loading OpenBLAS");
    cb_program *model = cb_program_load(argv[1]);
    if (!model) return failed("loading the model");
    FILE *images = fopen(argv[2], "rb");
    int status = images ? classify_all(model, images) : wrong("a file of images");
    if (images) fclose(images);
    cb_program_free(model);
    return status;
}
