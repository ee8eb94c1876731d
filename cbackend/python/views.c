/* Views of tensors with memory in one call: the methods of Handle that make them.
 *
 * x._try_view(op, shape) and its like do what op(x, shape=shape) would while no transform is running. They
 * give None for everything they do not know, arguments that are wrong included: the general way, in
 * ops/views.py and ops/index.py, then does it or says what is wrong.
 *
 * A view notes what it is a view of as (base, op, arguments, None), the arguments as they came: few are ever
 * asked for, and Op.unpack makes parameters of them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "handle.h"
#include "record_calls.h"

/* The handle of a tensor that these functions know, given a right number of arguments; NULL for others. */
static cb_tensor *memory_of(PyObject *x, int known) {
    cb_handle *self = (cb_handle *)x;
    return known && cb_is_untraced() ? cb_pointer(self) : NULL;
}

/* The tensor for a new handle y, or None without one; takes y and arguments over. */
static PyObject *view_of(PyObject *x, PyObject *op, cb_tensor *y, PyObject *arguments) {
    cb_handle *self = (cb_handle *)x;
    int shares = y && cb_storage_id(y) == cb_storage_id(cb_pointer(self)); /* a reshape may have copied */
    PyObject *v = y ? cb_cdata_of(y) : NULL;
    cb_handle *view = v && arguments ? cb_plain_tensor(v) : NULL;
    if (!view)
        cb_release(y);
    else if (cb_record_view((cb_entry *)op, x, view, arguments, shares) <= 0)
        Py_CLEAR(view);
    Py_XDECREF(v);
    Py_XDECREF(arguments);
    if (PyErr_Occurred()) return Py_XDECREF(view), NULL;
    return view ? (PyObject *)view : Py_NewRef(Py_None);
}

static int is_number(PyObject *object, int64_t *out) {
    int overflow = 1;
    if (PyLong_CheckExact(object)) *out = PyLong_AsLongLongAndOverflow(object, &overflow);
    return !overflow;
}

int cb_read_numbers(PyObject *sizes, int64_t *out, PyObject **tuple) {
    *tuple = NULL;
    if (!PyTuple_Check(sizes)) return -1;
    if (PyTuple_GET_SIZE(sizes) == 1) {
        PyObject *only = PyTuple_GET_ITEM(sizes, 0);
        if (PyTuple_Check(only) || PyList_CheckExact(only)) sizes = only;
    }
    PyObject *numbers = PyTuple_CheckExact(sizes) ? Py_NewRef(sizes) : PySequence_Tuple(sizes);
    if (!numbers) return -1;
    Py_ssize_t n = PyTuple_GET_SIZE(numbers);
    if (n > CB_MAX_NDIM) n = -1;
    for (Py_ssize_t i = 0; i < n; i++)
        if (!is_number(PyTuple_GET_ITEM(numbers, i), &out[i])) n = -1;
    if (n < 0)
        Py_DECREF(numbers);
    else
        *tuple = numbers;
    return (int)n;
}

/* A dim of n, counted from either end, or -1. */
static int read_dim(PyObject *object, int n) {
    int64_t dim;
    if (!is_number(object, &dim) || dim < -n || dim >= n) return -1;
    return (int)(dim < 0 ? dim + n : dim);
}

PyObject *cb_try_view(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    int64_t shape[CB_MAX_NDIM];
    cb_tensor *from = memory_of(x, n == 2);
    if (!from) Py_RETURN_NONE;
    PyObject *numbers;
    int ndim = cb_read_numbers(args[1], shape, &numbers);
    return view_of(x, args[0], ndim < 0 ? NULL : cb_view(from, ndim, shape), numbers);
}

/* A view where there is one, else a copy. */
PyObject *cb_try_reshape(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    int64_t shape[CB_MAX_NDIM];
    cb_tensor *from = memory_of(x, n == 2);
    if (!from) Py_RETURN_NONE;
    PyObject *numbers;
    int ndim = cb_read_numbers(args[1], shape, &numbers);
    int brief = ndim < 0 || from->numel <= CB_BRIEF_NUMEL || from->flags & CB_FLAG_CONTIGUOUS;
    PyThreadState *saved = brief ? NULL : PyEval_SaveThread();
    cb_tensor *to = ndim < 0 ? NULL : cb_reshape(from, ndim, shape);
    if (saved) PyEval_RestoreThread(saved);
    return view_of(x, args[0], to, numbers);
}

PyObject *cb_try_expand(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    int64_t shape[CB_MAX_NDIM];
    cb_tensor *from = memory_of(x, n == 2);
    if (!from) Py_RETURN_NONE;
    PyObject *numbers;
    int ndim = cb_read_numbers(args[1], shape, &numbers), known = ndim >= 0;
    for (int d = 0; d < ndim; d++) known &= shape[d] >= 0;
    if (known && ndim == from->ndim && !memcmp(shape, from->shape, (size_t)ndim * sizeof *shape)) {
        Py_DECREF(numbers); /* it has this shape already */
        return Py_NewRef(x);
    }
    return view_of(x, args[0], known ? cb_expand(from, ndim, shape) : NULL, numbers);
}

/* dims: None to reverse them */
PyObject *cb_try_permute(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    int64_t dims[CB_MAX_NDIM];
    cb_tensor *from = memory_of(x, n == 2);
    if (!from) Py_RETURN_NONE;
    PyObject *numbers;
    int ndim;
    if (args[1] == Py_None) {
        ndim = from->ndim;
        numbers = PyTuple_New(ndim);
        for (int d = 0; numbers && d < ndim; d++) {
            dims[d] = ndim - 1 - d;
            PyTuple_SET_ITEM(numbers, d, PyLong_FromLong(ndim - 1 - d)); /* small: always there */
        }
    } else {
        ndim = cb_read_numbers(args[1], dims, &numbers);
    }
    int known = numbers != NULL;
    for (int d = 0; d < ndim; d++) known &= dims[d] >= 0;
    return view_of(x, args[0], known ? cb_permute(from, ndim, dims) : NULL, numbers);
}

PyObject *cb_try_transpose(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    cb_tensor *from = memory_of(x, n == 3);
    int a = from ? read_dim(args[1], from->ndim) : -1, b = a < 0 ? -1 : read_dim(args[2], from->ndim);
    if (b < 0) Py_RETURN_NONE;
    return view_of(x, args[0], cb_transpose(from, a, b), Py_BuildValue("(ii)", a, b));
}

PyObject *cb_try_unsqueeze(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    cb_tensor *from = memory_of(x, n == 2);
    int dim = from ? read_dim(args[1], from->ndim + 1) : -1;
    if (dim < 0) Py_RETURN_NONE;
    return view_of(x, args[0], cb_unsqueeze(from, dim), PyLong_FromLong(dim));
}

/* dim: None for all of size 1 */
PyObject *cb_try_squeeze(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    cb_tensor *from = memory_of(x, n == 2);
    if (!from) Py_RETURN_NONE;
    int all = args[1] == Py_None, dim = all ? 0 : read_dim(args[1], from->ndim), count = 0;
    if (dim < 0) Py_RETURN_NONE;
    int64_t dims[CB_MAX_NDIM];
    for (int d = all ? 0 : dim; d < (all ? from->ndim : dim + 1) && d < from->ndim; d++)
        if (from->shape[d] == 1) dims[count++] = d;
    PyObject *numbers = PyTuple_New(count);
    for (int i = 0; numbers && i < count; i++) PyTuple_SET_ITEM(numbers, i, PyLong_FromLong((long)dims[i]));
    return view_of(x, args[0], cb_squeeze(from, count, dims), numbers);
}

/* ---- x[index] ---- */

static int read_bound(PyObject *object, int64_t *out) {
    if (object == Py_None) return *out = INT64_MIN, 1;
    return is_number(object, out) && *out > INT64_MIN;
}

/* One item of an index as cb_index_basic has it: 4 numbers. */
static int read_item(PyObject *item, int64_t *spec) {
    memset(spec, 0, 4 * sizeof *spec);
    if (PySlice_Check(item)) {
        PySliceObject *slice = (PySliceObject *)item;
        spec[0] = spec[3] = 1;
        return read_bound(slice->start, &spec[1]) && read_bound(slice->stop, &spec[2]) &&
               (slice->step == Py_None || is_number(slice->step, &spec[3]));
    }
    if (item == Py_None || item == Py_Ellipsis) {
        spec[0] = item == Py_None ? 2 : 3;
        return 1;
    }
    return is_number(item, &spec[1]);
}

PyObject *cb_try_index(PyObject *x, PyObject *const *args, Py_ssize_t n) {
    int64_t spec[4 * CB_MAX_NDIM];
    cb_tensor *from = memory_of(x, n == 2), *to = NULL;
    PyObject *index = args[1];
    if (!from) Py_RETURN_NONE;
    if (!PyTuple_CheckExact(index)) {
        if (!read_item(index, spec)) Py_RETURN_NONE;
        to = spec[0] == 1   ? cb_slice(from, 0, spec[1], spec[2], spec[3])
             : spec[0] == 0 ? cb_select(from, 0, spec[1])
                            : cb_index_basic(from, 1, spec);
    } else {
        Py_ssize_t count = PyTuple_GET_SIZE(index);
        if (count > CB_MAX_NDIM) Py_RETURN_NONE;
        for (Py_ssize_t i = 0; i < count; i++)
            if (!read_item(PyTuple_GET_ITEM(index, i), spec + 4 * i)) Py_RETURN_NONE;
        to = cb_index_basic(from, (int)count, spec);
    }
    return view_of(x, args[0], to, Py_NewRef(index));
}
