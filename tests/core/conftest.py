"""Shared by the tests of the core: conversions to and from torch, for comparisons."""

import numpy as np
import pytest


class Bridge:
    """torch, and conversions both ways."""

    def __init__(self, torch):
        self.torch = torch

    def theirs(self, tensor):
        t = self.torch.tensor(tensor.detach().numpy().copy())
        return t.requires_grad_(tensor.requires_grad)

    def same(self, ours, theirs, tol=1e-6):
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
        np.testing.assert_allclose(
            ours.detach().numpy(), theirs.detach().resolve_conj().numpy(), rtol=tol, atol=tol
        )


@pytest.fixture
def bridge():
    return Bridge(pytest.importorskip("torch"))
