/* Between handle.c and the source that cffi generates: see build.py. */
#ifndef CB_PYTHON_HANDLE_H
#define CB_PYTHON_HANDLE_H

PyObject *cb_generated_module(void);
char *cb_cdata_pointer(PyObject *cdata);

#endif
