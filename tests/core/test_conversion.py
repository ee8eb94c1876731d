"""Values out of tensors, other libraries' arrays, pickling and copying, casts and devices."""

import copy
import gc
import pickle

import numpy as np
import pytest

import functorch_like as ft

DTYPES = [d.name for d in ft.dtypes.DTYPES]
NUMPY_DTYPES = [d for d in DTYPES if d != "bfloat16"]


def test_item_gives_python_numbers():
    for value, kind in ((3, int), (2.5, float), (True, bool), (1 + 2j, complex)):
        x = ft.tensor(value)
        assert x.item() == value and type(x.item()) is kind
        assert ft.tensor([[value]]).item() == value
    assert ft.tensor((1 << 64) - 1, dtype=ft.uint64).item() == (1 << 64) - 1
    assert ft.tensor(1.5, dtype=ft.bfloat16).item() == 1.5
    with pytest.raises(ft.ShapeError, match="one element"):
        ft.ones(2).item()
    with pytest.raises(ft.ShapeError):
        ft.ones(0).item()


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0), (0,), (0, 2), (2, 0, 3), (1, 1, 1)])
def test_tolist(dtype, shape):
    a = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    assert ft.tensor(a).tolist() == a.tolist()
    assert ft.tensor(a).T.tolist() == a.T.tolist()


def test_tolist_of_extremes():
    assert ft.tensor([-128, 127], dtype=ft.int8).tolist() == [-128, 127]
    assert ft.tensor([255], dtype=ft.uint8).tolist() == [255]
    assert ft.tensor([65504.0, 2.0**-24], dtype=ft.float16).tolist() == [65504.0, 2.0**-24]
    assert ft.tensor([1.0, 3.0e38], dtype=ft.bfloat16)[0].item() == 1.0


def test_conversions_to_numbers():
    assert int(ft.tensor(3.7)) == 3 and float(ft.tensor(3)) == 3.0 and complex(ft.tensor(1j)) == 1j
    assert bool(ft.tensor(0)) is False and bool(ft.tensor([2.0])) is True
    assert [1, 2, 3][ft.tensor(1)] == 2 and list(range(ft.tensor(2))) == [0, 1]
    with pytest.raises(TypeError):
        [1, 2][ft.tensor(1.0)]
    with pytest.raises(TypeError):
        float(ft.tensor(1j))
    with pytest.raises(ValueError, match=r"\.any\(\)"):
        bool(ft.zeros(2))
    with pytest.raises(ValueError):
        bool(ft.zeros(0))
    for f in (int, float, complex):
        with pytest.raises(ft.ShapeError):
            f(ft.ones(2))


def test_len_iter_contains():
    x = ft.tensor([[1, 2], [3, 4]])
    assert len(x) == 2 and [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert 3 in x and 7 not in x and ft.tensor(3) in x
    _, b = x
    assert b.tolist() == [3, 4]
    for bad in (len, iter, list):
        with pytest.raises(TypeError, match="0-d"):
            bad(ft.tensor(1))
    assert list(ft.zeros(0)) == []


def test_hash_is_identity():
    x, y = ft.ones(2), ft.ones(2)
    assert {x: 1}[x] == 1 and len({x, y}) == 2 and hash(x) == hash(x)


def test_size():
    s = ft.zeros(2, 3).shape
    assert s == (2, 3) and isinstance(s, tuple) and repr(s) == "Size([2, 3])" and s.numel() == 6
    assert (
        isinstance(s[:1], ft.Size)
        and s[0] == 2
        and s + (4,) == (2, 3, 4)  # noqa: RUF005
        and isinstance(s + (4,), ft.Size)  # noqa: RUF005
    )
    assert ft.zeros(2, 3).size(-1) == 3 and ft.zeros(2, 3).size() == (2, 3)
    assert pickle.loads(pickle.dumps(s)) == s


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_numpy_shares_memory(dtype):
    x = ft.zeros(2, 3, dtype=dtype)
    a = x.numpy()
    assert a.dtype.name == dtype and np.shares_memory(a, x.numpy())
    a[0, 1] = 1
    x[1, 2] = 1
    assert x[0, 1].item() == 1 and a[1, 2] == 1
    b = ft.from_numpy(a)
    assert b.data_ptr() == x.data_ptr() and b.dtype is x.dtype


def test_numpy_of_views():
    x = ft.arange(12).reshape(3, 4)
    for v in (x.t(), x[1:, ::2], x[:, 1], x[None], x.T[1]):
        assert np.shares_memory(v.numpy(), x.numpy())
        np.testing.assert_array_equal(v.numpy(), np.array(v.tolist()))
    e = ft.ones(1).expand(3).numpy()
    assert e.strides == (0,)
    assert ft.zeros(0, 3).numpy().shape == (0, 3) and ft.tensor(2.0).numpy().shape == ()


def test_from_numpy_of_views():
    a = np.arange(12.0).reshape(3, 4)
    for b in (a.T, a[::-1], a[:, ::-2], a[1:, ::2], np.broadcast_to(a[0], (2, 4)), np.array(5.0)):
        x = ft.from_numpy(b)
        np.testing.assert_array_equal(x.numpy(), b)
        assert (x + 1).tolist() == (b + 1).tolist() and x.sum().item() == b.sum()
    x = ft.from_numpy(a[:, 1])
    x[0] = -1
    assert a[0, 1] == -1


def test_lifetimes():
    a = np.arange(5.0)
    x = ft.from_numpy(a)
    del a
    gc.collect()
    ft.zeros(1000)
    assert x.tolist() == [0, 1, 2, 3, 4]
    x = ft.arange(5.0)
    a = x.numpy()
    del x
    gc.collect()
    y = ft.full((5,), 9.0)
    assert a.tolist() == [0, 1, 2, 3, 4] and y[0].item() == 9


def test_the_last_user_frees_the_memory():
    start = ft.memory_allocated()
    x = ft.zeros(1000)
    a = x.numpy()[10:20]
    del x
    assert ft.memory_allocated() > start
    del a
    assert ft.memory_allocated() == start


def test_borrowed_arrays_are_released():
    released = []

    class Tracked(np.ndarray):
        def __del__(self):
            released.append(1)

    a = np.zeros(4).view(Tracked)
    x = ft.from_numpy(a)
    v = x[1:]
    del a, x
    assert not released
    del v
    assert released


def test_arrays_of_unusual_layouts():
    a = np.arange(24.0).reshape(2, 3, 4)
    for b in (
        a.T,
        a[:, ::-1],
        a[1, 2, 3],
        a[:, :0],
        a.astype(">f8"),
        np.broadcast_to(a[0], (5, 3, 4)),
    ):
        x = ft.from_numpy(np.asarray(b))
        assert x.tolist() == b.tolist() and x.numpy().tolist() == b.tolist()
    record = np.zeros(3, [("flag", "u1"), ("value", "<f4")])
    record["value"] = [1, 2, 3]  # 5 bytes apart
    assert ft.from_numpy(record["value"]).tolist() == [1, 2, 3]
    x = ft.arange(24).reshape(2, 3, 4)
    for y in (x.permute(2, 0, 1), x[:, 1:2], x[0, 0, 0], x[0].expand(2, 3, 4)):
        assert np.asarray(y).tolist() == y.tolist() and np.asarray(y).shape == y.shape
    with pytest.raises(TypeError, match="numbers"):
        ft.from_numpy(np.array(["a"]))
    with pytest.raises(ValueError, match="dimensions"):
        ft.from_numpy(np.zeros((1,) * 33))


def test_read_only_arrays():
    a = np.zeros(3)
    a.flags.writeable = False
    x = ft.from_numpy(a)
    with pytest.raises((ValueError, RuntimeError), match=r"read-only|clone"):
        x.add_(1)
    with pytest.raises((ValueError, RuntimeError), match=r"read-only|clone"):
        x[0] = 1.0
    assert a.sum() == 0 and not x.numpy().flags.writeable
    assert (x + 1).tolist() == [1, 1, 1]
    y = x.clone()
    y[0] = 1
    assert y.numpy().flags.writeable


def test_array_protocol():
    x = ft.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.numpy()) and np.asarray(x).dtype == np.float32
    b = np.array(x)
    b[0] = 9
    assert x[0].item() == 1
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.array(x, dtype=np.int64).tolist() == [1, 2]
    with pytest.raises(ValueError, match="no copy"):
        np.asarray(x, dtype=np.float64, copy=False)
    assert np.sum(x).item() == 3 and np.sqrt(ft.tensor(4.0)) == 2
    np.testing.assert_array_equal(x, [1, 2])


def test_numpy_refusals():
    with pytest.raises(ft.GradError, match="detach"):
        ft.ones(1, requires_grad=True).numpy()
    with pytest.raises(ft.GradError):
        np.asarray(ft.ones(1, requires_grad=True))
    assert (ft.ones(1, requires_grad=True) * 2).numpy(force=True) == 2
    with pytest.raises(ft.DTypeError, match="bfloat16"):
        ft.ones(1, dtype=ft.bfloat16).numpy()
    with pytest.raises(TypeError, match="NumPy array"):
        ft.from_numpy([1, 2])
    with pytest.raises(ft.DTypeError):
        ft.from_numpy(np.array(["a"]))
    with pytest.raises(ft.TraceError, match="tracer"):
        ft.grad(lambda x: x.numpy().sum())(ft.ones(1))


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_dlpack_with_numpy(dtype):
    x = ft.zeros(2, 3, dtype=dtype)
    a = np.from_dlpack(x)
    assert np.shares_memory(a, x.numpy()) and a.dtype.name == dtype
    y = ft.from_dlpack(np.ones((2, 3), dtype))
    assert y.dtype.name == dtype and bool((y == 1).all())
    b = np.zeros(3, dtype)
    z = ft.from_dlpack(b)
    z[1] = 1
    assert b[1] == 1
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(TypeError, match="__dlpack__"):
        ft.from_dlpack([1])


@pytest.mark.torch
@pytest.mark.parametrize(
    "dtype", [d for d in NUMPY_DTYPES if not d.startswith("uint") or d == "uint8"]
)
def test_dlpack_with_torch(bridge, dtype):
    torch = bridge.torch
    x = ft.zeros(2, 3, dtype=dtype)
    t = torch.from_dlpack(x)
    assert t.data_ptr() == x.data_ptr() and str(t.dtype) == "torch." + dtype
    t[0, 1] = 1
    x[1, 1] = 1
    assert x[0, 1].item() == 1 and t[1, 1].item() == 1
    del x
    assert t.shape == (2, 3) and t[0, 1].item() == 1
    u = torch.zeros(4, 3, dtype=getattr(torch, dtype)).t()
    y = ft.from_dlpack(u)
    assert y.shape == (3, 4) and y.stride() == (1, 3) and y.data_ptr() == u.data_ptr()
    y[2, 1] = 1
    assert u[2, 1].item() == 1
    del u
    assert y[2, 1].item() == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickle(dtype, protocol):
    for x in (
        ft.tensor([[0, 1, 2], [3, 4, 5]], dtype=dtype),
        ft.tensor(1, dtype=dtype),
        ft.zeros(0, 2, dtype=dtype),
    ):
        for v in (x, x.T):
            y = pickle.loads(pickle.dumps(v, protocol))
            assert y.dtype is v.dtype and y.shape == v.shape and y.tolist() == v.tolist()
    assert pickle.loads(pickle.dumps(x.dtype)) is x.dtype
    assert pickle.loads(pickle.dumps(ft.device("cpu"))) == ft.device("cpu")


def test_pickle_keeps_requires_grad():
    x = pickle.loads(pickle.dumps(ft.ones(2, requires_grad=True)))
    assert x.requires_grad and x.is_leaf
    x = pickle.loads(pickle.dumps([ft.ones(2)] * 2))
    assert x[0] is x[1]


def test_copy_and_deepcopy():
    x = ft.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    y = copy.copy(x)
    assert y is not x and y.data_ptr() == x.data_ptr() and y.requires_grad
    z = copy.deepcopy({"a": x, "b": x})
    assert z["a"] is z["b"] and z["a"].data_ptr() != x.data_ptr()
    assert z["a"].requires_grad and z["a"].grad.tolist() == [3, 3] and z["a"].grad is not x.grad
    with pytest.raises(ft.GradError, match="leaf"):
        copy.deepcopy(x * 2)


def test_deepcopy_keeps_storage_shared():
    """Tensors that share memory have copies that do, within one deepcopy; layouts stay."""
    x = ft.arange(6.0)
    values = {"all": x, "part": x[2:4], "bits": x.view(ft.int32), "turned": x.view(2, 3).t()}
    copies = copy.deepcopy(values)
    assert [t.tolist() for t in copies.values()] == [t.tolist() for t in values.values()]
    assert [t.stride() for t in copies.values()] == [t.stride() for t in values.values()]
    copies["part"].fill_(9)
    assert copies["all"].tolist() == [0, 1, 9, 9, 4, 5] and copies["turned"][2, 0].item() == 9
    assert copies["bits"][2].item() == ft.tensor(9.0).view(ft.int32).item()
    assert x.tolist() == [0, 1, 2, 3, 4, 5]
    whole, part = copy.deepcopy((x, x[2:4]))
    part.copy_(ft.ones(2, requires_grad=True) * 7)  # recorded, and seen by all
    assert whole.tolist() == [0, 1, 7, 7, 4, 5] and x.tolist() == [0, 1, 2, 3, 4, 5]

    base = ft.ones(4)
    leaves = [base[:2].requires_grad_(), base[1:].detach().requires_grad_()]
    a, b = copy.deepcopy(leaves)
    assert a.is_leaf and b.is_leaf and a.requires_grad and b.requires_grad
    with ft.no_grad():
        a[1] = 5
    assert b[0].item() == 5 and base.tolist() == [1, 1, 1, 1]
    for t in (ft.zeros(0, 3)[:, 1:], ft.ones(2, dtype=ft.bool)[1:], ft.ones(3).expand(2, 3)):
        assert copy.deepcopy(t).tolist() == t.tolist() and copy.deepcopy(t).dtype is t.dtype


def test_clone_and_detach():
    x = ft.ones(2, requires_grad=True)
    y = x.clone()
    assert y.requires_grad and not y.is_leaf and y.data_ptr() != x.data_ptr()
    z = x.detach()
    assert not z.requires_grad and z.data_ptr() == x.data_ptr()
    y.detach_()
    assert y.is_leaf and not y.requires_grad


@pytest.mark.parametrize("target", DTYPES)
def test_casts(target):
    x = ft.tensor([0.0, 1.0, 2.5])
    y = x.to(getattr(ft, target, None) or ft.bool_)
    assert y.dtype.name == target
    if target not in ("bfloat16",):
        np.testing.assert_array_equal(y.numpy(), np.array([0, 1, 2.5], np.float32).astype(target))
    assert x.to(target).dtype is y.dtype and y.to(y.dtype) is y


def test_cast_methods():
    x = ft.tensor([1.0])
    for name, dtype in {
        "float": "float32",
        "double": "float64",
        "half": "float16",
        "bfloat16": "bfloat16",
        "long": "int64",
        "int": "int32",
        "short": "int16",
        "char": "int8",
        "byte": "uint8",
        "bool": "bool",
        "cfloat": "complex64",
        "cdouble": "complex128",
    }.items():
        assert getattr(x, name)().dtype.name == dtype
    assert x.type_as(ft.ones(1, dtype=ft.int8)).dtype is ft.int8
    assert x.float() is x


def test_casts_pass_gradients():
    x = ft.ones(2, requires_grad=True)
    x.double().half().float().sum().backward()
    assert x.grad.tolist() == [1, 1] and x.grad.dtype is ft.float32
    assert not x.long().requires_grad


def test_to():
    x = ft.ones(2)
    assert x.to("cpu") is x and x.to(ft.device("cpu")) is x and x.to(ft.ones(1)) is x
    assert x.to(ft.float64).dtype is ft.float64 and x.to("cpu", ft.int64).dtype is ft.int64
    assert x.to(dtype=ft.int8, device="cpu").dtype is ft.int8
    assert x.to(ft.ones(1, dtype=ft.int16)).dtype is ft.int16
    c = x.to(ft.float32, copy=True)
    assert c is not x and c.data_ptr() != x.data_ptr()
    assert x.cpu() is x and x.to("cpu", non_blocking=True) is x
    assert x.to("meta").is_meta
    if not ft.cuda.is_available():
        with pytest.raises(ft.DeviceError, match="CUDA"):
            x.to("cuda")
        with pytest.raises(ft.DeviceError):
            x.cuda()


def test_devices():
    d = ft.device("cuda:1")
    assert (d.type, d.index, str(d)) == ("cuda", 1, "cuda:1") and repr(
        d
    ) == "device(type='cuda', index=1)"
    assert (
        ft.device("cpu") == "cpu"
        and ft.device("cuda", 1) == d
        and hash(d) == hash(ft.device("cuda:1"))
        and ft.device(d) == d
    )
    assert ft.ones(1).device == ft.device("cpu") and str(ft.ones(1).device) == "cpu"
    for bad in ("gpu", "cuda:x", ""):
        with pytest.raises(ft.DeviceError):
            ft.device(bad)


def test_dtype_objects():
    assert (
        ft.float32.is_floating_point and not ft.int8.is_floating_point and ft.complex64.is_complex
    )
    assert (
        ft.float32 == ft.zeros(1).dtype
        and repr(ft.int64) == "int64"
        and ft.half is ft.float16
        and ft.long is ft.int64
    )
    assert copy.deepcopy(ft.float32) is ft.float32
    x = (
        ft.zeros(1, dtype=float),
        ft.zeros(1, dtype=int),
        ft.zeros(1, dtype=bool),
        ft.zeros(1, dtype=np.float64),
    )
    assert [t.dtype.name for t in x] == ["float32", "int64", "bool", "float64"]


def test_subclasses():
    class Mine(ft.Tensor):
        pass

    x = Mine([1.0, 2.0])
    assert type(x) is Mine and x.tolist() == [1, 2] and (x + 1).tolist() == [2, 3]
    assert (
        type(copy.deepcopy(x)) is Mine and type(pickle.loads(pickle.dumps(ft.ones(1)))) is ft.Tensor
    )
    x.requires_grad_()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_frombuffer_shares_memory():
    buffer = bytearray(16)
    x = ft.frombuffer(buffer, dtype=ft.float32)
    x[0] = 1.0
    assert ft.frombuffer(buffer, dtype=ft.bfloat16, count=2, offset=2).tolist() == [1.0, 0.0]
    assert ft.frombuffer(buffer, dtype=ft.float32, requires_grad=True).requires_grad
    read_only = ft.frombuffer(b"ab", dtype=ft.uint8)
    with pytest.raises(ValueError, match="writable"):
        read_only[0] = 1
    for wrong in ({"offset": 16}, {"offset": 1}, {"count": 5}, {"count": 0}, {"offset": -1}):
        with pytest.raises(ValueError, match=r"^frombuffer: expected"):
            ft.frombuffer(buffer, dtype=ft.float32, **wrong)


def test_from_file_maps_the_file(tmp_path):
    path = tmp_path / "numbers"
    ft.from_file(path, shared=True, size=3, dtype=ft.float64).fill_(2.0)
    private = ft.from_file(path, size=3, dtype=ft.float64)
    private[0] = 9.0
    assert private.tolist() == [9.0, 2.0, 2.0]
    assert ft.from_file(path, size=2, dtype=ft.float64).tolist() == [2.0, 2.0]
    assert ft.from_file(path, shared=True, size=4, dtype=ft.float64).tolist()[-1] == 0.0
    assert ft.from_file(path).shape == (0,) and ft.from_file(path).dtype is ft.float32


def test_types_by_name():
    assert ft.Tensor([1, 2]).dtype is ft.float32 and ft.Tensor().shape == (0,)
    assert ft.Tensor(ft.Size([2, 1])).shape == (2, 1)
    x = ft.LongTensor([[1.5, 2.0]])
    assert x.tolist() == [[1, 2]] and x.type() == "functorch_like.LongTensor"
    assert isinstance(x, ft.LongTensor) and not isinstance(x, ft.FloatTensor)
    assert ft.HalfTensor(2, 3).shape == (2, 3) and ft.HalfTensor(2).dtype is ft.float16
    assert x.type(ft.DoubleTensor).dtype is x.type("torch.DoubleTensor").dtype is ft.float64
    assert ft.typename(ft.Tensor) == "functorch_like.tensor.Tensor" and ft.typename(1) == "int"
    with pytest.raises(ft.DTypeError, match=r"^type: expected"):
        x.type("torch.ColourTensor")


def test_from_numpy_of_fields():
    a = np.zeros(4, dtype=[("a", "i1"), ("b", "f4")])
    a["b"] = range(4)
    x = ft.from_numpy(a["b"])  # strides of 5 bytes: a copy
    assert x.dtype == ft.float32 and x.tolist() == [0, 1, 2, 3]
