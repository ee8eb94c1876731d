"""Generate the C source of cbackend._cffi: python cbackend/build.py OUT.c

cffi's out-of-line API mode. The declarations are the part of include/cbackend.h between the CFFI
markers, so the interface is typed once. CMake compiles the result and links it to libcbackend.
"""

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


def main(out: str) -> None:
    ffi = cffi.FFI()
    ffi.cdef(declarations(HEADER.read_text(encoding="utf-8")))
    ffi.set_source("cbackend._cffi", '#include "cbackend.h"\n#include "record_calls.h"')
    ffi.emit_c_code(out)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python cbackend/build.py OUT.c")
    main(sys.argv[1])
