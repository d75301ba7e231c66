"""Metanetworks of layers between grids, ready made: DWSNets, neural functionals, universal ones, transformers."""

from collections.abc import Sequence

from neural_graphs.layout.equivariant_maps import Maps
from neural_graphs.nn.linear.attention import AttentionMetanetwork
from neural_graphs.nn.linear.cut import Cut
from neural_graphs.nn.linear.encoder import FourierEncoder, GridEncoder, PlaceEncoder
from neural_graphs.nn.linear.metanetwork import LinearMetanetwork
from neural_graphs.nn.linear.readout import GridEditReadout, GridMax, GridMean, GridReadout
from neural_graphs.nn.spec import InputSpec


class DWSNet(LinearMetanetwork):
    """DWSNet (Navon et al. 2023): all maps between all tensors, hidden neurons permuted, and a maximum at the end.

    `family` describes the networks it will read, `classes` the answers per network, `width` and `depth` the layers;
    `norm` puts a norm over all features at every place after each (theirs, over the batch, would make an answer depend
    on other networks). The readout is an MLP with one hidden layer of `width`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.DWSNet(ng.InputSpec.of([layout]), classes=10)(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 32, depth: int = 4, dropout: float = 0.0, norm: bool = False
    ):  # fmt: skip
        cut = Cut(family)
        readout = GridReadout(cut, width, classes, GridMax(), (width,))
        super().__init__(GridEncoder(family, cut), readout, width, depth, dropout=dropout, norm=norm)


class DWSNetEditor(LinearMetanetwork):
    """DWSNet that returns a change of every number, in `channels` of them, scaled by `initial` at first.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.DWSNetEditor(ng.InputSpec.of([layout]))(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 4, dropout: float = 0.0, norm: bool = False,
        initial: float = 0.01, channels: int = 1,
    ):  # fmt: skip
        cut = Cut(family)
        readout = GridEditReadout(cut, width, channels, initial, None)
        super().__init__(GridEncoder(family, cut), readout, width, depth, dropout=dropout, norm=norm)


class NFN(LinearMetanetwork):
    """Neural functional network (Zhou et al. 2023): NF-Layers on Fourier features, means at the end.

    NP by default: inputs and outputs are permuted as well, and told apart by encodings of their places. With
    `ends=False` HNP: hidden neurons only. `sigma` is the scale of the Fourier frequencies; the
    readout is an MLP of `hidden` widths, and there is the `dropout`; the rest as for `DWSNet`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.NFN(ng.InputSpec.of([layout]), classes=10, width=64)(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 512, depth: int = 3, ends: bool = True,
        sigma: float = 3.0, dropout: float = 0.5, hidden: Sequence[int] = (1000, 1000),
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridReadout(cut, width, classes, GridMean(), hidden, dropout)
        super().__init__(FourierEncoder(family, cut, sigma), readout, width, depth)


class NFNEditor(LinearMetanetwork):
    """NFN that returns a change of every number; arguments as for `NFN` and `DWSNetEditor`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.NFNEditor(ng.InputSpec.of([layout]), width=16)(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, width: int = 128, depth: int = 3, ends: bool = True, sigma: float = 3.0,
        dropout: float = 0.0, initial: float = 0.01, channels: int = 1,
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridEditReadout(cut, width, channels, initial, None)
        super().__init__(FourierEncoder(family, cut, sigma), readout, width, depth, dropout=dropout)


class UNF(LinearMetanetwork):
    """Universal neural functional (Zhou et al. 2024): for any layout that `trace` finds, recurrence and attention too.

    `maps` says which maps the layers have, by default all; `Neighbours()` where tensors are many. With `ends` inputs
    and outputs are permuted as well, and told apart by encodings of their places: where they are many. Norms and means;
    the rest as for `DWSNet`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.UNF(ng.InputSpec.of([layout]), classes=10)(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 32, depth: int = 4, dropout: float = 0.0,
        maps: Maps | None = None, ends: bool = False,
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridReadout(cut, width, classes, GridMean(), (width,))
        encoder = PlaceEncoder(family, cut) if ends else GridEncoder(family, cut)
        super().__init__(encoder, readout, width, depth, dropout=dropout, norm=True, maps=maps)


class UNFEditor(LinearMetanetwork):
    """UNF that returns a change of every number; arguments as for `UNF` and `DWSNetEditor`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.UNFEditor(ng.InputSpec.of([layout]))(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 4, dropout: float = 0.0, maps: Maps | None = None,
        initial: float = 0.01, channels: int = 1, ends: bool = False,
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridEditReadout(cut, width, channels, initial, maps)
        encoder = PlaceEncoder(family, cut) if ends else GridEncoder(family, cut)
        super().__init__(encoder, readout, width, depth, dropout=dropout, norm=True, maps=maps)


class NFT(AttentionMetanetwork):
    """Neural functional transformer (Zhou et al. 2023, Neural Functional Transformers): attention along every index.

    Inputs and outputs are permuted as well, and told apart by encodings of their places, as in NP; with `ends=False`
    hidden neurons only. `width` channels are split into `heads`; the rest as for `NFN`. Torch's fused attention has no
    second derivatives: take them within `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.NFT(ng.InputSpec.of([layout]), classes=10, width=32)(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 64, depth: int = 3, heads: int = 4, ends: bool = True,
        sigma: float = 3.0, dropout: float = 0.0, hidden: Sequence[int] = (256,),
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridReadout(cut, width, classes, GridMean(), hidden, dropout)
        super().__init__(FourierEncoder(family, cut, sigma), readout, width, depth, heads, dropout)


class NFTEditor(AttentionMetanetwork):
    """NFT that returns a change of every number; arguments as for `NFT` and `DWSNetEditor`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.NFTEditor(ng.InputSpec.of([layout]), width=16)(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, width: int = 64, depth: int = 3, heads: int = 4, ends: bool = True,
        sigma: float = 3.0, dropout: float = 0.0, initial: float = 0.01, channels: int = 1,
    ):  # fmt: skip
        cut = Cut(family, ends)
        readout = GridEditReadout(cut, width, channels, initial, None)
        super().__init__(FourierEncoder(family, cut, sigma), readout, width, depth, heads, dropout)
