"""The two metanetworks of the paper, ready made: NG-GNN and NG-T, for answers about networks and for edits of them."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from neural_graphs.errors import ConfigError
from neural_graphs.graph import Bidirectional, Forward, Looped, Wiring
from neural_graphs.nn.ablation import Ablation
from neural_graphs.nn.backbones.message_passing import MessagePassing
from neural_graphs.nn.backbones.transformer import RelationalTransformer
from neural_graphs.nn.canonical import Canonical, CanonicalSigns
from neural_graphs.nn.embeddings import (
    ActivationKinds,
    NeuronKinds,
    Position,
    PositionEmbedding,
    Probes,
    Standardise,
    WeightKinds,
)
from neural_graphs.nn.encoder import Encoder
from neural_graphs.nn.fourier import ValueEncoder
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.readout import ConcatOutputs, GraphReadout, Pool, WeightReadout
from neural_graphs.nn.spec import InputSpec, Statistics


def encoder(
    family: InputSpec, wiring: Wiring, nodes: int, edges: int, *, sigma: float | None = 3.0, probes: int = 0,
    probe_shape: Sequence[int] | None = None, signs: bool = False, sight: Ablation | None = None,
) -> Encoder:  # fmt: skip
    """The encoder both models share, for the networks of a family.

    `nodes` and `edges` are widths, `sigma` the scale of the Fourier frequencies (None: raw numbers), `probes` the
    number of probe inputs, each of `probe_shape` (default: a point with one coordinate per input); with `signs`
    networks are read with canonical signs; `sight` says what is seen beside numbers (default: everything).
    """
    sight = sight or Ablation()
    parts = 1 if wiring.copies == 1 else 3
    return Encoder(
        wiring,
        ValueEncoder(family.channels, nodes, sigma),
        ValueEncoder(parts * family.kernel_size * family.channels, edges, sigma),
        family.frame,
        scalars=ValueEncoder(parts * family.channels, edges, sigma) if sight.scalars_apart else None,
        **encoder_parts(family, nodes, edges, probes=probes, probe_shape=probe_shape, sight=sight),
        signs=CanonicalSigns() if signs else None,
        sight=sight,
    )


def encoder_parts(
    family: InputSpec, nodes: int, edges: int, *, probes: int = 0, probe_shape: Sequence[int] | None = None,
    generated: bool = False, sight: Ablation | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What an encoder sees beside numbers, as its arguments by name; `generated` probes come from a generator."""
    sight, shape = sight or Ablation(), probe_shape or (family.inputs,)
    kinds = family.activations if sight.activations and len(family.activations) > 1 else ()
    return {
        "position": Position(family.inputs, family.hidden_groups, family.outputs, nodes) if sight.position else None,
        "activations": ActivationKinds(kinds, nodes) if kinds else None,
        "probes": Probes(probes, shape, family.groups + 1, nodes, generated) if probes else None,
        "standardise": Standardise(family.statistics) if family.statistics else None,
        "neuron_kinds": NeuronKinds(family.neuron_kinds, nodes) if family.neuron_kinds else None,
        "weight_kinds": WeightKinds(family.weight_kinds, edges) if family.weight_kinds else None,
        "places": PositionEmbedding(nodes) if family.ordered else None,
    }


def edit_readout(
    family: InputSpec, nodes: int, edges: int, initial: float, standardised: bool, channels: int = 1
) -> WeightReadout:  # fmt: skip
    """The readout both editors share; `nodes` and `edges` are widths, the rest as for `NGGNNEditor`.

    Raises ConfigError for `standardised` edits of a family whose statistics are not known.
    """
    scale = Standardise(require_statistics(family)) if standardised else None
    return WeightReadout(
        nodes, edges, family.groups, family.frame, channels=channels, initial=initial, standardise=scale
    )


def require_statistics(family: InputSpec) -> Statistics:
    """What edits are standardised by. Raises ConfigError for a family that has no statistics."""
    if family.statistics is None:
        raise ConfigError("standardised edits need a family with statistics, of networks that share one layout")
    return family.statistics


def initialise(metanetwork: nn.Module) -> None:
    """Xavier-uniform weights, zero biases, positions and kinds from N(0, ¼).

    PyTorch's own initial values, which the released NG-GNN keeps, shrink what tells networks apart by a factor of about
    a hundred on the way to the logits; with these, training leaves the level of chance after a hundred steps.
    """
    for module in metanetwork.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Position | NeuronKinds | WeightKinds):
            nn.init.normal_(module.table, std=0.5)


class NGGNN(Metanetwork):
    """NG-GNN (paper section 3.1): message passing over the weights, and over reversed weights with `reverse`.

    `family` describes the networks it will read, `classes` the answers per network, `width` and `depth` the backbone,
    `probes` the number of probe inputs (0: weights only), each of `probe_shape` (default: a point), `sigma` the scale
    of the Fourier frequencies (None: raw numbers), `signs` whether networks are first brought to canonical signs (ours,
    see `CanonicalSigns`), `pool` which neurons are read: by default output neurons one after another, `MeanOutputs()`
    where they are many or not always as many, `MeanNodes()` for all neurons, where networks are deeper than the
    backbone; `sight` what is seen beside numbers (default: everything); `canonical` the representatives that are read
    in place of networks (`CanonicalScales()`, then `CompleteSigns()`), see `Metanetwork`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.NGGNN(ng.InputSpec.of([layout]), classes=10)(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, width: int = 32, depth: int = 4, reverse: bool = True, probes: int = 0,
        sigma: float | None = 3.0, dropout: float = 0.0, signs: bool = False,
        pool: Pool | None = None, sight: Ablation | None = None, probe_shape: Sequence[int] | None = None,
        canonical: Sequence[Canonical] = (),
    ):  # fmt: skip
        wiring, pool = Bidirectional() if reverse else Forward(), pool or ConcatOutputs(family.outputs)
        super().__init__(
            encoder(
                family,
                wiring,
                width,
                width,
                sigma=sigma,
                probes=probes,
                signs=signs,
                sight=sight,
                probe_shape=probe_shape,
            ),
            MessagePassing(width, depth, family.log_degree, dropout, outputs_only=pool.outputs_only),
            GraphReadout(width, classes, pool),
            canonical,
        )
        initialise(self)


class NGGNNEditor(Metanetwork):
    """NG-GNN that returns a change of every parameter; arguments as for `NGGNN`.

    Each layer's changes are scaled by learned numbers, `initial` at first; with `standardised` they are counted in
    standard deviations of that layer's parameters in the family. `channels` are the numbers returned for every
    parameter, whatever the family has.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.NGGNNEditor(ng.InputSpec.of([layout]), width=16)(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, width: int = 128, depth: int = 4, reverse: bool = True, probes: int = 0,
        sigma: float | None = 3.0, dropout: float = 0.0, initial: float = 0.01, standardised: bool = False,
        channels: int = 1, canonical: Sequence[Canonical] = (),
    ):  # fmt: skip
        wiring = Bidirectional() if reverse else Forward()
        super().__init__(
            encoder(family, wiring, width, width, sigma=sigma, probes=probes),
            MessagePassing(width, depth, family.log_degree, dropout),
            edit_readout(family, width, width, initial, standardised, channels),
            canonical,
        )
        initialise(self)


class NGT(Metanetwork):
    """NG-T (paper section 3.2): relational attention over the edges of `wiring`.

    `Looped()` runs over weights, both ways, in time linear in their number (ours); `AllPairs()` over all pairs of
    neurons (the paper's). `widths` are those of nodes and edges, `attention` that of all heads together, `hidden`
    those of the node and edge MLPs; the rest as for `NGGNN`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> ng.NGT(ng.InputSpec.of([layout]), classes=10)(networks).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, family: InputSpec, classes: int, widths: tuple[int, int] = (64, 32), attention: int = 128, heads: int = 8,
        hidden: tuple[int, int] = (128, 64), depth: int = 4, wiring: Wiring | None = None, probes: int = 0,
        sigma: float | None = 1.0, dropout: float = 0.0, signs: bool = False,
        pool: Pool | None = None, sight: Ablation | None = None, probe_shape: Sequence[int] | None = None,
        canonical: Sequence[Canonical] = (),
    ):  # fmt: skip
        pool = pool or ConcatOutputs(family.outputs)
        backbone = RelationalTransformer(
            widths, depth, heads, attention, hidden, dropout=dropout, outputs_only=pool.outputs_only
        )
        super().__init__(
            encoder(
                family,
                wiring or Looped(),
                *widths,
                sigma=sigma,
                probes=probes,
                signs=signs,
                sight=sight,
                probe_shape=probe_shape,
            ),
            backbone,
            GraphReadout(widths[0], classes, pool, hidden[0], depth=1),
            canonical,
        )
        initialise(self)


class NGTEditor(Metanetwork):
    """NG-T that returns a change of every parameter; arguments as for `NGT` and `NGGNNEditor`.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> layout = ng.Layout.mlp((2, 8, 8, 1), "sine")
        >>> networks = ng.Networks(torch.rand(5, layout.size), layout)
        >>> edited = networks + ng.NGTEditor(ng.InputSpec.of([layout]))(networks)
        >>> edited.layout == layout
        True
    """

    def __init__(
        self, family: InputSpec, widths: tuple[int, int] = (64, 32), attention: int = 128, heads: int = 4,
        hidden: tuple[int, int] = (128, 64), depth: int = 4, wiring: Wiring | None = None, probes: int = 0,
        sigma: float | None = 3.0, dropout: float = 0.0, initial: float = 0.01, standardised: bool = False,
        channels: int = 1, canonical: Sequence[Canonical] = (),
    ):  # fmt: skip
        super().__init__(
            encoder(family, wiring or Looped(), *widths, sigma=sigma, probes=probes),
            RelationalTransformer(widths, depth, heads, attention, hidden, dropout=dropout, update_edges=True),
            edit_readout(family, *widths, initial, standardised, channels),
            canonical,
        )
        initialise(self)
