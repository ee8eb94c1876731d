"""The neural tangent kernel of a convolutional network, two ways, and what it predicts.

K[i, j] = J(x_i) J(x_j)^T, where J is the Jacobian of the outputs by all weights. Once by joining
Jacobians from vmap(jacrev); once without them, by pushing vectors back and forth (vjp, then jvp).
A wide network trained by small steps follows the linear model that its kernel describes.
"""

from datasets import arguments, images

import functorch_like as ft
import nn
import nn.functional as F


class Net(nn.Module):
    """One convolution and one wide layer: [n, 1, size, size] -> [n, outputs]."""

    def __init__(self, width, outputs):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.hidden = nn.Linear(8 * 36, width)
        self.out = nn.Linear(width, outputs)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(ft.tanh(self.conv(x)), 6).flatten(1)
        return self.out(ft.tanh(self.hidden(x)))


def kernel_by_jacobians(f, params, x1, x2):
    """[n1, n2, outputs, outputs], from the Jacobians at all samples."""
    rows, columns = (ft.vmap(ft.jacrev(f), in_dims=(None, 0))(params, x) for x in (x1, x2))
    return sum(
        ft.einsum("Naf,Mbf->NMab", rows[k].flatten(2), columns[k].flatten(2)) for k in params
    )


def kernel_by_products(f, params, x1, x2):
    """The same; no Jacobian is ever held."""

    def block(a, b):
        output, pull = ft.vjp(lambda p: f(p, a), params)

        def product(vector):  # K v = J(b) (J(a)^T v)
            (direction,) = pull(vector)
            return ft.jvp(lambda p: f(p, b), (params,), (direction,))[1]

        return ft.vmap(product)(ft.eye(len(output))).T  # products are columns

    # out[j, i] of the vmaps: rows of K belong to a, its columns to b
    pairs = ft.vmap(ft.vmap(block, in_dims=(None, 0)), in_dims=(0, None))
    return pairs(x1, x2).transpose(-1, -2)


def main():
    args = arguments(__doc__)
    (x, y), _ = images(args.data)
    count, width = (12, 64) if args.quick else (40, 1024)
    x, labels = x[:count], y[:count]

    # 1. both ways give one kernel, symmetric and positive
    net = Net(64, 10)
    params = {name: p.detach() for name, p in net.named_parameters()}

    def f(params, image):
        return nn.functional_call(net, params, image.unsqueeze(0))[0]

    k1 = ft.compile(lambda p, a, b: kernel_by_jacobians(f, p, a, b))(params, x[:8], x[:6])
    k2 = ft.compile(lambda p, a, b: kernel_by_products(f, p, a, b))(params, x[:8], x[:6])
    difference = ((k1 - k2).abs().max() / k1.abs().max()).item()
    print(f"kernel {list(k1.shape)}: the two ways differ by {difference:.1e} of its largest entry")
    assert difference < 1e-4

    # 2. gradient descent of a wide network with one output, against the kernel's prediction
    net = Net(width, 1)
    params = {name: p.detach() for name, p in net.named_parameters()}
    target = (labels % 2).float() * 2 - 1  # even or odd
    kernel = kernel_by_jacobians(f, params, x, x)[:, :, 0, 0]
    values = ft.linalg.eigvalsh(kernel)
    assert ft.allclose(kernel, kernel.T, rtol=1e-4) and values[0] > -1e-3 * values[-1]

    def residual(params):
        return nn.functional_call(net, params, x)[:, 0] - target

    def loss(params):
        return 0.5 * (residual(params) ** 2).sum()

    rate = 0.1 / values[-1].item()
    steps = 50 if args.quick else 400
    first = residual(params)

    @ft.compile
    def descend(params):
        grads = ft.grad(loss)(params)
        return {k: p - rate * grads[k] for k, p in params.items()}

    for _ in range(steps):
        params = descend(params)
    trained = residual(params)
    shrink = ft.linalg.matrix_power(ft.eye(count) - rate * kernel, steps)
    predicted = shrink @ first
    error = ((trained - predicted).norm() / (first - trained).norm()).item()
    before, after = (r.norm().item() for r in (first, trained))
    print(f"{steps} steps of width {width}: residual {before:.2f} to {after:.2f},")
    print(f"the kernel's prediction is off by {error:.1%} of the way")
    assert after < 0.95 * before and error < 0.4


if __name__ == "__main__":
    main()
