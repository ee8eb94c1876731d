"""Readers of images and transforms: values, batches, vmap, damaged files."""

from __future__ import annotations

import gzip
import http.server
import threading

import numpy as np
import pytest

import functorch_like as ft
from nn.data import DataLoader, download, file_sha256
from nn.vision import datasets, functional, read_idx, transforms
from nn.vision import functional as F

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = bytes([0, 0, codes[array.dtype.name], array.ndim])
    sizes = np.array(array.shape, ">u4").tobytes()
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx(tmp_path, dtype, packed):
    array = (RNG.normal(size=(3, 4, 5)) * 50).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    tensor = read_idx(path)
    assert tensor.dtype.name == dtype
    assert np.array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cut", [1, 3, 6, 12, 40])
def test_idx_cut_off(tmp_path, cut, packed):
    whole = idx(np.zeros((4, 10), np.uint8))
    path = tmp_path / "file"
    data = whole[:cut]
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ValueError, match="read_idx: expected"):
        read_idx(path)


def test_idx_of_a_size_that_no_memory_holds(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"abc")
    with pytest.raises(ValueError, match="got 3"):
        read_idx(path)
    path.write_bytes(gzip.compress(idx(np.zeros(100, np.uint8)))[:-9])
    with pytest.raises(ValueError, match="whole gzip file"):
        read_idx(path)


def write_mnist(folder, n=6):
    images = RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8)
    labels = np.arange(n).astype(np.uint8)
    for kind in ("train", "t10k"):
        (folder / f"{kind}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(idx(labels))
    return images, labels


def test_mnist(tmp_path):
    images, labels = write_mnist(tmp_path)
    data = datasets.MNIST(tmp_path, train=False)
    batch, marks = next(iter(DataLoader(data, batch_size=4)))
    assert batch.dtype is ft.uint8 and np.array_equal(batch[:, 0].numpy(), images[:4])
    assert marks.dtype is ft.int64 and marks.tolist() == labels[:4].tolist()
    scaled = datasets.MNIST(tmp_path, transform=transforms.ToTensor())
    batch, _ = next(iter(DataLoader(scaled, batch_size=4)))
    np.testing.assert_allclose(batch[:, 0].numpy(), images[:4] / 255, rtol=1e-6)
    with pytest.raises(FileNotFoundError, match="FashionMNIST: expected train-images"):
        datasets.FashionMNIST(tmp_path / "nowhere")


@pytest.mark.parametrize("kind, before", [("CIFAR10", 1), ("CIFAR100", 2)])
def test_cifar(tmp_path, kind, before):
    rows = RNG.integers(0, 256, (3, before + 3072)).astype(np.uint8)
    make = getattr(datasets, kind)
    for name in make._train:
        (tmp_path / name).write_bytes(rows.tobytes())
    data = make(tmp_path)
    assert len(data) == 3 * len(make._train)
    image, label = data[1]
    assert np.array_equal(image.numpy(), rows[1, before:].reshape(3, 32, 32))
    assert label.item() == rows[1, before - 1]
    (tmp_path / make._train[0]).write_bytes(b"123")
    with pytest.raises(ValueError, match=f"{kind}: expected rows"):
        make(tmp_path)


def test_image_folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        image.fromarray(pixels).save(tmp_path / name / "a.png")
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    data = datasets.ImageFolder(tmp_path)
    assert data.classes == ["cat", "dog"] and len(data) == 2
    picture, label = data[1]
    assert label == 1 and np.array_equal(picture.numpy(), pixels.transpose(2, 0, 1))
    (tmp_path / "cat" / "a.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ValueError, match="read_image: expected an image"):
        data[0]


def test_write_image(tmp_path):
    pytest.importorskip("PIL")
    from nn.vision import read_image, write_image

    picture = ft.tensor(RNG.integers(0, 256, (3, 4, 5)).astype(np.uint8))
    write_image(picture, tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == picture).all()
    write_image(picture.float() / 255, tmp_path / "b.png")
    assert (read_image(tmp_path / "b.png") == picture).all()


# ---- transforms ----


def test_normalize_equals_numpy():
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    got = F.normalize(ft.tensor(x), mean.tolist(), std.tolist()).numpy()
    np.testing.assert_allclose(got, (x - mean[:, None, None]) / std[:, None, None], rtol=1e-5)
    with pytest.raises(ft.errors.ShapeError, match="normalize: expected a mean for each channel"):
        F.normalize(ft.tensor(x), [0.0, 1.0], 1.0)
    with pytest.raises(ValueError, match="other than 0"):
        F.normalize(ft.tensor(x), 0.0, [1.0, 0.0, 1.0])
    with pytest.raises(ft.errors.DTypeError, match="to_tensor"):
        F.normalize(ft.zeros(3, 2, 2, dtype=ft.uint8), 0.0, 1.0)


def test_crop_at_drawn_places_equals_slicing():
    x = ft.tensor(RNG.normal(size=(3, 9, 11)))
    for top, left in ((0, 0), (2, 5), (4, 3)):
        drawn = F.crop(x, ft.tensor(top), ft.tensor(left), 5, 6)
        assert (drawn == F.crop(x, top, left, 5, 6)).all()
    with pytest.raises(ft.errors.ShapeError, match="crop: expected an image of at least"):
        F.crop(x, 0, 0, 10, 2)


def test_center_crop_pads():
    x = ft.ones(1, 2, 2)
    assert F.center_crop(x, 4)[0].tolist() == [[0] * 4, [0, 1, 1, 0], [0, 1, 1, 0], [0] * 4]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_by_right_angles_equals_rot90(turns):
    x = ft.tensor(RNG.normal(size=(2, 3, 6, 6)).astype(np.float32))
    got = F.rotate(x, 90.0 * turns, mode="bilinear")
    ft.testing.assert_close(got, ft.rot90(x, turns, (-2, -1)), rtol=1e-4, atol=1e-4)


def test_affine_scale_and_shear_equal_sampling_by_hand():
    x = RNG.normal(size=(1, 8, 10)).astype(np.float32)
    angle, shear, scale, move = 20.0, (10.0, 0.0), 1.2, (1.5, -0.5)
    got = F.affine(ft.tensor(x), angle, move, scale, shear, mode="bilinear").numpy()
    a, s = np.deg2rad(angle), np.deg2rad(shear[0])
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    forward = scale * turn @ np.array([[1, -np.tan(s)], [0, 1]])
    want = np.zeros_like(x)
    for i in range(8):
        for j in range(10):
            at = np.linalg.solve(forward, np.array([j - 4.5 - move[0], i - 3.5 - move[1]]))
            u, v = at[0] + 4.5, at[1] + 3.5
            for p in (int(np.floor(v)), int(np.floor(v)) + 1):
                for q in (int(np.floor(u)), int(np.floor(u)) + 1):
                    if 0 <= p < 8 and 0 <= q < 10:
                        weight = (1 - abs(v - p)) * (1 - abs(u - q))
                        want[0, i, j] += weight * x[0, p, q]
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_colours():
    import colorsys

    x = RNG.random((3, 4, 5)).astype(np.float32)
    hsv = F.rgb_to_hsv(ft.tensor(x)).numpy()
    want = np.array([colorsys.rgb_to_hsv(*p) for p in x.reshape(3, -1).T]).T.reshape(x.shape)
    np.testing.assert_allclose(hsv, want, atol=1e-5)
    np.testing.assert_allclose(F.hsv_to_rgb(ft.tensor(hsv)).numpy(), x, atol=1e-5)
    np.testing.assert_allclose(F.adjust_hue(ft.tensor(x), 1.0).numpy(), x, atol=1e-5)
    for adjust in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_gamma):
        np.testing.assert_allclose(adjust(ft.tensor(x), 1.0).numpy(), x, atol=1e-6)
    gray = F.adjust_saturation(ft.tensor(x), 0.0)
    np.testing.assert_allclose(gray[0].numpy(), gray[2].numpy(), atol=1e-6)


def test_gradients_flow_through():
    x = ft.tensor(RNG.random((3, 6, 6)))

    def f(image, angle):
        return (F.adjust_hue(F.rotate(image, angle, "bilinear"), 0.1) ** 2).sum()

    # angle = 7: away from places where bilinear sampling has kinks
    ft.testing.gradcheck(f, (x * 0.8 + 0.1, ft.tensor(7.0, dtype=ft.float64)), atol=1e-4)


RANDOM = {
    "crop": transforms.RandomCrop(5, padding=1),
    "flip": transforms.RandomHorizontalFlip(),
    "upside": transforms.RandomVerticalFlip(),
    "affine": transforms.RandomAffine(20, (0.2, 0.2), (0.8, 1.2), 5.0, mode="bilinear"),
    "resized": transforms.RandomResizedCrop(6),
    "colours": transforms.ColorJitter(0.4, 0.4, 0.4, 0.2),
    "erase": transforms.RandomErasing(1.0),
    "apply": transforms.RandomApply(transforms.Normalize(0.5, 0.5), 0.5),
    "several": transforms.Compose([transforms.RandomCrop(6), transforms.RandomRotation(9.0)]),
}


@pytest.mark.parametrize("name", RANDOM)
def test_vmap_draws_for_each_image_what_a_loop_draws(name):
    images = ft.tensor(RNG.random((6, 3, 8, 8)).astype(np.float32))
    ft.manual_seed(3)
    loop = ft.stack([RANDOM[name](image) for image in images])
    ft.manual_seed(3)
    mapped = ft.vmap(RANDOM[name], randomness="different")(images)
    ft.testing.assert_close(mapped, loop)
    assert RANDOM[name](images).shape[:2] == (6, 3)
    if name != "several":
        assert not all((mapped[i] == RANDOM[name](images[i])).all() for i in range(6))


def test_a_generator_repeats():
    image = ft.tensor(RNG.random((3, 20, 20)).astype(np.float32))
    crops = [
        transforms.RandomCrop(9, generator=ft.Generator().manual_seed(5))(image) for _ in range(2)
    ]
    assert (crops[0] == crops[1]).all()


def test_random_crop_reaches_every_place():
    image = ft.arange(16).reshape(1, 4, 4)
    ft.manual_seed(0)
    corners = {transforms.RandomCrop(3)(image)[0, 0, 0].item() for _ in range(64)}
    assert corners == {0, 1, 4, 5}


def test_resize():
    torch = pytest.importorskip("torch")
    x = RNG.random((2, 3, 9, 12)).astype(np.float32)
    want = torch.nn.functional.interpolate(
        torch.tensor(x), (4, 5), mode="bilinear", antialias=True
    ).numpy()
    np.testing.assert_allclose(F.resize(ft.tensor(x), (4, 5)).numpy(), want, atol=1e-5)
    assert functional.resize(ft.zeros(3, 8, 12, dtype=ft.uint8), 4).shape == (3, 4, 6)


def test_bad_options():
    with pytest.raises(ValueError, match="probability"):
        transforms.RandomHorizontalFlip(1.5)
    with pytest.raises(ValueError, match="at least 0"):
        transforms.ColorJitter(brightness=-1.0)
    with pytest.raises(ValueError, match="hue"):
        transforms.ColorJitter(hue=0.7)
    assert "size=5" in repr(transforms.RandomCrop(5))


# ---- download ----


class Server(http.server.BaseHTTPRequestHandler):
    data = bytes(range(256)) * 4000
    break_at: int | None = None
    asked: list

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(self.data) - start))
        self.end_headers()
        end = type(self).break_at or len(self.data)
        type(self).break_at = None
        self.wfile.write(self.data[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Server.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/file"
        running.shutdown()


def test_download_goes_on_where_it_broke_off(tmp_path, server):
    path = tmp_path / "folder" / "file"
    Server.break_at = 300_000
    with pytest.raises(OSError):
        download(server, path, progress=False)
    assert not path.exists()
    seen = []
    download(server, path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == Server.data
    assert Server.asked[0] is None and Server.asked[1].startswith("bytes=")
    assert seen[-1] == (len(Server.data), len(Server.data))
    download(server, path, sha256=file_sha256(path), progress=False)
    assert len(Server.asked) == 2  # it was there


def test_download_of_something_else(tmp_path, server):
    with pytest.raises(ValueError, match="SHA-256"):
        download(server, tmp_path / "file", sha256="0" * 64, progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="download: expected"):
        download("http://127.0.0.1:1/file", tmp_path / "file", progress=False)
