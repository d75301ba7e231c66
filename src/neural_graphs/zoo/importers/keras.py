"""Flat vectors in the order of Keras, as published with a table of their parts, brought into the order of PyTorch."""

import csv
import re
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neural_graphs.errors import ZooError

COLUMNS = ("varname", "start_idx", "end_idx", "shape")
SHAPE = re.compile(r"\s*[\[(]?\s*(\d+(?:\s*,\s*\d+)*)\s*,?\s*[\])]?\s*")


@dataclass(frozen=True)
class Span:
    """Where one tensor of a Keras model lies in its flat vector."""

    name: str
    start: int
    end: int
    shape: tuple[int, ...]

    @property
    def places(self) -> NDArray[np.int64]:
        """Return the places of its numbers in the vector, in the order PyTorch keeps them.

        Kernels of convolutions are (h, w, in, out) in Keras and (out, in, h, w) in PyTorch, those of dense layers
        (in, out) and (out, in).
        """
        own = np.arange(self.start, self.end).reshape(self.shape)
        return own.transpose({1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[own.ndim]).ravel()


@dataclass(frozen=True)
class KerasCnn:
    """Convolutions and one dense layer of a Keras model: pairs of kernel and bias, in the order of computation."""

    layers: tuple[tuple[Span, Span], ...]

    @property
    def size(self) -> int:
        """Return how many numbers the vector has."""
        return sum(span.end - span.start for layer in self.layers for span in layer)

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the channels of the image and of each convolution."""
        kernels = [kernel.shape for kernel, _ in self.layers[:-1]]
        return (kernels[0][2], *(shape[3] for shape in kernels))

    @property
    def kernels(self) -> tuple[int, ...]:
        """Return the side of the square kernel of each convolution."""
        return tuple(kernel.shape[0] for kernel, _ in self.layers[:-1])

    @property
    def classes(self) -> int:
        """Return the outputs of the dense layer."""
        return self.layers[-1][0].shape[1]

    @property
    def order(self) -> NDArray[np.int64]:
        """Return where each number of a PyTorch state dict, weight then bias of each layer, lies in the vector."""
        return np.concatenate([span.places for layer in self.layers for span in layer])


def read_layout(path: Path) -> KerasCnn:
    """Read a `layout.csv` with the columns varname, start_idx, end_idx (past the last number) and shape.

    Raises `ZooError` naming the line that cannot be read, or the layers that make no such network.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{path} cannot be read ({error}); expected a CSV file with {', '.join(COLUMNS)}.") from error
    spans = [_span(path, number, line) for number, line in enumerate(lines, start=2)]
    spans.sort(key=lambda span: span.start)
    ends = [0, *(span.end for span in spans)]
    if not spans or [span.start for span in spans] != ends[:-1]:
        raise ZooError(f"{path}: its {len(spans)} tensors do not follow each other without a gap from 0 on.")
    return _cnn(path, spans)


def _span(path: Path, number: int, line: dict[str, str]) -> Span:
    if missing := [name for name in COLUMNS if not line.get(name)]:
        raise ZooError(f"{path}, line {number}: no {', '.join(missing)}; it has {', '.join(map(str, line))}.")
    shape = SHAPE.fullmatch(line["shape"])
    try:
        start, end = int(line["start_idx"]), int(line["end_idx"])
    except ValueError as error:
        raise ZooError(f"{path}, line {number}: start_idx and end_idx must be whole numbers ({error}).") from error
    sizes = tuple(map(int, shape[1].split(","))) if shape else ()
    if not sizes or prod(sizes) != end - start:
        raise ZooError(f"{path}, line {number}: {line['shape']!r} is no shape of {end - start} numbers.")
    return Span(line["varname"], start, end, sizes)


def _cnn(path: Path, spans: list[Span]) -> KerasCnn:
    """Return the network of tensors that lie in pairs, a kernel and its bias in either order."""
    if len(spans) % 2 or len(spans) < 4:
        raise ZooError(f"{path}: {len(spans)} tensors are no pairs of kernel and bias of at least two layers.")
    pairs = []
    for one, other in zip(spans[::2], spans[1::2], strict=True):
        kernel, bias = (one, other) if len(one.shape) > 1 else (other, one)
        if bias.shape != kernel.shape[-1:]:
            raise ZooError(f"{path}: {one.name} {one.shape} and {other.name} {other.shape} are no kernel and bias.")
        pairs.append((kernel, bias))
    shapes = [kernel.shape for kernel, _ in pairs]
    ranks = [len(shape) for shape in shapes]
    follow = ranks == [4] * (len(pairs) - 1) + [2] and all(a[-1] == b[-2] for a, b in pairwise(shapes))
    if not follow or any(height != width for height, width, *_ in shapes[:-1]):
        raise ZooError(
            f"{path}: expected square convolutions and one dense layer that follow each other, got {shapes}."
        )
    return KerasCnn(tuple(pairs))
