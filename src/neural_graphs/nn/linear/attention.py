"""Attention between the numbers of networks that share an index (Zhou et al. 2023, Neural Functional Transformers).

An index of a grid is a neuron, say; the numbers at that neuron (the weights into it, those out of it, its bias) are a
set, whatever grids they are in, and permuting the neurons permutes the sets. So self-attention inside each of them is
equivariant, as is attention of every number to the means of all grids, which carries what is far away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.layout.grids import Grid
from neural_graphs.networks import Networks
from neural_graphs.nn.linear.encoder import GridEncoder
from neural_graphs.nn.linear.layer import Values
from neural_graphs.nn.linear.metanetwork import GridMetanetwork
from neural_graphs.nn.linear.readout import GridEditReadout, GridReadout
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.spec import require_size


@dataclass(frozen=True)
class View:
    """A grid seen along one of its indices: a set for every combination of `places`, those it is nested in first."""

    grid: int
    places: tuple[int, ...]

    def sets(self, x: Tensor) -> Tensor:
        """`(networks, *sizes, numbers)` to `(networks, sets, members, numbers)`."""
        front = tuple(range(1, 1 + len(self.places)))
        moved = x.movedim([1 + place for place in self.places], front)
        return moved.reshape(len(x), prod(moved.shape[1 : 1 + len(front)]), -1, x.shape[-1])

    def spread(self, found: Tensor, like: Tensor) -> Tensor:
        """Back from `(networks, sets, members, numbers)` to the places of `like`, `(networks, *sizes, numbers)`."""
        sizes = like.shape[1:-1]
        rest = [place for place in range(len(sizes)) if place not in self.places]
        moved = found.reshape(len(found), *(sizes[place] for place in [*self.places, *rest]), found.shape[-1])
        return moved.movedim(tuple(range(1, 1 + len(self.places))), [1 + place for place in self.places])


def views(grids: Sequence[Grid]) -> list[list[View]]:
    """The views of all grids along all indices, those of one atom (and of what it is nested in) together."""
    found: dict[tuple[str, ...], list[View]] = {}
    for number, grid in enumerate(grids):
        for place in range(len(grid.indices)):
            places = tuple(dict.fromkeys(_nest(grid, place)))
            atoms = tuple(grid.indices[each].atom for each in places)
            found.setdefault(atoms, []).append(View(number, places))
    return list(found.values())


def _nest(grid: Grid, place: int) -> Iterator[int]:
    """The places that an index is nested in, outer ones first, and its own."""
    for outer in grid.indices[place].outer:
        yield from _nest(grid, outer)
    yield place


class SetAttention(nn.Module):
    """Self-attention inside the sets of some views; each view has queries, keys and values of its own."""

    def __init__(self, views: Sequence[View], wide: Sequence[int], width: int, heads: int):
        super().__init__()
        self.views, self.heads = views, heads
        self.asked = nn.ModuleList(nn.Linear(wide[view.grid], 3 * width) for view in views)
        self.said = nn.ModuleList(nn.Linear(width, wide[view.grid], bias=False) for view in views)

    def forward(self, values: Values) -> list[tuple[int, Tensor]]:
        """What the numbers of every view hear, `(networks, *sizes, features · width)`, and the grid it is of."""
        members = [ask(view.sets(values[view.grid])) for view, ask in zip(self.views, self.asked, strict=True)]
        query, key, value = torch.cat(members, 2).chunk(3, -1)
        heard = attention(query, key, value, self.heads).split([part.shape[2] for part in members], 2)
        parts = zip(self.views, self.said, heard, strict=True)
        return [(view.grid, view.spread(say(part), values[view.grid])) for view, say, part in parts]


class GridAttention(nn.Module):
    """Every number attends to those it shares an index with, index by index, and to the means of all grids.

    Takes and returns values `(networks, *sizes, features · width)` of every grid.
    """

    def __init__(self, grids: Sequence[Grid], width: int, heads: int):
        super().__init__()
        self.heads = heads
        wide = [grid.features * width for grid in grids]
        self.sets = nn.ModuleList(SetAttention(each, wide, width, heads) for each in views(grids))
        self.queries = nn.ModuleList(nn.Linear(each, width) for each in wide)
        self.means = nn.ModuleList(nn.Linear(each, 2 * width) for each in wide)
        self.told = nn.ModuleList(nn.Linear(width, each) for each in wide)

    def forward(self, values: Values) -> Values:
        """What every number hears."""
        found = self._of_means(values)
        for attend in self.sets:
            for grid, heard in attend(values):
                found[grid] = found[grid] + heard
        return found

    def _of_means(self, values: Values) -> Values:
        """Every number attends to one mean of each grid."""
        flat = [x.flatten(1, -2) if x.ndim > 2 else x[:, None] for x in values]
        told = [mean(x.mean(1)) for mean, x in zip(self.means, flat, strict=True)]
        key, value = torch.stack(told, 1).chunk(2, -1)
        return [
            tell(attention(query(x), key, value, self.heads)).reshape(whole.shape)
            for query, tell, x, whole in zip(self.queries, self.told, flat, values, strict=True)
        ]


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention, `(…, queries, width)` over `(…, keys, width)`, in so many heads (Vaswani et al. 2017)."""
    apart = [x.unflatten(-1, (heads, -1)).transpose(-2, -3) for x in (query, key, value)]
    return F.scaled_dot_product_attention(*apart).transpose(-2, -3).flatten(-2)


class AttentionBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + MLP(norm(x))`, number by number: a pre-norm transformer layer on grids."""

    def __init__(self, grids: Sequence[Grid], width: int, heads: int, dropout: float):
        super().__init__()
        wide = [grid.features * width for grid in grids]
        self.before, self.after = (nn.ModuleList(nn.LayerNorm(each) for each in wide) for _ in range(2))
        self.attention, self.dropout = GridAttention(grids, width, heads), Dropout(dropout)
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(each, 2 * width), nn.GELU(), nn.Linear(2 * width, each)) for each in wide
        )

    def forward(self, values: Values) -> Values:
        """The same shapes."""
        heard = self.attention([norm(x) for norm, x in zip(self.before, values, strict=True)])
        values = [x + self.dropout(each) for x, each in zip(values, heard, strict=True)]
        parts = zip(self.mlps, self.after, values, strict=True)
        return [x + self.dropout(mlp(norm(x))) for mlp, norm, x in parts]


class AttentionMetanetwork(GridMetanetwork):
    """`GridEncoder → Linear → AttentionBlock × depth → norm → readout`.

    Raises ConfigError for a width that heads do not divide.
    """

    def __init__(
        self, encoder: GridEncoder, readout: GridReadout | GridEditReadout, width: int, depth: int, heads: int,
        dropout: float,
    ):  # fmt: skip
        require_size(width, depth)
        if heads < 1 or width % heads:
            raise ConfigError(f"a width of {width} is no multiple of {heads} heads")
        super().__init__(encoder, readout, width)
        every = encoder.cut.grids
        self.project = nn.ModuleList(nn.Linear(encoder.width, width) for _ in every)
        self.features = nn.ParameterList(0.02 * torch.randn(grid.features * width) for grid in every)
        self.blocks = nn.ModuleList(AttentionBlock(every, width, heads, dropout) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(grid.features * width) for grid in every)

    def encode(self, networks: Networks) -> Values:
        """What the readout reads of every grid, of networks that share a layout."""
        encoded: Values = self.encoder(networks)
        values = [
            project(x.unflatten(-1, (-1, self.encoder.width))).flatten(-2) + own
            for project, own, x in zip(self.project, self.features, encoded, strict=True)
        ]
        for block in self.blocks:
            values = block(values)
        return [self.readout.of_grid(norm(x)) for norm, x in zip(self.norms, values, strict=True)]

    def alive(self, gradients: bool, recomputed: bool) -> int:
        return 14 * len(self.blocks) + 3 if gradients else 12
