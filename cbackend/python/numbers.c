/* Numbers between Python and the core. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "handle.h"
#include "record_calls.h"

int cb_read_number(PyObject *value, cb_scalar *s) {
    int overflow = 0;
    *s = (cb_scalar){0};
    if (PyFloat_CheckExact(value)) {
        s->kind = 'f';
        s->re = PyFloat_AS_DOUBLE(value);
    } else if (PyBool_Check(value)) {
        s->kind = 'b';
        s->i = value == Py_True;
    } else if (PyLong_CheckExact(value)) {
        s->kind = 'i';
        s->i = PyLong_AsLongLongAndOverflow(value, &overflow);
    }
    return s->kind && !overflow;
}

/* number(value): a 0-d tensor, promoted by category only, of a Python number; None for numbers of more than
 * 64 bits, complex ones and those of subclasses */
PyObject *cb_tensor_of_number(PyObject *Py_UNUSED(module), PyObject *value) {
    cb_scalar s;
    if (!cb_read_number(value, &s)) Py_RETURN_NONE;
    return cb_wrap_new(cb_scalar_tensor(&s, -1));
}

/* fill(tensor, number, clock): the number everywhere; says whether it was written, and not raised what the
 * core refused, which cb_fill says again */
PyObject *cb_fill_tensor(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *tensor, *number;
    long long clock;
    cb_scalar s;
    if (!PyArg_ParseTuple(arguments, "O!OL", cb_handle_type, &tensor, &number, &clock)) return NULL;
    cb_tensor *x = cb_pointer((cb_handle *)tensor);
    int known = x && x->numel <= CB_BRIEF_NUMEL && cb_read_number(number, &s);
    return PyBool_FromLong(known && !cb_fill(x, &s, clock));
}

/* The only element as a Python number; None where there is none in the processor's memory. */
PyObject *cb_handle_number(PyObject *object, PyObject *Py_UNUSED(nothing)) {
    cb_tensor *x = cb_pointer((cb_handle *)object);
    cb_scalar s;
    if (!x || x->numel != 1 || x->device != CB_CPU || cb_item(x, &s)) Py_RETURN_NONE;
    switch (s.kind) {
        case 'f': return PyFloat_FromDouble(s.re);
        case 'i': return PyLong_FromLongLong(s.i);
        case 'u': return PyLong_FromUnsignedLongLong(s.u);
        case 'c': return PyComplex_FromDoubles(s.re, s.im);
        default: return PyBool_FromLong(s.i != 0);
    }
}

/* The number of a plain tensor, the usual case; None for others. */
static PyObject *plain_number(PyObject *object) {
    return ((cb_handle *)object)->m == Py_None ? cb_handle_number(object, NULL) : Py_NewRef(Py_None);
}

const char cb_item_doc[] = "item($self, /)\n--\n\nThe only element as a Python number.\n\n"
                           "Raises:\n  ShapeError: there is not exactly one element.";

PyObject *cb_handle_item(PyObject *object, PyObject *Py_UNUSED(nothing)) {
    PyObject *number = plain_number(object);
    if (number == Py_None) Py_SETREF(number, PyObject_CallMethod(object, "_read_item", NULL));
    return number;
}

PyObject *cb_handle_float(PyObject *object) {
    PyObject *number = cb_handle_item(object, NULL);
    if (number) Py_SETREF(number, PyNumber_Float(number));
    return number;
}

int cb_handle_bool(PyObject *object) {
    PyObject *number = plain_number(object);
    if (number == Py_None) Py_SETREF(number, PyObject_CallMethod(object, "_truth", NULL));
    int truth = number ? PyObject_IsTrue(number) : -1;
    Py_XDECREF(number);
    return truth;
}

static PyObject *element(const void *data, int dtype, int64_t i) {
    switch (dtype) {
        case CB_BOOL: return PyBool_FromLong(((const uint8_t *)data)[i]);
        case CB_U8: return PyLong_FromLong(((const uint8_t *)data)[i]);
        case CB_I8: return PyLong_FromLong(((const int8_t *)data)[i]);
        case CB_U16: return PyLong_FromLong(((const uint16_t *)data)[i]);
        case CB_I16: return PyLong_FromLong(((const int16_t *)data)[i]);
        case CB_U32: return PyLong_FromLongLong(((const uint32_t *)data)[i]);
        case CB_I32: return PyLong_FromLong(((const int32_t *)data)[i]);
        case CB_U64: return PyLong_FromUnsignedLongLong(((const uint64_t *)data)[i]);
        case CB_I64: return PyLong_FromLongLong(((const int64_t *)data)[i]);
        case CB_F32: return PyFloat_FromDouble(((const float *)data)[i]);
        case CB_F64: return PyFloat_FromDouble(((const double *)data)[i]);
        case CB_C64:
            return PyComplex_FromDoubles(((const float *)data)[2 * i], ((const float *)data)[2 * i + 1]);
        case CB_C128:
            return PyComplex_FromDoubles(((const double *)data)[2 * i], ((const double *)data)[2 * i + 1]);
        default: return Py_NewRef(Py_None); /* 16-bit floats: see below */
    }
}

/* The elements of dimensions d and up from `start` as nested lists. */
static PyObject *nested(const cb_tensor *x, int d, int64_t start) {
    PyObject *list = PyList_New(x->shape[d]);
    for (int64_t i = 0; list && i < x->shape[d]; i++) {
        int64_t at = start + i * x->strides[d];
        PyObject *item = d + 1 < x->ndim ? nested(x, d + 1, at) : element(x->data, x->dtype, at);
        if (!item)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
    }
    return list;
}

const char cb_tolist_doc[] = "tolist($self, /)\n--\n\nThe elements as nested lists of Python numbers.";

PyObject *cb_handle_tolist(PyObject *object, PyObject *Py_UNUSED(nothing)) {
    cb_tensor *x = ((cb_handle *)object)->m == Py_None ? cb_pointer((cb_handle *)object) : NULL;
    if (!x || !x->ndim || x->device != CB_CPU || x->dtype == CB_F16 || x->dtype == CB_BF16)
        return PyObject_CallMethod(object, "_read_list", NULL);
    return nested(x, 0, 0);
}

/* All elements as a flat list; None unless they lie in the processor's memory in order, as numbers that
 * Python has. */
PyObject *cb_handle_numbers(PyObject *object, PyObject *Py_UNUSED(nothing)) {
    cb_tensor *x = cb_pointer((cb_handle *)object);
    if (!x || x->device != CB_CPU || !(x->flags & CB_FLAG_CONTIGUOUS) || x->dtype == CB_F16 ||
        x->dtype == CB_BF16)
        Py_RETURN_NONE;
    PyObject *list = PyList_New(x->numel);
    for (int64_t i = 0; list && i < x->numel; i++) {
        PyObject *number = element(x->data, x->dtype, i);
        if (!number)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, number);
    }
    return list;
}
