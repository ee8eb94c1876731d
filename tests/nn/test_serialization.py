"""save and load: dtypes, metadata, atomic writes, the safetensors library, hostile files."""

import io
import json
import os
import stat

import pytest

import functorch_like as ft
import nn
from functorch_like.serialization import FileFormatError, load_metadata

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


def every_dtype():
    values = ft.tensor([[0.0, 1.0, 2.5], [3.0, 100.0, 7.0]])
    return {name: values.to(getattr(ft, name)) for name in DTYPES}


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_round_trip_of_every_dtype(tmp_path):
    tensors = every_dtype()
    tensors.update(
        {"scalar": ft.tensor(3.0), "empty": ft.zeros(0, 4), "view": ft.arange(6.0).reshape(2, 3).T}
    )
    nn.save(tensors, tmp_path / "t.safetensors", metadata={"epoch": "3", "ü": "ß"})
    back = nn.load(tmp_path / "t.safetensors")
    assert list(back) == sorted(tensors)
    for name, value in tensors.items():
        assert back[name].dtype == value.dtype and back[name].shape == value.shape
        assert back[name].tolist() == value.tolist()
    assert load_metadata(tmp_path / "t.safetensors") == {"epoch": "3", "ü": "ß"}
    assert os.listdir(tmp_path) == ["t.safetensors"]


def test_model(tmp_path):
    net, other = (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) for _ in range(2))
    nn.save(net, str(tmp_path / "m.safetensors"))
    other.load_state_dict(nn.load(tmp_path / "m.safetensors"))
    assert other.eval()(ft.ones(1, 3)).tolist() == net.eval()(ft.ones(1, 3)).tolist()


def test_bfloat16_bits(tmp_path):
    values = ft.tensor([float("inf"), float("-inf"), float("nan"), 1e-40, -0.0, 3.14159]).to(
        ft.bfloat16
    )
    nn.save({"x": values}, tmp_path / "b")
    back = nn.load(tmp_path / "b")["x"]
    assert back.dtype == ft.bfloat16 and str(back.tolist()) == str(values.tolist())


def test_safetensors_library_reads_and_writes_the_same(tmp_path):
    np = pytest.importorskip("safetensors.numpy")
    tensors = {
        name: value
        for name, value in every_dtype().items()
        if name not in ("bfloat16", "complex128")
    }
    nn.save(tensors, tmp_path / "ours", metadata={"a": "b"})
    theirs = np.load_file(tmp_path / "ours")
    assert {name: value.tolist() for name, value in theirs.items()} == {
        n: v.tolist() for n, v in tensors.items()
    }
    np.save_file(theirs, tmp_path / "theirs")
    back = nn.load(tmp_path / "theirs")
    assert {n: (v.dtype, v.tolist()) for n, v in back.items()} == {
        n: (v.dtype, v.tolist()) for n, v in tensors.items()
    }


@pytest.mark.torch
def test_bfloat16_as_torch_writes_it(bridge, tmp_path):
    st = pytest.importorskip("safetensors.torch")
    st.save_file(
        {"x": bridge.torch.tensor([1.5, -2.0], dtype=bridge.torch.bfloat16)}, tmp_path / "t"
    )
    assert nn.load(tmp_path / "t")["x"].tolist() == [1.5, -2.0]
    nn.save({"x": ft.tensor([1.5, -2.0]).to(ft.bfloat16)}, tmp_path / "o")
    assert st.load_file(tmp_path / "o")["x"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("obj", [ft.arange(3), [ft.ones(2), 1], ("a", None)])
def test_values_without_names(tmp_path, obj):
    ft.save(obj, tmp_path / "x")
    loaded = ft.load(tmp_path / "x")
    assert type(loaded) is type(obj) and str(loaded) == str(obj)


def test_what_cannot_be_saved(tmp_path):
    path = tmp_path / "x"
    for obj, match in [
        ([{1}], "got set at 0"),
        ({"a": {"b": object()}}, "got object at a/b"),
        ({"__metadata__": ft.zeros(1)}, "expected names other than"),
    ]:
        with pytest.raises(TypeError, match=match):
            nn.save(obj, path)
    with pytest.raises(TypeError, match="strings as metadata, got 'epoch': 3"):
        nn.save({"a": ft.zeros(1)}, path, metadata={"epoch": 3})
    with pytest.raises(OSError, match=r"can be written, got .*missing"):
        nn.save({"a": ft.zeros(1)}, tmp_path / "missing" / "x")
    with pytest.raises(OSError):
        nn.load(tmp_path / "nothing")


def test_an_existing_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    nn.save({"a": ft.ones(2)}, path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"No space left on device.*existing file is unchanged"
    ) as caught:
        nn.save({"a": ft.zeros(2)}, path)
    monkeypatch.undo()
    assert caught.value.errno == 28 and os.listdir(tmp_path) == ["x.safetensors"]
    assert nn.load(path)["a"].tolist() == [1.0, 1.0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_devices_and_pipes_are_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match=r"expected a path of a file, got .*pipe"):
        nn.save({"a": ft.ones(2)}, path)
    assert stat.S_ISFIFO(os.stat(path).st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "x"
    nn.save({"a": ft.ones(3), "b": ft.tensor([1, 2])}, path, metadata={"k": "v"})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"expected a whole safetensors file, got .*x: "):
            nn.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="file not fully covered"):
        nn.load(path)


LEGAL = "tensor 'a'"  # odd, but files that may be loaded where tensors of such shapes can be


def entry(shape=(1,), dtype="F32", offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("header", "data", "match"),
    [
        (b"not json", b"", "invalid JSON in header"),
        (b"\xff\xfe", b"", "invalid UTF-8 in header"),
        (b"[" * 100000, b"", "invalid JSON"),
        (b'{"a":' * 100000, b"", "invalid JSON"),
        ([1], b"", "invalid JSON in header: invalid type"),
        ({"a": 1}, b"", "invalid type: integer `1`, expected struct"),
        ({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4, "missing field `data_offsets`"),
        ({"a": {**entry(), "extra": 1}}, b"\0" * 4, LEGAL),
        ({"a": entry(dtype="F7")}, b"\0" * 4, "unknown variant `F7`"),
        (
            {"a": entry(dtype="F8_E5M2", offsets=(0, 1))},
            b"\0",
            "tensor 'a' .*F8_E5M2 is none of ours",
        ),
        ({"a": entry(dtype=["F32"])}, b"\0" * 4, "invalid type"),
        ({"a": entry(shape=(-1,))}, b"\0" * 4, "invalid value: integer `-1`"),
        ({"a": entry(shape=(True,))}, b"\0" * 4, "invalid type: boolean"),
        ({"a": entry(shape=(1.5,))}, b"\0" * 4, "invalid type: floating point"),
        ({"a": entry(shape=(10**30, 0), offsets=(0, 0))}, b"", "invalid type"),
        ({"a": entry(shape=(2**62, 0), offsets=(0, 0))}, b"", LEGAL),
        ({"a": entry(shape=(2**62, 4), offsets=(0, 0))}, b"", "overflow"),
        ({"a": entry(shape=[1] * 100)}, b"\0" * 4, "tensor 'a' of shape"),
        ({"a": entry(shape=(2**40,), offsets=(0, 2**42))}, b"\0" * 4, "not fully covered"),
        ({"a": entry(shape=(3,))}, b"\0" * 4, "invalid shape, data type, or offset"),
        ({"a": entry(offsets=(4, 0))}, b"\0" * 4, "invalid offset for tensor `a`"),
        ({"a": entry(offsets=(0, 4, 8))}, b"\0" * 8, "invalid length 3"),
        ({"a": entry(offsets=(4, 8))}, b"\0" * 8, "invalid offset for tensor `a`"),
        ({"a": entry(), "b": entry()}, b"\0" * 4, "invalid offset for tensor `[ab]`"),
        ({"__metadata__": {"a": 1}}, b"", "expected a string"),
        (b'{"a": 1, "a": 2}', b"", "invalid type"),
    ],
)
def test_hostile_headers(tmp_path, header, data, match):
    path = write(tmp_path / "bad.safetensors", header, data)
    try:
        nn.load(path)
    except FileFormatError as error:
        assert "bad.safetensors" in str(error)
        with pytest.raises(FileFormatError, match=match):
            nn.load(path)
    else:
        assert match == LEGAL


def test_other_formats_and_sizes(tmp_path):
    (tmp_path / "p.pt").write_bytes(b"PK\x03\x04" + b"\xff" * 100)
    with pytest.raises(FileFormatError, match="expected a whole zip archive"):
        nn.load(tmp_path / "p.pt")
    (tmp_path / "h").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(FileFormatError, match=r"h: .*header too large"):
        nn.load(tmp_path / "h")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_are_made_as_the_umask_says(tmp_path):
    path, plain = tmp_path / "x", tmp_path / "plain"
    nn.save({"a": ft.ones(1)}, path)
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_booleans_are_made_whole(tmp_path):
    path = write(tmp_path / "b", {"a": entry((3,), "BOOL", (0, 3))}, b"\x00\x02\xff")
    assert nn.load(path)["a"].tolist() == [False, True, True]


def test_training_states_keep_types_and_ties(tmp_path):
    w = ft.randn(3)
    state = {
        "model": {"a.w": w, "b.w": w, "empty": ft.zeros(0, 2)},
        "optimizer": {
            "state": {0: {"step": ft.tensor(2.0)}},
            "param_groups": [{"betas": (0.9, 1)}],
        },
        "plain": [None, True, 3, -1.5, "text", float("inf"), float("-inf"), 2**70, b"\x00\xff", 1j],
        "$odd": {"$tensor": 1},
        "c": ft.tensor([1 + 2j], dtype=ft.complex128),
    }
    nn.save(state, tmp_path / "s", metadata={"note": "x"})
    back = nn.load(tmp_path / "s")
    assert back["plain"] == state["plain"] and back["$odd"] == {"$tensor": 1}
    assert back["optimizer"]["param_groups"] == [{"betas": (0.9, 1)}]
    assert isinstance(back["optimizer"]["param_groups"][0]["betas"], tuple)
    assert list(back["optimizer"]["state"]) == [0] and back["model"]["a.w"].tolist() == w.tolist()
    assert back["model"]["a.w"] is back["model"]["b.w"] and back["c"].tolist() == [1 + 2j]
    assert list(back["model"]["empty"].shape) == [0, 2]
    nan = nn.load(tmp_path / "s") if nn.save({"v": float("nan")}, tmp_path / "s") is None else {}
    assert nan["v"] != nan["v"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "no valid JSON"),
        ("[]", "no valid JSON"),
        ('{"version": 99, "tree": 1}', "has version 99; this release reads up to 1"),
        ('{"version": 1, "tree": {"$tensor": "gone"}}', "tensor 'gone' of its state is missing"),
        ('{"version": 1, "tree": {"$tensor": []}}', "bad .tensor"),
        ('{"version": 1, "tree": {"$eval": "1"}}', "unknown entry '.eval'"),
        ('{"version": 1, "tree": {"$tuple": 3}}', "bad .tuple"),
        ('{"version": 1, "tree": {"$dict": [[[], 1]]}}', "bad .dict"),
        ('{"version": 1, "tree": ' + "[" * 400 + "]" * 400 + "}", "nested deeper"),
        ('{"version": 1, "tree": ' + "[" * 100000 + "]" * 100000 + "}", "no valid JSON"),
    ],
)
def test_hostile_states_are_errors(tmp_path, text, match):
    from safetensors.numpy import save_file

    numpy = pytest.importorskip("numpy")
    path = str(tmp_path / "s")
    save_file({"w": numpy.zeros(1)}, path, metadata={"__tree__": text})
    with pytest.raises(FileFormatError, match=match):
        nn.load(path)


def test_open_files():
    model, buffer = nn.Linear(2, 3), io.BytesIO()
    ft.save(model, buffer)
    buffer.seek(0)
    assert (ft.load(buffer)["weight"] == model.weight).all()
    with pytest.raises(TypeError, match="a path with lazy"):
        ft.load(buffer, lazy=True)
    with pytest.raises(FileFormatError):
        ft.load(io.BytesIO(b"no tensors"))
