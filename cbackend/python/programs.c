/* Runs of programs on tensors in one call: see functorch_like/staging.
 *
 * A training step has some hundred inputs and results: taking their handles and making tensors of them
 * in Python costs 2 us for each pair. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "handle.h"
#include "record_calls.h"

/* The handles of tensors in a list; -1 with an exception for anything else. */
static int read_handles(PyObject *list, cb_tensor **out) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *t = PyList_GET_ITEM(list, i);
        if (!PyObject_TypeCheck(t, cb_handle_type)) {
            PyErr_Format(PyExc_TypeError, "program: expected tensors, got %s.", Py_TYPE(t)->tp_name);
            return -1;
        }
        out[i] = cb_pointer((cb_handle *)t);
    }
    return 0;
}

/* run_program(program, tensors, seed, offset): a tuple of results, or the status of cb_program_run */
PyObject *cb_run_program(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *cdata, *tensors, *results = NULL;
    unsigned long long seed, offset;
    if (!PyArg_ParseTuple(arguments, "OO!KK", &cdata, &PyList_Type, &tensors, &seed, &offset)) return NULL;
    const cb_program *program = (const cb_program *)cb_cdata_program(cdata);
    if (!program) return NULL;
    int n = (int)PyList_GET_SIZE(tensors), made = cb_program_result_count(program), status;
    cb_tensor **handles = PyMem_New(cb_tensor *, (size_t)(n + made));
    if (!handles) return PyErr_NoMemory();
    if (!read_handles(tensors, handles)) {
        Py_BEGIN_ALLOW_THREADS;
        status = cb_program_run(program, n, handles, seed, offset, handles + n);
        Py_END_ALLOW_THREADS;
        results = status ? PyLong_FromLong(status) : cb_wrap_all(handles + n, made);
    }
    PyMem_Free(handles);
    return results;
}

/* write_all(targets, values, clock): cb_copy_all_into for lists of tensors; gives its status */
PyObject *cb_write_all(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *targets, *values, *result = NULL;
    long long clock;
    if (!PyArg_ParseTuple(arguments, "O!O!L", &PyList_Type, &targets, &PyList_Type, &values, &clock))
        return NULL;
    int n = (int)PyList_GET_SIZE(targets), status;
    if (PyList_GET_SIZE(values) != n) {
        PyErr_SetString(PyExc_ValueError, "program: expected as many values as targets.");
        return NULL;
    }
    cb_tensor **handles = PyMem_New(cb_tensor *, (size_t)n * 2);
    if (!handles) return PyErr_NoMemory();
    if (!read_handles(targets, handles) && !read_handles(values, handles + n)) {
        Py_BEGIN_ALLOW_THREADS;
        status = cb_copy_all_into(n, handles, handles + n, clock);
        Py_END_ALLOW_THREADS;
        result = PyLong_FromLong(status);
    }
    PyMem_Free(handles);
    return result;
}
