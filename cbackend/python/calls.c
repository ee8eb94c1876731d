/* What is asked for most in one call: ops on plain tensors, and small tensors of a shape. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#include "handle.h"
#include "record_calls.h"

/* ---- Entry: the base class of Op ---- */

PyTypeObject *cb_entry_type;
static PyObject *dispatch, *operand; /* of op.py and family.py */

/* prepare_calls(dispatch, operand): who evaluates ops the general way; who makes a tensor of an argument */
PyObject *cb_prepare_calls(PyObject *Py_UNUSED(module), PyObject *arguments) {
    if (!PyArg_ParseTuple(arguments, "OO", &dispatch, &operand)) return NULL;
    Py_INCREF(dispatch);
    Py_INCREF(operand);
    Py_RETURN_NONE;
}

/* The arguments as tensors, a new reference. */
static PyObject *operands_of(PyObject *op, PyObject *args) {
    Py_ssize_t n = PyTuple_GET_SIZE(args), tensors = 0;
    while (tensors < n && PyObject_TypeCheck(PyTuple_GET_ITEM(args, tensors), cb_handle_type)) tensors++;
    if (tensors == n) return Py_NewRef(args);
    PyObject *all = PyTuple_New(n);
    for (Py_ssize_t i = 0; all && i < n; i++) {
        PyObject *x = PyTuple_GET_ITEM(args, i), *t;
        int is_tensor = PyObject_TypeCheck(x, cb_handle_type);
        t = is_tensor ? Py_NewRef(x) : cb_tensor_of_number(NULL, x);
        if (t == Py_None) { /* no plain number */
            PyObject *name = PyObject_GetAttrString(op, "name");
            Py_SETREF(t, name ? PyObject_CallFunctionObjArgs(operand, name, x, NULL) : NULL);
            Py_XDECREF(name);
        }
        if (t)
            PyTuple_SET_ITEM(all, i, t);
        else
            Py_CLEAR(all);
    }
    return all;
}

/* How is an op to be called on these tensors? 0: its kernel as it is; 1: that, and the tape records it;
 * -1: the general way. */
static int way_of(cb_entry *op, PyObject *args) {
    if (op->impl == Py_None || op->view != Py_False || !cb_is_untraced()) return -1;
    int asks = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *m = ((cb_handle *)PyTuple_GET_ITEM(args, i))->m;
        int on_tape = m == Py_None ? 0 : cb_on_tape(m);
        if (on_tape < 0) return -1;
        asks |= on_tape;
    }
    if (!asks || op->differentiable != Py_True || !cb_records_now()) return 0;
    return op->pull == Py_None ? -1 : 1;
}

/* op(*args, **params) */
static PyObject *entry_call(PyObject *self, PyObject *args, PyObject *params) {
    cb_entry *op = (cb_entry *)self;
    if (!(args = operands_of(self, args))) return NULL;
    int way = way_of(op, args);
    PyObject *out;
    if (way < 0) {
        PyObject *none = params ? NULL : PyDict_New();
        out = PyObject_CallFunctionObjArgs(dispatch, op, args, params ? params : none, NULL);
        Py_XDECREF(none);
    } else {
        out = PyObject_Call(op->impl, args, params);
        if (out) Py_SETREF(out, cb_wrap(NULL, out));
        if (out && way) Py_SETREF(out, cb_record_op(op, args, params, out));
    }
    Py_DECREF(args);
    return out;
}

enum { COUNT = (sizeof(cb_entry) - offsetof(cb_entry, impl)) / sizeof(PyObject *) };

static int entry_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    return cb_visit_members(&((cb_entry *)self)->impl, COUNT, visit, arg);
}

static int entry_clear(PyObject *self) {
    cb_clear_members(&((cb_entry *)self)->impl, COUNT);
    return 0;
}

static void entry_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    entry_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

#define MEMBER(name) {#name, T_OBJECT_EX, offsetof(cb_entry, name), 0, NULL}
static PyMemberDef members[] = {MEMBER(impl),     MEMBER(view),        MEMBER(pull),   MEMBER(differentiable),
                                MEMBER(partials), MEMBER(takes_needs), MEMBER(_masks), {0}};
static PyType_Slot slots[] = {{Py_tp_call, entry_call},         {Py_tp_dealloc, entry_dealloc},
                              {Py_tp_traverse, entry_traverse}, {Py_tp_clear, entry_clear},
                              {Py_tp_members, members},         {0, NULL}};
static PyType_Spec spec = {"cbackend._cffi.Entry", sizeof(cb_entry), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

int cb_add_entry(PyObject *module) {
    cb_entry_type = (PyTypeObject *)PyType_FromSpec(&spec);
    return !cb_entry_type || PyModule_AddObjectRef(module, "Entry", (PyObject *)cb_entry_type);
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

/* filled(like, dtype, device, number): a tensor of one number, or of what was in memory for None. `like`: a
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
    cb_scalar value;
    return cb_read_number(number, &value) ? cb_wrap_new(cb_full(dtype, device, ndim, sizes, &value))
                                          : Py_NewRef(Py_None);
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
