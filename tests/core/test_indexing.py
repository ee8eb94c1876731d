"""Indexing and assignment, against NumPy."""

import numpy as np
import pytest

import functorch_like as ft

A = np.arange(24).reshape(2, 3, 4)
LIST = [1, 0, 1]
INDICES = {
    "int": 1,
    "negative": -1,
    "numpy int": np.int64(1),
    "ints": (1, 2, 3),
    "slice": slice(0, 1),
    "slice step": (slice(None), slice(0, 3, 2)),
    "slice beyond": (slice(-10, 10), slice(2, 100)),
    "slice empty": (slice(1, 1),),
    "slice reversed bounds": (slice(None), slice(3, 1)),
    "ellipsis": ...,
    "ellipsis middle": (0, ..., 1),
    "ellipsis end": (slice(None), ...),
    "ellipsis empty": (0, 1, 2, ...),
    "none": None,
    "nones": (None, 0, None, slice(None), None),
    "none ellipsis": (..., None),
    "empty tuple": (),
    "list": LIST,
    "list second": (slice(None), [2, 0]),
    "lists": ([0, 1], [2, 1]),
    "list and int": (0, [2, 1]),
    "list negative": (slice(None), [-1, -3]),
    "lists broadcast": ([[0], [1]], [0, 2]),
    "lists apart": ([0, 1], slice(None), [3, 2]),
    "list, slice, int": ([0, 1], slice(1, 3), 2),
    "lists with none": (None, [0, 1], [1, 2]),
    "list ellipsis list": ([0], ..., [1, 2]),
    "list of one": ([1],),
    "empty list": ([],),
    "nested list": ([[0, 1], [1, 0]],),
    "array": np.array([1, 0]),
    "array int32": (slice(None), np.array([1, 2], np.int32)),
    "array uint8": (slice(None), np.array([1, 2], np.int16)),
    "array 0-d": np.array(1),
    "array 2-d": (slice(None), np.array([[0, 1], [2, 2]])),
    "mask": A % 2 == 0,
    "mask first": np.array([True, False]),
    "mask first two": A[:, :, 0] > 5,
    "mask last": (..., np.array([True, False, True, False])),
    "mask and int": (np.array([False, True]), 1),
    "mask and list": (np.array([True, True]), [0, 2]),
    "mask none": np.zeros((2, 3, 4), bool),
    "mask list": [True, False],
    "true": True,
    "false": False,
    "step with list": (slice(None, None, 2), [0, 1]),
}


def ours(index):
    """The index with tensors for arrays."""
    if isinstance(index, tuple):
        return tuple(ours(i) for i in index)
    return ft.tensor(index) if isinstance(index, np.ndarray) else index


@pytest.mark.parametrize("name", INDICES)
def test_get(name):
    index = INDICES[name]
    x = ft.tensor(A)
    for i in (index, ours(index)):
        result = x[i]
        assert result.shape == A[index].shape
        np.testing.assert_array_equal(result.numpy(), A[index])


@pytest.mark.parametrize("name", INDICES)
def test_set(name):
    index = INDICES[name]
    shape = A[index].shape
    values = [7, -np.arange(1, 1 + int(np.prod(shape))).reshape(shape)]
    if shape:
        values.append(np.full(shape[-1:], 9))
    for value in values:
        for i in (index, ours(index)):
            expected, x = A.copy(), ft.tensor(A)
            expected[index] = value
            x[i] = ft.tensor(value) if isinstance(value, np.ndarray) else value
            np.testing.assert_array_equal(x.numpy(), expected)
        x = ft.tensor(A)
        x[index] = value  # an array as the value
        np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("name", INDICES)
def test_get_and_set_under_grad(name):
    """Gathering and writing give the gradients that a mask gives."""
    index = INDICES[name]
    x = ft.tensor(A.astype(float), requires_grad=True)
    w = np.arange(1.0, 1 + A[index].size).reshape(A[index].shape)
    (x[index] * ft.tensor(w)).sum().backward()
    expected = np.zeros(A.shape)
    np.add.at(expected, index, w)
    np.testing.assert_array_equal(x.grad.numpy(), expected)

    y = ft.tensor(A.astype(float), requires_grad=True)
    z = y * 1
    z[index] = 5.0
    z.sum().backward()
    expected = np.ones(A.shape)
    expected[index] = 0
    np.testing.assert_array_equal(y.grad.numpy(), expected)


def test_results_share_memory_or_not():
    x = ft.zeros(3, 4)
    x[1][2] = 5
    x[0, 1:3][1] = 6
    assert x[1, 2].item() == 5 and x[0, 2].item() == 6
    x[:, None, ::2].fill_(1)
    assert x[:, 0].tolist() == [1, 1, 1]
    y = x[[0, 1]]
    y[0] = 9
    assert x[0, 0].item() == 1
    z = x[x > 0]
    z.zero_()
    assert x.sum().item() > 0


def test_assignment_casts_to_the_target():
    x = ft.tensor([1, 2, 3])
    x[0] = 7.9
    assert x.tolist() == [7, 2, 3] and x.dtype is ft.int64
    x[[1, 2]] = ft.tensor([1.5, 2.5])
    assert x.tolist() == [7, 1, 2]
    y = ft.zeros(2)
    y[0] = True
    y[1] = ft.tensor(3)
    assert y.tolist() == [1, 3]


def test_augmented_assignment():
    x = ft.arange(6.0).reshape(2, 3)
    x[0] += 10
    x[:, 1] *= 2
    x[[0, 1], [0, 0]] -= 1
    x[x > 12] = 0
    assert x.tolist() == [[9, 0, 12], [2, 8, 5]]


@pytest.mark.parametrize(
    "index",
    [
        2,
        -3,
        (0, 3),
        (0, 0, 4),
        (0, 0, 0, 0),
        ([2],),
        ([0, -3],),
        (slice(None), [3]),
        (..., [4]),
        (0, 0, 0, [0]),
    ],
)
def test_out_of_range(index):
    x = ft.tensor(A)
    with pytest.raises(IndexError):
        x[index]
    with pytest.raises(IndexError):
        x[index] = 0
    np.testing.assert_array_equal(x.numpy(), A)


@pytest.mark.parametrize("index", [1.5, "a", ([0.5],), (ft.tensor(1.0),), {}, (..., ...)])
def test_not_an_index(index):
    with pytest.raises((IndexError, TypeError)):
        ft.tensor(A)[index]


def test_masks_of_another_shape():
    x = ft.tensor(A)
    for shape in ((3,), (2, 4), (2, 3, 5), (2, 3, 4, 1)):
        with pytest.raises(IndexError):
            x[ft.ones(shape, dtype=ft.bool_)]
        with pytest.raises(IndexError):
            x[ft.ones(shape, dtype=ft.bool_)] = 0


def test_indices_that_do_not_broadcast():
    with pytest.raises((IndexError, ft.ShapeError)):
        ft.tensor(A)[[0, 1], [0, 1, 2]]


def test_values_that_do_not_broadcast():
    x = ft.zeros(2, 3)
    for index in (0, [0, 1], (slice(None), 1), x == 0):
        with pytest.raises(ft.ShapeError):
            x[index] = ft.ones(7)
    assert x.sum().item() == 0


def test_negative_steps():
    """As NumPy; torch refuses them."""
    try:
        result = ft.arange(5)[::-1]
    except ValueError as error:
        assert "step" in str(error)
        return
    assert result.tolist() == [4, 3, 2, 1, 0]


def test_zero_step():
    with pytest.raises(ValueError, match="step"):
        ft.arange(5)[::0]


def test_tensors_as_ints_and_bounds():
    x, i = ft.arange(5), ft.tensor(2)
    assert x[i].item() == 2 and x[i:].tolist() == [2, 3, 4] and x[: ft.tensor(1)].tolist() == [0]
    assert [10, 20, 30][i] == 30


def test_empty_and_zero_d():
    assert ft.zeros(0)[[]].shape == (0,)
    assert ft.zeros(0, 3)[:, 1].shape == (0,)
    x = ft.tensor(3.0)
    assert x[()].item() == 3 and x[None].shape == (1,) and x[...].shape == ()
    x[()] = 4.0
    x[...] += 1
    assert x.item() == 5
    with pytest.raises(IndexError):
        x[0]
    with pytest.raises(IndexError):
        ft.zeros(0)[0]


def test_repeated_indices():
    x = ft.zeros(3)
    x[[0, 0, 2]] = ft.tensor([1.0, 2.0, 3.0])
    assert x.tolist() == [2, 0, 3]  # the last one stays
    x.index_put_((ft.tensor([0, 0]),), ft.tensor([1.0, 1.0]), accumulate=True)
    assert x.tolist() == [4, 0, 3]


@pytest.mark.parametrize(
    ("index", "shape"),
    [
        (([1, 0, 1], [2, 2, -1]), (3,)),
        (([1, 0, 1],), (3, 3)),
        ((slice(None), [2, 0, -1]), (2, 3)),
        (([[1], [0], [1]],), (3, 1, 3)),
    ],
)
def test_gradients_of_repeated_writes(index, shape):
    """A value that a later one replaced has no gradient, whatever arrives at its place."""
    values = (ft.arange(float(np.prod(shape))) + 1).reshape(shape)

    def put(x, v):
        y = x.clone()
        y[index] = v
        return y / ft.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])

    base = np.zeros((2, 3), "float32")
    base[index] = values.numpy()
    last = np.isin(values.numpy(), base)
    weights = 1 / np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]], "float32")
    gx, gv = ft.grad(lambda x, v: put(x, v).sum(), argnums=(0, 1))(ft.zeros(2, 3), values)
    assert np.array_equal(gv.numpy(), np.where(last, weights[index], 0))
    untouched = np.ones((2, 3), "float32")
    untouched[index] = 0
    assert np.array_equal(gx.numpy(), untouched * weights)
    mapped = ft.vmap(ft.grad(lambda v: put(ft.zeros(2, 3), v).sum()))(ft.stack([values, -values]))
    assert np.array_equal(mapped.numpy(), np.stack([gv.numpy()] * 2))


def test_infinite_gradients_do_not_reach_replaced_values():
    v = ft.tensor([1.0, 2.0])
    x = ft.zeros(2)
    g = ft.grad(lambda v: x.index_put((ft.tensor([0, 0]),), v).log().sum())(v * 0)
    assert g.tolist() == [0.0, float("inf")]


def test_values_of_masked_places():
    x, y = ft.zeros(5, 2), np.zeros((5, 2), "float32")
    mask = np.array([True, False, True, False, True])
    for value in ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0], [8.0], [9.0]], [1.0, 2.0]):
        x[ft.tensor(mask)] = ft.tensor(value)
        y[mask] = value
        assert np.array_equal(x.numpy(), y)
    x[ft.tensor(mask)] = ft.tensor([[1, 2]])  # integers are cast
    assert x[0].tolist() == [1.0, 2.0]
    with pytest.raises(ft.ShapeError):
        x[ft.tensor(mask)] = ft.zeros(4, 2)
    v = ft.zeros(3)[::2]
    v[ft.tensor([False, True])] = ft.tensor([5.0])
    assert v.tolist() == [0.0, 5.0]


@pytest.mark.parametrize("shape", [(7,), (8,), (3, 5), ()])
@pytest.mark.parametrize("dtype", [ft.float32, ft.int64])
def test_medians_of_all_elements(shape, dtype):
    n = int(np.prod(shape))
    x = ft.tensor(np.random.default_rng(n).permutation(n), dtype=dtype).reshape(shape)
    assert ft.median(x).item() == (n - 1) // 2
    if dtype is ft.float32:
        x.reshape(-1)[n // 2] = float("nan")
        assert ft.median(x).isnan()


def test_iteration_yields_views():
    x = ft.zeros(2, 2)
    for row in x:
        row += 1
    assert x.tolist() == [[1, 1], [1, 1]]
    _, b = x.unbind(0)
    b.zero_()
    first, _ = x.split(1)
    first.fill_(3)
    assert x.tolist() == [[3, 3], [0, 0]]


def test_uint8_masks_are_masks():
    assert ft.arange(3)[ft.tensor([1, 0, 1], dtype=ft.uint8)].tolist() == [0, 2]


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (0,)])
@pytest.mark.parametrize("mask", [True, False])
def test_a_mask_without_dims_adds_one(shape, mask):
    torch = pytest.importorskip("torch")
    x, y = ft.zeros(shape), torch.zeros(shape)
    assert tuple(x[ft.tensor(mask)].shape) == tuple(y[torch.tensor(mask)].shape)
    x[ft.tensor(mask)] = 3.0
    y[torch.tensor(mask)] = 3.0
    assert x.tolist() == y.tolist()


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        ((0, 0), (np.zeros(1, bool),)),
        ((3, 4), (np.ones(2, bool),)),
        ((3, 4), (slice(1, 3), np.ones(2, bool))),
        ((3, 4), (0, np.ones(3, bool))),
        ((2, 3, 4), (Ellipsis, np.ones(3, bool))),
        ((2, 3, 4), (np.ones((2, 2), bool), None)),
    ],
)
def test_masks_of_other_sizes_are_refused(shape, index):
    tensors = tuple(ft.tensor(i) if isinstance(i, np.ndarray) else i for i in index)
    with pytest.raises(IndexError, match=r"expected a mask of shape"):
        ft.zeros(shape)[tensors]


def test_masks_count_the_dims_before_them():
    x = np.arange(24).reshape(2, 3, 4)
    one, two = np.array([True, False, True]), x[0] % 2 == 0
    for index in [
        (1, two), (None, slice(None), one), (slice(1, 2), one, 0), (Ellipsis, one, slice(1, 3)),
        (np.array([1, 0]), one), (True, 0, two), (slice(None), two),
    ]:  # fmt: skip
        own = tuple(ft.tensor(i) if isinstance(i, np.ndarray) else i for i in index)
        assert np.array_equal(ft.tensor(x)[own].numpy(), x[index])
