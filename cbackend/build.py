"""Generate the C source of cbackend._cffi: python cbackend/build.py OUT.c

cffi's out-of-line API mode. The declarations are the part of include/cbackend.h between the CFFI
markers, so the interface is typed once. CMake compiles the result together with python/*.c and
links it to libcbackend.
"""

import re
import sys
from pathlib import Path

import cffi

HEADER = Path(__file__).resolve().parent / "include" / "cbackend.h"
BEGIN, END = "/* CFFI-BEGIN */", "/* CFFI-END */"


def declarations(header: str) -> str:
    """The text between the CFFI markers."""
    if header.count(BEGIN) != 1 or header.count(END) != 1:
        raise SystemExit(f"build.py: expected one {BEGIN} and one {END} in {HEADER}.")
    return header.split(BEGIN)[1].split(END)[0]


def keeping_the_lock(wrapper: re.Match[str]) -> str:
    """A wrapper that lets other threads run only if one of its tensors, or its result, is large.

    See python/generated.h.
    """
    text = wrapper[0]
    tensors = re.findall(r"^  cb_tensor \* (x\d+);", text, re.MULTILINE)
    makes = re.search(r"result = cb_(empty|full|random|random_int)\(", text)
    shape = re.search(r"^  int (x\d+);\n  int64_t const \* (x\d+);", text, re.MULTILINE)
    if tensors:
        brief = f"cb_is_brief({len(tensors)}, (cb_tensor *[]){{{', '.join(tensors)}}})"
    elif makes and shape:
        brief = f"cb_is_small({shape[1]}, {shape[2]})"
    elif "cb_random_counters(" in text:
        brief = "1"
    else:
        return text
    text = text.replace("Py_BEGIN_ALLOW_THREADS", f"CB_BEGIN_ALLOW_THREADS({brief})")
    return text.replace("Py_END_ALLOW_THREADS", "CB_END_ALLOW_THREADS")


def main(out: str) -> None:
    ffi = cffi.FFI()
    ffi.cdef(declarations(HEADER.read_text(encoding="utf-8")))
    ffi.set_source("cbackend._cffi", '#include "generated.h"')
    ffi.emit_c_code(out)
    path = Path(out)
    source = path.read_text(encoding="utf-8")
    source, found = re.subn(
        r"^_cffi_f_\w+\(PyObject.*?^}", keeping_the_lock, source, flags=re.MULTILINE | re.DOTALL
    )
    tensor = re.search(r"result = cb_retain\(.*?_cffi_type\((\d+)\)", source, re.DOTALL)
    program = re.search(r"_f_cb_program_run\(PyObject .*?_cffi_type\((\d+)\)", source, re.DOTALL)
    if not found or not tensor or not program:
        raise SystemExit("build.py: cffi's output is not as expected. Which version wrote it?")
    path.write_text(
        f"{source}\nchar *cb_cdata_pointer(PyObject *cdata) {{\n"
        f"    return _cffi_to_c_pointer(cdata, _cffi_type({tensor[1]}));\n}}\n"
        "char *cb_cdata_program(PyObject *cdata) {\n"
        f"    return _cffi_to_c_pointer(cdata, _cffi_type({program[1]}));\n}}\n"
        "PyObject *cb_cdata_of(cb_tensor *x) {\n"
        f"    return _cffi_from_c_pointer((char *)x, _cffi_type({tensor[1]}));\n}}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python cbackend/build.py OUT.c")
    main(sys.argv[1])
