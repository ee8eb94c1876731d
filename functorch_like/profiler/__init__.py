"""Where the time goes: every kernel of eager code, every instruction of compiled programs.

recording.py  profile and record_function: what happens while it runs
events.py     events as objects: names, shapes, costs, nesting
costs.py      floating-point operations and bytes moved, from shapes
averages.py   events by name, as a table
pictures.py   Chrome's trace format and a flame graph as SVG
"""

from .averages import Average, Averages
from .events import Event, TensorInfo
from .recording import profile, record_function

__all__ = ["Average", "Averages", "Event", "TensorInfo", "profile", "record_function"]
