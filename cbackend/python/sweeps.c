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

/* What `operands` say of the tensors, for each the number of one or a constant tensor; how many there are, -1
 * with an exception. */
static int read_operands(PyObject *operands, PyObject *tensors, cb_tensor **xs, int *brief) {
    int n = (int)PyTuple_GET_SIZE(operands);
    if (n > MOST_OPERANDS) {
        PyErr_SetString(PyExc_ValueError, "sweep: expected at most 16 operands and results.");
        return -1;
    }
    *brief = 1;
    for (int i = 0; i < n; i++) {
        PyObject *t = PyTuple_GET_ITEM(operands, i);
        if (PyLong_Check(t)) t = PyTuple_GetItem(tensors, PyLong_AsSsize_t(t));
        if (!t) return -1;
        xs[i] = PyObject_TypeCheck(t, cb_handle_type) ? cb_pointer((cb_handle *)t) : NULL;
        if (xs[i] && (xs[i]->device != CB_CPU || xs[i]->numel > CB_BRIEF_NUMEL)) *brief = 0;
    }
    return n;
}

/* run_sweep(code, operands, count, tensors): a tensor, or a tuple of `count`. code: bytes of what cb_fused
 * takes; operands: for each the number of one of the tensors, or a constant tensor. */
PyObject *cb_run_sweep(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *operands, *tensors;
    const char *code;
    Py_ssize_t size;
    int count, status, brief;
    cb_tensor *xs[MOST_OPERANDS], *made[MOST_OPERANDS];
    if (!PyArg_ParseTuple(arguments, "y#O!iO!", &code, &size, &PyTuple_Type, &operands, &count, &PyTuple_Type,
                          &tensors))
        return NULL;
    int n = read_operands(operands, tensors, xs, &brief);
    if (n < 0) return NULL;
    if (count > MOST_OPERANDS) {
        PyErr_SetString(PyExc_ValueError, "sweep: expected at most 16 operands and results.");
        return NULL;
    }
    PyThreadState *save = brief ? NULL : PyEval_SaveThread();
    status =
        cb_fused(n, xs, (int)(size / (Py_ssize_t)sizeof(int64_t)), (const int64_t *)code, count, made, 0, 0);
    if (save) PyEval_RestoreThread(save);
    if (status || count == 1) return cb_wrap_new(status ? NULL : made[0]);
    return cb_wrap_all(made, count);
}

/* reduce_sweep(code, operands, tensors, op, dims, keepdim): a reduction of the sweep's only result; op: its
 * code in the core. */
PyObject *cb_reduce_sweep(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *operands, *tensors, *listed;
    const char *code;
    Py_ssize_t size;
    int op, keepdim, brief;
    cb_tensor *xs[MOST_OPERANDS];
    int64_t dims[CB_MAX_NDIM];
    if (!PyArg_ParseTuple(arguments, "y#O!O!iO!p", &code, &size, &PyTuple_Type, &operands, &PyTuple_Type,
                          &tensors, &op, &PyTuple_Type, &listed, &keepdim))
        return NULL;
    int n = read_operands(operands, tensors, xs, &brief), count = (int)PyTuple_GET_SIZE(listed);
    if (n < 0) return NULL;
    for (int i = 0; i < count && i < CB_MAX_NDIM; i++)
        dims[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(listed, i));
    if (count > CB_MAX_NDIM || PyErr_Occurred()) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "sweep: expected dims of a tensor.");
        return NULL;
    }
    PyThreadState *save = brief ? NULL : PyEval_SaveThread();
    cb_tensor *made = cb_reduce_steps(n, xs, (int)(size / (Py_ssize_t)sizeof(int64_t)), (const int64_t *)code,
                                      op, count, dims, keepdim);
    if (save) PyEval_RestoreThread(save);
    return cb_wrap_new(made);
}

/* The tensor of set s in a list of a tensor a set, or the one that is there for all; NULL where it may not be
 * read on the CPU as memory. */
static cb_tensor *plain_operand(PyObject *operand, Py_ssize_t s) {
    PyObject *t = PyList_Check(operand) ? PyList_GET_ITEM(operand, s) : operand;
    if (!PyObject_TypeCheck(t, cb_handle_type)) return NULL;
    PyObject *m = ((cb_handle *)t)->m;
    cb_tensor *x = cb_pointer((cb_handle *)t);
    return x && x->device == CB_CPU && (m == Py_None || cb_on_tape(m) >= 0) ? x : NULL;
}

/* Has the operand the dtype it has in the first set and the shape of what is written, or is it a number? */
static int fits(const cb_tensor *x, const cb_tensor *first, const cb_tensor *written, int writes) {
    if (x->dtype != first->dtype || (writes && x->flags & CB_FLAG_READONLY)) return 0;
    if (x->ndim == 0 && !writes) return 1;
    return x->ndim == written->ndim && !memcmp(x->shape, written->shape, (size_t)x->ndim * sizeof *x->shape);
}

/* The steps for all sets, their results written over the operands that `targets` numbers. */
static int step(int sets, int n, cb_tensor **xs, int ncode, const int64_t *code, int nout, const int *targets,
                cb_tensor **made, int64_t *into, long long clock) {
    uint64_t word = 0;
    for (int i = 0; i < nout; i++) word |= (uint64_t)(i + 1) << 4 * targets[i];
    for (int s = 0; s < sets; s++) into[s] = (int64_t)word;
    int status = cb_fused_sets(sets * n, xs, ncode, code, sets * nout, made, sets, NULL, into);
    for (int j = 0; j < sets * nout && !status; j++)
        status = cb_copy_into(xs[j / nout * n + targets[j % nout]], made[j], clock); /* or its clock alone */
    for (int j = 0; j < sets * nout; j++) cb_release(made[j]);
    return status;
}

/* step_sets(code, operands, targets, clock): the steps of cb_fused_sets on the CPU, in place. operands: each
 * a list of a tensor a set, or a number that all sets share; targets: for each result the list that it is
 * written over. Gives the status; None, with nothing written, where tensors are not alike, not plain, or not
 * to be written. */
PyObject *cb_step_sets(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *operands, *places, *result = NULL;
    const char *code;
    Py_ssize_t size;
    long long clock;
    int targets[MOST_OPERANDS], writes[MOST_OPERANDS] = {0}, brief = 1, ok = 1;
    if (!PyArg_ParseTuple(arguments, "y#O!O!L", &code, &size, &PyTuple_Type, &operands, &PyTuple_Type,
                          &places, &clock))
        return NULL;
    int n = (int)PyTuple_GET_SIZE(operands), nout = (int)PyTuple_GET_SIZE(places);
    int lead = nout ? (int)PyLong_AsLong(PyTuple_GET_ITEM(places, 0)) : -1;
    if (lead < 0 || lead >= n || n + nout > MOST_OPERANDS ||
        !PyList_Check(PyTuple_GET_ITEM(operands, lead))) {
        PyErr_SetString(PyExc_ValueError,
                        "sweep: expected results for lists, 16 operands and results at most.");
        return NULL;
    }
    Py_ssize_t sets = PyList_GET_SIZE(PyTuple_GET_ITEM(operands, lead));
    for (int k = 0; k < n; k++) {
        PyObject *list = PyTuple_GET_ITEM(operands, k);
        ok &= !PyList_Check(list) || PyList_GET_SIZE(list) == sets;
    }
    for (int i = 0; i < nout && ok; i++) {
        targets[i] = (int)PyLong_AsLong(PyTuple_GET_ITEM(places, i));
        ok = targets[i] >= 0 && targets[i] < n;
        if (ok) writes[targets[i]] = 1;
    }
    if (!ok) {
        PyErr_SetString(PyExc_ValueError, "sweep: expected lists of one length and numbers of operands.");
        return NULL;
    }
    cb_tensor **xs = PyMem_New(cb_tensor *, (size_t)(sets * (n + nout)));
    int64_t *into = PyMem_New(int64_t, (size_t)sets), total = 0;
    if (!xs || !into) result = PyErr_NoMemory();
    ok = xs && into && cb_is_untraced() && !cb_records_now();
    for (Py_ssize_t s = 0; s < sets && ok; s++) {
        cb_tensor **set = xs + s * n;
        for (int k = 0; k < n && ok; k++)
            ok = (set[k] = plain_operand(PyTuple_GET_ITEM(operands, k), s)) != NULL;
        for (int k = 0; k < n && ok; k++) ok = fits(set[k], xs[k], set[lead], writes[k]);
        if (ok && (total += set[lead]->numel) > CB_BRIEF_NUMEL) brief = 0;
    }
    if (ok) {
        PyThreadState *save = brief ? NULL : PyEval_SaveThread();
        int status = step((int)sets, n, xs, (int)(size / (Py_ssize_t)sizeof(int64_t)), (const int64_t *)code,
                          nout, targets, xs + sets * n, into, clock);
        if (save) PyEval_RestoreThread(save);
        result = PyLong_FromLong(status);
    } else if (xs && into) {
        result = Py_NewRef(Py_None);
    }
    PyMem_Free(xs);
    PyMem_Free(into);
    return result;
}
