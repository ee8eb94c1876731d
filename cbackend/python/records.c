/* The tape in C: Record, the base class of its nodes, and what makes a node of an evaluated op.
 *
 * One runs for every operation of a forward pass. What is looked at for every operation stands in a struct
 * and not in a dict; Python sees the members as attributes, and those that a class of Python adds, too. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#include "handle.h"
#include "record_calls.h"

static PyTypeObject *record_type;
static PyTypeObject *node_type, *output_type; /* Node and OutputMeta of tape.py */
static PyObject *form_type;                   /* Spec of op.py */
static PyObject *sequence, *clocks;           /* of trace.py: numbers operations; the clock, in a list */
static PyObject *is_irregular;                /* of tape.py, for traced results */
static PyObject *never, *no_params, *grad_name;
enum { FEW = 3 };
static PyObject *nones[FEW + 1]; /* what operations that save nothing keep, by their number of inputs */

/* ---- objects that are a row of members ---- */

int cb_visit_members(PyObject **members, int n, visitproc visit, void *arg) {
    for (int i = 0; i < n; i++) Py_VISIT(members[i]);
    return 0;
}

void cb_clear_members(PyObject **members, int n) {
    for (int i = 0; i < n; i++) Py_CLEAR(members[i]);
}

/* ---- Record ---- */

enum { COUNT = (sizeof(cb_record) - offsetof(cb_record, op)) / sizeof(PyObject *) };

static int record_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    return cb_visit_members(&((cb_record *)self)->op, COUNT, visit, arg);
}

static int record_clear(PyObject *self) {
    cb_clear_members(&((cb_record *)self)->op, COUNT);
    return 0;
}

static void record_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    record_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* A record as a recorded operation has it, which is a bare tensor that requires grad too. */
static PyObject *record_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords)) {
    cb_record *r = (cb_record *)type->tp_alloc(type, 0);
    if (!r) return NULL;
    r->requires_grad = Py_NewRef(Py_True);
    r->is_view = Py_NewRef(Py_False);
    r->watched = Py_NewRef(Py_False);
    r->op = Py_NewRef(Py_None);
    r->trace = Py_NewRef(Py_None);
    r->index = Py_NewRef(Py_None);
    r->out = Py_NewRef(Py_None);
    r->specs = Py_NewRef(Py_None);
    r->args = Py_NewRef(nones[0]);
    r->params = Py_NewRef(no_params);
    r->clock = Py_NewRef(never);
    return (PyObject *)r;
}

#define MEMBER(name) {#name, T_OBJECT_EX, offsetof(cb_record, name), 0, NULL}
static PyMemberDef members[] = {MEMBER(op),     MEMBER(seq),           MEMBER(edges),   MEMBER(args),
                                MEMBER(params), MEMBER(needs),         MEMBER(out),     MEMBER(specs),
                                MEMBER(clock),  MEMBER(node),          MEMBER(index),   MEMBER(watched),
                                MEMBER(trace),  MEMBER(requires_grad), MEMBER(is_view), {0}};
static PyType_Slot slots[] = {{Py_tp_new, record_new},           {Py_tp_dealloc, record_dealloc},
                              {Py_tp_traverse, record_traverse}, {Py_tp_clear, record_clear},
                              {Py_tp_members, members},          {0, NULL}};
static PyType_Spec spec = {"cbackend._cffi.Record", sizeof(cb_record), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

int cb_add_records(PyObject *module) {
    never = PyLong_FromLong(-1);
    for (int n = 0; n <= FEW; n++) {
        nones[n] = PyTuple_New(n);
        for (int i = 0; nones[n] && i < n; i++) PyTuple_SET_ITEM(nones[n], i, Py_NewRef(Py_None));
    }
    no_params = PyDict_New();
    grad_name = PyUnicode_InternFromString("grad");
    record_type = (PyTypeObject *)PyType_FromSpec(&spec);
    return !record_type || !never || !nones[FEW] || !no_params || !grad_name ||
           PyModule_AddObjectRef(module, "Record", (PyObject *)record_type);
}

/* prepare_records(Node, OutputMeta, Spec, sequence, clock, irregular): what the functions here have to know
 * of functorch_like */
PyObject *cb_prepare_records(PyObject *Py_UNUSED(module), PyObject *arguments) {
    if (!PyArg_ParseTuple(arguments, "O!O!OOO!O", &PyType_Type, &node_type, &PyType_Type, &output_type,
                          &form_type, &sequence, &PyList_Type, &clocks, &is_irregular))
        return NULL;
    PyObject *kept[] = {(PyObject *)node_type, (PyObject *)output_type, form_type, sequence, clocks,
                        is_irregular};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) Py_INCREF(kept[i]);
    Py_RETURN_NONE;
}

static PyObject *now(void) { return PyList_GET_ITEM(clocks, 0); }

int cb_on_tape(PyObject *m) {
    if (!PyObject_TypeCheck(m, record_type)) return -1;
    cb_record *r = (cb_record *)m;
    if (r->trace != Py_None) return -1;
    /* a view takes up what was written to its base: nothing, while the clock stands still */
    if (r->is_view == Py_True && PyObject_RichCompareBool(r->clock, now(), Py_EQ) != 1) return -1;
    return r->requires_grad == Py_True;
}

int cb_records_now(void) {
    PyObject *grad = PyObject_GetAttr(cb_state, grad_name);
    Py_XDECREF(grad);
    return grad == Py_True;
}

/* ---- nodes ---- */

/* Sets a member that is not yet there, or replaces it; takes the value over. */
static int set(PyObject **member, PyObject *value) {
    Py_XSETREF(*member, value);
    return value == NULL;
}

/* What has to be saved of one input: see Op.saved(). */
static PyObject *kept_of(PyObject *input, PyObject *how) {
    long k = PyLong_AsLong(how);
    if (!k) return Py_NewRef(Py_None);
    int whole = k == 2 || !PyObject_TypeCheck(input, cb_handle_type);
    return whole ? Py_NewRef(input) : PyObject_CallOneArg(form_type, input);
}

/* Does an operand of an elementwise op differ from the result in shape or dtype? */
static int differs(PyObject *inputs, PyObject *out) {
    cb_tensor *y = PyObject_TypeCheck(out, cb_handle_type) ? cb_pointer((cb_handle *)out) : NULL;
    if (y) return (y->flags & CB_FLAG_IRREGULAR) != 0;
    PyObject *answer = PyObject_CallFunctionObjArgs(is_irregular, inputs, out, NULL);
    int differs = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return differs;
}

static int is_inexact(PyObject *tensor) {
    cb_tensor *x = cb_pointer((cb_handle *)tensor);
    if (x) return x->dtype >= CB_F16;
    PyObject *dtype = PyObject_GetAttrString(tensor, "dtype");
    PyObject *answer = dtype ? PyObject_GetAttrString(dtype, "is_inexact") : NULL;
    int inexact = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(dtype);
    Py_XDECREF(answer);
    return inexact;
}

/* Completes a node: edges (which it takes over), and the inputs and output that the op's rule names; whether
 * that failed. `inputs`: a tuple or list, of numbers too where edges are None. */
static int fill(cb_record *node, cb_entry *op, PyObject *inputs, PyObject *params, PyObject *out,
                PyObject *edges) {
    if (set(&node->edges, edges) || set(&node->op, Py_NewRef((PyObject *)op)) ||
        set(&node->seq, Py_TYPE(sequence)->tp_iternext(sequence)))
        return 1;
    if (params && PyDict_GET_SIZE(params)) set(&node->params, Py_NewRef(params));
    Py_ssize_t n = PyTuple_GET_SIZE(edges);
    PyObject *needs = PyTuple_New(n), *masks, *keeps;
    for (Py_ssize_t i = 0; needs && i < n; i++)
        PyTuple_SET_ITEM(needs, i, PyBool_FromLong(PyTuple_GET_ITEM(edges, i) != Py_None));
    if (!needs) return 1;
    masks = Py_XNewRef(PyDict_GetItemWithError(op->_masks, needs));
    if (!masks && !PyErr_Occurred()) masks = PyObject_CallMethod((PyObject *)op, "saved", "(O)", needs);
    if (op->takes_needs == Py_True)
        set(&node->needs, needs);
    else
        Py_DECREF(needs);
    if (!masks) return 1;
    keeps = PyTuple_GET_ITEM(masks, 0);
    PyObject *args = PyTuple_New(n), **input = PySequence_Fast_ITEMS(inputs);
    int keeps_out = PyTuple_GET_ITEM(masks, 1) == Py_True, saves = 0, tensors = keeps_out;
    for (Py_ssize_t i = 0; args && i < n; i++) {
        PyObject *kept = kept_of(input[i], PyTuple_GET_ITEM(keeps, i));
        saves |= kept != Py_None;
        tensors |= kept && PyObject_TypeCheck(kept, cb_handle_type);
        if (kept)
            PyTuple_SET_ITEM(args, i, kept);
        else
            Py_CLEAR(args);
    }
    Py_DECREF(masks);
    if (args && !saves && n <= FEW) Py_SETREF(args, Py_NewRef(nones[n]));
    if (set(&node->args, args)) return 1;
    /* the node is used up by a backward pass if it saves tensors; a view's tells whether it is up to date */
    if (tensors || op->view == Py_True) set(&node->clock, Py_NewRef(now()));
    int elementwise = PyObject_Size(op->partials) > 0, differ = elementwise ? differs(inputs, out) : 0;
    if (keeps_out) set(&node->out, Py_NewRef(out));
    if (differ <= 0) return differ;
    PyObject *specs = PyTuple_New(n);
    for (Py_ssize_t i = 0; specs && i < n; i++) {
        int asks = PyTuple_GET_ITEM(edges, i) != Py_None;
        PyObject *one = asks ? PyObject_CallOneArg(form_type, input[i]) : Py_NewRef(Py_None);
        if (one)
            PyTuple_SET_ITEM(specs, i, one);
        else
            Py_CLEAR(specs);
    }
    return set(&node->specs, specs);
}

/* fill_node(node, op, inputs, params, out, edges) */
PyObject *cb_fill_node(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t n) {
    if (n != 6 || !PyObject_TypeCheck(given[0], record_type) ||
        !PyObject_TypeCheck(given[1], cb_entry_type) || !PyTuple_CheckExact(given[5]))
        return PyErr_SetString(PyExc_TypeError, "fill_node: expected a node, an op and edges."), NULL;
    PyObject *inputs = PySequence_Fast(given[2], "fill_node: expected inputs in a list.");
    int failed = !inputs || fill((cb_record *)given[0], (cb_entry *)given[1], inputs, given[3], given[4],
                                 Py_NewRef(given[5]));
    Py_XDECREF(inputs);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* The same value without its place on the tape. */
static PyObject *alias_of(PyObject *tensor) {
    cb_handle *t = (cb_handle *)tensor;
    cb_tensor *x = t->m == Py_None ? cb_pointer(t) : NULL;
    return x ? cb_wrap_new(cb_retain(x)) : PyObject_CallMethod(tensor, "_alias", NULL);
}

/* A tensor that stands for a value of a trace goes on doing so; whether that failed. */
static int stand_on(cb_record *meta, PyObject *tensor) {
    PyObject *m = ((cb_handle *)tensor)->m;
    PyObject *done =
        m == Py_None ? Py_NewRef(m) : PyObject_CallMethod((PyObject *)meta, "stand_on", "(O)", m);
    Py_XDECREF(done);
    return !done;
}

static PyObject *output(cb_record *node, Py_ssize_t index, PyObject *tensor) {
    cb_record *r = (cb_record *)record_new(output_type, NULL, NULL);
    if (!r) return NULL;
    set(&r->node, Py_NewRef((PyObject *)node));
    set(&r->op, Py_NewRef(node->op));
    set(&r->seq, Py_NewRef(node->seq));
    set(&r->watched, Py_NewRef(Py_True));
    if (set(&r->index, PyLong_FromSsize_t(index)) || stand_on(r, tensor)) Py_CLEAR(r);
    return (PyObject *)r;
}

/* output_of(node, index, tensor): the meta of one output of an operation with several */
PyObject *cb_output_of(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *node, *tensor;
    Py_ssize_t index;
    if (!PyArg_ParseTuple(arguments, "O!nO!", record_type, &node, &index, cb_handle_type, &tensor))
        return NULL;
    return output((cb_record *)node, index, tensor);
}

/* The place on the tape of one of several outputs; whether that failed. */
static int place(cb_record *node, Py_ssize_t index, PyObject *tensor) {
    int inexact = is_inexact(tensor);
    return inexact > 0 ? set(&((cb_handle *)tensor)->m, output(node, index, tensor)) : inexact;
}

PyObject *cb_record_op(cb_entry *op, PyObject *inputs, PyObject *params, PyObject *out) {
    Py_ssize_t n = PyTuple_GET_SIZE(inputs);
    int inexact = PyTuple_CheckExact(out) || is_inexact(out);
    if (inexact <= 0) return inexact ? NULL : Py_NewRef(out); /* numbers of other dtypes have no gradient */
    PyObject *edges = PyTuple_New(n);
    cb_record *node = edges ? (cb_record *)record_new(node_type, NULL, NULL) : NULL;
    for (Py_ssize_t i = 0; node && i < n; i++) {
        PyObject *x = PyTuple_GET_ITEM(inputs, i), *edge = Py_None;
        if (PyObject_TypeCheck(x, cb_handle_type)) {
            PyObject *m = ((cb_handle *)x)->m;
            if (PyObject_TypeCheck(m, record_type) && ((cb_record *)m)->requires_grad == Py_True) edge = m;
        }
        PyTuple_SET_ITEM(edges, i, Py_NewRef(edge));
    }
    if (!node) return Py_XDECREF(edges), NULL;
    int failed = fill(node, op, inputs, params, out, edges);
    if (failed) {
    } else if (!PyTuple_CheckExact(out)) {
        failed = stand_on(node, out) || (node->out != Py_None && set(&node->out, alias_of(out)));
        if (!failed) set(&((cb_handle *)out)->m, Py_NewRef((PyObject *)node));
    } else {
        Py_ssize_t count = PyTuple_GET_SIZE(out);
        if (node->out != Py_None) {
            PyObject *aliases = PyTuple_New(count);
            for (Py_ssize_t i = 0; aliases && i < count; i++) {
                PyObject *alias = alias_of(PyTuple_GET_ITEM(out, i));
                if (alias)
                    PyTuple_SET_ITEM(aliases, i, alias);
                else
                    Py_CLEAR(aliases);
            }
            failed = set(&node->out, aliases);
        }
        for (Py_ssize_t i = 0; !failed && i < count; i++) failed = place(node, i, PyTuple_GET_ITEM(out, i));
    }
    Py_DECREF(node);
    return failed ? NULL : Py_NewRef(out);
}

/* record(op, inputs, params, out): puts an operation on the tape; its output, or outputs, require grad from
 * now on */
PyObject *cb_record_from_python(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *op, *inputs, *params, *out;
    if (!PyArg_ParseTuple(arguments, "O!O!OO", cb_entry_type, &op, &PyTuple_Type, &inputs, &params, &out))
        return NULL;
    return cb_record_op((cb_entry *)op, inputs, params, out);
}

/* recorded(op, handle, *inputs): the result of a kernel called on operands with memory, of which some have a
 * meta: recorded if one of them asks */
PyObject *cb_recorded(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t n) {
    cb_entry *op = (cb_entry *)given[0];
    PyObject *t = (PyObject *)cb_plain_tensor(given[1]), *inputs;
    int asks = 0;
    for (Py_ssize_t i = 2; i < n; i++)
        if (PyObject_TypeCheck(given[i], cb_handle_type)) asks |= cb_on_tape(((cb_handle *)given[i])->m) == 1;
    if (!t || !asks || op->differentiable != Py_True || !cb_records_now()) return t;
    if (!(inputs = PyTuple_New(n - 2))) return Py_DECREF(t), NULL;
    for (Py_ssize_t i = 2; i < n; i++) PyTuple_SET_ITEM(inputs, i - 2, Py_NewRef(given[i]));
    Py_SETREF(t, cb_record_op(op, inputs, NULL, t));
    Py_DECREF(inputs);
    return t;
}

int cb_record_view(cb_entry *op, PyObject *x, cb_handle *view, PyObject *arguments, int shares) {
    PyObject *m = ((cb_handle *)x)->m, *inputs;
    int asks = m == Py_None ? 0 : cb_on_tape(m);
    if (asks < 0) return 0;
    if (shares && !(view->b = PyTuple_Pack(4, x, op, arguments, m))) return -1;
    if (!asks || !cb_records_now()) return 1;
    if (!(inputs = PyTuple_Pack(1, x))) return -1;
    PyObject *done = cb_record_op(op, inputs, NULL, (PyObject *)view);
    Py_DECREF(inputs);
    if (!done) return -1;
    Py_DECREF(done);
    cb_record *node = (cb_record *)view->m;
    set(&node->params, Py_NewRef(arguments));
    set(&node->is_view, PyBool_FromLong(shares));
    return 1;
}
