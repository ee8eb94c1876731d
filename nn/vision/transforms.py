"""Transforms of images as objects, for data sets; functional.py has what they compute.

A random transform draws once a call, from `generator` or the global one: every image of a batch
then gets the same. `vmap(transform, randomness="different")(images)` draws for each image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Generator, Tensor
from nn.vision import functional as F

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "Grayscale", "Lambda", "Normalize", "Pad",
    "RandomAffine", "RandomApply", "RandomCrop", "RandomErasing", "RandomHorizontalFlip",
    "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip", "Resize", "ToTensor",
]  # fmt: skip


class Compose:
    """Transforms one after the other.

    Example:
      >>> import functorch_like as ft
      >>> prepare = Compose([ToTensor(), Normalize(0.5, 0.5)])
      >>> prepare(ft.full((1, 1, 1), 255, dtype=ft.uint8))
      tensor([[[1.]]])
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


class _Transform:
    """A transform whose attributes are its options."""

    def __repr__(self) -> str:
        options = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if value is not None
        )
        return f"{type(self).__name__}({options})"


class Lambda(_Transform):
    """Any function as a transform."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, x: Any) -> Any:
        return self.function(x)


class ToTensor(_Transform):
    """functional.to_tensor: uint8, arrays and Pillow images become floats in 0..1."""

    def __call__(self, x: Any) -> Tensor:
        return F.to_tensor(x)


class Normalize(_Transform):
    """functional.normalize: (x - mean) / std by channel."""

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = mean, std

    def __call__(self, x: Tensor) -> Tensor:
        return F.normalize(x, self.mean, self.std)


class Resize(_Transform):
    """functional.resize: another size, or another length of the shorter side."""

    def __init__(
        self, size: int | Sequence[int], mode: str = "bilinear", antialias: bool = True
    ) -> None:
        self.size, self.mode, self.antialias = size, mode, antialias

    def __call__(self, x: Tensor) -> Tensor:
        return F.resize(x, self.size, self.mode, self.antialias)


class Pad(_Transform):
    """functional.pad: rows and columns around the image."""

    def __init__(
        self, padding: int | Sequence[int], value: float = 0, mode: str = "constant"
    ) -> None:
        self.padding, self.value, self.mode = padding, value, mode

    def __call__(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding, self.value, self.mode)


class CenterCrop(_Transform):
    """functional.center_crop: the middle part."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = size

    def __call__(self, x: Tensor) -> Tensor:
        return F.center_crop(x, self.size)


class Grayscale(_Transform):
    """functional.rgb_to_grayscale: luma in one or three channels."""

    def __init__(self, num_output_channels: int = 1) -> None:
        self.num_output_channels = num_output_channels

    def __call__(self, x: Tensor) -> Tensor:
        return F.rgb_to_grayscale(x, self.num_output_channels)


# ---- random ones ----


class _Random(_Transform):
    generator: Generator | None = None

    def _uniform(self, low: float, high: float) -> Tensor:
        """A 0-d draw from [low, high)."""
        return ft.rand((), generator=self.generator) * (high - low) + low

    def _place(self, count: int) -> Tensor:
        """A 0-d draw from 0 .. count - 1."""
        return ft.randint(0, count, (), generator=self.generator)

    def _chosen(self, p: float, yes: Tensor, no: Tensor) -> Tensor:
        return ft.where(ft.rand((), generator=self.generator) < p, yes, no)


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: expected a probability in 0..1, got {p}.")
    return p


class RandomHorizontalFlip(_Random):
    """Left and right exchanged with probability p.

    Example:
      >>> import functorch_like as ft
      >>> RandomHorizontalFlip(p=1.0)(ft.tensor([[[1, 2]]]))
      tensor([[[2, 1]]])
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        self.p, self.generator = _probability("RandomHorizontalFlip", p), generator

    def __call__(self, x: Tensor) -> Tensor:
        return self._chosen(self.p, F.hflip(x), x)


class RandomVerticalFlip(_Random):
    """Top and bottom exchanged with probability p."""

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        self.p, self.generator = _probability("RandomVerticalFlip", p), generator

    def __call__(self, x: Tensor) -> Tensor:
        return self._chosen(self.p, F.vflip(x), x)


class RandomApply(_Random):
    """A transform that keeps the shape, applied with probability p."""

    def __init__(
        self, transform: Callable[[Any], Any], p: float = 0.5, generator: Generator | None = None
    ) -> None:
        self.transform, self.p = transform, _probability("RandomApply", p)
        self.generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        return self._chosen(self.p, self.transform(x), x)


class RandomCrop(_Random):
    """A part of the image at a random place.

    Args:
      size: [height, width], or one number for both.
      padding: rows and columns added first: functional.pad.
      value, mode: of the padding.
    Raises:
      ShapeError: the padded image is smaller than the part.
    Example:
      >>> import functorch_like as ft
      >>> images = ft.zeros(16, 3, 32, 32)
      >>> ft.vmap(RandomCrop(28), randomness="different")(images).shape
      Size([16, 3, 28, 28])
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        value: float = 0,
        mode: str = "constant",
        generator: Generator | None = None,
    ) -> None:
        self.size, self.padding, self.value, self.mode = size, padding, value, mode
        self.generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        if self.padding is not None:
            x = F.pad(x, self.padding, self.value, self.mode)
        height, width = F._pair(self.size)
        h, w = x.shape[-2:]
        top, left = (self._place(max(n, 0) + 1) for n in (h - height, w - width))
        return F.crop(x, top, left, height, width)


class RandomResizedCrop(_Random):
    """A part of random size and shape, brought to one size by bilinear sampling.

    Args:
      size: [height, width], or one number for both.
      scale: bounds of the part's share of the area.
      ratio: bounds of its width over its height.
    Reference: Szegedy et al. 2015, section 6.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        generator: Generator | None = None,
    ) -> None:
        self.size, self.scale, self.ratio = size, scale, ratio
        self.generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        height, width = F._pair(self.size)
        low, high = (ft.tensor(r).log().item() for r in self.ratio)
        area, ratio = self._uniform(*self.scale), self._uniform(low, high).exp()
        h, w = x.shape[-2:]
        # shares of height and width; a part that would not fit is cut to the image
        tall = (area * w / (h * ratio)).sqrt().clamp(max=1.0)
        wide = (area * h * ratio / w).sqrt().clamp(max=1.0)
        down, right = (self._uniform(-1.0, 1.0) * (1 - n) for n in (tall, wide))
        zero = ft.zeros_like(tall)
        theta = ft.stack([ft.stack([wide, zero, right]), ft.stack([zero, tall, down])])
        grid = ft.affine_grid(theta.unsqueeze(0), (1, 1, height, width))
        work = x.reshape((1, -1, h, w))
        out = ft.grid_sample(work, grid.to(work.dtype), padding_mode="border")
        return out.reshape((*x.shape[:-2], height, width))


class RandomAffine(_Random):
    """Random rotation, movement, scale and shear.

    Args:
      degrees: bounds of the angle, or its largest size.
      translate: the largest shares of width and height to move by.
      scale: bounds of the factor.
      shear: bounds of the shear along x in degrees, or its largest size.
      mode, fill: as in functional.affine.
    """

    def __init__(
        self,
        degrees: float | tuple[float, float],
        translate: tuple[float, float] = (0.0, 0.0),
        scale: tuple[float, float] = (1.0, 1.0),
        shear: float | tuple[float, float] = 0.0,
        mode: str = "nearest",
        fill: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        self.degrees, self.translate, self.scale = _bounds(degrees), translate, scale
        self.shear, self.mode, self.fill = _bounds(shear), mode, fill
        self.generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        right, down = self.translate[0] * w, self.translate[1] * h
        return F.affine(
            x,
            self._uniform(*self.degrees),
            (self._uniform(-right, right).round(), self._uniform(-down, down).round()),
            self._uniform(*self.scale),
            (self._uniform(*self.shear), 0.0),
            self.mode,
            self.fill,
        )


def _bounds(size: float | tuple[float, float]) -> tuple[float, float]:
    return (-size, size) if isinstance(size, (int, float)) else (size[0], size[1])


class RandomRotation(RandomAffine):
    """A rotation by a random angle: RandomAffine with nothing else."""

    def __init__(
        self,
        degrees: float | tuple[float, float],
        mode: str = "nearest",
        fill: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(degrees, mode=mode, fill=fill, generator=generator)


class ColorJitter(_Random):
    """Random brightness, contrast, saturation and hue, in this order.

    Args:
      brightness, contrast, saturation: a factor is drawn from [max(0, 1 - v), 1 + v), or from the
        bounds given.
      hue: a shift is drawn from [-v, v), in turns of the colour circle.
    Raises:
      ValueError: a negative v, or hue over 0.5.
    """

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0.0,
        contrast: float | tuple[float, float] = 0.0,
        saturation: float | tuple[float, float] = 0.0,
        hue: float | tuple[float, float] = 0.0,
        generator: Generator | None = None,
    ) -> None:
        bounds = []
        for value in (brightness, contrast, saturation):
            if isinstance(value, (int, float)):
                if value < 0:
                    raise ValueError(f"ColorJitter: expected amounts of at least 0, got {value}.")
                value = (max(0.0, 1 - value), 1 + value)
            bounds.append(value)
        self.brightness, self.contrast, self.saturation = bounds
        self.hue = _bounds(hue)
        if not -0.5 <= self.hue[0] <= self.hue[1] <= 0.5:
            raise ValueError(f"ColorJitter: expected hue in -0.5..0.5, got {hue}.")
        self.generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        for adjust, bounds, neutral in (
            (F.adjust_brightness, self.brightness, 1.0),
            (F.adjust_contrast, self.contrast, 1.0),
            (F.adjust_saturation, self.saturation, 1.0),
            (F.adjust_hue, self.hue, 0.0),
        ):
            if bounds != (neutral, neutral):
                x = adjust(x, self._uniform(*bounds))
        return x


class RandomErasing(_Random):
    """A random rectangle overwritten, with probability p.

    Args:
      scale: bounds of the rectangle's share of the area.
      ratio: bounds of its height over its width.
      value: what is written.
    Reference: Zhong et al. 2017.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        self.p, self.scale, self.ratio = _probability("RandomErasing", p), scale, ratio
        self.value, self.generator = value, generator

    def __call__(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        low, high = (ft.tensor(r).log().item() for r in self.ratio)
        area, ratio = self._uniform(*self.scale) * (h * w), self._uniform(low, high).exp()
        tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        inside = []
        for n, size in ((h, tall), (w, wide)):
            start = (self._uniform(0.0, 1.0) * (n - size + 1)).floor().clamp(min=0.0)
            at = ft.arange(n, device=x.device)
            inside.append((at >= start) & (at < start + size))
        hit = inside[0].unsqueeze(-1) & inside[1]
        return self._chosen(self.p, ft.where(hit, self.value, x).to(x.dtype), x)
