"""Other files: torch's without torch, NumPy's, sharded and lazy safetensors; hostile ones."""

import base64
import io
import json
import os
import pickle
import zipfile
import zlib

import pytest

import functorch_like as ft
import nn
from functorch_like.serialization.atomic import FileFormatError
from functorch_like.serialization.lazy import LazyTensors, save_sharded
from functorch_like.serialization.numpy_file import load_npz, save_npz
from functorch_like.serialization.torch_file import load_torch

np = pytest.importorskip("numpy")

# torch.save of torch 2.13: a Linear's state dict, views, bfloat16, bool, plain values
RECORDED = (
    "c-o~_OKclO7#=_3I3{(H5(o_t3gO{E>iE4TN#kTGTVP9@Y#*3FF&lehZ`pYL?@p3}6e$vNc-%R_0Rab2+z}TP^~?c!"
    "K$SoOi336$dgH`_nOVo(osgupM;SYt%=h^J`RAWqlmkJ8!eO*;45H&mwaPVpLz}9oSdBN{F(fgHmOW$JzXd2(>>+?P"
    "v!WT`E0;~f(8^dh>vrUVRnaW1az-!X2>2%y2*ipZvUXF`t2GS4GB$}sytIyW!;X|JZDn0IDkZGdZPO}kq$1E0ixqnb"
    "!X_)#ss<qk5|Ip3#TT7FMxeLoBWn^6E(XYVxv>s?vL8caNk+0y_V2)bvS0S?K>tTI>f#uNr~(5;5;|JZRT~CtM5h+2"
    "IXp=is`be}496M13HQ^FVF&vFh6fcGS>J+(ihX2pX-&f_O%R-5{~s;V?7_oZ@CY-$p;<P`1w1PIY};O80vN_Tf+={6"
    "2=-$*Nd<#)U<V#2zJojPgd;kR;YkIaV$oUVCOo|dueE^BED>0+2{Gz)!T~*t;W-5+S(G)^ScOv#s+B>Jr7)RmCo#^v"
    "q+zPYl9!-f{7pzw%9KNy#*k4U%P3b3wF)^erD+;%I)Tw;An(vU-=dqQbTba!EQZqx%&~<HC>&4?4b@Ufk~J#=^PaS2"
    "VZqrav9(Vx(2p|?_lp=L1<roR9$xwYURK~0R;OCSEZ0Dm14Tc1GAuZEw(#AjbbQ9*s+)BUUOmr#H*_1r`KxdtM$3qa"
    "UWdgUSkhP-+hx^IEl@m3IA_+Y?Ic`em>gVkj9w;2CtBNc1;c9!6q(MZUeVxnPjCV(JD4|UaDgVgDWfJ_b+B(?C@Jvv"
    "dVEpt4G;I{$G1sk(7AZvc^*MC?eiR8HLW!jms+(ci2`@5?|LMufp2gB`aZQx=fMU>k#NUA>o}KGL$B7?v^ti=bSEBi"
    "8ET-g34hVe^dD+q2o>4}R^G*$Nt=@-&U6|(9fppvp-~Ub(|??xH4!@0Lln(<y6RLy5~sT`fY5G%(C$(P)04mbKqbRR"
    "IGFW1NJ?TJb*{fXN45W5{`wbM$iXAD=e^n~Nu2E_{mTyTHqF62`5|+g%rD5?CG&SO(E_>4$UI4AVu5<SzO_1+px4C_"
    "UWdJ2(~>y2&nr=$r<|i7|MN))@n^b?--oFB_v1H;N7sK8iC*=rB+hlE&i21R9bCKi<u@I~pX)aM-WD_U(D?aJvxE8<"
    "x~%_uh=0J<f!e*dtNxRYQ1zcauU<ZS|Hn}3P6KA4+nS}54*Z@<-_}ZcMH1upXeN<Q<?^|VAf&UoL?$Z;LL!k&<ddmv"
    "DwR(QsZ27P6f)@?b$R>7SAiJu5o0cW)NI?Q`wko2=bV2J<<ag7XvBm3F@O%b^>`BZB{J$ESqh><ZZ4k3eGv?Kcy79Q"
    "+7}QHcX#oq2Y#goad!ugb$4Me_7;y#@>q9Q^kOfCIBbf?y1Snji+VY1n#a0(7pKc(Gd$LP>b%&SJT}W?-Q9xI4RhGs"
    "-Rs`su>y~EpVa}cZXe>i0}pl|p)qg3F7W>!?nOBin%rvzfm5!A=>4_>t%8W`wbl^pvVR|Qo}IV6o{)oyvh~i|{{XjI"
    "H@*"
)


@pytest.fixture
def torch_file(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(zlib.decompress(base64.b85decode(RECORDED)))
    return path


def test_a_recorded_file_of_torch(torch_file):
    found = nn.load(torch_file)
    assert {k: v.tolist() for k, v in found["model"].items()} == {
        "weight": [[1.5, -2.0]],
        "bias": [0.25],
    }
    expected = ft.arange(12).float().reshape(3, 4)
    assert found["t"].tolist() == expected.T.tolist() and found["t"].shape == (4, 3)
    assert found["row"].tolist() == expected[1].tolist()
    found["row"].zero_()  # shares memory with t
    assert found["t"][:, 1].tolist() == [0.0] * 4
    assert found["half"].dtype == ft.bfloat16 and found["half"].tolist() == [1.0, 2.0]
    assert found["flag"].tolist() == [True, False] and found["p"].requires_grad
    assert found["epoch"] == 3 and found["lr"] == 0.1 and found["none"] is None
    assert found["list"] == [1, (2, "x")] and found["scalar"].item() == 7
    assert found["wide"].tolist() == [1.0, 1.0, 1.0]
    model = nn.Linear(2, 1)
    model.load_state_dict(found["model"])
    assert model(ft.tensor([[2.0, 1.0]])).item() == 1.25


@pytest.mark.torch
def test_every_dtype_and_optimizer_states_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    names = (
        "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128"
    )
    tensors = {n: torch.ones(2, 3).to(getattr(torch, n)) for n in names.split()}
    tensors |= {n: torch.ones(2, dtype=getattr(torch, n)) for n in ("uint16", "uint32", "uint64")}
    w = torch.nn.Parameter(torch.randn(3))
    optimizer = torch.optim.Adam([w])
    w.sum().backward()
    optimizer.step()
    torch.save({"t": tensors, "o": optimizer.state_dict(), "e": torch.zeros(0, 3)}, tmp_path / "x")
    found = load_torch(tmp_path / "x")
    for name, tensor in tensors.items():
        assert found["t"][name].dtype.name == name and found["t"][name].tolist() == tensor.tolist()
    ours = nn.optim.Adam([ft.ones(3).requires_grad_()])
    ours.load_state_dict(found["o"])
    assert list(found["e"].shape) == [0, 3]
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module")
    with pytest.raises(FileFormatError, match=r"byte \d+ \(REDUCE|is not read"):
        nn.load(tmp_path / "module")
    torch.save({"w": torch.ones(1).to_sparse()}, tmp_path / "sparse")
    with pytest.raises(FileFormatError, match="is not read"):
        nn.load(tmp_path / "sparse")
    torch.save({"w": 1}, tmp_path / "old", _use_new_zipfile_serialization=False)
    with pytest.raises(FileFormatError, match="looks like a pickle"):
        nn.load(tmp_path / "old")


def archive(path, pkl, entries=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", pkl)
        for name, data in entries:
            file.writestr(f"a/data/{name}", data)
    return path


def tensor_pickle(offset=0, shape=(2,), strides=(1,), key="0", kind="FloatStorage", count=2):
    """The pickle of one tensor, written by hand."""

    def number(n):
        return pickle.dumps(n, 2)[2:-1]

    def numbers(values):
        return b"(" + b"".join(number(n) for n in values) + b"t"

    def text(s):
        return b"X" + len(s).to_bytes(4, "little") + s.encode()

    storage = (
        b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
        + number(count) + b"tQ"
    )  # fmt: skip
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset)
        + numbers(shape) + numbers(strides) + b"\x89NtR."
    )  # fmt: skip


def test_a_tensor_written_by_hand(tmp_path):
    data = np.arange(2, dtype=np.float32).tobytes()
    path = archive(tmp_path / "x", tensor_pickle(), [("0", data)])
    assert load_torch(path).tolist() == [0.0, 1.0]


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/functorch_like_was_here",)


@pytest.mark.parametrize(
    ("pkl", "match"),
    [
        (pickle.dumps(Evil(), 2), r"byte \d+ \(REDUCE\): it needs \w+.system, which is not read"),
        (pickle.dumps(Evil(), 4), r"it needs \w+.system"),
        (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "it needs builtins.eval"),
        (b"\x80\x02cos\nsystem\n)\x81.", "NEWOBJ"),
        (b"\x80\x02(ios\nsystem\n.", "INST"),
        (b"\x80\x02}X\x01", "not enough data|expected"),
        (b"\x80\x02].", "ok"),
        (b"\x80\x02h\x07.", "BINGET"),
        (b"\x80\x02t.", "no mark"),
        (b"\x80\x02", "expected|ended|exhausted"),
        (b"", "expected|ended|exhausted"),
        (b"\x80\x02]]s.", "SETITEM"),
        (b"\x80\x02}(]]u.", "SETITEMS"),
        (b"\x80\x02r\xff\xff\xff\xff.", "LONG_BINPUT"),
        (tensor_pickle(offset=1), "reaches to element 2 of 2"),
        (tensor_pickle(strides=(3,)), "reaches to element 3 of 2"),
        (tensor_pickle(strides=(-1,)), "has shape"),
        (tensor_pickle(shape=(1 << 40,), strides=(0,)), "claims 1099511627776 elements"),
        (tensor_pickle(shape=(2, 2)), "has shape"),
        (tensor_pickle(shape=(1,) * 40, strides=(1,) * 40), "has shape"),
        (tensor_pickle(key="../x"), "bad key"),
        (tensor_pickle(key="9"), "no entry|KeyError"),
        (tensor_pickle(kind="QInt8Storage"), "storage of type"),
        (tensor_pickle(shape=("a",)), "has shape"),
    ],
)
def test_hostile_pickles(tmp_path, pkl, match):
    path = archive(tmp_path / "x.pt", pkl, [("0", bytes(8))])
    if match == "ok":
        assert nn.load(path) == []
        return
    with pytest.raises(FileFormatError, match=match) as info:
        nn.load(path)
    assert "x.pt" in str(info.value)
    assert not os.path.exists("/tmp/functorch_like_was_here")


def test_archives_that_are_no_good(tmp_path, torch_file):
    data = torch_file.read_bytes()
    for cut in (10, 100, 1000, len(data) - 5):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(FileFormatError, match="cut"):
            nn.load(tmp_path / "cut")
    for at in range(0, len(data), 7):  # never another error, never a crash
        (tmp_path / "flip").write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            nn.load(tmp_path / "flip")
        except FileFormatError:
            pass
    packed = archive(tmp_path / "z", tensor_pickle(), [("0", bytes(8))], zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match="is compressed"):
        nn.load(packed)
    with zipfile.ZipFile(tmp_path / "big", "w") as file:
        file.writestr("a/data.pkl", tensor_pickle())
        file.writestr("a/byteorder", "big")
    with pytest.raises(FileFormatError, match="big-endian"):
        nn.load(tmp_path / "big")


# ---- NumPy ----


@pytest.mark.parametrize("compress", [False, True])
def test_npz(tmp_path, compress):
    tensors = {"a": ft.randn(3, 4), "b": ft.arange(5), "c": ft.ones(2, dtype=ft.bfloat16),
               "d": ft.zeros(0, 2), "e": ft.tensor(2.0), "f": ft.randn(3, 4).T}  # fmt: skip
    save_npz(tensors, tmp_path / "x.npz", compress)
    found = nn.load(tmp_path / "x.npz")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].tolist() == tensor.tolist() and found[name].shape == tensor.shape
    assert found["c"].dtype == ft.float32
    np.savez(tmp_path / "y.npz", z=np.asfortranarray(np.arange(6).reshape(2, 3)))
    assert nn.load(tmp_path / "y.npz")["z"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_npz_that_is_no_good(tmp_path):
    with pytest.raises(TypeError, match="expected tensors, got list for 'a'"):
        save_npz({"a": [1]}, tmp_path / "x")
    np.savez(tmp_path / "o.npz", o=np.array([{}], dtype=object))
    with pytest.raises(FileFormatError, match=r"'o\.npy' at byte 0: it holds Python objects"):
        nn.load(tmp_path / "o.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as file:
        file.writestr("a.npy", header.getvalue() + bytes(8))
    with pytest.raises(FileFormatError, match="its header claims"):
        nn.load(tmp_path / "claim.npz")
    save_npz({"a": ft.zeros(1000)}, tmp_path / "x.npz", compress=True)
    with pytest.raises(FileFormatError, match="more than max_bytes=100"):
        load_npz(tmp_path / "x.npz", max_bytes=100)
    data = (tmp_path / "x.npz").read_bytes()
    for at in range(0, len(data), 5):
        (tmp_path / "flip.npz").write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            nn.load(tmp_path / "flip.npz")
        except FileFormatError:
            pass
    np.savez(tmp_path / "s.npz", s=np.array(["text"]))
    with pytest.raises(FileFormatError, match=r"s\.npy"):
        nn.load(tmp_path / "s.npz")


# ---- lazy and sharded ----


def model():
    return {f"layer.{i}.weight": ft.full((10, i + 1), float(i)) for i in range(6)} | {
        "h": ft.ones(3, dtype=ft.bfloat16),
        "z": ft.tensor([1 + 2j], dtype=ft.complex128),
        "empty": ft.zeros(0),
    }


def test_lazy(tmp_path):
    path = tmp_path / "m.safetensors"
    nn.save(model(), path, metadata={"a": "b"})
    before = path.read_bytes()
    with nn.load(path, lazy=True) as tensors:
        assert isinstance(tensors, LazyTensors) and len(tensors) == 9 and "h" in tensors
        assert tensors.shape("layer.2.weight") == (10, 3) and tensors.dtype("h") == "BF16"
        for name, value in model().items():
            assert tensors[name].tolist() == value.tolist() and tensors[name].dtype == value.dtype
        w = tensors["layer.1.weight"]
        w.add_(5.0)
    assert w.tolist() == [[6.0, 6.0]] * 10 and path.read_bytes() == before
    with pytest.raises(KeyError):
        tensors["none"]
    with pytest.raises(ValueError, match="to be open, got a closed one"):
        tensors["h"]
    target = nn.Linear(2, 1)
    nn.save(target, path)
    nn.Linear(2, 1).load_state_dict(nn.load(path, lazy=True))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileFormatError):
        nn.load(path, lazy=True)


def test_sharded(tmp_path):
    names = save_sharded(model(), tmp_path, max_bytes=500)
    assert len(names) == 2 and names[0].startswith("model-00001-of-0000")
    index = tmp_path / "model.safetensors.index.json"
    for found in (nn.load(tmp_path), nn.load(index), nn.load(tmp_path, lazy=True)):
        assert set(found) == set(model())
        assert all(found[name].tolist() == value.tolist() for name, value in model().items())
    content = json.loads(index.read_text())
    assert content["metadata"]["total_size"] == sum(t.nbytes for t in model().values())

    def broken(change, match):
        new = json.loads(json.dumps(content))
        new = change(new) or new
        index.write_text(new if isinstance(new, str) else json.dumps(new))
        with pytest.raises(FileFormatError, match=match):
            nn.load(tmp_path)

    broken(lambda c: c["weight_map"].update(h="../x.safetensors"), "names of files beside")
    broken(lambda c: c["weight_map"].update(h="gone.safetensors"), "shard gone.safetensors")
    broken(
        lambda c: c["weight_map"].update(extra=names[0]), "expected tensor 'extra' in model-00001"
    )
    broken(lambda c: c["weight_map"].update(h=3), "shard's name is no string")
    broken(lambda c: {"weight_map": [1]}, "weight_map")
    broken(lambda c: "{", "weight_map of names")
    index.unlink()
    with pytest.raises(FileFormatError, match=r"expected one \*.safetensors.index.json"):
        nn.load(tmp_path)
    nn.save({"w": ft.ones(1)}, tmp_path / "model.safetensors")
    assert nn.load(tmp_path)["w"].item() == 1.0


def test_unaligned_tensors_are_read(tmp_path):
    header = json.dumps({
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }).encode()  # fmt: skip
    path = tmp_path / "u"
    path.write_bytes(
        len(header).to_bytes(8, "little") + header + b"\x01" + np.float32([1, 2]).tobytes()
    )
    assert nn.load(path, lazy=True)["b"].tolist() == [1.0, 2.0] == nn.load(path)["b"].tolist()
