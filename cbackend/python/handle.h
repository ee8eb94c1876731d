/* What the files here and the source that cffi generates know of each other: see build.py. */
#ifndef CB_PYTHON_HANDLE_H
#define CB_PYTHON_HANDLE_H

#include "cbackend.h"

/* The base class of Tensor. The three are attributes `_v`, `_m` and `_b`, which tensor.py explains: the
 * handle as cffi shows it, a `cb_tensor *`, NULL inside for traced tensors; what the tensor carries besides
 * memory, or None; of a view what it is a view of, or NULL. */
typedef struct {
    PyObject_HEAD PyObject *v, *m, *b;
} cb_handle;

/* The base class of what the tape hangs on a tensor: a Node of tape.py, which is the meta of its only output,
 * one of several outputs, a leaf. Members are attributes of the same name, explained there. */
typedef struct {
    PyObject_HEAD PyObject *op, *seq, *edges, *args, *params, *needs, *out, *specs, *clock, *node, *index;
    PyObject *watched, *trace, *requires_grad, *is_view; /* bools are Py_True or Py_False */
} cb_record;

/* The base class of Op; the members are attributes of the same name, explained in op.py. */
typedef struct {
    PyObject_HEAD PyObject *impl, *view, *pull, *differentiable, *partials, *takes_needs, *_masks;
} cb_entry;

enum { CB_BRIEF_NUMEL = 2048 }; /* elements up to which a call keeps the interpreter's lock: generated.h */

/* made with the cffi module */
PyObject *cb_generated_module(void);
char *cb_cdata_pointer(PyObject *cdata);
PyObject *cb_cdata_of(cb_tensor *x); /* takes the reference over */
char *cb_cdata_program(PyObject *cdata);

extern PyTypeObject *cb_handle_type, *cb_entry_type;
extern PyObject *cb_state; /* of trace.py: this thread's modes */

static inline cb_tensor *cb_pointer(const cb_handle *self) {
    return self->v ? (cb_tensor *)cb_cdata_pointer(self->v) : NULL;
}

/* A plain Tensor for a handle as cffi shows it, whose reference it takes over; NULL with an exception. */
cb_handle *cb_plain_tensor(PyObject *v);
PyObject *cb_wrap_new(cb_tensor *x); /* the same for a new handle; raises the error of the core for NULL */
PyObject *cb_wrap_all(cb_tensor **xs, int n); /* a tuple of them for several */
PyObject *cb_wrap(PyObject *module, PyObject *handles);
PyObject *cb_shape_of(PyObject *tensor, PyTypeObject *type); /* as a tuple or a subclass of it */
int cb_is_untraced(void); /* does nothing interpret this thread's operations? */

/* views.c: methods of Handle, called as x._try_view(op, shape) */
#define VIEW_METHOD(name) PyObject *name(PyObject *x, PyObject *const *args, Py_ssize_t n)
VIEW_METHOD(cb_try_expand);
VIEW_METHOD(cb_try_index);
VIEW_METHOD(cb_try_permute);
VIEW_METHOD(cb_try_reshape);
VIEW_METHOD(cb_try_squeeze);
VIEW_METHOD(cb_try_transpose);
VIEW_METHOD(cb_try_unsqueeze);
VIEW_METHOD(cb_try_view);
#undef VIEW_METHOD

/* programs.c: functions of the module */
PyObject *cb_run_program(PyObject *module, PyObject *arguments);
PyObject *cb_write_all(PyObject *module, PyObject *arguments);

/* sweeps.c: functions of the module */
PyObject *cb_sweep_key(PyObject *module, PyObject *arguments);
PyObject *cb_run_sweep(PyObject *module, PyObject *arguments);
PyObject *cb_reduce_sweep(PyObject *module, PyObject *arguments);
PyObject *cb_step_sets(PyObject *module, PyObject *arguments);

/* numbers.c: a function of the module and methods of Handle */
PyObject *cb_tensor_of_number(PyObject *module, PyObject *value);
int cb_read_number(PyObject *value, cb_scalar *s); /* is it a number of 64 bits that is not complex? */
PyObject *cb_fill_tensor(PyObject *module, PyObject *arguments);
PyObject *cb_handle_number(PyObject *tensor, PyObject *nothing);
PyObject *cb_handle_item(PyObject *tensor, PyObject *nothing);
PyObject *cb_handle_float(PyObject *tensor);
int cb_handle_bool(PyObject *tensor);
extern const char cb_item_doc[];
PyObject *cb_handle_numbers(PyObject *tensor, PyObject *nothing);
PyObject *cb_handle_tolist(PyObject *tensor, PyObject *nothing);
extern const char cb_tolist_doc[];

/* memory.c: functions of the module */
PyObject *cb_borrow(PyObject *module, PyObject *arguments);
PyObject *cb_lend(PyObject *module, PyObject *tensor);

/* Is a tensor of this shape so small that making it keeps the lock? */
static inline int cb_is_small(int ndim, const int64_t *shape) {
    int64_t numel = 1;
    for (int d = 0; d < ndim; d++)
        if (shape[d] > CB_BRIEF_NUMEL || (numel *= shape[d]) > CB_BRIEF_NUMEL) return 0;
    return 1;
}

/* views.c: how many numbers `sizes` or, where it holds a single tuple or list, that one has; -1 where they
 * are not numbers. `tuple` receives them as a tuple, a new reference or NULL. */
int cb_read_numbers(PyObject *sizes, int64_t *out, PyObject **tuple);

/* calls.c: functions of the module */
PyObject *cb_prepare_calls(PyObject *module, PyObject *arguments);
PyObject *cb_filled(PyObject *module, PyObject *arguments);
PyObject *cb_drawn(PyObject *module, PyObject *arguments);

/* records.c: functions of the module */
PyObject *cb_fill_node(PyObject *module, PyObject *const *args, Py_ssize_t n);
PyObject *cb_output_of(PyObject *module, PyObject *arguments);
PyObject *cb_prepare_records(PyObject *module, PyObject *arguments);
PyObject *cb_record_from_python(PyObject *module, PyObject *arguments);
PyObject *cb_recorded(PyObject *module, PyObject *const *args, Py_ssize_t n);

/* What is the meta m on the tape? 1: its tensor requires grad; 0: not; -1: it belongs to a trace, or is that
 * of a view that may have to take up what was written to its base. */
int cb_on_tape(PyObject *m);
int cb_records_now(void); /* is the tape on? */
/* The results `out` of an op on `inputs`, put on the tape; params: NULL for none. NULL with an exception. */
PyObject *cb_record_op(cb_entry *op, PyObject *inputs, PyObject *params, PyObject *out);
/* The same for op(x) made by views.c from `arguments`, which `shares` memory with x or not; 0: it has to be
 * made the general way, -1: an exception. */
int cb_record_view(cb_entry *op, PyObject *x, cb_handle *view, PyObject *arguments, int shares);

/* objects that are a row of members */
int cb_visit_members(PyObject **members, int n, visitproc visit, void *arg);
void cb_clear_members(PyObject **members, int n);

int cb_add_entry(PyObject *module);   /* calls.c; not 0 with an exception */
int cb_add_records(PyObject *module); /* records.c; the same */
int cb_add_forms(PyObject *module); /* forms.c; the same */

#endif
