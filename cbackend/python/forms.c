/* Shapes as Python sees them, and what is left of a tensor without its data: Size and Spec derive from these.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#include "handle.h"

/* ---- Sizes: a tuple whose slices are of its class too ---- */

static PyObject *sizes_item(PyObject *self, PyObject *index) {
    PyObject *item = PyTuple_Type.tp_as_mapping->mp_subscript(self, index), *sizes;
    if (!item || !PySlice_Check(index)) return item;
    sizes = PyObject_CallOneArg((PyObject *)Py_TYPE(self), item);
    Py_DECREF(item);
    return sizes;
}

static PyType_Slot sizes_slots[] = {{Py_mp_subscript, sizes_item}, {0, NULL}};
static PyType_Spec sizes_spec = {"cbackend._cffi.Sizes", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                                 sizes_slots};

/* ---- Form: shape, dtype and device ---- */

typedef struct {
    PyObject_HEAD PyObject *shape;
    int dtype, device;
} form;

static int number_of(PyObject *object, const char *name, int *out) {
    PyObject *number = object ? PyObject_GetAttrString(object, name) : NULL;
    *out = number ? (int)PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    return PyErr_Occurred() != NULL;
}

static PyObject *form_new(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords)) {
    PyObject *tensor;
    if (!PyArg_ParseTuple(arguments, "O!", cb_handle_type, &tensor)) return NULL;
    form *self = (form *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    cb_tensor *x = cb_pointer((cb_handle *)tensor);
    self->shape = cb_shape_of(tensor, &PyTuple_Type);
    if (x) {
        self->dtype = x->dtype;
        self->device = x->device;
    } else if (self->shape) { /* traced */
        PyObject *concrete = PyObject_GetAttrString(tensor, "_concrete");
        if (!number_of(concrete, "dtype", &self->dtype)) number_of(tensor, "_place", &self->device);
        Py_XDECREF(concrete);
    }
    if (PyErr_Occurred()) Py_CLEAR(self);
    return (PyObject *)self;
}

static void form_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(((form *)object)->shape);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef members[] = {{"shape", T_OBJECT_EX, offsetof(form, shape), READONLY, NULL},
                                {"_shape", T_OBJECT_EX, offsetof(form, shape), READONLY, NULL},
                                {"_dtype", T_INT, offsetof(form, dtype), READONLY, NULL},
                                {"_device", T_INT, offsetof(form, device), READONLY, NULL},
                                {0}};
static PyType_Slot form_slots[] = {
    {Py_tp_new, form_new}, {Py_tp_dealloc, form_dealloc}, {Py_tp_members, members}, {0, NULL}};
static PyType_Spec form_spec = {"cbackend._cffi.Form", sizeof(form), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, form_slots};

int cb_add_forms(PyObject *module) {
    PyObject *sizes = PyType_FromSpecWithBases(&sizes_spec, (PyObject *)&PyTuple_Type);
    PyObject *kind = PyType_FromSpec(&form_spec);
    int failed = !sizes || !kind || PyModule_AddObjectRef(module, "Sizes", sizes) ||
                 PyModule_AddObjectRef(module, "Form", kind);
    Py_XDECREF(sizes);
    Py_XDECREF(kind);
    return failed;
}
