/* The base class of Tensor: it owns a handle of the core and gives it back when it dies.
 *
 * Everything else is called through cffi. This much is written against Python's own interface because it runs
 * for every tensor that is made: a __del__ in Python costs 0.2 us a tensor, a shape read by Python code 0.15
 * us. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#include "handle.h"

PyTypeObject *cb_handle_type;
PyObject *cb_state;
static PyTypeObject *tensor_type;  /* the class of plain tensors */
static PyTypeObject *size_type;    /* of shapes that users get */
static PyObject *active;           /* of trace.py: all entered traces */
static PyObject *dtypes, *raise_error; /* by their codes; of cbackend */
static PyObject *trace_name, *value_name, *shape_name;

static int handle_traverse(PyObject *object, visitproc visit, void *arg) {
    cb_handle *self = (cb_handle *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->m);
    Py_VISIT(self->b);
    return 0;
}

static int handle_clear(PyObject *object) {
    cb_handle *self = (cb_handle *)object;
    Py_CLEAR(self->m);
    Py_CLEAR(self->b);
    return 0;
}

static void handle_dealloc(PyObject *object) {
    cb_handle *self = (cb_handle *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject *kind, *value, *trace;
    PyObject_GC_UnTrack(object);
    Py_XDECREF(self->m);
    Py_XDECREF(self->b);
    /* an exception on its way stays apart from foreign memory, which Python code gives back */
    PyErr_Fetch(&kind, &value, &trace);
    cb_release(cb_pointer(self));
    PyErr_Restore(kind, value, trace);
    Py_XDECREF(self->v);
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject *cb_shape_of(PyObject *object, PyTypeObject *type) {
    cb_tensor *x = cb_pointer((cb_handle *)object);
    if (!x) { /* traced: its value knows */
        PyObject *value = PyObject_GetAttr(object, value_name);
        PyObject *shape = value ? PyObject_GetAttr(value, shape_name) : NULL;
        Py_XDECREF(value);
        if (!shape || type == &PyTuple_Type) return shape;
        Py_SETREF(shape, PyObject_CallOneArg((PyObject *)type, shape));
        return shape;
    }
    PyObject *shape = type == &PyTuple_Type ? PyTuple_New(x->ndim) : type->tp_alloc(type, x->ndim);
    for (int d = 0; shape && d < x->ndim; d++) {
        PyObject *size = PyLong_FromLongLong(x->shape[d]);
        if (!size)
            Py_CLEAR(shape);
        else
            PyTuple_SET_ITEM(shape, d, size);
    }
    return shape;
}

static PyObject *handle_shape(PyObject *object, void *Py_UNUSED(context)) {
    return cb_shape_of(object, &PyTuple_Type);
}

static PyObject *handle_sizes(PyObject *object, void *Py_UNUSED(context)) {
    return cb_shape_of(object, size_type);
}

static PyObject *handle_ndim(PyObject *object, void *Py_UNUSED(context)) {
    cb_tensor *x = cb_pointer((cb_handle *)object);
    if (x) return PyLong_FromLong(x->ndim);
    PyObject *value = PyObject_GetAttr(object, value_name);
    PyObject *ndim = value ? PyObject_GetAttrString(value, "ndim") : NULL;
    Py_XDECREF(value);
    return ndim;
}

static PyObject *handle_dtype(PyObject *object, void *Py_UNUSED(context)) {
    cb_tensor *x = cb_pointer((cb_handle *)object);
    PyObject *concrete = NULL;
    if (!x) { /* traced: that of the value it stands for */
        concrete = PyObject_GetAttrString(object, "_concrete");
        x = concrete ? (cb_tensor *)cb_cdata_pointer(concrete) : NULL;
    }
    PyObject *dtype = x ? Py_NewRef(PyTuple_GET_ITEM(dtypes, x->dtype)) : NULL;
    Py_XDECREF(concrete);
    return dtype;
}

cb_handle *cb_plain_tensor(PyObject *v) {
    cb_handle *t = (cb_handle *)tensor_type->tp_alloc(tensor_type, 0);
    if (!t) return NULL;
    t->v = Py_NewRef(v);
    t->m = Py_NewRef(Py_None);
    return t;
}

int cb_is_untraced(void) {
    if (!PyList_GET_SIZE(active)) return 1;
    PyObject *trace = PyObject_GetAttr(cb_state, trace_name);
    Py_XDECREF(trace);
    if (!trace) PyErr_Clear();
    return trace == Py_None;
}

/* plain(handle): a tensor that is nothing but memory. Half the time of doing it in Python. */
static PyObject *plain(PyObject *Py_UNUSED(module), PyObject *v) { return (PyObject *)cb_plain_tensor(v); }

/* Raises what the core says and gives NULL. */
static PyObject *failed(void) {
    if (!PyErr_Occurred()) Py_XDECREF(PyObject_CallNoArgs(raise_error));
    return NULL;
}

PyObject *cb_wrap_new(cb_tensor *x) {
    PyObject *v = x ? cb_cdata_of(x) : NULL, *t = v ? (PyObject *)cb_plain_tensor(v) : NULL;
    if (x && !t) cb_release(x);
    Py_XDECREF(v);
    return t ? t : failed();
}

PyObject *cb_wrap_all(cb_tensor **xs, int n) {
    PyObject *tensors = PyTuple_New(n);
    for (int i = 0; i < n; i++) {
        PyObject *t = tensors ? cb_wrap_new(xs[i]) : NULL;
        if (!tensors) cb_release(xs[i]);
        if (t)
            PyTuple_SET_ITEM(tensors, i, t);
        else
            Py_CLEAR(tensors);
    }
    return tensors;
}

/* wrap(handles): a plain tensor for a new handle, a tuple of them for a tuple; raises the error of the core
 * for NULL, None and an empty tuple. */
PyObject *cb_wrap(PyObject *module, PyObject *handles) {
    if (handles == Py_None) return failed();
    if (!PyTuple_CheckExact(handles))
        return cb_cdata_pointer(handles) ? (PyObject *)cb_plain_tensor(handles) : failed();
    Py_ssize_t n = PyTuple_GET_SIZE(handles);
    PyObject *tensors = n ? PyTuple_New(n) : failed();
    for (Py_ssize_t i = 0; tensors && i < n; i++) {
        PyObject *t = cb_wrap(module, PyTuple_GET_ITEM(handles, i));
        if (!t)
            Py_CLEAR(tensors);
        else
            PyTuple_SET_ITEM(tensors, i, t);
    }
    return tensors;
}

/* prepare(Tensor, Size, DTYPES, active, state, raise_error): what the functions here have to know of
 * functorch_like */
static PyObject *prepare(PyObject *Py_UNUSED(module), PyObject *arguments) {
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!OO", &PyType_Type, &tensor_type, &PyType_Type, &size_type,
                          &PyTuple_Type, &dtypes, &PyList_Type, &active, &cb_state, &raise_error))
        return NULL;
    Py_INCREF(tensor_type);
    Py_INCREF(size_type);
    Py_INCREF(dtypes);
    Py_INCREF(active);
    Py_INCREF(cb_state);
    Py_INCREF(raise_error);
    Py_RETURN_NONE;
}

/* leave(trace, ...): Trace.__exit__. The calling thread goes on with the trace's parent. */
static PyObject *leave(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *trace = PyTuple_GET_ITEM(arguments, 0), *parent = PyObject_GetAttrString(trace, "parent");
    int status = parent ? PyObject_SetAttr(cb_state, trace_name, parent) : -1;
    Py_XDECREF(parent);
    Py_ssize_t last = PyList_GET_SIZE(active) - 1;
    while (last >= 0 && PyList_GET_ITEM(active, last) != trace) last--;
    if (status || (last >= 0 && PySequence_DelItem(active, last)) ||
        PyObject_SetAttrString(trace, "finished", Py_True))
        return NULL;
    Py_RETURN_NONE;
}
static PyMethodDef leave_method = {"leave", leave, METH_VARARGS, NULL};

static PyMemberDef members[] = {{"_v", T_OBJECT_EX, offsetof(cb_handle, v), 0, NULL},
                                {"_m", T_OBJECT_EX, offsetof(cb_handle, m), 0, NULL},
                                {"_b", T_OBJECT_EX, offsetof(cb_handle, b), 0, NULL},
                                {0}};
static PyGetSetDef properties[] = {{"_shape", handle_shape, NULL, NULL, NULL},
                                   {"shape", handle_sizes, NULL, "The sizes of all dimensions.", NULL},
                                   {"ndim", handle_ndim, NULL, "The number of dimensions.", NULL},
                                   {"dtype", handle_dtype, NULL, "The type of the elements.", NULL},
                                   {0}};
#define FASTCALL(function) (PyCFunction)(void (*)(void)) function
#define VIEW(name) {"_try_" #name, FASTCALL(cb_try_##name), METH_FASTCALL, NULL}
static PyMethodDef methods[] = {{"item", cb_handle_item, METH_NOARGS, cb_item_doc},
                                {"_number", cb_handle_number, METH_NOARGS, NULL},
                                {"_numbers", cb_handle_numbers, METH_NOARGS, NULL},
                                {"tolist", cb_handle_tolist, METH_NOARGS, cb_tolist_doc},
                                VIEW(expand),
                                VIEW(index),
                                VIEW(permute),
                                VIEW(reshape),
                                VIEW(squeeze),
                                VIEW(transpose),
                                VIEW(unsqueeze),
                                VIEW(view),
                                {0}};
static PyMethodDef functions[] = {{"plain", plain, METH_O, NULL},
                                  {"prepare", prepare, METH_VARARGS, NULL},
                                  {"prepare_calls", cb_prepare_calls, METH_VARARGS, NULL},
                                  {"prepare_records", cb_prepare_records, METH_VARARGS, NULL},
                                  {"fill_node", FASTCALL(cb_fill_node), METH_FASTCALL, NULL},
                                  {"output_of", cb_output_of, METH_VARARGS, NULL},
                                  {"record", cb_record_from_python, METH_VARARGS, NULL},
                                  {"recorded", FASTCALL(cb_recorded), METH_FASTCALL, NULL},
                                  {"borrow", cb_borrow, METH_VARARGS, NULL},
                                  {"drawn", cb_drawn, METH_VARARGS, NULL},
                                  {"fill", cb_fill_tensor, METH_VARARGS, NULL},
                                  {"filled", cb_filled, METH_VARARGS, NULL},
                                  {"lend", cb_lend, METH_O, NULL},
                                  {"number", cb_tensor_of_number, METH_O, NULL},
                                  {"run_program", cb_run_program, METH_VARARGS, NULL},
                                  {"run_sweep", cb_run_sweep, METH_VARARGS, NULL},
                                  {"reduce_sweep", cb_reduce_sweep, METH_VARARGS, NULL},
                                  {"step_sets", cb_step_sets, METH_VARARGS, NULL},
                                  {"sweep_key", cb_sweep_key, METH_VARARGS, NULL},
                                  {"wrap", cb_wrap, METH_O, NULL},
                                  {"write_all", cb_write_all, METH_VARARGS, NULL},
                                  {0}};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, handle_dealloc}, {Py_tp_traverse, handle_traverse}, {Py_tp_clear, handle_clear},
    {Py_tp_members, members},        {Py_tp_getset, properties},        {Py_tp_methods, methods},
    {Py_nb_bool, cb_handle_bool},    {Py_nb_float, cb_handle_float},    {0, NULL}};
static PyType_Spec spec = {"cbackend._cffi.Handle", sizeof(cb_handle), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

PyMODINIT_FUNC PyInit__cffi(void) {
    trace_name = PyUnicode_InternFromString("trace");
    value_name = PyUnicode_InternFromString("_value");
    shape_name = PyUnicode_InternFromString("shape");
    PyObject *module = cb_generated_module();
    PyObject *type = module ? PyType_FromSpec(&spec) : NULL;
    PyObject *function = PyCFunction_New(&leave_method, NULL); /* which does not bind: its wrapper does */
    PyObject *method = function ? PyInstanceMethod_New(function) : NULL;
    Py_XDECREF(function);
    if (!type || !method || PyModule_AddObject(module, "leave", method) < 0 ||
        PyModule_AddObject(module, "Handle", type) < 0 || PyModule_AddFunctions(module, functions) ||
        cb_add_forms(module) || cb_add_entry(module) || cb_add_records(module)) {
        Py_XDECREF(type);
        Py_CLEAR(module);
    }
    cb_handle_type = (PyTypeObject *)type;
    return module;
}
