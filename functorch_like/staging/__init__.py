"""compile: functions staged to a typed graph, optimised, and run as one program of the C core.

stage.py   runs a function on tracers without memory: its graph, and what it does outside
passes.py  rewrites of the graph;  fuse.py  elementwise equations as one sweep
program.py the graph as a C program;  backward.py  compiled functions on the tape
log.py     FL_COMPILE_LOG
api.py     compile() and make_graph(): when to stage, what to check, what to do around a run
"""

from .api import Compiled, compile, make_graph
from .graph import Graph
from .stage import at_each_run, current_stage, depends_on, eagerly, note_made, was_made

__all__ = [
    "Compiled",
    "Graph",
    "at_each_run",
    "compile",
    "current_stage",
    "depends_on",
    "eagerly",
    "make_graph",
    "note_made",
    "was_made",
]  # fmt: skip
