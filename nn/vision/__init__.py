"""Pictures: readers of the usual data sets, transforms of images [..., channels, height, width].

Laid out as torchvision: `vision.datasets`, `vision.transforms`, and `vision.transforms.functional`
as `vision.functional`.
"""

from nn.vision import datasets, functional, transforms
from nn.vision.files import read_idx, read_image, write_image

__all__ = ["datasets", "functional", "read_idx", "read_image", "transforms", "write_image"]
