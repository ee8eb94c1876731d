/* The base class of Tensor: it owns a handle of the core and gives it back when it dies.
 *
 * Everything else is called through cffi. This much is written against Python's own interface because it runs
 * for every tensor that is made: a __del__ in Python costs 0.2 us a tensor, a shape read by Python code 0.15
 * us. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#include "cbackend.h"
#include "handle.h"

typedef struct {
    PyObject_HEAD PyObject
        *v; /* the handle as cffi shows it, a `cb_tensor *`; NULL inside for traced tensors */
} handle;

static cb_tensor *pointer(handle *self) { return self->v ? (cb_tensor *)cb_cdata_pointer(self->v) : NULL; }

static void handle_dealloc(PyObject *object) {
    handle *self = (handle *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject *kind, *value,
        *trace; /* of an exception on its way: foreign memory is given back by Python code */
    PyErr_Fetch(&kind, &value, &trace);
    cb_release(pointer(self));
    PyErr_Restore(kind, value, trace);
    Py_XDECREF(self->v);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *handle_shape(PyObject *object, void *Py_UNUSED(context)) {
    cb_tensor *x = pointer((handle *)object);
    if (!x) { /* traced: its value knows */
        PyObject *value = PyObject_GetAttrString(object, "_value");
        PyObject *shape = value ? PyObject_GetAttrString(value, "shape") : NULL;
        Py_XDECREF(value);
        return shape;
    }
    PyObject *shape = PyTuple_New(x->ndim);
    for (int d = 0; shape && d < x->ndim; d++) {
        PyObject *size = PyLong_FromLongLong(x->shape[d]);
        if (!size)
            Py_CLEAR(shape);
        else
            PyTuple_SET_ITEM(shape, d, size);
    }
    return shape;
}

/* The only element as a Python number; None where there is none in the processor's memory. */
static PyObject *handle_number(PyObject *object, PyObject *Py_UNUSED(nothing)) {
    cb_tensor *x = pointer((handle *)object);
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

static PyMemberDef members[] = {{"_v", T_OBJECT_EX, offsetof(handle, v), 0, NULL}, {0}};
static PyGetSetDef properties[] = {{"_shape", handle_shape, NULL, NULL, NULL}, {0}};
static PyMethodDef methods[] = {{"_number", handle_number, METH_NOARGS, NULL}, {0}};
static PyType_Slot slots[] = {{Py_tp_dealloc, handle_dealloc},
                              {Py_tp_members, members},
                              {Py_tp_getset, properties},
                              {Py_tp_methods, methods},
                              {0, NULL}};
static PyType_Spec spec = {"cbackend._cffi.Handle", sizeof(handle), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

PyMODINIT_FUNC PyInit__cffi(void) {
    PyObject *module = cb_generated_module();
    PyObject *type = module ? PyType_FromSpec(&spec) : NULL;
    if (!type || PyModule_AddObject(module, "Handle", type) < 0) {
        Py_XDECREF(type);
        Py_CLEAR(module);
    }
    return module;
}
