"""Resizing, sliding windows and recurrent layers, float32."""

import functorch_like as ft

from . import common


class Interpolate(common.Kept):
    """interpolate to another size, forward and back."""

    ops = ["resample"]
    params = [["bilinear", "bicubic", "area"], [(64, 40), (64, 128), (512, 224)]]
    param_names = ["mode", "sides"]

    def make(self, mode, sides):
        side, self.to = sides
        self.x = common.normal(*((4, 3) if side > 64 else (8, 64)), side, side).requires_grad_()
        self.ct = common.normal(*self.x.shape[:2], self.to, self.to, seed=1)

    def time_forward(self, mode, sides):
        with ft.no_grad():
            return ft.interpolate(self.x, self.to, mode=mode)

    def time_forward_backward(self, mode, sides):
        self.x.grad = None
        ft.interpolate(self.x, self.to, mode=mode).backward(self.ct)


class Windows(common.Kept):
    """Images to columns of windows of 3 x 3, and their sums."""

    ops = ["im2col", "col2im"]

    def make(self):
        self.x = common.normal(8, 32, 56, 56)
        self.columns = ft.im2col(self.x, 3, padding=1)

    def time_im2col(self):
        return ft.im2col(self.x, 3, padding=1)

    def time_col2im(self):
        return ft.col2im(self.columns, (56, 56), 3, padding=1)


class Recurrent(common.Kept):
    """A layer over a sequence, forward and back."""

    ops = ["lstm_layer", "lstm_layer_grad", "gru_layer", "gru_layer_grad"]
    # steps, rows, features in, hidden
    params = [["lstm", "gru"], [(20, 4, 16, 32), (100, 1, 64, 64), (50, 32, 128, 256)]]
    param_names = ["kind", "sizes"]

    def make(self, kind, sizes):
        steps, rows, features, hidden = sizes
        gates = {"lstm": 4, "gru": 3}[kind] * hidden
        shapes = [(gates, features), (gates, hidden), (gates,), (gates,)]
        self.weights = [
            (common.normal(*shape, seed=i) * hidden**-0.5).requires_grad_()
            for i, shape in enumerate(shapes)
        ]
        self.x = common.normal(steps, rows, features).requires_grad_()
        h = ft.zeros(1, rows, hidden)
        self.state = (h, h) if kind == "lstm" else h
        self.layer = getattr(ft, kind)

    def forward(self):
        return self.layer(self.x, self.state, self.weights)[0]

    def time_forward(self, kind, sizes):
        with ft.no_grad():
            return self.forward()

    def time_forward_backward(self, kind, sizes):
        for w in (self.x, *self.weights):
            w.grad = None
        self.forward().sum().backward()


class Cells(common.Kept):
    """One step, forward and back."""

    ops = ["parts2", "parts4"]
    params = ["lstm", "gru"]
    param_names = ["kind"]

    def make(self, kind):
        rows, n = 32, 256
        gates = {"lstm": 4, "gru": 3}[kind] * n
        self.w = [common.normal(gates, n, seed=i).requires_grad_() for i in range(2)]
        self.x, h = common.normal(rows, n), ft.zeros(rows, n)
        self.state = (h, h) if kind == "lstm" else h
        self.cell = getattr(ft, f"{kind}_cell")

    def time_forward_backward(self, kind):
        for w in self.w:
            w.grad = None
        out = self.cell(self.x, self.state, *self.w)
        (out[0] if kind == "lstm" else out).sum().backward()


class Attention(common.Kept):
    """scaled_dot_product_attention, forward and back; GFLOP/s count 2 for a multiply-add."""

    ops = ["attention", "attention_grad"]
    # batch, heads, positions, width
    params = [[False, True], [(16, 4, 64, 32), (8, 8, 128, 64), (2, 8, 512, 64), (1, 4, 2048, 64)]]
    param_names = ["causal", "sizes"]

    def make(self, causal, sizes):
        self.causal = causal
        self.q, self.k, self.v = (common.normal(*sizes, seed=i).requires_grad_() for i in range(3))
        self.ct = common.normal(*sizes, seed=3)
        batch, heads, n, width = sizes
        self.flops = 4 * batch * heads * n * n * width / (2 if causal else 1)

    def forward(self):
        return ft.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=self.causal)

    def forward_backward(self):
        self.q.grad = self.k.grad = self.v.grad = None
        self.forward().backward(self.ct)

    def time_forward(self, causal, sizes):
        with ft.no_grad():
            return self.forward()

    def time_forward_backward(self, causal, sizes):
        self.forward_backward()

    def peakmem_forward_backward(self, causal, sizes):
        self.forward_backward()

    def track_forward_rate(self, causal, sizes):
        with ft.no_grad():
            return 1e-9 * self.flops / common.seconds(self.forward)

    track_forward_rate.unit = "GFLOP/s"


class Select(common.Kept):
    """Elements picked by place and by mask, a million."""

    ops = ["take", "masked_select"]

    def make(self):
        self.x = common.normal(1000, 1000)
        self.mask = self.x > 0
        self.places = self.mask.reshape(-1).nonzero().squeeze(1)

    def time_take(self):
        return ft.take(self.x, self.places)

    def time_masked_select(self):
        return ft.masked_select(self.x, self.mask)
