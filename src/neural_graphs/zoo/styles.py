"""What an editor should make of an image: one class per style, each a function of a stack of images.

A new style is one class: a constructor of plain numbers, which a configuration can give, and `draw`.
"""

import math
from abc import ABC, abstractmethod
from types import ModuleType

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from scipy import ndimage

from neural_graphs.errors import ConfigError, ImageError
from neural_graphs.layout.recorded import Recorded, call


class Style(Recorded, ABC):
    """A fixed change of every image of a stack, the same at every call."""

    def __call__(
        self, images: Float32[ndarray, "images height width channels"]
    ) -> Float32[ndarray, "images height width channels"]:
        """Return the changed images, in [0, 1]; those given stay as they are.

        Raises `ImageError` unless they are float32 in [0, 1] of 1 (grey) or 3 (RGB) channels.
        """
        shape = images.shape
        if images.dtype != np.float32 or len(shape) != 4 or shape[3] not in (1, 3) or not images.size:
            raise ImageError(
                f"{self!r} got {images.dtype} of shape {shape}; expected float32 of shape (images, height, width, 1 or"
                " 3), for example Images.pixels / np.float32(255)."
            )
        low, high = float(images.min()), float(images.max())
        if not 0 <= low <= high <= 1:  # not a number is refused, too
            raise ImageError(f"{self!r} got values from {low:.4g} to {high:.4g}; expected 0 to 1, so clip them first.")
        return self.draw(images).astype(np.float32, copy=False).clip(0, 1)

    @abstractmethod
    def draw(self, images: Float32[ndarray, "images height width channels"]) -> ndarray:
        """Return the changed images as floating-point numbers of the same shape; what comes is checked already."""

    def __repr__(self) -> str:
        return call(self)


class Dilate(Style):
    """The largest value within a square of `size` × `size` pixels around each pixel, per channel: strokes grow.

    The target of the MNIST experiment, with 3 (Zhou et al. 2023, *Permutation Equivariant Neural Functionals*).
    """

    def __init__(self, size: int = 3) -> None:
        self.size = _odd("size", size)

    def draw(self, images: Float32[ndarray, "images height width channels"]) -> ndarray:
        return ndimage.grey_dilation(images, size=(1, self.size, self.size, 1))


class Erode(Style):
    """The smallest value within a square of `size` × `size` pixels around each pixel, per channel: strokes shrink."""

    def __init__(self, size: int = 3) -> None:
        self.size = _odd("size", size)

    def draw(self, images: Float32[ndarray, "images height width channels"]) -> ndarray:
        return ndimage.grey_erosion(images, size=(1, self.size, self.size, 1))


class Contrast(Style):
    """Local contrast raised: histograms equalised in `tiles` × `tiles` tiles, none higher than `clip` times uniform.

    CLAHE (Zuiderveld 1994, *Contrast limited adaptive histogram equalization*) of OpenCV, on the L channel of 8-bit Lab
    in colour and on the grey values otherwise; the target of the CIFAR-10 experiment with the numbers given here (Zhou
    et al. 2023). Needs the extra `colour`: `ConfigError` without it, `ImageError` for images smaller than the tiles.
    """

    def __init__(self, clip: float = 1.0, tiles: int = 3) -> None:
        self.clip = _positive("clip", clip)
        if tiles < 1:
            raise ConfigError(f"tiles is {tiles}, expected a whole number from 1.")
        self.tiles = tiles
        _opencv()  # now, not after an epoch

    def draw(self, images: Float32[ndarray, "images height width channels"]) -> ndarray:
        cv2 = _opencv()
        pixels = np.rint(images * 255).astype(np.uint8)
        if pixels.shape[3] == 1:
            return self._equalise(pixels[..., 0])[..., None] / np.float32(255)
        column = pixels.reshape(-1, pixels.shape[2], 3)  # all images below one another: one call for them all
        lab = cv2.cvtColor(column, cv2.COLOR_RGB2LAB).reshape(pixels.shape)
        lab[..., 0] = self._equalise(lab[..., 0])
        return cv2.cvtColor(lab.reshape(column.shape), cv2.COLOR_LAB2RGB).reshape(pixels.shape) / np.float32(255)

    def _equalise(self, grey: UInt8[ndarray, "images height width"]) -> UInt8[ndarray, "images height width"]:
        if min(grey.shape[1:]) < self.tiles:
            raise ImageError(f"{self!r} got images of {grey.shape[1:]} pixels; expected at least one pixel per tile.")
        clahe = _opencv().createCLAHE(clipLimit=self.clip, tileGridSize=(self.tiles, self.tiles))
        return np.stack([clahe.apply(image) for image in np.ascontiguousarray(grey)])


class Blur(Style):
    """A Gaussian blur of `sigma` pixels; beyond its border an image goes on as it ends."""

    def __init__(self, sigma: float = 1.0) -> None:
        self.sigma = _positive("sigma", sigma)

    def draw(self, images: Float32[ndarray, "images height width channels"]) -> ndarray:
        return ndimage.gaussian_filter(images, (0, self.sigma, self.sigma, 0), mode="nearest")


class Invert(Style):
    """Bright becomes dark and the other way round: 1 − value."""

    def draw(self, images: Float32[ndarray, "images height width channels"]) -> ndarray:
        return 1 - images


class Rotate(Style):
    """The image turned counter-clockwise by `degrees` around its centre, bilinear; what comes in from outside is 0."""

    def __init__(self, degrees: float = 45.0) -> None:
        if not math.isfinite(degrees):
            raise ConfigError(f"degrees is {degrees}, expected a finite number.")
        self.degrees = degrees

    def draw(self, images: Float32[ndarray, "images height width channels"]) -> ndarray:
        return ndimage.rotate(images, self.degrees, axes=(2, 1), reshape=False, order=1)


def _odd(name: str, value: int) -> int:
    if value < 3 or value % 2 == 0:
        raise ConfigError(f"{name} is {value}, expected an odd number from 3: as many pixels on either side.")
    return value


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ConfigError(f"{name} is {value}, expected a number above 0.")
    return value


def _opencv() -> ModuleType:
    """Return OpenCV, whose CLAHE is the published target; scikit-image's differs by 15/255 and more on average."""
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            "Contrast needs OpenCV; install the extra that brings it: pip install 'neural-graphs[colour]'."
        ) from error
    return cv2
