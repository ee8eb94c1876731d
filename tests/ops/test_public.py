"""The public functions and methods: against torch, in-place forms, bad input, documentation.

CALLS is a list of expressions that read the same in torch (`m` the package, `F`
torch.nn.functional, ours in both cases):
each is evaluated with both and must give the same values, dtypes and shapes.
"""

from __future__ import annotations

import inspect
import types

import numpy
import pytest

import functorch_like as ft
from functorch_like import testing
from functorch_like.dtypes import DTYPES
from functorch_like.op import TABLE
from functorch_like.tensor import Tensor
from functorch_like.testing import assert_close, kinds_of, samples_of

CALLS = """
m.sum(x) ; m.sum(x, 0) ; x.sum(dim=(0, 1), keepdim=True) ; x.sum(-1) ; x.sum([0, 1])
x3.sum((0, 2)) ; x.sum(axis=1, keepdims=True) ; x.sum(0, dtype=m.float64)
x.mean() ; x.mean(1) ; x.mean((0, 1), keepdim=True) ; m.prod(x) ; m.prod(x, 0)
x.prod(1, keepdim=True) ; m.nansum(x) ; m.nanmean(x, 0)
m.amax(x, 1) ; x.amin((0, 1)) ; x.amax(dim=0, keepdim=True) ; m.all(x) ; m.all(x, 0)
x.any(1, keepdim=True) ; m.any(x) ; m.count_nonzero(x) ; m.count_nonzero(x, 0)
m.logsumexp(x, 1) ; x.logsumexp((0, 1), True) ; m.var(x) ; m.var(x, 0) ; m.var(x, 1, correction=0)
x.var((0, 1), keepdim=True) ; x.std() ; m.std(x, 1, keepdim=True) ; m.var(x, False)
m.var_mean(x, 0) ; m.std_mean(x, 1) ; x.argmax() ; x.argmin(1) ; m.argmax(x, dim=0, keepdim=True)
m.max(x) ; m.max(x, 1) ; x.min(0, True) ; m.max(x, y) ; m.min(x, y) ; m.aminmax(x, dim=0)
x.max(dim=1).values ; x.max(dim=1).indices ; m.cumsum(x, 0) ; x.cumprod(-1) ; m.norm(x)
m.norm(x, 1, 0) ; x.norm(float('inf')) ; x.norm(3, 1) ; x.norm(0)
x.norm(p=2, dim=1, keepdim=True)
x.permute(1, 0) ; x3.permute((2, 0, 1)) ; x.t() ; x.T ; x3.mT ; x.reshape(4, 3) ; x.reshape((-1,))
x.reshape(2, -1) ; x.view(12) ; x.view(-1, 6) ; x.flatten() ; m.flatten(x3, 1) ; x.ravel()
x.unflatten(1, (2, 2))
x.unsqueeze(-1) ; x.unsqueeze(0).squeeze() ; x.unsqueeze(1).squeeze(1)
x.unsqueeze(1).squeeze((1, 2)) ; x.expand(2, 3, 4) ; x.expand(2, -1, -1) ; v.expand_as(x)
x.diagonal() ; x.diagonal(1) ; x3.diagonal(0, 1, 2) ; m.diag(v) ; m.diag(x, 1) ; m.diag(v, -1)
m.diag_embed(x) ; m.diag_embed(x, 1, 0, 2) ; x3.movedim(0, -1) ; x3.movedim((0, 1), (1, 2))
m.swapaxes(x, 0, 1) ; m.broadcast_to(v, (3, 4)) ; m.broadcast_tensors(x, v) ; x.transpose(-1, 0)
x.view_as(y) ; x.reshape_as(y)
x.split(2, 1) ; x.split([1, 3], dim=1) ; x.chunk(3, 1) ; x.chunk(2) ; x.unbind(1)
x.narrow(1, 1, 2) ; x.narrow(1, -2, 1) ; x.select(0, -1) ; m.cat([x, y], 1) ; m.cat((x, x[:1]))
m.cat([x, i32x]) ; m.concat([x, y], dim=-1) ; m.stack([x, y]) ; m.stack([x, y], -1)
x.flip(0) ; x.flip((0, 1)) ; m.fliplr(x) ; m.flipud(x) ; x.roll(1, 0) ; m.roll(x, 3)
x.roll((1, -1), (0, 1)) ; x.repeat(2, 2) ; x.repeat(2, 1, 1) ; m.tile(x, (2,)) ; x.tril()
x.triu(1) ; x3.tril(-1)
F.pad(x, (1, 2)) ; F.pad(x, (1, 0, 0, 2), value=3) ; F.pad(x, (-1, 1))
F.pad(x3, (1, 2), mode='reflect') ; F.pad(x3, (2, 1), mode='replicate')
F.pad(x3, (1, 1), mode='circular')
x[0] ; x[-1, 2] ; x[:, 1] ; x[..., None] ; x[1:, ::2] ; x[None] ; x[i] ; x[:, i] ; x[i, i]
x[i[:2], 1:] ; x3[:, i % 2] ; x3[0, i % 2] ; x3[:, i % 2, 1:] ; x3[i, :, i]
x3[i[:2] * 0, :, i[:2]] ; x[mask] ; x[mask[:, 0]] ; x3[:, :, mask[0]] ; x3[mask[:, :2]]
x[[0, 2]] ; x[True] ; x[()] ; x[i[:, None], i] ; x[m.tensor(1)]
m.gather(x, 1, ix) ; x.gather(-1, ix) ; x.scatter(1, ix, y) ; x.scatter(0, ix * 0, 1)
x.scatter_add(1, ix, y) ; x.index_select(0, i) ; m.index_select(x, 1, i) ; x.index_add(0, i, y)
x.index_add(1, i, x[:, :3], alpha=2) ; x.index_put((i,), y[:3])
x.index_put((i, i), v[:3], accumulate=True)
m.take_along_dim(x, ix, 1) ; m.take(x, ix) ; m.masked_select(x, mask) ; m.where(mask, x, y)
m.where(mask, x, 0) ; m.where(mask) ; x.where(mask, y) ; x.masked_fill(mask, 0) ; m.nonzero(x)
m.nonzero(m.tensor(5), as_tuple=True) ; m.nonzero_static(mask, size=5, fill_value=-7)
m.nonzero_static(x3, size=2) ; m.argwhere(x) ; x.nonzero(as_tuple=True)
F.embedding(i, x) ; F.embedding(ix, x)
F.embedding(i[0], x)
x @ y.T ; x @ v ; v @ v ; v @ y.T ; x3 @ y.T ; x3 @ x3.mT ; m.matmul(x3, v) ; m.mm(x, y.T)
m.mv(x, v) ; m.dot(v, v) ; m.outer(v, v) ; v.ger(v) ; m.addmm(v[:3], x, y.T, beta=2, alpha=3)
m.addmv(v[:3], x, v) ; m.bmm(x3, x3.mT) ; m.baddbmm(v[:2], x3, x3.mT) ; m.vdot(v, v)
F.linear(x, y) ; F.linear(x, y, v[:3]) ; F.linear(v, y)
m.clamp(x, -1, 1) ; m.clamp(x, min=0) ; x.clamp(max=1) ; m.clamp(x, y, y + 1) ; m.clip(x, 0, 1)
m.lerp(x, y, 0.25) ; m.lerp(x, y, y) ; m.addcmul(x, y, y, value=2) ; m.addcdiv(x, y, y, value=2)
m.add(x, y, alpha=2) ; m.sub(x, y, alpha=2) ; m.rsub(x, y) ; m.rsub(x, 1) ; m.add(x, 1)
m.div(x, y) ; m.div(x, y, rounding_mode='floor') ; m.div(x, y, rounding_mode='trunc')
m.true_divide(x, 2) ; x ** 2 ; 2 ** x ; y ** 0.5 ; y ** x ; x // y ; x // 2 ; x % y ; x % 2
7 % y ; -x ; abs(x) ; +x ; 1 / y ; 1 - x ; 3 * x ; x / 2 ; x - 1.5 ; x + 1j ; True + x
x == y ; x != 1 ; x < y ; x >= 0 ; 1 > x ; x & y ; x | y ; x ^ y ; ~x ; x << 1 ; x >> 1
m.logical_and(x, y) ; x.logical_not() ; x.bool() ; x.long() ; x.to(m.float64) ; x.half() ; x.int()
x.type_as(v) ; x.float().double()
F.gelu(x) ; F.gelu(x, approximate='tanh') ; F.silu(x) ; F.logsigmoid(x) ; m.relu(x) ; m.sigmoid(x)
m.round(x, decimals=1) ; m.polar(x, y) ; m.complex(x, y) ; m.real(x) ; m.angle(x) ; x.conj()
m.isnan(x) ; x.sign() ; m.exp(x) ; m.sqrt(abs(x)) ; m.view_as_real(m.complex(x, y))
m.softmax(x, 1) ; F.softmax(x, dim=0) ; x.softmax(-1) ; F.log_softmax(x3, 1)
F.softmax(x, 1, dtype=m.float64) ; F.cross_entropy(x, t) ; F.cross_entropy(x, t, reduction='none')
F.cross_entropy(x, t, reduction='sum') ; F.cross_entropy(x, t, v.abs())
F.cross_entropy(x, t, label_smoothing=0.1)
F.cross_entropy(x, t, v.abs(), ignore_index=1, label_smoothing=0.2)
F.cross_entropy(x, t, ignore_index=1) ; F.cross_entropy(x[0], t[0])
F.cross_entropy(x, y.softmax(1)) ; F.cross_entropy(x, y.softmax(1), v.abs(), label_smoothing=0.1)
F.cross_entropy(x3, t3) ; F.cross_entropy(x3, t3, reduction='none')
F.nll_loss(x, t) ; F.nll_loss(x, t, v.abs()) ; F.nll_loss(x, t, reduction='none', ignore_index=2)
F.nll_loss(x3, t3) ; F.nll_loss(x, t, reduction='sum')
F.conv2d(im, k) ; F.conv2d(im, k, kb, stride=2, padding=1)
F.conv2d(im, k, padding=(1, 2), dilation=2) ; F.conv2d(im, k[:, :1], groups=2)
F.conv2d(im[0], k, kb) ; F.conv2d(im, k, padding='same') ; F.conv2d(im, k, padding='valid')
F.conv1d(im[0, :, :2], k[:, :, 0]) ; F.conv1d(im[0, :, :2], k[:, :, 0], stride=2, padding=1)
F.conv3d(im[None], k[:, :, None], padding=1)
F.conv_transpose2d(im, kt)
F.conv_transpose2d(im, kt, kb[:3], stride=2, padding=1, output_padding=1)
F.conv_transpose2d(im, kt, groups=2, dilation=2)
F.conv_transpose1d(im[0, :, :2], kt[..., 0], stride=2)
F.conv_transpose3d(im[None], kt[:, :, None])
F.max_pool2d(im, 2) ; F.max_pool2d(im, 3, 2, 1) ; F.max_pool2d(im, (3, 2), ceil_mode=True)
F.max_pool2d(im, 2, return_indices=True) ; F.max_pool2d(im, 2, 1, dilation=2)
F.max_pool1d(im[0], 3, 2) ; F.max_pool3d(im, 2) ; F.max_pool2d(im[0], 2)
F.avg_pool2d(im, 2) ; F.avg_pool2d(im, 3, 2, 1)
F.avg_pool2d(im, 3, 2, 1, count_include_pad=False) ; F.avg_pool2d(im, 2, ceil_mode=True)
F.avg_pool2d(im, 2, divisor_override=3) ; F.avg_pool1d(im[0], 2) ; F.avg_pool3d(im, 2)
m.arange(5) ; m.arange(1, 2, 0.25) ; m.arange(5, 0, -2) ; m.arange(0, 1, 0.1)
m.arange(3, dtype=m.float32) ; m.linspace(0, 1, 5) ; m.linspace(3, -1, 4, dtype=m.float64)
m.logspace(0, 2, 3) ; m.eye(3) ; m.eye(2, 3) ; m.full((2,), 7) ; m.full((2, 2), 1.5)
m.full((), True) ; m.zeros(2, 3) ; m.ones((2,)) ; m.zeros(0)
m.zeros_like(x) ; m.ones_like(x, dtype=m.float64) ; m.full_like(x, 3) ; x.new_zeros(2)
x.new_ones((2, 2)) ; x.new_full((2,), 1) ; x.new_tensor([1, 0]) ; m.tensor([1, 2.5])
m.tensor([[True], [False]]) ; m.tensor(3) ; m.tensor([]) ; m.tensor(1j) ; m.tensor([1, True])
x.clone() ; x.detach() ; x.contiguous()
m.sort(x) ; x.sort(0, True) ; m.sort(x3, dim=1, stable=True) ; x.argsort() ; m.argsort(x, 0, True)
m.msort(x) ; m.topk(x, 2) ; x.topk(2, 0, False) ; x.kthvalue(2) ; m.kthvalue(x, 1, 0, True)
m.median(x) ; m.median(x, 1) ; x.median(0, True) ; m.nanmedian(x) ; x.nanmedian(1) ; m.mode(x, 0)
x.mode() ; m.quantile(x, 0.3) ; m.quantile(x, y[0, :2] / 4, 1) ; x.quantile(0.5, 0, True)
m.quantile(x, 0.4, 1, interpolation='nearest') ; m.quantile(x, 0.4, 1, interpolation='higher')
m.quantile(x, 0.4, interpolation='lower') ; m.quantile(x, 0.4, 0, interpolation='midpoint')
m.nanquantile(x, 0.6, 1) ; m.nanquantile(x, y[0, 0] / 4, 0, True)
m.searchsorted(v.sort().values, x) ; m.searchsorted(y.sort().values, x, right=True)
m.searchsorted(v.sort().values, v, side='right', out_int32=True) ; m.bucketize(x, v.sort().values)
m.unique(i) ; m.unique(ix, return_inverse=True, return_counts=True) ; m.unique(ix, dim=0)
m.unique(ix, return_inverse=True, return_counts=True, dim=1) ; m.unique_consecutive(i)
m.unique_consecutive(ix, return_inverse=True, return_counts=True)
m.unique_consecutive(ix, return_counts=True, dim=0) ; m.unique_consecutive(ix, dim=1)
m.unique_consecutive(ix, return_inverse=True) ; m.median(ix, 1).values
m.unique_consecutive(i, return_inverse=True, dim=0)
m.isnan(m.median(m.log(x), 0).values) ; m.isnan(m.median(m.log(x), 1, True).values)
x[[0, 2, -1]] ; x[[True, False, True]] ; x[[]]
m.masked_scatter(x, mask[:1], y) ; m.masked_scatter(x[:1], mask, y)
m.bincount(i) ; m.bincount(i, minlength=7)
m.histc(x, 4, -2, 2) ; x.histc(5)
m.logcumsumexp(x, 0) ; x.logcumsumexp(1) ; m.cummax(x, 1) ; x.cummin(0) ; m.diff(x)
m.diff(x, 2, 1) ; x.diff(dim=0, prepend=y[:1], append=y) ; m.trapezoid(x) ; m.trapezoid(x, y, dim=0)
m.trapezoid(x, dx=0.5, dim=0) ; m.cumulative_trapezoid(x, v) ; m.trapz(x)
m.lgamma(y) ; y.digamma() ; m.polygamma(0, y) ; m.polygamma(1, y) ; y.polygamma(2)
m.special.zeta(2, y) ; m.special.zeta(3, x) ; m.mvlgamma(y + 1, 2)
m.special.multigammaln(y + 2, 3)
m.special.gammaln(y) ; m.special.psi(y) ; m.logit(y / 4) ; m.logit(x, 0.1) ; m.special.expit(x)
m.sinc(x) ; F.softplus(x) ; F.softplus(x * 9, 2, 10) ; m.special.xlog1py(x, y) ; m.special.entr(y)
m.special.ndtr(x) ; m.special.log_ndtr(x * 7) ; m.special.ndtri(y / 4) ; m.rad2deg(x) ; x.deg2rad()
m.logaddexp2(x, y) ; m.nan_to_num(m.where(mask, x, float('inf')), posinf=5.0) ; m.nan_to_num(x, 1)
m.heaviside(x, y)
m.float_power(y, 2) ; m.float_power(2, y) ; m.ldexp(x, i[0]) ; m.isclose(x, x + 1e-9)
m.isclose(x, y, rtol=2) ; m.isin(i, ix) ; m.isin(x, x[0]) ; m.isin(i, 1, invert=True) ; m.isreal(x)
m.atleast_1d(x[0, 0]) ; m.atleast_2d(v) ; m.atleast_3d(v) ; m.atleast_3d(x) ; m.atleast_2d(v, x)
m.hstack((x, y)) ; m.hstack((v, v)) ; m.vstack((v, x)) ; m.row_stack((v, v)) ; m.dstack((x, y))
m.dstack((v, v)) ; m.column_stack((v[:3], x)) ; m.block_diag(x, v, x[0, 0])
m.tensor_split(x, 3, 1)
m.tensor_split(x, (1, 2)) ; m.hsplit(x, 2) ; v.hsplit(2) ; m.vsplit(x, [1]) ; m.dsplit(x3, 2)
m.repeat_interleave(x, 2) ; x.repeat_interleave(3, 1) ; m.rot90(x) ; m.rot90(x, 2)
x3.rot90(-1, (0, 2))
m.meshgrid(v, x[0], indexing='ij') ; m.meshgrid(v, x[:, 0], indexing='xy')
m.cartesian_prod(v, x[0])
m.combinations(v) ; m.combinations(v, 3, True) ; m.vander(v) ; m.vander(v, 3, True)
m.tril_indices(3, 4) ; m.triu_indices(3, 3, 1) ; m.unravel_index(ix, (2, 2)) ; F.one_hot(ix, 4)
m.einsum('ij,kj->ik', x, y) ; m.einsum('ij->ji', x) ; m.einsum('ij', x) ; m.einsum('ii', x[:, :3])
m.einsum('ii->i', x[:, :3]) ; m.einsum('...j,j', x3, v) ; m.einsum('i...,i...->...', x, y)
m.einsum('ij,ij', x, y) ; m.einsum('i,j->ij', v, v) ; m.einsum('bij,bkj->bik', x3, x3)
m.einsum('ij,j,kj->ki', x, v, y) ; m.einsum('ij,jk,kl', x, y.T, x) ; m.einsum('...ij->...ji', x3)
m.einsum('ij->', x) ; m.einsum('b...,c->c...b', x3, v) ; m.einsum('ij,kj->j', x, y[:1])
m.tensordot(x3, x3, 1 + 2) ; m.tensordot(x, y, ([1], [1])) ; m.inner(x, y) ; m.inner(x3, v)
m.kron(x, v) ; m.kron(x3, x) ; m.cross(x, y, 0) ; m.trace(x) ; m.dist(x, y)
m.dist(x, y, 3) ; m.cov(x) ; m.cov(v, correction=0) ; m.cov(x, aweights=y[0]) ; m.corrcoef(x)
m.corrcoef(v)
m.index_fill(x, 1, i, 2) ; x.index_fill(0, i[:1], v[0]) ; m.index_copy(x, 0, m.arange(3), y)
m.index_copy(x, 1, m.arange(2) * 2, y[:, :2]) ; x.put(m.arange(5), y.flatten()[:5])
m.put(x, i, v[:3], accumulate=True) ; m.masked_scatter(x, mask, y) ; m.select_scatter(x, v, 0, 1)
m.slice_scatter(x, y[:, :2], 1, 0, 4, 2) ; m.diagonal_scatter(x, v[:3])
x.diagonal_scatter(v[:2], -1)
x.scatter_reduce(1, ix, y, 'sum') ; m.scatter_reduce(x, 0, ix, y, 'prod')
x.scatter_reduce(0, ix, y, 'amax') ; x.scatter_reduce(1, ix, y, 'amin', include_self=False)
x.scatter_reduce(0, ix, y, 'mean') ; x.scatter_reduce(0, ix, y, 'mean', include_self=False)
x.scatter_reduce(0, ix, y, 'prod', include_self=False)
F.layer_norm(x, (4,)) ; F.layer_norm(x3, (2, 4), y[:2], x[:2], 1e-3) ; F.layer_norm(x, (4,), v)
F.layer_norm(x, (4,), v, v, 1e-3) ; F.rms_norm(x, (4,)) ; F.rms_norm(x3, (2, 4), y[:2], 1e-3)
F.batch_norm(x, None, None, v, v, True) ; F.batch_norm(im, None, None, training=True)
F.batch_norm(x, v, y[0], eps=1e-3) ; F.group_norm(im, 2, kb[:2], kb[2:]) ; F.group_norm(im, 1)
F.instance_norm(im) ; F.instance_norm(im, weight=kb[:2], bias=kb[2:], eps=1e-3)
"""


def calls():
    return [c.strip() for line in CALLS.strip().splitlines() for c in line.split(" ; ")]


def inputs(dtype, tensor_of):
    """The names in CALLS, as tensors of ours or of torch."""
    rng = numpy.random.default_rng(5)

    def numbers(*shape, low=-3.0, high=3.0):
        return rng.uniform(low, high, shape)

    raw = {
        "x": numbers(3, 4),
        "y": numbers(3, 4, low=0.6, high=3.4),
        "x3": numbers(3, 2, 4),
        "v": numbers(4),
    }
    raw |= {
        "im": numbers(2, 2, 5, 6),
        "k": numbers(4, 2, 3, 3),
        "kb": numbers(4),
        "kt": numbers(2, 3, 3, 3),
    }
    named = {k: tensor_of(a, dtype) for k, a in raw.items()}
    ints = {
        "i": rng.integers(0, 3, 3),
        "ix": rng.integers(0, 3, (3, 2)),
        "t": rng.integers(0, 4, 3),
        "t3": rng.integers(0, 2, (3, 4)),
    }
    named |= {k: tensor_of(a, "int64") for k, a in ints.items()}
    named["mask"] = tensor_of(rng.uniform(size=(3, 4)) > 0.4, "bool")
    named["i32x"] = tensor_of(raw["x"], "int32")
    return named


def _cast(array, dtype):
    """The array as that dtype, or as float32 where NumPy has no such dtype."""
    if dtype == "bool":
        return numpy.asarray(array) > 0
    name = "float32" if dtype == "bfloat16" else dtype
    return array.astype(name)


def ours(array, dtype):
    t = ft.tensor(_cast(array, dtype))
    return t.bfloat16() if dtype == "bfloat16" else t


# Where torch takes the dtype and we do not, or differ on purpose.
DIFFERENT = {
    ("bool", "m.add(x, y, alpha=2)"): "True + 2 * True is 3: torch says True",
    ("complex64", "m.logsumexp(x, 1)"): "no complex kernel",
    ("complex64", "m.logcumsumexp(x, 0)"): "no complex kernel",
    ("complex64", "x.logcumsumexp(1)"): "no complex kernel",
    ("complex64", "F.rms_norm("): "no complex kernel",
    ("int64", "m.topk(x, 2)"): "torch picks any of equal elements, we the first",
    ("int64", "x.kthvalue(2)"): "torch picks any of equal elements, we the first",
    ("int64", "m.kthvalue("): "torch picks any of equal elements, we the first",
    ("uint8", "m.topk(x, 2)"): "torch picks any of equal elements, we the first",
    ("uint8", "x.kthvalue(2)"): "torch picks any of equal elements, we the first",
    ("uint8", "m.kthvalue("): "torch picks any of equal elements, we the first",
    ("complex64", "x.logsumexp((0, 1), True)"): "no complex kernel",
    ("float16", "x + 1j"): "there is no complex32",
    ("float16", "m.complex(x, y)"): "there is no complex32",
    ("float16", "m.view_as_real(m.complex(x, y))"): "there is no complex32",
    ("int64", "F.avg_pool"): "a mean of integers is not an integer",
    ("uint8", "m.all(x"): "bool, as for every other dtype",
    ("uint8", "m.any(x"): "bool, as for every other dtype",
    ("uint8", "x.any("): "bool, as for every other dtype",
}

# 16-bit: both sides round once or twice; elsewhere float32 results of integers too
LOOSE = {"float16": (1e-2, 1e-2), "bfloat16": (3e-2, 3e-2), "float64": (1e-9, 1e-9)}


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int64", "uint8", "bool", "float16", "bfloat16", "complex64"]
)
def test_calls_are_torchs(dtype):
    torch = pytest.importorskip("torch")

    def theirs(array, name):
        return torch.from_numpy(numpy.ascontiguousarray(_cast(array, name))).to(
            getattr(torch, name)
        )

    a = {**inputs(dtype, ours), "m": ft, "F": ft, "abs": abs, "float": float}
    b = {**inputs(dtype, theirs), "m": torch, "F": torch.nn.functional, "abs": abs, "float": float}
    wrong = []
    for text in calls():
        try:
            expected = eval(text, dict(b))
        except (RuntimeError, TypeError, IndexError, NotImplementedError, ValueError):
            assert dtype != "float32" or text.startswith(BITS), f"{text} is not a call of torch's"
            continue  # torch does not take this dtype
        try:
            got = eval(text, dict(a))
            expected = tuple(expected) if isinstance(expected, tuple) else expected
            assert_close(got, expected, *LOOSE.get(dtype, (1e-5, 1e-5)), equal_nan=True)
        except Exception as e:
            if not any(dtype == d and text.startswith(start) for d, start in DIFFERENT):
                wrong.append(f"{text}: {type(e).__name__}: {str(e).splitlines()[0]}")
    assert not wrong, f"{len(wrong)} differ for {dtype}:\n" + "\n".join(wrong)


# Gradients that differ from torch's on purpose, by the start of the call.
GRADIENTS = {
    "m.polar(": "torch's rule holds for abs >= 0 only; ours also below",
    "m.topk(x, 2)": "torch picks any of equal elements, we the first",
    "x.kthvalue(2)": "torch picks any of equal elements, we the first",
}


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("values", ["random", "ties and zeros"])
def test_gradients_are_torchs(values):
    """Of all CALLS by all floating operands, also at kinks, where elements are equal or zero."""
    torch = pytest.importorskip("torch")

    def rounded(array):
        return (
            numpy.round(array)
            if values != "random" and numpy.asarray(array).dtype.kind == "f"
            else array
        )

    def mine(array, dtype):
        return ours(rounded(array), dtype)

    def theirs(array, name):
        return torch.from_numpy(numpy.ascontiguousarray(_cast(rounded(array), name))).to(
            getattr(torch, name)
        )

    def gradients(m, text, names):
        leaves = {
            k: v.requires_grad_()
            for k, v in names.items()
            if k != "i32x" and str(v.dtype).endswith("float64")
        }
        out = eval(
            text,
            {
                **names,
                "m": m,
                "F": m if m is ft else torch.nn.functional,
                "abs": abs,
                "float": float,
            },
        )
        out = list(out) if isinstance(out, (tuple, list)) else [out]
        out = [y for y in out if y.requires_grad]
        if not out:
            return None
        weights = [(m.arange(y.numel(), dtype=m.float64).reshape(y.shape) * 0.7).cos() for y in out]
        loss = sum(
            (y.real.to(m.float64) * w).sum() + ((y.imag * w).sum() if y.is_complex() else 0)
            for y, w in zip(out, weights, strict=True)
        )
        loss.backward()
        return {k: v.grad for k, v in leaves.items()}

    wrong = []
    for text in calls():
        try:
            expected = gradients(torch, text, inputs("float64", theirs))
        except (RuntimeError, TypeError, IndexError, NotImplementedError, ValueError):
            continue
        try:
            got = gradients(ft, text, inputs("float64", mine))
            for name, e in (expected or {}).items():
                g = got and got[name]
                if g is None and (e is None or not e.any()):
                    continue  # torch gives zeros for piecewise constant functions
                e = torch.zeros_like(theirs(g.numpy(), "float64")) if e is None else e
                assert_close(g, e, 1e-7, 1e-7, equal_nan=True)
        except Exception as e:
            if not any(text.startswith(start) for start in GRADIENTS):
                wrong.append(f"{text}: {type(e).__name__}: {str(e)[:300]}")
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong)


def used(text, names):
    """The operands that a call uses."""
    return [n for n in compile(text, "call", "eval").co_names if n in names]


def evaluate(text, names):
    out = eval(text, {**names, "m": ft, "F": ft, "abs": abs, "float": float})
    return tuple(y for y in (out if isinstance(out, (tuple, list)) else (out,)))


BITS = ("x & ", "x | ", "x ^ ", "~x", "x << ", "x >> ")  # of integers only
DATA_DEPENDENT = (  # of a mapped operand
    "m.nonzero(", "m.argwhere(", "x.nonzero(", "m.unique", "m.bincount(",
)  # fmt: skip


@pytest.mark.parametrize("text", [t for t in calls() if used(t, inputs("float64", ours))])
def test_calls_under_vmap(text):
    """Each call mapped over every operand alone and over all, against a loop."""
    dtype = "int64" if text.startswith(BITS) else "float64"
    lanes = [inputs(dtype, ours), inputs(dtype, lambda a, d: ours(numpy.flip(a).copy(), d))]
    names = used(text, lanes[0])
    for mapped in [*[[n] for n in names if len(names) > 1], names]:
        decides = text.startswith(DATA_DEPENDENT) or (
            "mask" in mapped
            and ("[mask" in text or "mask[0]]" in text or "select" in text or "where(mask" in text)
        )
        try:
            got = ft.vmap(
                lambda *a, mapped=mapped: evaluate(
                    text, {**lanes[0], **dict(zip(mapped, a, strict=True))}
                )
            )(*[ft.stack([lane[n] for lane in lanes]) for n in mapped])
        except ft.TraceError as error:
            if decides and "one shape" in str(error):
                continue  # lanes whose results differ in shape have no common tensor
            raise
        loop = [evaluate(text, {**lanes[0], **{n: lane[n] for n in mapped}}) for lane in lanes]
        assert_close(
            got,
            tuple(ft.stack(list(ys)) for ys in zip(*loop, strict=True)),
            1e-9,
            1e-9,
            equal_nan=True,
        )


@pytest.mark.parametrize(
    "text", [t for t in calls() if used(t, inputs("float64", ours)) and not t.startswith(BITS)]
)
def test_derivatives_of_calls(text):
    """Both orders and modes against difference quotients; a mapped gradient against a loop."""
    named = inputs("float64", ours)
    at = [n for n in used(text, named) if named[n].dtype.is_floating_point]

    def function(*values):
        return tuple(
            y
            for y in evaluate(text, {**named, **dict(zip(at, values, strict=True))})
            if y.dtype.is_inexact
        )

    values = [named[n] for n in at]
    if (
        not at
        or not function(*values)
        or not any(
            y.requires_grad for y in function(*[v.detach().requires_grad_() for v in values])
        )
    ):
        pytest.skip("nothing to differentiate")
    if "to(m.float64)" not in text and any(
        t in text for t in ("float()", "half()", "zeros_like", "ones_like", "full_like", ".int()")
    ):
        pytest.skip("less precise than a difference quotient needs")
    testing.check_grads(function, values, order=2 if sum(v.numel() for v in values) < 300 else 1)

    def loss(*values):
        return sum(((y * y).real if y.is_complex() else y * y).sum() for y in function(*values))

    gradient = ft.grad(loss, tuple(range(len(at))))
    moved = [v * 0.9 + 0.05 for v in values]
    got = ft.vmap(gradient)(*[ft.stack([a, b]) for a, b in zip(values, moved, strict=True)])
    loop = [gradient(*values), gradient(*moved)]
    assert_close(
        got, tuple(ft.stack(list(gs)) for gs in zip(*loop, strict=True)), 1e-8, 1e-8, equal_nan=True
    )


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "operation",
    [
        "x + y",
        "x * y",
        "x / y",
        "x // y",
        "x ** y",
        "x == y",
        "m.maximum(x, y)",
        "m.atan2(x, y)",
        "m.where(c, x, y)",
    ],
)
def test_promotion_is_torchs(operation):
    """All pairs of dtypes, of tensors with and without dimensions, and of Python numbers."""
    torch = pytest.importorskip("torch")
    names = [d.name for d in DTYPES if d.name not in ("uint16", "uint32", "uint64")]
    wrong = []
    code = compile(operation, "call", "eval")

    def value(m, name, kind):
        if kind == "number":
            return (
                True if name == "bool" else 2 if "int" in name else 1j if "complex" in name else 1.5
            )
        return m.tensor([1] if kind == "1d" else 1).to(
            getattr(m, name if m is torch or name != "bool" else "bool_")
        )

    for first in names:
        for second in names:
            for kinds in (
                ("1d", "1d"),
                ("1d", "0d"),
                ("0d", "1d"),
                ("1d", "number"),
                ("number", "1d"),
                ("0d", "number"),
            ):
                try:
                    expected = eval(
                        code,
                        {
                            "m": torch,
                            "c": torch.tensor([True]),
                            "x": value(torch, first, kinds[0]),
                            "y": value(torch, second, kinds[1]),
                        },
                    )
                except (RuntimeError, TypeError):
                    continue
                if operation == "x ** y" and first == second == "bool":
                    continue  # torch refuses two tensors but takes True: we refuse both
                if not isinstance(expected, torch.Tensor) or expected.dtype is torch.complex32:
                    continue
                try:
                    got = eval(
                        code,
                        {
                            "m": ft,
                            "c": ft.tensor([True]),
                            "x": value(ft, first, kinds[0]),
                            "y": value(ft, second, kinds[1]),
                        },
                    )
                    assert f"torch.{got.dtype}" == str(expected.dtype), (
                        f"got {got.dtype}, torch gives {expected.dtype}"
                    )
                except Exception as e:
                    wrong.append(f"{first} {second} {kinds}: {e}")
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:20])


# ---- in-place forms ----

# in-place methods of ops with parameters: arguments for a [3, 4] tensor
ARGUMENTS = {
    "copy_": lambda make: (make(4),),
    "fill_": lambda make: (2.5,),
    "masked_fill_": lambda make: (make.mask(3, 4), 1.5),
    "clamp_": lambda make: (-0.5, 0.5),
    "addcmul_": lambda make: (make(3, 4), make(4)),
    "addcdiv_": lambda make: (make(3, 4), make(4, low=1.0, high=2.0)),
    "lerp_": lambda make: (make(3, 4), 0.25),
    "scatter_": lambda make: (1, make.places(4, 3).reshape(3, 1), make(3, 1)),
    "scatter_add_": lambda make: (1, make.index(4, 3, 2), make(3, 2)),
    "index_add_": lambda make: (0, make.index(3, 5), make(5, 4)),
    "index_put_": lambda make: ((make.places(3, 2),), make(2, 4)),
    "nan_to_num_": lambda make: (0.5, 2.0, -2.0),
    "zero_": lambda make: (),
    "index_fill_": lambda make: (0, make.index(3, 2), 1.5),
    "index_copy_": lambda make: (0, make.places(3, 2), make(2, 4)),
    "put_": lambda make: (make.places(12, 5), make(5)),
    "masked_scatter_": lambda make: (make.mask(3, 4), make(3, 4)),
    "scatter_reduce_": lambda make: (1, make.index(4, 3, 2), make(3, 2), "mean"),
}
STATE = {"requires_grad_", "detach_"}  # not writes
STRIDED = {"as_strided_", "squeeze_", "transpose_", "unsqueeze_"}  # change the view, not the memory
ALIASES = {"true_divide_": "div", "divide_": "div", "multiply_": "mul", "subtract_": "sub"}
DRAWS = {"uniform_", "normal_", "bernoulli_", "exponential_", "random_"}


def in_place_names():
    return sorted(
        n
        for n in dir(Tensor)
        if n.endswith("_")
        and not n.startswith("_")
        and n not in STATE | DRAWS
        # the others' own tests are in test_surface.py
        and (n in ARGUMENTS or n in ALIASES or (n[:-1] in TABLE and n not in STRIDED))
    )


def in_place_case(name):
    """A tensor, the arguments, and the out-of-place function."""
    make = testing.Make(ft.float64, 11)
    if name in ARGUMENTS:
        x, args = make(3, 4), ARGUMENTS[name](make)
        plain = {
            "copy_": lambda x, s: s.expand(x.shape),
            "fill_": lambda x, v: x * 0 + v,
            "zero_": lambda x: x * 0,
        }
        return x, args, plain.get(name) or getattr(Tensor, name[:-1])
    function = getattr(Tensor, name[:-1])
    op = TABLE[ALIASES.get(name, name[:-1])]
    kind = {"int": ft.int64, "bool": ft.bool_}.get(kinds_of(op)[-1], ft.float64)
    (x, *args), _ = samples_of(op, kind, seed=3)[0]
    return x, tuple(args), function


@pytest.mark.parametrize("name", in_place_names())
def test_in_place_forms_equal_out_of_place(name):
    x, args, function = in_place_case(name)
    method = getattr(Tensor, name)
    expected = function(x, *args).to(x.dtype)
    written = x.clone()
    view = written[:]
    assert method(written, *args) is written, "an in-place method returns the tensor itself"
    assert_close(written, expected, equal_nan=True)
    assert_close(view, expected, equal_nan=True)  # the memory was written

    def inside(x):
        y = x.clone()
        method(y, *args)
        return y

    assert_close(ft.vmap(inside)(ft.stack([x, x]))[1], expected, equal_nan=True)
    if not x.dtype.is_inexact:
        return
    weights = testing.make_tensor(x.shape, x.dtype, -1, 1)
    reference = ft.grad(lambda x: (function(x, *args).to(x.dtype) * weights).sum())(x)
    assert_close(ft.grad(lambda x: (inside(x) * weights).sum())(x), reference, equal_nan=True)
    leaf = x.clone().requires_grad_()
    loss = (inside(leaf) * weights).sum()
    if loss.requires_grad:  # constants and piecewise constant functions cut the graph
        loss.backward()
    assert_close(
        leaf.grad if leaf.grad is not None else leaf.detach() * 0, reference, equal_nan=True
    )
    assert_close(
        ft.jvp(inside, (x,), (weights,))[1],
        ft.jvp(lambda x: function(x, *args).to(x.dtype), (x,), (weights,))[1],
        equal_nan=True,
    )


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_in_place_draws_follow_the_seed(name):
    a = getattr(ft.zeros(100), name)(generator=ft.Generator().manual_seed(3))
    b = getattr(ft.zeros(100), name)(generator=ft.Generator().manual_seed(3))
    assert_close(a, b, 0, 0)
    assert a.std() > 0


# ---- bad input ----

x, i, v = ft.zeros(3, 4), ft.zeros(3, dtype="int64"), ft.zeros(4)
ERRORS = [
    ("add", ft.ShapeError, lambda: x + ft.zeros(3)),
    ("mul", ft.ShapeError, lambda: x * ft.zeros(2, 4)),
    ("add", ft.DTypeError, lambda: ft.add(x, "1")),
    ("add", ft.ShapeError, lambda: ft.zeros(4).add_(x)),
    ("bitwise_and", ft.DTypeError, lambda: x & x),
    ("bitwise_not", ft.DTypeError, lambda: ~x),
    ("where", ft.DTypeError, lambda: ft.where(x, x, x)),
    ("where", TypeError, lambda: ft.where(x > 0, x)),
    ("clamp", ValueError, lambda: x.clamp()),
    ("sum", ft.DimError, lambda: x.sum(2)),
    ("sum", ft.DimError, lambda: x.sum((0, -3))),
    ("sum", ValueError, lambda: x.sum((0, 0))),
    ("sum", TypeError, lambda: x.sum(0, dimension=1)),
    ("mean", ft.DTypeError, lambda: i.mean()),
    ("var", ft.DTypeError, lambda: i.var()),
    ("amax", (ft.ShapeError, ft.DimError, ValueError), lambda: ft.zeros(0).amax()),
    ("argmax", ft.DimError, lambda: x.argmax(5)),
    ("argmax", (ft.ShapeError, ft.DimError, ValueError), lambda: ft.zeros(0).argmax()),
    ("cumsum", ft.DimError, lambda: x.cumsum(3)),
    ("norm", ft.DTypeError, lambda: i.norm()),
    ("softmax", ft.DTypeError, lambda: i.softmax(0)),
    ("softmax", TypeError, lambda: x.softmax()),
    ("softmax", ft.DimError, lambda: x.softmax(2)),
    ("cross_entropy", ft.ShapeError, lambda: ft.cross_entropy(x, i[:2])),
    ("cross_entropy", ft.DimError, lambda: ft.cross_entropy(x, i + 4)),
    ("cross_entropy", ValueError, lambda: ft.cross_entropy(x, i, reduction="avg")),
    ("cross_entropy", ft.ShapeError, lambda: ft.cross_entropy(x, ft.zeros(3, 5))),
    ("reshape", ft.ShapeError, lambda: x.reshape(5)),
    ("reshape", ft.ShapeError, lambda: x.reshape(-1, -1)),
    ("reshape", ft.ShapeError, lambda: x.reshape(-1, 5)),
    ("reshape", TypeError, lambda: x.reshape("a")),
    ("view", ft.ShapeError, lambda: x.t().view(12)),
    ("permute", (ft.DimError, ValueError), lambda: x.permute(0, 0)),
    ("permute", (ft.DimError, ValueError), lambda: x.permute(0)),
    ("transpose", ft.DimError, lambda: x.transpose(0, 2)),
    ("t", ft.ShapeError, lambda: ft.zeros(1, 1, 1).t()),
    ("expand", ft.ShapeError, lambda: x.expand(3, 5)),
    ("expand", ft.ShapeError, lambda: x.expand(4)),
    ("unsqueeze", ft.DimError, lambda: x.unsqueeze(3)),
    ("squeeze", ft.DimError, lambda: x.squeeze(2)),
    ("flatten", ValueError, lambda: ft.flatten(x, 1, 0)),
    ("movedim", ValueError, lambda: x.movedim((0, 1), (0, 0))),
    ("diagonal", (ft.DimError, ValueError), lambda: x.diagonal(0, 1, 1)),
    ("diagonal", ft.DimError, lambda: x.diagonal(0, 0, 2)),
    ("broadcast_shapes", ft.ShapeError, lambda: ft.broadcast_shapes((2,), (3,))),
    ("matmul", ft.ShapeError, lambda: x @ x),
    ("matmul", (ft.ShapeError, ft.DTypeError), lambda: x @ ft.tensor(1.0)),
    ("matmul", ft.DTypeError, lambda: x @ x.t().double()),
    ("mm", ft.ShapeError, lambda: ft.mm(x, v)),
    ("bmm", ft.ShapeError, lambda: ft.bmm(x, x)),
    ("mv", ft.ShapeError, lambda: ft.mv(v, v)),
    ("dot", ft.ShapeError, lambda: ft.dot(x, x)),
    ("linear", ft.ShapeError, lambda: ft.linear(x, ft.zeros(2, 5))),
    ("linear", ft.ShapeError, lambda: ft.linear(x, ft.zeros(2, 4), ft.zeros(3))),
    ("conv2d", ft.ShapeError, lambda: ft.conv2d(x, x)),
    (
        "conv2d",
        ValueError,
        lambda: ft.conv2d(ft.zeros(1, 1, 4, 4), ft.zeros(1, 1, 2, 2), stride=(1, 2, 3)),
    ),
    ("conv", ft.ShapeError, lambda: ft.conv2d(ft.zeros(1, 3, 4, 4), ft.zeros(1, 2, 2, 2))),
    (
        "conv",
        (ft.ShapeError, ValueError),
        lambda: ft.conv2d(ft.zeros(1, 1, 2, 2), ft.zeros(1, 1, 3, 3)),
    ),
    ("conv", ValueError, lambda: ft.conv2d(ft.zeros(1, 1, 4, 4), ft.zeros(1, 1, 2, 2), stride=0)),
    ("max_pool2d", ft.ShapeError, lambda: ft.max_pool2d(v, 2)),
    (
        "max_pool",
        (ValueError, ft.ShapeError),
        lambda: ft.max_pool2d(ft.zeros(1, 1, 4, 4), 2, padding=2),
    ),
    ("max_pool", ValueError, lambda: ft.max_pool2d(ft.zeros(1, 1, 4, 4), 0)),
    ("cat", ft.ShapeError, lambda: ft.cat([x, ft.zeros(3, 5)])),
    ("cat", ValueError, lambda: ft.cat([])),
    ("cat", ft.DimError, lambda: ft.cat([x, x], 2)),
    ("cat", ft.ShapeError, lambda: ft.cat([ft.tensor(1.0)])),
    ("stack", ft.ShapeError, lambda: ft.stack([x, v])),
    ("split", ft.ShapeError, lambda: x.split([1, 1])),
    ("split", ValueError, lambda: x.split(0)),
    ("chunk", ValueError, lambda: x.chunk(0)),
    ("narrow", ft.DimError, lambda: x.narrow(0, 2, 2)),
    ("roll", ValueError, lambda: x.roll((1, 2), 0)),
    ("repeat", ft.ShapeError, lambda: x.repeat(2)),
    ("pad", ft.ShapeError, lambda: ft.pad(x, (1,))),
    ("pad", ValueError, lambda: ft.pad(x, (1, 1), mode="mirror")),
    ("pad", ft.ShapeError, lambda: ft.pad(x, (4, 0), mode="reflect")),
    ("index", ft.DimError, lambda: x[3]),
    ("index", ft.DimError, lambda: x[0, 0, 0]),
    ("index", ft.DimError, lambda: x[i + 3]),
    ("index", ft.DTypeError, lambda: x[v]),
    ("index", ft.DimError, lambda: x[ft.zeros(3, 3) > 0]),
    ("copy_", ft.ShapeError, lambda: x.clone().__setitem__(0, ft.zeros(3))),
    ("gather", ft.DimError, lambda: x.gather(0, ft.full((1, 4), 3))),
    ("gather", (ft.ShapeError, ft.DimError), lambda: x.gather(0, i)),
    ("gather", ft.DTypeError, lambda: x.gather(0, x)),
    ("scatter", ft.DTypeError, lambda: x.scatter(0, ft.zeros(1, 4, dtype="int64"), x.double())),
    ("scatter", ValueError, lambda: x.scatter(0, ft.zeros(1, 4, dtype="int64"), x, reduce="max")),
    ("index_select", ft.DimError, lambda: x.index_select(0, i + 3)),
    ("index_add", ft.ShapeError, lambda: x.index_add(0, i, ft.zeros(2, 4))),
    ("embedding", ft.ShapeError, lambda: ft.embedding(i, v)),
    ("tensor", ft.ShapeError, lambda: ft.tensor([[1, 2], [3]])),
    ("tensor", ft.DTypeError, lambda: ft.tensor(["a"])),
    ("dtype", ft.DTypeError, lambda: ft.zeros(2, dtype="float33")),
    ("zeros", TypeError, lambda: ft.zeros(2.5)),
    ("empty", (ValueError, ft.ShapeError), lambda: ft.zeros(-1)),
    ("arange", ValueError, lambda: ft.arange(0, 1, 0)),
    ("arange", ValueError, lambda: ft.arange(0, 1, -1)),
    ("randint", ValueError, lambda: ft.randint(3, 3, (2,))),
    ("randperm", ValueError, lambda: ft.randperm(-1)),
    ("dropout", ValueError, lambda: ft.dropout(x, 1.5)),
    ("normal_", ValueError, lambda: x.normal_(0, -1)),
    ("item", (ft.ShapeError, ValueError), lambda: x.item()),
    ("bool", ValueError, lambda: bool(x)),
    ("len", TypeError, lambda: len(ft.tensor(1))),
    ("iter", TypeError, lambda: iter(ft.tensor(1))),
    ("device", (ft.DeviceError, RuntimeError), lambda: x.to("tpu")),
    ("view_as_complex", ft.ShapeError, lambda: ft.view_as_complex(x)),
    ("set_num_threads", ValueError, lambda: ft.set_num_threads(0)),
    ("set_default_dtype", ft.DTypeError, lambda: ft.set_default_dtype("int64")),
    ("from_numpy", TypeError, lambda: ft.from_numpy([1])),
    ("from_numpy", ft.DTypeError, lambda: ft.from_numpy(numpy.array(["a"]))),
    ("sort", ft.DTypeError, lambda: (x + 1j).sort()),
    ("sort", ft.DimError, lambda: x.sort(2)),
    ("topk", ValueError, lambda: x.topk(5)),
    ("kthvalue", ValueError, lambda: x.kthvalue(0)),
    ("median", ft.DimError, lambda: ft.zeros(2, 0).median(1)),
    ("quantile", ValueError, lambda: x.quantile(1.5)),
    ("quantile", ft.DTypeError, lambda: i.quantile(0.5)),
    ("searchsorted", ft.ShapeError, lambda: ft.searchsorted(x, v)),
    ("bincount", ft.DTypeError, lambda: ft.bincount(v)),
    ("bincount", ValueError, lambda: ft.bincount(i - 1)),
    ("histc", ValueError, lambda: x.histc(0)),
    ("cummax", ft.DimError, lambda: x.cummax(2)),
    ("logcumsumexp", ft.DTypeError, lambda: i.logcumsumexp(0)),
    ("diff", ValueError, lambda: x.diff(-1)),
    ("zeta", ft.GradError, lambda: ft.grad(lambda a: ft.special.zeta(a, 1.0))(ft.tensor(2.0))),
    ("polygamma", ValueError, lambda: ft.polygamma(-1, x)),
    ("isclose", ft.DTypeError, lambda: ft.isclose(x, x.double())),
    ("entr", ft.DTypeError, lambda: ft.special.entr(x + 1j)),
    ("einsum", ValueError, lambda: ft.einsum("ij,jk->ik", x)),
    ("einsum", ValueError, lambda: ft.einsum("ij->ik", x)),
    ("einsum", ft.ShapeError, lambda: ft.einsum("ijk->", x)),
    ("einsum", ft.ShapeError, lambda: ft.einsum("ij,ik", x, v.unsqueeze(1))),
    ("tensordot", ft.ShapeError, lambda: ft.tensordot(x, x, 1)),
    ("cross", ft.ShapeError, lambda: ft.cross(x, x, 1)),
    ("tensor_split", ValueError, lambda: x.tensor_split(0)),
    ("hsplit", ValueError, lambda: x.hsplit(3)),
    ("repeat_interleave", ft.ShapeError, lambda: x.repeat_interleave(i[:2], 0)),
    ("one_hot", ft.DimError, lambda: ft.one_hot(i, 0)),
    ("block_diag", ft.ShapeError, lambda: ft.block_diag(ft.zeros(1, 1, 1))),
    ("scatter_reduce", ValueError, lambda: x.scatter_reduce(0, i.unsqueeze(1), x, "max")),
    ("index_copy", ft.ShapeError, lambda: x.index_copy(0, i, x[:2])),
    ("masked_scatter", ft.ShapeError, lambda: x.masked_scatter(x == 0, v)),
    ("select_scatter", ft.ShapeError, lambda: ft.select_scatter(x, v[:2], 0, 1)),
    ("layer_norm", ft.ShapeError, lambda: ft.layer_norm(x, (3,))),
    ("group_norm", ft.ShapeError, lambda: ft.group_norm(x, 3)),
    ("batch_norm", ValueError, lambda: ft.batch_norm(x, None, None)),
    ("empty", ft.OutOfMemoryError, lambda: ft.empty(10**15, dtype="uint8").fill_(0)),
]


@pytest.mark.parametrize("case", [pytest.param(c, id=f"{n}-{c[0]}") for n, c in enumerate(ERRORS)])
def test_bad_input_says_what_to_do(case):
    """The fitting class, and a message `{op}: expected ..., got ...`."""
    name, kind, call = case
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    head, _, rest = text.partition(": expected ")
    assert head.rstrip("_").replace("_", "").isalnum() and rest, f"the message is {text!r}"
    assert ", got " in rest and rest.rstrip().endswith((".", "?")), f"the message is {text!r}"
    assert name.rstrip("_") == head.rstrip("_"), (
        f"the message names {head!r}, the call was {name!r}: {text!r}"
    )
    assert_close(x, ft.zeros(3, 4))  # operands are as they were


# ---- documentation ----


def public():
    return {n: v for n, v in vars(ft).items() if not n.startswith("_")}


def test_only_our_names_are_public():
    """No modules of others, helpers or typing names in the namespace that users complete over."""
    foreign = []
    for name, value in public().items():
        module = (
            value.__name__
            if isinstance(value, types.ModuleType)
            else getattr(value, "__module__", None) or ""
        )
        if module and not module.startswith("functorch_like") and module != "cbackend":
            foreign.append(f"{name} ({module})")
    internal = [
        n
        for n in (
            "Op",
            "Spec",
            "dispatch",
            "wrap",
            "fail",
            "lib",
            "ffi",
            "operand",
            "align",
            "chain",
            "message",
            "sizes",
            "active",
            "clock",
        )
        if n in public()
    ]
    assert not foreign and not internal, f"foreign: {foreign}; internal: {internal}"


@pytest.mark.parametrize(
    "name", sorted(n for n, v in public().items() if callable(v) or isinstance(v, types.ModuleType))
)
def test_public_name_has_a_docstring(name):
    value = public()[name]
    text = inspect.getdoc(value)
    assert text and text.strip(), name
    first = text.strip().splitlines()[0]
    assert first[-1] in ".:?" or len(text.splitlines()) > 1, (
        f"{name}: the first line is a sentence: {first!r}"
    )


def test_tensor_methods_have_docstrings():
    bare = [
        n
        for n, v in vars(Tensor).items()
        if not n.startswith("_")
        and not inspect.getdoc(v)
        and not isinstance(v, types.MemberDescriptorType)
    ]
    assert not bare, bare


def test_public_functions_have_signatures():
    for name, value in public().items():
        if inspect.isfunction(value):
            parameters = inspect.signature(value).parameters.values()
            bare = (
                all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters) and parameters
            )
            assert not bare or any(
                p.name in ("tensors", "size", "shapes", "operands") for p in parameters
            ), f"{name}{inspect.signature(value)}"
