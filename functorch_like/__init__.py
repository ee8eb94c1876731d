"""Tensors with define-by-run autograd and composable function transforms, on a plain C core."""

from math import e, inf, nan, pi

from . import amp, autograd, cuda, tree, values
from ._version import __version__
from .amp import autocast, is_autocast_enabled
from .cuda import get_float32_matmul_precision, set_float32_matmul_precision
from .dtypes import (
    bfloat16, bool_, can_cast, cdouble, cfloat, complex64, complex128, device, double, dtype, finfo,
    float16, float32, float64, get_default_dtype, half, iinfo, int8, int16, int32, int64, long,
    promote_types, set_default_dtype, short, uint8, uint16, uint32, uint64,
)  # fmt: skip
from .dtypes import bool_ as bool, float_ as float, int_ as int
from .errors import (
    DeviceError, DimError, DTypeError, GradError, KernelError, LinAlgError, OutOfMemoryError,
    ShapeError, TraceError,
)  # fmt: skip
from .memory_format import *
from .ops.activations import *
from .ops.aliases import *
from .ops.attention import *
from .ops.binary import *
from .ops.casts import *
from .ops.complex import *
from .ops.conv import *
from .ops.creation import *
from .ops.diagonals import *
from .ops.distance import *
from .ops.draws import *
from .ops.extremes import *
from .ops.family import result_type
from .ops.fold import *
from .ops.gather import *
from .ops.index import *
from .ops.join import *
from .ops.linalg import *
from .ops.matmul import *
from .ops.moments import *
from .ops.norm import *
from .ops.norm_channels import *
from .ops.numeric import *
from .ops.numpy_like import *
from .ops.pool import *
from .ops.pool_adaptive import *
from .ops.products import *
from .ops.random import *
from .ops.recurrent import *
from .ops.reduce import *
from .ops.resample import *
from .ops.scan import *
from .ops.scatter import *
from .ops.segment import *
from .ops.select import *
from .ops.shape import *
from .ops.softmax import *
from .ops.sort import *
from .ops.special import *
from .ops.special_bessel import *
from .ops.special_gamma import *
from .ops.spectral import *
from .ops.statistics import *
from .ops.strided import *
from .ops.ternary import *
from .ops.typed import *
from .ops.unary import *
from .ops.views import *
from .ops.warp import *
from . import fft, func, linalg, masked, random, signal, special
from .anomaly import detect_anomaly, set_detect_anomaly
from .callback import callback
from .pointwise import pointwise
from .transforms.checkpointing import checkpoint, checkpoint_name, checkpoint_sequential
from .transforms.collectives import all_gather, axis_index, axis_size, pmax, pmean, pmin, psum
from .transforms.control_flow import (
    associative_scan,
    cond,
    fori_loop,
    map,
    scan,
    switch,
    while_loop,
)
from .transforms.custom import custom_function, custom_jvp, custom_vjp
from .transforms.derivatives import (
    directional_derivative, divergence, ggnvp, hvp, jacobian, laplacian, linear_transpose,
    linearize, vhp,
)  # fmt: skip
from .interop import from_dlpack, from_file, from_numpy, frombuffer
from .transforms.jet import jet
from .memory import (
    empty_cache,
    get_num_threads,
    max_memory_allocated,
    memory_allocated,
    memory_cached,
    reset_peak_memory,
    set_num_threads,
)
from .transforms.per_sample import clipped_grad_sum, per_sample_grad, per_sample_norms
from .printing import set_printoptions
from .transforms.sparsity import jacobian_sparsity, sparse_hessian, sparse_jacobian
from .tensor import Size, Tensor
from .trace import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .transforms.gradients import grad, grad_and_value, value_and_grad
from .transforms.jacobians import hessian, jacfwd, jacrev
from .transforms.products import jvp, vjp
from .transforms.vmap import vmap

# the function, not the module of that name, which `from .tensor import` binds
from .ops.creation import tensor
from .staging import Compiled, compile, make_graph


newaxis = None
_LATER = """
    array_api distributed distributions multiprocessing onnx profiler testing
""".split()


def __getattr__(name: str) -> object:
    """Modules few programs need, and files of programs, imported at first use; in-place methods.

    `relu_(x)` is `x.relu_()`.
    """
    if name in _LATER:
        from importlib import import_module

        return import_module(f".{name}", __name__)
    if name in ("LoadedProgram", "export", "load_program"):
        from .staging import export as files

        return getattr(files, name)
    if name in ("load", "save"):
        from . import serialization

        return getattr(serialization, name)
    if name.endswith("_") and not name.startswith("_") and hasattr(Tensor, name):
        return getattr(Tensor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# last: the functions above, in this namespace, with out=
from .out import accept as _accept  # noqa: E402

_accept(globals())
