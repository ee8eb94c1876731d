"""Shared by the tests of nn: seeding, and a bridge to torch for comparisons."""

import pytest

import functorch_like as ft


@pytest.fixture(autouse=True)
def _seed():
    ft.manual_seed(0)


class Bridge:
    """torch, and conversions both ways through NumPy."""

    def __init__(self, torch):
        self.torch = torch

    def ours(self, tensor):
        return ft.tensor(tensor.detach().cpu().numpy())

    def theirs(self, tensor):
        return self.torch.tensor(tensor.detach().cpu().numpy())

    def state(self, module):
        """A torch module's state dict as tensors of ours."""
        return {name: self.ours(value) for name, value in module.state_dict().items()}

    def close(self, ours, theirs, tol=1e-5):
        import numpy as np

        np.testing.assert_allclose(
            ours.detach().numpy(), theirs.detach().numpy(), rtol=tol, atol=tol
        )


@pytest.fixture
def bridge():
    return Bridge(pytest.importorskip("torch"))
