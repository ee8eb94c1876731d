"""Models in the ONNX format, both ways, for the operations of inference.

    writing.py  export(): from the staged graph of a function to an ONNX model
    reading.py  load(): an ONNX model as a function of tensors

Needs the `onnx` package: pip install 'functorch-like[onnx]'. It is imported when one is called.
"""

from .reading import Loaded, load
from .writing import export

__all__ = ["Loaded", "export", "load"]
