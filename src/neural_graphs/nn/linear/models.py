"""Metanetworks of equivariant linear layers, ready made: DWSNets, neural functionals (NP and HNP), universal ones."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.layout.equivariant_maps import Maps
from neural_graphs.networks import Networks
from neural_graphs.nn.linear.cut import Cut
from neural_graphs.nn.linear.encoder import FourierEncoder, GridEncoder
from neural_graphs.nn.linear.layer import EquivariantLinear, Values
from neural_graphs.nn.linear.readout import GridEdit, GridMax, GridMean, GridReadout
from neural_graphs.nn.run.checkpointing import LARGE
from neural_graphs.nn.run.dropout import Dropout
from neural_graphs.nn.run.microbatch import BUDGET, Reader
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import InputSpec

Answer = Callable[[Networks], Tensor]  # about networks of one layout
PIECE, LARGEST = BUDGET["cpu"], LARGE["cpu"]  # numbers of a tensor


class LinearMetanetwork(Shareable, Reader):
    """`GridEncoder → (EquivariantLinear, norm, ReLU, dropout) × depth → readout`.

    Networks of several layouts are read layout by layout, with the same parameters; see `Cut` for which can be.
    """

    def __init__(
        self, encoder: GridEncoder, readout: GridReadout | GridEdit, width: int, depth: int, *, dropout: float = 0.0,
        norm: bool = False, maps: Maps | None = None,
    ):  # fmt: skip
        super().__init__()
        if width < 1 or depth < 1:
            raise ConfigError(
                f"width is {width} and depth {depth}; a metanetwork has at least one layer of one channel"
            )
        self.encoder, self.readout, self.width = encoder, readout, width
        every = encoder.cut.grids
        widths = [encoder.width, *[width] * (depth - 1)]
        self.layers = nn.ModuleList(EquivariantLinear(every, before, width, maps) for before in widths)
        self.between = nn.ModuleList(Between([grid.features for grid in every], width, norm, dropout) for _ in widths)

    def read(self, networks: Networks) -> Any:
        """Read a batch in one go: `(networks, classes)`, or `Networks`."""
        if isinstance(self.readout, GridEdit):
            return networks.with_values(self._by_layout(networks, self._answer, torch.cat))
        return self._by_layout(networks, self._answer, torch.stack)

    def _answer(self, part: Networks) -> Tensor:
        found: Tensor = self.readout(self.encode(part), part)
        return found

    @staticmethod
    def _by_layout(networks: Networks, answer: Answer, joined: Callable[[list[Tensor]], Tensor]) -> Tensor:
        """What is answered about networks of one layout, about each of a batch; `joined` puts rows together."""
        if networks.regular:
            return answer(networks)
        return joined(networks.map_by_layout(lambda part, _: answer(part)))

    def encode(self, networks: Networks) -> Values:
        """The values of every grid before the readout, of networks that share a layout."""
        values: Values = self.encoder(networks)
        for layer, between in zip(self.layers, self.between, strict=True):
            values = between(layer(values))
        return values

    def embed(self, networks: Networks) -> Float[Tensor, "networks d"]:
        """One vector per network: what the MLP of the readout sees. Raises ConfigError for an editor."""
        readout = self.readout
        if not isinstance(readout, GridReadout):
            raise ConfigError("an editor pools nothing: it has no embedding of a network")
        return self._by_layout(networks, lambda part: readout.pool(self.encode(part)), torch.stack)

    def numbers(self, networks: Networks) -> int:
        """How many numbers the values of the largest of these networks have; fewer are told where layers are wide, as a
        piece should be larger than the gradients it adds up."""
        found = max(layout.size for layout in dict.fromkeys(networks.layouts)) * self.width
        worth = sum(parameter.numel() for parameter in self.parameters()) // PIECE
        return found // min(max(1, worth), LARGEST // PIECE)


class Between(nn.Module):
    """What follows a linear layer, number by number: a norm over the features of a place, ReLU, dropout."""

    def __init__(self, features: Sequence[int], width: int, norm: bool, dropout: float):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(each * width) if norm else nn.Identity() for each in features)
        self.dropout = Dropout(dropout)

    def forward(self, values: Values) -> Values:
        """The same shapes."""
        return [self.dropout(norm(x).relu()) for norm, x in zip(self.norms, values, strict=True)]


class DWSNet(LinearMetanetwork):
    """DWSNet (Navon et al. 2023): all maps between all tensors, hidden neurons permuted, and a maximum at the end.

    `family` describes the networks it will read, `classes` the answers per network, `width` and `depth` the layers;
    `norm` puts a norm over the channels of every number after each (theirs, over the batch, would make an answer depend
    on other networks). The readout is an MLP with one hidden layer of `width`.
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 32, depth: int = 4, dropout: float = 0.0, norm: bool = False
    ):  # fmt: skip
        cut = Cut(family)
        readout = GridReadout(cut, width, classes, GridMax(), (width,))
        super().__init__(GridEncoder(family, cut), readout, width, depth, dropout=dropout, norm=norm)


class DWSNetEditor(LinearMetanetwork):
    """DWSNet that returns a change of every number, in `channels` of them, scaled by `initial` at first."""

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 4, dropout: float = 0.0, norm: bool = False,
        initial: float = 0.01, channels: int = 1,
    ):  # fmt: skip
        cut = Cut(family)
        readout = GridEdit(cut, width, channels, initial, None)
        super().__init__(GridEncoder(family, cut), readout, width, depth, dropout=dropout, norm=norm)


class NFN(LinearMetanetwork):
    """Neural functional network (Zhou et al. 2023): NF-Layers on Fourier features, means at the end.

    NP by default: inputs and outputs are permuted as well, and told apart by encodings of their places. With
    `ends=False` HNP: hidden neurons only. `sigma` is the scale of the Fourier frequencies; the
    readout is an MLP of `hidden` widths, and there is the `dropout`; the rest as for `DWSNet`.
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 512, depth: int = 3, ends: bool = True,
        sigma: float = 3.0, dropout: float = 0.5, hidden: Sequence[int] = (1000, 1000),
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridReadout(cut, width, classes, GridMean(), hidden, dropout)
        super().__init__(FourierEncoder(family, cut, sigma), readout, width, depth)


class NFNEditor(LinearMetanetwork):
    """NFN that returns a change of every number; arguments as for `NFN` and `DWSNetEditor`."""

    def __init__(
        self, family: InputSpec, width: int = 128, depth: int = 3, ends: bool = True, sigma: float = 3.0,
        dropout: float = 0.0, initial: float = 0.01, channels: int = 1,
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridEdit(cut, width, channels, initial, None)
        super().__init__(FourierEncoder(family, cut, sigma), readout, width, depth, dropout=dropout)


class UNF(LinearMetanetwork):
    """Universal neural functional (Zhou et al. 2024): for any layout that `trace` finds, recurrence and attention too.

    `maps` says which maps the layers have, by default all; `Neighbours()` where tensors are many. Norms and means; the
    rest as for `DWSNet`.
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 32, depth: int = 4, dropout: float = 0.0,
        maps: Maps | None = None,
    ):  # fmt: skip
        cut = Cut(family)
        readout = GridReadout(cut, width, classes, GridMean(), (width,))
        super().__init__(GridEncoder(family, cut), readout, width, depth, dropout=dropout, norm=True, maps=maps)


class UNFEditor(LinearMetanetwork):
    """UNF that returns a change of every number; arguments as for `UNF` and `DWSNetEditor`."""

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 4, dropout: float = 0.0, maps: Maps | None = None,
        initial: float = 0.01, channels: int = 1,
    ):  # fmt: skip
        cut = Cut(family)
        readout = GridEdit(cut, width, channels, initial, maps)
        super().__init__(GridEncoder(family, cut), readout, width, depth, dropout=dropout, norm=True, maps=maps)
