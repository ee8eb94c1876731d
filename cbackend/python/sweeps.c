/* Pointwise functions as sweeps of fused steps: which one a call means, and running it. See
 * functorch_like/pointwise.py. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "handle.h"
#include "record_calls.h"

enum { MOST_OPERANDS = 16, ROOM = 512 };

/* Appends bytes to a key; 0 where there is no room. */
static int append(char *key, Py_ssize_t *n, const void *bytes, size_t size) {
    if (*n + (Py_ssize_t)size > ROOM) return 0;
    memcpy(key + *n, bytes, size);
    *n += (Py_ssize_t)size;
    return 1;
}

static int append_number(char *key, Py_ssize_t *n, PyObject *value) {
    if (value == Py_None) return append(key, n, "n", 1);
    if (PyFloat_CheckExact(value)) {
        double x = PyFloat_AS_DOUBLE(value);
        return append(key, n, "f", 1) && append(key, n, &x, sizeof x);
    }
    if (!PyLong_CheckExact(value) && !PyBool_Check(value)) return 0;
    int overflow;
    long long i = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow && append(key, n, PyBool_Check(value) ? "b" : "i", 1) && append(key, n, &i, sizeof i);
}

/* sweep_key(tensors, numbers): what tells sweeps of a function apart, as bytes: the dtypes of its operands,
 * which of them have dimensions, and its numbers (or None). None while something interprets, for traced
 * tensors and for other arguments. */
PyObject *cb_sweep_key(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *tensors, *numbers, *name, *value;
    char key[ROOM];
    Py_ssize_t n = 0, at = 0;
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyTuple_Type, &tensors, &PyDict_Type, &numbers)) return NULL;
    if (!cb_is_untraced()) Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tensors); i++) {
        PyObject *t = PyTuple_GET_ITEM(tensors, i);
        const cb_tensor *x = PyObject_TypeCheck(t, cb_handle_type) ? cb_pointer((cb_handle *)t) : NULL;
        char kind[2] = {x ? (char)x->dtype : 0, x && x->ndim > 0};
        if (!x || !append(key, &n, kind, 2)) Py_RETURN_NONE;
    }
    while (PyDict_Next(numbers, &at, &name, &value)) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(name, &size);
        if (!text) return NULL;
        if (!append(key, &n, text, (size_t)size + 1) || !append_number(key, &n, value)) Py_RETURN_NONE;
    }
    return PyBytes_FromStringAndSize(key, n);
}

/* run_sweep(code, operands, count, tensors): a tensor, or a tuple of `count`. code: bytes of what cb_fused
 * takes; operands: for each the number of one of the tensors, or a constant tensor. */
PyObject *cb_run_sweep(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *operands, *tensors, *out;
    const char *code;
    Py_ssize_t size;
    int count, status;
    cb_tensor *xs[MOST_OPERANDS], *made[MOST_OPERANDS];
    if (!PyArg_ParseTuple(arguments, "y#O!iO!", &code, &size, &PyTuple_Type, &operands, &count, &PyTuple_Type,
                          &tensors))
        return NULL;
    int n = (int)PyTuple_GET_SIZE(operands), brief = 1;
    if (n > MOST_OPERANDS || count > MOST_OPERANDS) {
        PyErr_SetString(PyExc_ValueError, "sweep: expected at most 16 operands and results.");
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        PyObject *t = PyTuple_GET_ITEM(operands, i);
        if (PyLong_Check(t)) t = PyTuple_GetItem(tensors, PyLong_AsSsize_t(t));
        if (!t) return NULL;
        xs[i] = PyObject_TypeCheck(t, cb_handle_type) ? cb_pointer((cb_handle *)t) : NULL;
        if (xs[i] && (xs[i]->device != CB_CPU || xs[i]->numel > CB_BRIEF_NUMEL)) brief = 0;
    }
    PyThreadState *save = brief ? NULL : PyEval_SaveThread();
    status =
        cb_fused(n, xs, (int)(size / (Py_ssize_t)sizeof(int64_t)), (const int64_t *)code, count, made, 0, 0);
    if (save) PyEval_RestoreThread(save);
    if (status || count == 1) return cb_wrap_new(status ? NULL : made[0]);
    out = PyTuple_New(count);
    for (int i = 0; i < count; i++) {
        PyObject *t = out ? cb_wrap_new(made[i]) : NULL;
        if (!out) cb_release(made[i]);
        if (t)
            PyTuple_SET_ITEM(out, i, t);
        else
            Py_CLEAR(out);
    }
    return out;
}
