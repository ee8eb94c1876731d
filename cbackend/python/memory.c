/* Memory shared with other libraries through Python's buffer protocol, as NumPy speaks it. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "handle.h"

/* ---- tensors over foreign memory ---- */

static void give_back(void *buffer) {
    if (!Py_IsInitialized()) return;
    PyGILState_STATE state = PyGILState_Ensure();
    PyBuffer_Release(buffer);
    PyMem_RawFree(buffer);
    PyGILState_Release(state);
}

/* borrow(array, dtype): a tensor over the memory of an object with the buffer protocol, which it keeps; None
 * where strides are not whole elements. */
PyObject *cb_borrow(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *array;
    int dtype;
    if (!PyArg_ParseTuple(arguments, "Oi", &array, &dtype)) return NULL;
    Py_buffer *buffer = PyMem_RawMalloc(sizeof *buffer);
    if (!buffer) return PyErr_NoMemory();
    if (PyObject_GetBuffer(array, buffer, PyBUF_STRIDED_RO)) return PyMem_RawFree(buffer), NULL;
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    int ndim = buffer->ndim, known = ndim <= CB_MAX_NDIM;
    for (int d = 0; known && d < ndim; d++) {
        if (buffer->strides[d] % buffer->itemsize) {
            give_back(buffer);
            Py_RETURN_NONE;
        }
        shape[d] = buffer->shape[d];
        strides[d] = buffer->strides[d] / buffer->itemsize;
    }
    cb_tensor *x =
        cb_from_memory(buffer->buf, dtype, ndim, shape, strides, buffer->readonly, give_back, buffer);
    if (!known) give_back(buffer); /* the core refused before it took it over */
    return cb_wrap_new(x);
}

/* ---- foreign arrays over tensors ---- */

/* Holds on to a tensor's memory and shows it; the tensor itself might be given other memory. */
typedef struct {
    PyObject_HEAD cb_tensor *x;
    Py_ssize_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
} lent;

static const char *const formats[] = {
    [CB_BOOL] = "?",
    [CB_U8] = "B",
    [CB_I8] = "b",
    [CB_U16] = "H",
    [CB_I16] = "h",
    [CB_U32] = "I",
    [CB_I32] = "i",
    [CB_U64] = sizeof(long) == 8 ? "L" : "Q",
    [CB_I64] = sizeof(long) == 8 ? "l" : "q",
    [CB_F16] = "e",
    [CB_BF16] = NULL,
    [CB_F32] = "f",
    [CB_F64] = "d",
    [CB_C64] = "Zf",
    [CB_C128] = "Zd",
};

static int lent_buffer(PyObject *object, Py_buffer *view, int flags) {
    lent *self = (lent *)object;
    cb_tensor *x = self->x;
    int readonly = (x->flags & CB_FLAG_READONLY) != 0, strided = (flags & PyBUF_STRIDES) == PyBUF_STRIDES;
    if ((readonly && flags & PyBUF_WRITABLE) || (!strided && !(x->flags & CB_FLAG_CONTIGUOUS)))
        return PyErr_SetString(PyExc_BufferError, "tensor: the memory is read-only or has strides."), -1;
    *view = (Py_buffer){.buf = x->data,
                        .obj = Py_NewRef(object),
                        .len = x->numel * x->itemsize,
                        .itemsize = x->itemsize,
                        .readonly = readonly,
                        .ndim = x->ndim,
                        .format = flags & PyBUF_FORMAT ? (char *)formats[x->dtype] : NULL,
                        .shape = flags & PyBUF_ND ? self->shape : NULL,
                        .strides = strided ? self->strides : NULL};
    return 0;
}

static void lent_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    cb_release(((lent *)object)->x);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot slots[] = {{Py_tp_dealloc, lent_dealloc}, {Py_bf_getbuffer, lent_buffer}, {0, NULL}};
static PyType_Spec spec = {"cbackend._cffi.Lent", sizeof(lent), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

/* lend(tensor): an object with the buffer protocol over its memory; None where there is no such memory */
PyObject *cb_lend(PyObject *Py_UNUSED(module), PyObject *tensor) {
    static PyTypeObject *type;
    if (!type && !(type = (PyTypeObject *)PyType_FromSpec(&spec))) return NULL;
    cb_tensor *x = PyObject_TypeCheck(tensor, cb_handle_type) ? cb_pointer((cb_handle *)tensor) : NULL;
    if (!x || x->device != CB_CPU || !formats[x->dtype] || !x->numel) Py_RETURN_NONE;
    lent *self = (lent *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->x = cb_retain(x);
    for (int d = 0; d < x->ndim; d++) {
        self->shape[d] = x->shape[d];
        self->strides[d] = x->strides[d] * x->itemsize;
    }
    return (PyObject *)self;
}
