"""Which neurons the weights of a block join, and where their numbers lie in a tensor: both as strides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

End = Literal["source", "target"]


@dataclass(frozen=True)
class Table:
    """The weights of a block as an n-dimensional table, row-major: weight `(i, j, …)` leads from neuron
    `first + Σ i · source` of the source group to neuron `Σ i · target` of the target group.

    A dense block is `(rows, columns)` with target strides `(1, 0)` and source strides `(0, 1)`; a one-to-one block has
    one dimension that moves both. A dimension that moves both beside others ties them: each head, or each group of a
    grouped convolution, to its own.
    """

    sizes: tuple[int, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]
    first: int = 0

    @staticmethod
    def dense(rows: int, columns: int) -> "Table":
        """Every pair of `rows` targets and `columns` sources."""
        return Table((rows, columns), (0, 1), (1, 0))

    @staticmethod
    def one_to_one(count: int) -> "Table":
        """Neuron i to neuron i."""
        return Table((count,), (1,), (1,))

    @property
    def size(self) -> int:
        """The number of weights."""
        return prod(self.sizes)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and target neuron of every weight, `(size,)` each, counted within their groups."""
        return self.first + places(self.sizes, self.source), places(self.sizes, self.target)

    @property
    def tied(self) -> tuple[int, ...]:
        """The sizes of the dimensions that move both ends together."""
        both = zip(self.sizes, self.source, self.target, strict=True)
        return tuple(size for size, source, target in both if source and target)

    @property
    def kind(self) -> str:
        """`dense`, `one-to-one`, or `tied` where only some dimensions move both ends."""
        if not self.tied:
            return "dense"
        return "one-to-one" if len(self.tied) == len(self.sizes) else "tied"

    @property
    def turned(self) -> "Table":
        """The same steps from target to source; where they begin is left out, see `first`."""
        return Table(self.sizes, self.target, self.source)

    @property
    def short(self) -> "Table":
        """The same steps in as few dimensions as possible, at least one; where they begin is left out, see `first`."""
        dimensions = merged(zip(self.sizes, self.source, self.target, strict=True))
        sizes, sources, targets = zip(*dimensions or [(1, 0, 0)], strict=True)
        return Table(sizes, sources, targets)

    def strides(self, end: End) -> tuple[int, ...]:
        """How far each dimension moves one end."""
        return self.source if end == "source" else self.target

    def along(self, values: np.ndarray, end: End) -> np.ndarray:
        """For every weight what its neuron at one end has, of `(neurons,)`: a view, of the table's sizes."""
        return strided(values, 0, self.sizes, self.strides(end))

    def neurons(self, values: np.ndarray, end: End) -> np.ndarray:
        """What the neurons it reaches at one end have, of `(neurons,)`: a view, of the sizes that move them."""
        moving = [(size, stride) for size, stride in zip(self.sizes, self.strides(end), strict=True) if stride]
        return strided(values, 0, tuple(size for size, _ in moving), tuple(stride for _, stride in moving))

    def indices(self, neurons: np.ndarray, end: End) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """Where neurons lie in the dimensions that move their end, by dimension; and whether they do at all."""
        found, rest, strides = {}, neurons, self.strides(end)
        for dim in sorted((dim for dim, stride in enumerate(strides) if stride), key=lambda dim: -strides[dim]):
            index = np.minimum(rest // strides[dim], self.sizes[dim] - 1)
            rest = rest - index * strides[dim]
            found[dim] = index
        return found, rest == 0


@dataclass(frozen=True)
class Window:
    """Some numbers of a tensor: number `offset + Σ i · strides` of it, flattened, for every index `(i, j, …)`.

    Slices, transposes and packings of several matrices in one tensor are windows. For a block `sizes` are those of its
    table and then of its kernel; for biases their product is the size of the group.
    """

    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it covers."""
        return prod(self.sizes)

    @property
    def last(self) -> int:
        """The last number it covers."""
        return self.offset + sum((n - 1) * stride for n, stride in zip(self.sizes, self.strides, strict=True))

    @property
    def places(self) -> np.ndarray:
        """The numbers it covers, in its own order, `(size,)`."""
        return self.offset + places(self.sizes, self.strides)

    @property
    def whole(self) -> bool:
        """Whether it covers consecutive numbers from the first one on, in their order."""
        moving = zip(self.sizes, self.strides, row_major(self.sizes), strict=True)
        return self.offset == 0 and all(n == 1 or stride == own for n, stride, own in moving)


def row_major(sizes: Sequence[int]) -> tuple[int, ...]:
    """The strides of a tensor of these sizes whose numbers lie row by row, the last dimension fastest."""
    return tuple(prod(sizes[dim + 1 :]) for dim in range(len(sizes)))


def merged(dimensions: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Dimensions, each `(size, *strides)`, without those of one place; as one where all strides run through both."""
    found: list[tuple[int, ...]] = []
    for size, *strides in dimensions:
        if found and found[-1][1:] == tuple(stride * size for stride in strides):
            found[-1] = (found[-1][0] * size, *strides)
        elif size > 1:
            found.append((size, *strides))
    return found


def strided(values: np.ndarray, first: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Value `first + Σ i · strides` for every index `(i, j, …)`: a view of a one-dimensional array."""
    step = values.strides[0]
    return as_strided(values[first:], sizes, [step * stride for stride in strides])


def distinct(sizes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether dimensions that move at all reach no place twice: each moves further than those below it together."""
    reach = 0
    for stride, size in sorted((stride, size) for size, stride in zip(sizes, strides, strict=True) if stride):
        if size == 1:
            continue
        if stride <= reach:
            return False
        reach += (size - 1) * stride
    return True


def places(sizes: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """`Σ i · strides` for every index of a table of these sizes, row-major, `(prod(sizes),)` int64."""
    total = np.zeros((1,) * len(sizes), dtype=np.int64)
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        total = total + (stride * np.arange(size)).reshape(-1, *(1,) * (len(sizes) - axis - 1))
    return np.broadcast_to(total, sizes).reshape(-1)
