"""Recurrent networks over sequences, padded or packed: RNN, LSTM and GRU, in layers and both
directions.
"""

from __future__ import annotations

import math
from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn import init
from nn.module import Module
from nn.parameter import Parameter
from nn.utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """Parameters, checks and the walk through layers that RNN, LSTM and GRU share.

    Args:
      mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
      input_size, hidden_size: widths of the input and of the state.
      num_layers: each takes the one before as its input.
      bias: have bias_ih and bias_hh.
      batch_first: sequences are [n, length, width] instead of [length, n, width].
      dropout: probability between layers, in training.
      bidirectional: a second set of layers reads the sequence backwards; outputs are joined.
      proj_size: project an LSTM's outputs to this width; 0 for none.
    Shapes: weight_ih_l{k} [gates * hidden_size, inputs], weight_hh_l{k} [gates * hidden_size,
      outputs], bias_ih_l{k} and bias_hh_l{k} [gates * hidden_size], weight_hr_l{k} [proj_size,
      hidden_size]; "_reverse" behind the names of the second direction. All drawn evenly from
      -1/sqrt(hidden_size)..1/sqrt(hidden_size).
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if mode not in _GATES:
            raise ValueError(f"{name}: expected mode {', '.join(_GATES)}, got {mode!r}.")
        if hidden_size <= 0 or num_layers <= 0:
            raise ValueError(
                f"{name}: expected hidden_size and num_layers above 0, got {hidden_size} and "
                f"{num_layers}."
            )
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: expected dropout within 0..1, got {dropout}.")
        if proj_size and (mode != "LSTM" or not 0 < proj_size < hidden_size):
            raise ValueError(
                f"{name}: expected proj_size 0, or for LSTM within 0..{hidden_size - 1}, got "
                f"{proj_size}."
            )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        rows = _GATES[mode] * hidden_size
        out = proj_size or hidden_size
        directions = 2 if bidirectional else 1
        self._names: list[list[str]] = []
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else out * directions
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, out)}
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[:directions]:
                names = {key: f"{key}_l{layer}{suffix}" for key in shapes}
                for key, full in names.items():
                    value = ft.empty(shapes[key], device=device, dtype=dtype)
                    setattr(self, full, Parameter(value))
                self._names.append(list(names.values()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def flatten_parameters(self) -> None:
        """Does nothing; torch needs it for cuDNN."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """[length, n, input_size] and the initial state -> (outputs, final state).

        Args:
          input: with n first if batch_first; without n for one sequence; or a PackedSequence.
          hx [num_layers * directions, n, width]: for an LSTM a pair (h, c); zeros by default.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            form = "n, length" if self.batch_first else "length, n"
            raise ShapeError(
                f"{type(self).__name__}: expected input [{form}, {self.input_size}] or [length, "
                f"{self.input_size}], got {list(input.shape)}."
            )
        batched = input.ndim == 3
        batch_dim = 0 if self.batch_first else 1
        x = input if batched else input.unsqueeze(batch_dim)
        states = self._initial(x, x.shape[batch_dim], hx, batched)
        out, *final = self._run(x, states, None)
        if not batched:
            out, final = out.squeeze(batch_dim), [state.squeeze(1) for state in final]
        return out, self._state(final)

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        x, order, back = packed.data, packed.sorted_indices, packed.unsorted_indices
        if x.ndim != 2 or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: expected packed data [elements, {self.input_size}], got "
                f"{list(x.shape)}."
            )
        states = self._initial(x, int(packed.batch_sizes[0]), hx, True)
        if hx is not None and order is not None:
            states = tuple(state.index_select(1, order) for state in states)
        out, *final = self._run(x, states, packed.batch_sizes)
        if back is not None:
            final = [state.index_select(1, back) for state in final]
        return PackedSequence(out, packed.batch_sizes, order, back), self._state(final)

    def _run(self, x: ft.Tensor, states: tuple[ft.Tensor, ...], batch_sizes: Any) -> Any:
        return getattr(ft, self.mode.lower())(
            x,
            states if self.mode == "LSTM" else states[0],
            [weight for weights in self.all_weights for weight in weights],
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
            batch_sizes=batch_sizes,
        )

    def _state(self, states: Any) -> Any:
        return tuple(states) if self.mode == "LSTM" else states[0]

    def _initial(self, x: ft.Tensor, n: int, hx: Any, batched: bool) -> tuple[ft.Tensor, ...]:
        """(h,) or (h, c), each [layers * directions, n, width]."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        widths = [self.proj_size or self.hidden_size]
        widths += [self.hidden_size] if self.mode == "LSTM" else []
        if hx is None:
            return tuple(
                ft.zeros(count, n, width, dtype=x.dtype, device=x.device) for width in widths
            )
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        if len(given) != len(widths):
            raise ShapeError(f"LSTM: expected hx as a pair (h, c), got {len(given)} tensors.")
        for state, width in zip(given, widths, strict=True):
            wanted = [count, n, width] if batched else [count, width]
            if list(state.shape) != wanted:
                raise ShapeError(
                    f"{type(self).__name__}: expected hx {wanted}, got {list(state.shape)}."
                )
        return given if batched else tuple(state.unsqueeze(1) for state in given)

    def extra_repr(self) -> str:
        """Settings for repr."""
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", proj_size={self.proj_size}" if self.proj_size else ""
        text += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        text += "" if self.bias else ", bias=False"
        text += ", batch_first=True" if self.batch_first else ""
        text += f", dropout={self.dropout}" if self.dropout else ""
        return text + (", bidirectional=True" if self.bidirectional else "")


class RNN(RNNBase):
    """Layers of h' = tanh(weight_ih x + bias_ih + weight_hh h + bias_hh); arguments as RNNBase's,
    and nonlinearity, "tanh" or "relu".
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Layers of long short-term memory; arguments as RNNBase's, gates in the order input, forget,
    cell, output. The state is a pair (h, c).

    Reference: Hochreiter & Schmidhuber 1997; proj_size: Sak, Senior & Beaufays 2014.
    Example:
      >>> import functorch_like as ft, nn
      >>> out, (h, c) = nn.LSTM(3, 4, num_layers=2)(ft.zeros(5, 2, 3))
      >>> list(out.shape), list(h.shape)
      ([5, 2, 4], [2, 2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )


class GRU(RNNBase):
    """Layers of gated recurrent units; arguments as RNNBase's, gates in the order reset, update,
    new.

    Reference: Cho et al. 2014.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
