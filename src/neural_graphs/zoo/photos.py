"""Small colour images that need no download: patches of the photographs that packages carry along."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

from neural_graphs.errors import ImageError
from neural_graphs.zoo.images import Source, read_picture

PATCH = 32  # pixels on each side, as in CIFAR-10
STRIDE = 8  # pixels of the smaller picture between neighbouring patches
SCALES = (2, 3, 4)  # pixels of the photograph on each side of one pixel: at full size a patch is all texture
TEST_BAND = (
    0.5,
    0.8,
)  # of the width: the columns that only test patches show, where most photographs have their subject
FLAT = 16.0  # of 255: a patch whose channels spread less than this on average is sky or wall, and left out


class Photos(Source):
    """Patches of 32×32 pixels of eight photographs, 4,203 to train on and 1,681 to test; the label is the photograph.

    Each photograph is averaged over squares of 2, 3 and 4 pixels and cut into overlapping patches; nearly flat ones are
    left out. Train and test patches come from different columns of a photograph and share no pixel. They are in an
    order of no meaning, always the same, so that the first few stand for all. Needs the extra `colour`.
    """

    # label: package, and the file in it; the names are those of scikit-image and scikit-learn
    FILES: ClassVar[dict[str, tuple[str, str]]] = {
        "astronaut": ("skimage", "data/astronaut.png"),
        "chelsea": ("skimage", "data/chelsea.png"),
        "china": ("sklearn", "datasets/images/china.jpg"),
        "coffee": ("skimage", "data/coffee.png"),
        "flower": ("sklearn", "datasets/images/flower.jpg"),
        "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        "motorcycle": ("skimage", "data/motorcycle_left.png"),
        "rocket": ("skimage", "data/rocket.jpg"),
    }

    def read(self, split: str) -> tuple[UInt8[ndarray, "images 32 32 3"], Int64[ndarray, " images"]]:
        parts = [patches(read_picture(_located(*file), "RGB"), split) for file in self.FILES.values()]
        labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        order = np.random.default_rng(0).permutation(len(labels))
        return np.concatenate(parts)[order], labels[order]


def patches(photo: UInt8[ndarray, "height width 3"], split: str) -> UInt8[ndarray, "patches 32 32 3"]:
    """Return the patches of a photograph that belong to a split, without the nearly flat ones."""
    cut = np.concatenate([_windows(_shrink(strip, scale)) for strip in _strips(photo, split) for scale in SCALES])
    return cut[cut.std(axis=(1, 2)).mean(axis=1) > FLAT]


def _strips(photo: UInt8[ndarray, "height width 3"], split: str) -> Iterator[UInt8[ndarray, "height columns 3"]]:
    """Yield the columns of a photograph that belong to a split: the test band, or what lies on either side of it."""
    start, stop = (round(share * photo.shape[1]) for share in TEST_BAND)
    if split == "test":
        yield photo[:, start:stop]
    else:
        yield from (photo[:, :start], photo[:, stop:])


def _shrink(photo: UInt8[ndarray, "height width 3"], scale: int) -> UInt8[ndarray, "rows columns 3"]:
    """Return the averages over squares of `scale` × `scale` pixels; what is left over at the far sides is cut off."""
    rows, columns = photo.shape[0] // scale, photo.shape[1] // scale
    squares = photo[: rows * scale, : columns * scale].reshape(rows, scale, columns, scale, 3)
    return np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)


def _windows(picture: UInt8[ndarray, "height width 3"]) -> UInt8[ndarray, "patches 32 32 3"]:
    """Return all patches of a picture, row by row; none where it is smaller than one."""
    if min(picture.shape[:2]) < PATCH:
        return np.empty((0, PATCH, PATCH, 3), np.uint8)
    views = np.lib.stride_tricks.sliding_window_view(picture, (PATCH, PATCH), axis=(0, 1))[::STRIDE, ::STRIDE]
    return views.transpose(0, 1, 3, 4, 2).reshape(-1, PATCH, PATCH, 3)  # from (rows, columns, 3, 32, 32)


def _located(package: str, file: str) -> Path:
    """Return the path of a file that a package carries; the package is found, not imported, and downloads nothing."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ImageError(
            f"photos needs the pictures of {package}; install the extra that brings it: pip install"
            " 'neural-graphs[colour]'."
        )
    path = Path(found.origin).parent / file
    if not path.is_file():
        raise ImageError(f"{path} is not there: this release of {package} comes without it; install another.")
    return path
