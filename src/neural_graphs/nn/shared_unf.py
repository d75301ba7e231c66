"""`SharedUNF` (ours): linear equivariant layers that read networks of any layouts, mixed, by sharing their maps."""

from collections.abc import Sequence

from neural_graphs.graph import Forward
from neural_graphs.nn.backbones.shared_linear import SharedLinear
from neural_graphs.nn.canonical import Canonical
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.models import edit_readout, encoder, initialise
from neural_graphs.nn.readout import GraphReadout, MeanNodes, Pool
from neural_graphs.nn.spec import InputSpec


class SharedUNF(Metanetwork):
    """A universal neural functional with the same maps for all layers, so that it reads any layouts (ours).

    Of the maps of `UNF(maps=Neighbours())` it has those that keep a neuron, means over layers and over the network; see
    `SharedLinearLayer`. Places and kinds of tensors are encoded with their numbers. `family` describes the networks it
    will read, `classes` the answers per network, `width`, `depth` and `dropout` the layers; `pool` is the mean over all
    neurons by default; the rest as for `NGGNN`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layouts = [ng.Layout.mlp((2, 8, 1), "sine"), ng.Layout.mlp((2, 4, 4, 1), "relu")]
        >>> networks = ng.Networks.cat([ng.Networks(torch.rand(3, each.size), each) for each in layouts])
        >>> ng.SharedUNF(ng.InputSpec.of(layouts), classes=10)(networks).shape
        torch.Size([6, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 32, depth: int = 4, dropout: float = 0.0, probes: int = 0,
        sigma: float | None = 3.0, pool: Pool | None = None, probe_shape: Sequence[int] | None = None,
        canonical: Sequence[Canonical] = (),
    ):  # fmt: skip
        super().__init__(
            encoder(family, Forward(), width, width, sigma=sigma, probes=probes, probe_shape=probe_shape),
            SharedLinear(width, depth, dropout),
            GraphReadout(3 * width, classes, pool or MeanNodes()),
            canonical,
        )
        initialise(self)


class SharedUNFEditor(Metanetwork):
    """SharedUNF that returns a change of every parameter; arguments as for `SharedUNF` and `NGGNNEditor`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.SharedUNFEditor(ng.InputSpec.of([layout]))(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, width: int = 32, depth: int = 4, dropout: float = 0.0, probes: int = 0,
        sigma: float | None = 3.0, initial: float = 0.01, standardised: bool = False, channels: int = 1,
        canonical: Sequence[Canonical] = (),
    ):  # fmt: skip
        super().__init__(
            encoder(family, Forward(), width, width, sigma=sigma, probes=probes),
            SharedLinear(width, depth, dropout),
            edit_readout(family, 3 * width, width, initial, standardised, channels),
            canonical,
        )
        initialise(self)
