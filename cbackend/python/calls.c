/* What is asked for most in one call: ops on plain tensors, and small tensors of a shape. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "handle.h"
#include "record_calls.h"

/* ---- Entry: the base class of Op ---- */

static PyObject *dispatch; /* of op.py */
static PyObject *impl_name, *view_name;

/* prepare_calls(dispatch): who evaluates ops the general way */
PyObject *cb_prepare_calls(PyObject *Py_UNUSED(module), PyObject *function) {
    dispatch = Py_NewRef(function);
    Py_RETURN_NONE;
}

/* The kernel of an op that may be called on these arguments as they are, a new reference; NULL where that
 * takes the general way. */
static PyObject *kernel_of(PyObject *op, PyObject *args) {
    if (!cb_is_untraced()) return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *x = PyTuple_GET_ITEM(args, i);
        if (!PyObject_TypeCheck(x, cb_handle_type) || ((cb_handle *)x)->m != Py_None) return NULL;
    }
    PyObject *view = PyObject_GetAttr(op, view_name);
    PyObject *impl = view == Py_False ? PyObject_GetAttr(op, impl_name) : NULL;
    Py_XDECREF(view);
    if (impl == Py_None) Py_CLEAR(impl);
    return impl;
}

/* op(*args, **params) */
static PyObject *entry_call(PyObject *op, PyObject *args, PyObject *params) {
    PyObject *impl = kernel_of(op, args), *out = NULL;
    if (impl) {
        out = PyObject_Call(impl, args, params);
        if (out) Py_SETREF(out, cb_wrap(NULL, out));
        Py_DECREF(impl);
    } else if (!PyErr_Occurred()) {
        PyObject *none = params ? NULL : PyDict_New();
        out = PyObject_CallFunctionObjArgs(dispatch, op, args, params ? params : none, NULL);
        Py_XDECREF(none);
    }
    return out;
}

static PyType_Slot slots[] = {{Py_tp_call, entry_call}, {0, NULL}};
static PyType_Spec spec = {"cbackend._cffi.Entry", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

int cb_add_entry(PyObject *module) {
    impl_name = PyUnicode_InternFromString("impl");
    view_name = PyUnicode_InternFromString("view");
    PyObject *type = PyType_FromSpec(&spec);
    int failed = !impl_name || !view_name || !type || PyModule_AddObjectRef(module, "Entry", type);
    Py_XDECREF(type);
    return failed;
}

/* ---- small tensors of a shape ---- */

/* The number of dims of a small shape; -1 for large ones, and for what is no shape. */
static int read_small(PyObject *sizes, int64_t *shape) {
    PyObject *tuple;
    int ndim = cb_read_numbers(sizes, shape, &tuple);
    Py_XDECREF(tuple);
    if (PyErr_Occurred()) PyErr_Clear();
    for (int d = 0; d < ndim; d++)
        if (shape[d] < 0) return -1;
    return ndim >= 0 && cb_is_small(ndim, shape) ? ndim : -1;
}

/* filled(like, dtype, device, number): a tensor of one integer, or of what was in memory for None. `like`: a
 * shape as zeros() takes it, or a tensor, whose dtype and device -1 keeps. None for large ones and for
 * anything unusual. */
PyObject *cb_filled(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *like, *number;
    int dtype, device, ndim = -1;
    int64_t shape[CB_MAX_NDIM];
    if (!PyArg_ParseTuple(arguments, "OiiO", &like, &dtype, &device, &number)) return NULL;
    cb_tensor *x = PyObject_TypeCheck(like, cb_handle_type) ? cb_pointer((cb_handle *)like) : NULL;
    if (!x) {
        ndim = read_small(like, shape);
    } else if (x->numel <= CB_BRIEF_NUMEL) {
        ndim = x->ndim;
        if (dtype < 0) dtype = x->dtype;
        if (device < 0) device = x->device;
    }
    if (ndim < 0) Py_RETURN_NONE;
    const int64_t *sizes = x ? x->shape : shape;
    if (number == Py_None) return cb_wrap_new(cb_empty(dtype, device, ndim, sizes));
    cb_scalar value = {.kind = 'i', .i = PyLong_AsLongLong(number)};
    return PyErr_Occurred() ? NULL : cb_wrap_new(cb_full(dtype, device, ndim, sizes, &value));
}

/* drawn(kind, sizes, dtype, device, seed, offset, a, b): small tensors of random numbers as cb_random draws
 * them, and how many counters that took; None for large ones and for anything unusual */
PyObject *cb_drawn(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *sizes;
    int kind, dtype, device;
    unsigned long long seed, offset;
    double a, b;
    int64_t shape[CB_MAX_NDIM], numel = 1;
    if (!PyArg_ParseTuple(arguments, "iOiiKKdd", &kind, &sizes, &dtype, &device, &seed, &offset, &a, &b))
        return NULL;
    int ndim = read_small(sizes, shape);
    if (ndim < 0) Py_RETURN_NONE;
    for (int d = 0; d < ndim; d++) numel *= shape[d];
    PyObject *t = cb_wrap_new(cb_random(kind, dtype, device, ndim, shape, seed, offset, a, b));
    return t ? Py_BuildValue("(NK)", t, (unsigned long long)cb_random_counters(kind, dtype, numel)) : NULL;
}
