"""Labelled images that implicit networks are fitted to: one small class per source."""

import gzip
import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from neural_graphs.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Images:
    """Labelled images of one size.

    `pixels` is uint8 of shape (images, height, width, channels) with 1 (grey) or 3 (RGB) channels, `labels` int64 of
    shape (images,); `name` and `split` say where they come from. Raises `ImageError` where these contradict each other.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    name: str
    split: str

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise ImageError(
                f"{self.name}: pixels are {self.pixels.dtype} of shape {shape}; expected uint8 of shape"
                " (images, height, width, 1 or 3)."
            )
        if self.labels.shape != shape[:1] or self.labels.dtype != np.int64:
            raise ImageError(f"{self.name}: {shape[0]} images, but labels {self.labels.dtype} {self.labels.shape}.")
        if not self.pixels.size:
            raise ImageError(f"{self.name}: the {self.split} split holds no image.")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: Sequence[int] | NDArray[np.int64] | slice) -> "Images":
        return Images(self.pixels[indices], self.labels[indices], self.name, self.split)

    def __repr__(self) -> str:
        count, height, width, channels = self.pixels.shape
        return f"Images({self.name} {self.split}: {count} of {height}×{width}×{channels})"

    def checksum(self) -> str:
        """Return the SHA-256 of pixels and labels, in hexadecimal: the identity of the images in a zoo's recipe."""
        return hashlib.sha256(self.pixels.tobytes() + self.labels.tobytes()).hexdigest()


class Source(ABC):
    """Where images come from; `load` returns one of the splits `train` and `test`."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def read(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the pixels (images, height, width, channels) and labels (images,) of a split."""

    def load(self, split: str) -> Images:
        """Return the images of a split; raises `ImageError` for an unknown split and for damaged files."""
        if split not in SPLITS:
            raise ImageError(f"{self.name} has no split {split!r}; choose one of {', '.join(SPLITS)}.")
        pixels, labels = self.read(split)
        return Images(pixels, labels, self.name, split)


def _held_out(count: int) -> NDArray[np.bool_]:
    """Mark a fixed fifth of `count` images as test images, for sources without a split of their own."""
    mask = np.zeros(count, dtype=np.bool_)
    mask[np.random.default_rng(0).permutation(count)[: count // 5]] = True
    return mask


class Digits(Source):
    """The 1,797 handwritten digits of 8×8 pixels that scikit-learn carries; a fixed fifth of them is the test split."""

    def read(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        chosen = _held_out(len(digits.images)) == (split == "test")
        grey = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)  # scikit-learn's range is 0 … 16
        return grey[..., None], digits.target[chosen].astype(np.int64)


class Idx(Source):
    """Images in the IDX files of MNIST and Fashion-MNIST (`train-images-idx3-ubyte` …), plain or gzip."""

    STEMS: ClassVar[dict[str, str]] = {"train": "train", "test": "t10k"}

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.folder = folder

    def read(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        stem = self.STEMS[split]
        pixels = read_idx(self._file(f"{stem}-images-idx3-ubyte"), dimensions=3)
        labels = read_idx(self._file(f"{stem}-labels-idx1-ubyte"), dimensions=1)
        return pixels[..., None], labels.astype(np.int64)

    def _file(self, name: str) -> Path:
        path = find_idx(self.folder, name)
        if path is None:
            raise ImageError(f"{self.folder} has no {name}, plain or .gz; put the file there.")
        return path


def find_idx(folder: Path, name: str) -> Path | None:
    """Return the IDX file of that name, plain or gzip, also where `-idx` is spelt `.idx`; None where there is none."""
    spelt = (name, name.replace("-idx", ".idx"))
    return next((path for stem in spelt for end in ("", ".gz") if (path := folder / f"{stem}{end}").is_file()), None)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzip (LeCun, *The MNIST database*: magic 0, 0, type 8, dimensions).

    Raises `ImageError` naming the file where the magic number, the number of dimensions or the length is wrong.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ImageError(f"{path} is not a whole gzip file ({error}); fetch it again.") from error
    magic = bytes((0, 0, 8, dimensions))
    if data[:4] != magic:
        raise ImageError(f"{path} starts with {data[:4].hex(' ')}; an IDX file of this kind with {magic.hex(' ')}.")
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise ImageError(f"{path} ends inside its header; fetch it again.")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    expected = header + int(np.prod(shape))
    if len(data) != expected:
        raise ImageError(f"{path} holds {len(data)} bytes, but its header of shape {shape} asks for {expected}.")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


class Cifar10(Source):
    """CIFAR-10 in its binary form: files of records of 1 label byte and 3,072 bytes, channels first."""

    FILES: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
        "test": ("test_batch.bin",),
    }
    RECORD = 1 + 3 * 32 * 32

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.folder = folder

    def read(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        records = np.concatenate([self._records(self.folder / name) for name in self.FILES[split]])
        channels_first = records[:, 1:].reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(channels_first.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64)

    def _records(self, path: Path) -> NDArray[np.uint8]:
        if not path.is_file():
            raise ImageError(f"{path} is missing; all six files of cifar-10-batches-bin are needed.")
        data = np.fromfile(path, np.uint8)
        if not data.size or data.size % self.RECORD:
            raise ImageError(
                f"{path} holds {data.size} bytes, which is not a whole number of {self.RECORD}-byte records."
            )
        return data.reshape(-1, self.RECORD)


class Folder(Source):
    """A folder of PNG or JPEG images of one size: FOLDER/train|test/LABEL/*, FOLDER/LABEL/* or FOLDER/*.

    Labels number the sub-folders in alphabetic order (0 where there are none). Without `train` and `test` a fixed
    fifth of the images is the test split. Grey where every image is grey, else RGB.
    """

    SUFFIXES = (".png", ".jpg", ".jpeg")

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.folder = folder

    def files(self, folder: Path) -> list[Path]:
        """Return all image files at or below a folder, sorted."""
        return sorted(path for path in folder.rglob("*") if path.suffix.lower() in self.SUFFIXES)

    def read(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        divided = all((self.folder / each).is_dir() for each in SPLITS)
        root = self.folder / split if divided else self.folder
        files = self.files(root)
        if not files:
            raise ImageError(f"{root} holds no image; expected files ending in {', '.join(self.SUFFIXES)}.")
        names = sorted({path.relative_to(root).parts[0] for path in files if path.parent != root})
        labels = [names.index(path.relative_to(root).parts[0]) if path.parent != root else 0 for path in files]
        chosen = [True] * len(files) if divided else list(_held_out(len(files)) == (split == "test"))
        kept = [(path, label) for path, label, keep in zip(files, labels, chosen, strict=True) if keep]
        if not kept:
            raise ImageError(f"{root} holds too few images ({len(files)}) to set some aside for a test split.")
        mode = "L" if all(map(_is_grey, self.files(self.folder))) else "RGB"  # the same for both splits
        return _stack([path for path, _ in kept], mode), np.array([label for _, label in kept], dtype=np.int64)


def _stack(files: list[Path], mode: str) -> NDArray[np.uint8]:
    """Read image files of one size as (images, height, width, channels); an error names the file that differs."""
    arrays = []
    for path in files:
        arrays.append(array := read_picture(path, mode))
        if array.shape[:2] != arrays[0].shape[:2]:
            raise ImageError(
                f"{path} is {array.shape[:2]} pixels, but {files[0]} is {arrays[0].shape[:2]}; resize them."
            )
    return np.stack(arrays)


def read_picture(path: Path, mode: str) -> NDArray[np.uint8]:
    """Read an image file as (height, width, channels): 1 channel in mode "L" (grey), 3 in "RGB".

    Raises `ImageError` naming a file that cannot be read.
    """
    with _opened(path) as image:
        array = np.asarray(image.convert(mode))
    return array[..., None] if array.ndim == 2 else array


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            yield image
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # Pillow reports broken PNG chunks as SyntaxError
        raise ImageError(f"{path} is not a readable image ({error}).") from error


def _is_grey(path: Path) -> bool:
    with _opened(path) as image:
        return image.mode in ("1", "L")


class Hub(Source):
    """Images downloaded, and kept, by the package `datasets` (optional extra `download`)."""

    # name here: repository, configuration, image column
    REPOSITORIES: ClassVar[dict[str, tuple[str, str | None, str]]] = {
        "mnist": ("ylecun/mnist", None, "image"),
        "fashion-mnist": ("zalando-datasets/fashion_mnist", None, "image"),
        "cifar10": ("uoft-cs/cifar10", None, "img"),
        "svhn": ("ufldl-stanford/svhn", "cropped_digits", "image"),
    }

    def read(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        from datasets import load_dataset

        repository, configuration, column = self.REPOSITORIES[self.name]
        rows = load_dataset(repository, configuration, split=split)
        pixels = np.stack([np.asarray(image, dtype=np.uint8) for image in rows[column]])
        labels = np.asarray(rows["label" if "label" in rows.column_names else "labels"], dtype=np.int64)
        return pixels if pixels.ndim == 4 else pixels[..., None], labels
