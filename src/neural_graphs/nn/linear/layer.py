"""`EquivariantLinear`: the linear layer between the numbers of networks that commutes with all their permutations."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from math import sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.layout.equivariant_maps import All, Classes, Maps, Summary, Term, constants, terms
from neural_graphs.layout.grids import Grid
from neural_graphs.nn.run.checkpointing import checkpointed

LARGEST = 300_000_000  # parameters of a layer; beyond, fixed places are too many for full matrices

Values = list[Float[Tensor, "networks ..."]]  # of every grid, `(networks, *sizes, features · channels)`
Then = Callable[[int, Tensor], Tensor]  # of the place of a grid and its values


class EquivariantLinear(nn.Module):
    """`Y = Σ_X Σ_maps Θ · map(X) + b`: all equivariant affine maps between the grids of a layout.

    One class for DWSNets (Navon et al. 2023, section 4), NF-Layers (Zhou et al. 2023, equation 3) and universal neural
    functionals (Zhou et al. 2024, section 3): what they derive case by case follows from the indices of the grids, see
    `equivariant_maps`. Every mean is taken once and shared, so time and memory grow with the numbers of a network.
    Fixed places are features, mixed by full matrices. Initial weights are from U(±√(6/n)), n the numbers that are
    summed, and biases are 0 (He et al. 2015): with the authors' ±1/√n answers about networks begin almost alike.

    `channels_in` and `channels_out` are those of every number; `maps` says which of the maps the layer has, by default
    `All()`. Raises LayoutError where fixed places would need too many parameters.

    Examples:
        >>> import neural_graphs as ng
        >>> from neural_graphs.layout.grids import grids
        >>> of = grids(ng.Layout.mlp((2, 8, 8, 1)))
        >>> layer = ng.EquivariantLinear(of, channels_in=1, channels_out=4)
        >>> sum(each.numel() for each in layer.parameters())
        328
    """

    def __init__(self, grids: Sequence[Grid], channels_in: int, channels_out: int, maps: Maps | None = None):
        super().__init__()
        planned = [terms(grids, target, maps or All()) for target in grids]
        features = [sum(grids[s.grid].features for term in each for s in term.summaries) for each in planned]
        count = sum(n * grid.features for n, grid in zip(features, grids, strict=True)) * channels_in * channels_out
        if count > LARGEST:
            raise LayoutError(
                f"full matrices between the fixed places of this network have {count:,} parameters, more than "
                f"{LARGEST:,}; permute fixed places, too (ends=True, of NFN and UNF), or use fewer channels"
            )
        self.channels_in, self.channels_out = channels_in, channels_out
        self.into = nn.ModuleList(
            IntoGrid(grids, target, each, channels_in, channels_out)
            for target, each in zip(grids, planned, strict=True)
        )

    def forward(self, values: Values, then: Then | None = None) -> Values:
        """Values `(networks, *sizes, features · channels_in)` of every grid, to the same with `channels_out`.

        What is `then` made of each comes after. Of large networks nothing but values and means is kept for the backward
        pass; the rest is made again, grid by grid.
        """
        read, numbers = Summaries(values), sum(x.numel() for x in values) // self.channels_in * self.channels_out
        found = []
        for place, (into, x) in enumerate(zip(self.into, values, strict=True)):
            write = partial(self._write, place, x.shape[:-1], then)
            found.append(checkpointed(write, *(into.reads(read) or [x]), numbers=numbers))
        return found

    def _write(self, place: int, shape: torch.Size, then: Then | None, *read: Tensor) -> Tensor:
        """All that goes into the grid at a place, of `(networks, *sizes)`."""
        found: Tensor = self.into[place](shape, read)
        return found if then is None else then(place, found)


class IntoGrid(nn.Module):
    """All that an equivariant layer writes into one grid: a matrix for every term, a constant for every diagonal."""

    def __init__(
        self, grids: Sequence[Grid], target: Grid, planned: Sequence[Term], channels_in: int, channels_out: int
    ):  # fmt: skip
        super().__init__()
        self.patterns = [(own, [t for t in planned if t.classes == own]) for own in constants(target)]
        width, every = target.features * channels_out, [term for _, each in self.patterns for term in each]
        sizes = [channels_in * sum(grids[summary.grid].features for summary in term.summaries) for term in every]
        bound = sqrt(6 / max(1, sum(sizes)))
        self.summaries = [term.summaries for term in every]
        self.weights = nn.ParameterList(torch.empty(width, size).uniform_(-bound, bound) for size in sizes)
        self.biases = nn.ParameterList(torch.zeros(width) for _ in self.patterns)

    def reads(self, read: "Summaries") -> list[Tensor]:
        """All that it reads, term by term."""
        return [each for summaries in self.summaries for each in read(summaries)]

    def forward(self, shape: Sequence[int], read: Sequence[Tensor]) -> Tensor:
        """`(networks, *sizes, features · channels_out)` from what `reads` finds."""
        left, weights, found = iter(read), iter(self.weights), []
        for (classes, planned), bias in zip(self.patterns, self.biases, strict=True):
            along = [shape[1 + classes.index(each)] for each in range(len(set(classes)))]
            parts: list[tuple[set[int], Tensor]] = []
            if not planned:  # `maps` may leave out all that write this way
                parts.append((set(), bias.expand(shape[0], *(1,) * len(along), -1)))
            for term in planned:
                x = _side_by_side(list(islice(left, len(term.summaries) if _is_whole(term.summaries) else 1)))
                part = F.linear(x, next(weights), bias if term is planned[-1] else None)
                if len(term.kept) < len(along):
                    sizes = [size if each in term.kept else 1 for each, size in enumerate(along)]
                    part = part.reshape(len(part), *sizes, part.shape[-1])
                parts.append((set(term.kept), part))
            found.append(filled(_sum(parts, along), classes))
        total = found[0]
        for part in found[1:]:
            total = total + part
        return total


class Summaries:
    """What maps read of the values of all grids; each diagonal and each mean is made once."""

    def __init__(self, values: Values):
        self.values = values
        self.made: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, summaries: tuple[Summary, ...]) -> list[Tensor]:
        """Summaries of grids that keep classes of the same sizes, `(networks, *kept, numbers)` each: one by one where
        they are as large as a grid, else side by side as one, which several may read."""
        if _is_whole(summaries):
            return [self._summary(summary) for summary in summaries]
        if summaries not in self.made:
            self.made[summaries] = _side_by_side([self._summary(summary) for summary in summaries])
        return [self.made[summaries]]

    def _summary(self, summary: Summary) -> Tensor:
        every = range(len(set(summary.classes)))
        x = self._mean(summary.grid, summary.classes, tuple(each for each in every if each not in summary.kept))
        kept = sorted(summary.kept)
        return x.permute(0, *(1 + kept.index(each) for each in summary.kept), x.ndim - 1)

    def _mean(self, grid: int, classes: Classes, over: tuple[int, ...]) -> Tensor:
        """The diagonal along equal classes, averaged over some of them."""
        key = (grid, classes, over)
        if key not in self.made:
            if over:
                wider, dim = self._mean(grid, classes, over[1:]), 1 + over[0]  # those after it are gone already
                self.made[key] = wider.sum(dim) / wider.shape[dim]  # `mean` would write its gradient out
            else:
                self.made[key] = diagonal(self.values[grid], classes)
        return self.made[key]


def _is_whole(summaries: tuple[Summary, ...]) -> bool:
    """Whether one of them is a grid as it is."""
    return any(len(summary.kept) == len(summary.classes) for summary in summaries)


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def diagonal(x: Tensor, classes: Classes) -> Tensor:
    """`(networks, *sizes, numbers)` at equal indices of every class: one dimension for each class."""
    for place in reversed(range(len(classes))):
        first = classes.index(classes[place])
        if first < place:
            x = x.diagonal(dim1=1 + first, dim2=1 + place).movedim(-1, 1 + first)
    return x


def filled(x: Tensor, classes: Classes) -> Tensor:
    """The transpose of `diagonal`: `(networks, *classes, numbers)` written at equal indices, zero elsewhere."""
    for place, own in enumerate(classes):
        first = classes.index(own)
        if first < place:
            size = x.shape[1 + first]
            shape = [size if dim in (first, place) else 1 for dim in range(place + 1)]
            same = torch.eye(size, dtype=x.dtype, device=x.device).reshape(*shape, *(1,) * (x.ndim - 1 - place))
            x = x.unsqueeze(1 + place) * same
    return x


def _sum(parts: Sequence[tuple[set[int], Tensor]], sizes: Sequence[int]) -> Tensor:
    """The sum of parts along some classes each, those along most first; small ones are added to each other first."""
    left = list(parts)
    for place in reversed(range(1, len(left))):
        kept, part = left[place]
        wider = next((other for other in reversed(range(place)) if left[other][0] >= kept), None)
        if wider is not None:
            left[wider][1].add_(part)  # in place: nothing else reads it
            del left[place]
    total = left[0][1]
    for _, part in left[1:]:
        total = total + part
    return total.expand(len(total), *sizes, total.shape[-1])
