"""What a call costs, from the shapes it was called with.

Floating-point operations: a multiply-add counts two, an elementwise function one an element,
whatever it is. Data that is only moved, sorted or drawn costs none. Bytes: every operand read once,
every result written once; what a view shares costs nothing. Both are what the task needs, not what
the processor did, so that dividing by the time tells how well it was done.
"""

from __future__ import annotations

from itertools import zip_longest
from math import log2, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import TensorInfo

_ELEMENTWISE = {
    "unary", "unary_into", "binary", "binary_int", "binary_float", "binary_into",
    "ternary", "ternary_into",
}  # fmt: skip
# operations an element of the first operand, counted in the plain formula
_PER_ITEM = {
    "reduce": 1, "sum_to": 1, "scan": 1, "var": 4, "avg_pool": 1, "avg_pool_grad": 1,
    "softmax": 4, "softmax_grad": 4, "cross_entropy": 4, "cross_entropy_grad": 4,
    "layer_norm": 8, "layer_norm_grad": 14, "rms_norm": 5, "rms_norm_grad": 10,
    "channel_norm": 8, "channel_norm_grad": 14, "channel_scale": 3,
}  # fmt: skip
# these look at as much of the first operand as they give
_PICKS = {"index", "index_select", "gather", "take", "pool_gather", "masked_select"}
_PUTS = {"index_put", "index_add", "scatter"}


def flops(
    function: str,
    reads: tuple[TensorInfo, ...],
    made: tuple[TensorInfo, ...],
    numbers: tuple[int, ...] = (),
) -> int:
    """Floating-point operations of a call of the C function `cb_{function}`."""
    if not reads:
        return 0
    first = reads[0].shape
    out = made[0].shape if made else first
    if function in _ELEMENTWISE:
        return max(prod(t.shape) for t in (*reads, *made))
    if function in _PER_ITEM:
        return _PER_ITEM[function] * prod(first)
    if function == "fused":
        n, ncode, nout = numbers[:3]
        steps = (ncode - n - 1 - nout) // 7
        if made:
            return steps * max(prod(t.shape) for t in made)
        # read by the next instruction as it is made: of the shape that the operands broadcast to
        sizes = zip_longest(*[t.shape[::-1] for t in reads], fillvalue=1)
        return steps * prod(max(column) for column in sizes)
    # a complex multiply-add is four real ones
    whole = 4 if reads[0].dtype.startswith("complex") else 1
    if function in ("matmul", "linear"):
        bias = prod(out) if function == "linear" and len(reads) == 3 else 0
        return whole * 2 * prod(out) * (first[-1] if first else 1) + bias
    if function == "conv":
        weight = reads[1].shape
        return whole * 2 * prod(out) * prod(weight[1:])
    if function == "conv_input_grad":
        return whole * 2 * prod(first) * prod(reads[1].shape[1:])
    if function == "conv_weight_grad":
        return whole * 2 * prod(first) * prod(out[1:])
    if function in ("fft_c2c", "fft_r2c", "fft_c2r"):
        # the length of the lines is that of the dim that numbers[0] names
        dim = numbers[0] if numbers else -1
        line = max(first[dim], out[dim])
        half = 1.0 if function == "fft_c2c" else 0.5
        return round(5 * half * max(prod(first), prod(out)) * log2(max(line, 2)))
    if function == "sgd_step":
        return 3 * sum(prod(t.shape) for t in reads) // 2
    if function == "adam_step":
        return 12 * sum(prod(t.shape) for t in reads[: numbers[0]])
    return whole * _linalg(function, reads)


def _linalg(function: str, reads: tuple[TensorInfo, ...]) -> int:
    """The leading terms of LAPACK's counts."""
    shape = reads[0].shape
    if len(shape) < 2:
        return 0
    batch, m, n = prod(shape[:-2]), shape[-2], shape[-1]
    small = min(m, n)
    if function in ("lu_factor", "det"):
        return batch * (m * n * small - (m + n) * small**2 // 2 + small**3 // 3) * 2
    if function == "inv":
        return batch * 2 * n**3
    if function in ("cholesky", "ldl_factor"):
        return batch * n**3 // 3
    if function in ("qr", "geqrf"):
        return batch * (2 * max(m, n) * small**2 - 2 * small**3 // 3)
    if function in ("solve_triangular", "lu_solve", "ldl_solve"):
        right = reads[-1].shape
        return batch * (1 if function == "solve_triangular" else 2) * n**2 * right[-1]
    return 0


def bytes_moved(
    function: str,
    reads: tuple[TensorInfo, ...],
    made: tuple[TensorInfo, ...],
    numbers: tuple[int, ...] = (),
) -> int:
    """Bytes that a call has to read and write."""
    sources = {t.storage for t in reads}
    if function != "fused" and made and all(t.storage in sources for t in made):
        return 0
    read, written = sum(t.nbytes for t in reads), sum(t.nbytes for t in made)
    if function in _PICKS and reads:
        return read - reads[0].nbytes + min(reads[0].nbytes, written) + written
    if function in _PUTS and len(reads) > 1:
        others = read - reads[0].nbytes
        return others + min(reads[0].nbytes, 2 * reads[-1].nbytes)
    if function in ("sgd_step", "adam_step") and numbers:
        n = numbers[0]
        return 2 * read - sum(t.nbytes for t in reads[n : 2 * n])
    return read + written
