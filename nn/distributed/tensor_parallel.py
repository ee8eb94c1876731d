"""Layers of which every rank has a part: linear ones by columns or rows, attention by heads.

All ranks get the same input and give the same output. A column-parallel layer, something
elementwise and a row-parallel one need a single sum over the ranks in each direction.
"""

from __future__ import annotations

from typing import Any

import functorch_like as ft
from functorch_like import Tensor, distributed
from functorch_like.distributed import Group
from functorch_like.distributed.sharding import (
    copy_to_ranks,
    gather_from_ranks,
    reduce_from_ranks,
    slice_to_ranks,
)
from nn import functional as F
from nn.layers.linear import Linear
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["ColumnParallelLinear", "ParallelAttention", "RowParallelLinear"]


def _divided(op: str, what: str, n: int, group: Group) -> int:
    if n % group.size:
        raise ValueError(
            f"{op}: expected {what} as a multiple of {group.size}, the number of ranks, got {n}."
        )
    return n // group.size


def _own(t: Tensor, dim: int, group: Group) -> Parameter:
    """This rank's part of what rank 0 has."""
    whole = distributed.broadcast(t.detach(), group.ranks[0], group)
    size = whole.shape[dim] // group.size
    return Parameter(whole.narrow(dim, group.rank * size, size).clone())


class _ParallelLinear(Module):
    """A Linear of whose weight each rank has a part along `dim`."""

    bias: Parameter | None
    dim: int

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool,
        process_group: Group | None,
        linear: Linear | None,
        dtype: Any,
    ) -> None:
        super().__init__()
        self.group = group = distributed.world(process_group)
        what = ("out_features", "in_features")[self.dim]
        _divided(type(self).__name__, what, (out_features, in_features)[self.dim], group)
        self.in_features, self.out_features = in_features, out_features
        whole = Linear(in_features, out_features, bias, dtype=dtype) if linear is None else linear
        self.weight = _own(whole.weight, self.dim, group)
        self.register_parameter("bias", None)
        if whole.bias is not None:
            self.bias = self._part_of(whole.bias)

    def _part_of(self, bias: Tensor) -> Parameter:
        """What of the bias this rank has."""
        return _own(bias, 0, self.group)


class ColumnParallelLinear(_ParallelLinear):
    """A Linear of whose outputs each rank computes a part.

    Args:
      in_features, out_features, bias: of the whole layer, which starts as rank 0's would.
      gather_output: join the parts; else the output is this rank's.
      process_group: by default all ranks.
      linear: the layer to take the values from instead.
    Shapes: weight [out_features / ranks, in_features], bias [out_features / ranks].
    Reference: Shoeybi et al. 2019, Megatron-LM.
    """

    dim = 0

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        gather_output: bool = True,
        process_group: Group | None = None,
        *,
        linear: Linear | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, process_group, linear, dtype)
        self.gather_output = gather_output

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features], or this rank's part of them."""
        part = ft.linear(copy_to_ranks(input, self.group), self.weight, self.bias)
        return gather_from_ranks(part, -1, self.group) if self.gather_output else part


class RowParallelLinear(_ParallelLinear):
    """A Linear to whose output each rank adds what its part of the inputs gives.

    Args:
      in_features, out_features, bias: of the whole layer, which starts as rank 0's would.
      input_is_parallel: the input is this rank's part already, as from a ColumnParallelLinear with
        gather_output=False.
      process_group: by default all ranks.
      linear: the layer to take the values from instead.
    Shapes: weight [out_features, in_features / ranks], bias [out_features].
    Reference: Shoeybi et al. 2019, Megatron-LM.
    """

    dim = 1

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        input_is_parallel: bool = False,
        process_group: Group | None = None,
        *,
        linear: Linear | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, process_group, linear, dtype)
        self.input_is_parallel = input_is_parallel

    def _part_of(self, bias: Tensor) -> Parameter:
        return Parameter(distributed.broadcast(bias.detach(), self.group.ranks[0], self.group))

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features], or this rank's part of them -> [..., out_features]."""
        part = input if self.input_is_parallel else slice_to_ranks(input, -1, self.group)
        total = reduce_from_ranks(ft.linear(part, self.weight), self.group)
        return total if self.bias is None else total + self.bias


class ParallelAttention(Module):
    """Self-attention of which each rank computes some heads.

    Args:
      width: of input and output.
      heads: a multiple of the number of ranks.
      bias: add biases to the projections.
      is_causal: places see none after them.
      process_group: by default all ranks.
    Shapes: input and output [n, length, width].
    """

    def __init__(
        self,
        width: int,
        heads: int,
        bias: bool = True,
        is_causal: bool = False,
        process_group: Group | None = None,
    ) -> None:
        super().__init__()
        group = distributed.world(process_group)
        self.heads = _divided("ParallelAttention", "heads", heads, group)
        self.is_causal = is_causal

        def part() -> ColumnParallelLinear:
            return ColumnParallelLinear(width, width, bias, False, group)

        self.query, self.key, self.value = part(), part(), part()
        self.out = RowParallelLinear(width, width, bias, True, group)

    def forward(self, input: Tensor) -> Tensor:
        """[n, length, width] -> the same."""
        q, k, v = (
            layer(input).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
        return self.out(attended.transpose(1, 2).flatten(-2))
