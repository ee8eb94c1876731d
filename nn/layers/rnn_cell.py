"""One step of a recurrent network."""

from __future__ import annotations

import math
from typing import Any

import functorch_like as ft
from functorch_like.errors import ShapeError
from nn import init
from nn.module import Module
from nn.parameter import Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """Parameters and checks that all cells share; num_chunks is the number of gates.

    Shapes: weight_ih [num_chunks * hidden_size, input_size], weight_hh [num_chunks * hidden_size,
      hidden_size], bias_ih and bias_hh [num_chunks * hidden_size]; all drawn evenly from
      -1/sqrt(hidden_size)..1/sqrt(hidden_size).
    """

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(ft.empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(ft.empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            value = Parameter(ft.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial values again."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _state(self, input: ft.Tensor, state: ft.Tensor | None, name: str = "hx") -> ft.Tensor:
        """The state, zeros by default, checked against the input; both checked for their shape."""
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: expected input [n, {self.input_size}] or "
                f"[{self.input_size}], got {list(input.shape)}."
            )
        wanted = (*input.shape[:-1], self.hidden_size)
        if state is None:
            return ft.zeros(wanted, dtype=input.dtype, device=input.device)
        if tuple(state.shape) != wanted:
            raise ShapeError(
                f"{type(self).__name__}: expected {name} {list(wanted)} for input "
                f"{list(input.shape)}, got {list(state.shape)}."
            )
        return state

    def _step(self, function: Any, input: ft.Tensor, state: Any) -> Any:
        return function(input, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def extra_repr(self) -> str:
        """Settings for repr."""
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else text + ", bias=False"


def _single(step: Any, input: ft.Tensor, *state: ft.Tensor) -> Any:
    """step of a batch, or of one row without a batch dimension."""
    if input.ndim == 2:
        return step(input, *state)
    out = step(input.unsqueeze(0), *[s.unsqueeze(0) for s in state])
    return tuple(o.squeeze(0) for o in out) if isinstance(out, tuple) else out.squeeze(0)


class RNNCell(RNNCellBase):
    """h' = tanh(weight_ih x + bias_ih + weight_hh h + bias_hh), or relu with nonlinearity="relu".

    Example:
      >>> import functorch_like as ft, nn
      >>> list(nn.RNNCell(3, 4)(ft.zeros(2, 3)).shape)
      [2, 4]
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"RNNCell: expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}."
            )
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: ft.Tensor, hx: ft.Tensor | None = None) -> ft.Tensor:
        """[n, input_size] and [n, hidden_size] -> [n, hidden_size]."""
        hx = self._state(input, hx)
        function = ft.rnn_tanh_cell if self.nonlinearity == "tanh" else ft.rnn_relu_cell
        return _single(lambda x, h: self._step(function, x, h), input, hx)

    def extra_repr(self) -> str:
        """Settings for repr."""
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of a long short-term memory; gates in the order input, forget, cell, output.

    Reference: Hochreiter & Schmidhuber 1997.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: ft.Tensor, hx: tuple[ft.Tensor, ft.Tensor] | None = None
    ) -> tuple[ft.Tensor, ft.Tensor]:
        """[n, input_size] and (h, c), each [n, hidden_size] -> (h', c')."""
        h, c = (None, None) if hx is None else hx
        h, c = self._state(input, h, "hx[0]"), self._state(input, c, "hx[1]")
        return _single(lambda x, h, c: self._step(ft.lstm_cell, x, (h, c)), input, h, c)


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit; gates in the order reset, update, new.

    Reference: Cho et al. 2014.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: ft.Tensor, hx: ft.Tensor | None = None) -> ft.Tensor:
        """[n, input_size] and [n, hidden_size] -> [n, hidden_size]."""
        hx = self._state(input, hx)
        return _single(lambda x, h: self._step(ft.gru_cell, x, h), input, hx)
