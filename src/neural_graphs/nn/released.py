"""Metanetworks trained with the paper's released code: their settings and parameters into ours, same outputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError
from neural_graphs.graph import AllPairs, Bidirectional, Forward
from neural_graphs.layout import Layout
from neural_graphs.nn import (
    ActivationKinds,
    ConcatOutputs,
    Encoder,
    GraphReadout,
    MessagePassing,
    Metanetwork,
    Position,
    Probes,
    RelationalTransformer,
    Standardise,
    ValueEncoder,
    WeightReadout,
)
from neural_graphs.nn.spec import Statistics

KINDS = ("none", "relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu")  # rows of the released activation table
State = Mapping[str, Tensor]
Config = Mapping[str, Any]
UNUSED = ("proj_mlp_edge_in.", "avg_deg_lin")  # saved by the released code and never read


def released_layout(config: Config) -> Layout:
    """The layout of the networks a released model reads: an INR (`layout`) or a CNN (`channels`, `kernels`, …)."""
    if config.get("layout"):
        return Layout.mlp(tuple(config["layout"]), config.get("activation", "sine"), offset=0.5)
    activations = config["activations"] or "relu"
    return Layout.cnn(
        config["channels"], config["kernels"], config["n_classes"], activations=activations, residual=config["residual"]
    )


def load_released(config: Config, state: State) -> Metanetwork:
    """Build the model of `config` and fill it with `state`, the parameters under their released names.

    Raises CheckpointError naming the tensors that are missing, left over or misshaped.
    """
    layout, source = released_layout(config), _Reader(state)
    graph_nn = "gnn_backbone" in config["model"]
    readers = _gnn if graph_nn else _transformer
    equivariant = config["kind"] == "editing"
    backbone = readers(config, source, equivariant)
    encoder = _encoder(config, source, layout, graph_nn)
    readout = _edit_readout(config, source, layout) if equivariant else _readout(config, source)
    source.finish(_unused(encoder))
    return Metanetwork(encoder, backbone, readout).to(next(iter(state.values())).dtype)


def _unused(encoder: Encoder) -> tuple[str, ...]:
    """Tables that the released code saves even where its settings switch them off."""
    return (
        *(("act_emb.",) if encoder.activations is None else ()),
        *(("pos_embed",) if encoder.position is None else ()),
    )


class _Reader:
    """Hands out the tensors of a state by name and remembers which."""

    def __init__(self, state: State):
        self.state, self.used = state, set[str]()

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def __call__(self, name: str) -> Tensor:
        if name not in self.state:
            raise CheckpointError(f"{name} is missing among the released parameters; is config.json of another model?")
        self.used.add(name)
        return self.state[name]

    def fill(self, module: nn.Module, name: str) -> None:
        """Copy `<name>.weight` and, where the module has one, `<name>.bias`."""
        for part, parameter in module.named_parameters(recurse=False):
            self.copy(parameter, self(f"{name}.{part}"), f"{name}.{part}")

    def copy(self, parameter: Tensor, value: Tensor, name: str) -> None:
        """Copy a tensor in full precision."""
        if parameter.shape != value.shape:
            raise CheckpointError(f"{name} has shape {tuple(value.shape)}, config.json needs {tuple(parameter.shape)}")
        parameter.data = value.detach().clone()

    def finish(self, unused: tuple[str, ...]) -> None:
        """Raise where tensors are left over."""
        left = [name for name in self.state if name not in self.used and not any(u in name for u in UNUSED + unused)]
        if left:
            raise CheckpointError(f"released parameters without a place in this model: {left}")


def _stats(config: Config) -> Statistics | None:
    stats = config["model"].get("stats") or config["model"]["graph_constructor"].get("stats")
    if not stats or stats["weights_mean"] is None:
        return None
    return Statistics(*(tuple(stats[k]) for k in ("weights_mean", "weights_std", "biases_mean", "biases_std")))


def _standardise(config: Config, dtype: torch.dtype) -> Standardise | None:
    stats = _stats(config)
    if stats is None:
        return None
    with _default_dtype(dtype):
        return Standardise(stats)


class _default_dtype:
    """Create tensors in full precision inside."""

    def __init__(self, dtype: torch.dtype):
        self.dtype, self.before = dtype, torch.get_default_dtype()

    def __enter__(self) -> None:
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(self.before)


def _values(source: _Reader, name: str) -> ValueEncoder:
    """`construct_graph.<name>`: Fourier frequencies `.0.b` if any, then Linear layers at every second place."""
    prefix = f"construct_graph.{name}"
    fourier = f"{prefix}.0.b" in source
    first = 1 if fourier else 0
    places = [first]
    while f"{prefix}.{places[-1] + 2}.weight" in source:
        places.append(places[-1] + 2)
    weight = source(f"{prefix}.{first}.weight")
    drawn = source(f"{prefix}.0.b") if fourier else None
    inputs = weight.shape[1] if drawn is None else drawn.shape[1]
    made = ValueEncoder(inputs, len(weight), 1.0 if fourier else None, len(places), weight.shape[1] // 2)
    for linear, place in zip([made.first, *made.rest], places, strict=True):
        source.fill(linear, f"{prefix}.{place}")
    if drawn is not None and made.frequencies is not None:
        source.copy(made.frequencies, drawn, f"{prefix}.0.b")
    return made


def _encoder(config: Config, source: _Reader, layout: Layout, graph_nn: bool) -> Encoder:
    reverse, settings = config["model"]["rev_edge_features"], config["model"]["graph_constructor"]
    wiring = (Bidirectional() if reverse else Forward()) if graph_nn else AllPairs(copies=2 if reverse else 1)
    biases, weights = _values(source, "proj_bias"), _values(source, "proj_weight")
    width = biases.first.out_features
    position = activations = probes = None
    if settings["use_pos_embed"]:
        rows = len(source("construct_graph.pos_embed"))
        inputs, outputs = layout.role_count("input"), layout.role_count("output")
        position = Position(inputs, rows - inputs - outputs, outputs, width)
        source.copy(position.table, source("construct_graph.pos_embed"), "construct_graph.pos_embed")
    if config.get("activations") and settings.get("use_act_embed"):
        activations = ActivationKinds(KINDS, width)
        name = "construct_graph.act_emb.embedding.weight"
        source.copy(activations.table, source(name), name)
    if settings["num_probe_features"]:
        probes = Probes(settings["num_probe_features"], (layout.groups[0].size,), len(layout.groups), width)
        source.copy(probes.inputs, source("construct_graph.gpf.inputs")[0], "construct_graph.gpf.inputs")
        for group, project in enumerate(probes.project):
            for part, module in enumerate(project.children()):
                source.fill(module, f"construct_graph.gpf.proj.{group}.{part}")
    encoder = Encoder(
        wiring, biases, weights, tuple(config.get("max_kernel") or (1, 1)),
        scalars=None if config.get("linear_as_conv", True) else _values(source, "proj_mlp_weight"),
        position=position, activations=activations, probes=probes,
        standardise=_standardise(config, biases.first.weight.dtype),
    )  # fmt: skip
    if encoder.scalars is None and "construct_graph.proj_mlp_weight.1.weight" in source:
        _values(source, "proj_mlp_weight")  # saved, and never read with linear_as_conv
    source.fill(encoder.node_out, "construct_graph.proj_node_in")
    source.fill(encoder.edge_out, "construct_graph.proj_edge_in")
    return encoder


def _gnn(config: Config, source: _Reader, equivariant: bool) -> MessagePassing:
    settings = config["model"]["gnn_backbone"]
    width, depth = settings["hidden_channels"], settings["num_layers"]
    made = MessagePassing(width, depth, dropout=settings["dropout"], outputs_only=not equivariant)
    for t, layer in enumerate(made.messages):
        name = f"gnn.convs.{t}"
        source.fill(layer.modulation, f"{name}.edge_encoder")
        target, sender = source(f"{name}.pre_nns.0.0.weight").chunk(2, 1)
        source.copy(layer.target.weight, target, f"{name}.pre_nns.0.0.weight")
        source.copy(layer.source.weight, sender, f"{name}.pre_nns.0.0.weight")
        source.copy(layer.target.bias, source(f"{name}.pre_nns.0.0.bias"), f"{name}.pre_nns.0.0.bias")
        source.fill(layer.combine, f"{name}.post_nns.0.0")
        source.fill(layer.update, f"{name}.lin")
        layer.log_degree = source(f"{name}.aggr_module.avg_deg_log")[0].clone()
    for t, (norm, update) in enumerate(zip(made.norms, made.edge_updates, strict=True)):
        source.fill(norm, f"gnn.norms.{t}")
        parts = {"lin_e": update.edge, "lin_s": update.source, "lin_t": update.target, "lin1": update.out}
        for part, module in parts.items():
            source.fill(module, f"gnn.edge_update.{t}.{part}")
    return made


def _transformer(config: Config, source: _Reader, equivariant: bool) -> RelationalTransformer:
    model = config["model"]
    made = RelationalTransformer(
        (model["d_node"], model["d_edge"]), model["n_layers"], model["n_heads"], model["d_attn_hid"],
        (model["d_node_hid"], model["d_edge_hid"]), modulate=model.get("modulate_v", True), dropout=model["dropout"],
        update_edges=equivariant, outputs_only=not equivariant,
    )  # fmt: skip
    for t, layer in enumerate(made.layers):
        name = f"layers.{t}"
        parts = {"self_attn.qkv_node": layer.attention.node, "self_attn.qkv_edge": layer.attention.edge}
        parts |= {"self_attn.proj_out": layer.attention.out, "lin0": layer.node_in}
        parts |= {"node_ln0": layer.node_norms[0], "node_ln1": layer.node_norms[1]}
        parts |= {"node_mlp.0": layer.node_mlp[0], "node_mlp.2": layer.node_mlp[2]}
        update = layer.edge_update
        if update is not None:
            edge = f"{name}.edge_updates.edge_mlp0.lin0_e"
            own, opposite = source(f"{edge}.weight").chunk(2, 1)
            source.copy(update.own.weight, own, f"{edge}.weight")
            source.copy(update.own.bias, source(f"{edge}.bias"), f"{edge}.bias")
            source.copy(update.opposite.weight, opposite, f"{edge}.weight")
            parts |= {"edge_updates.edge_mlp0.lin0_s": update.source, "edge_updates.edge_mlp0.lin0_t": update.target}
            parts |= {"edge_updates.edge_mlp0.lin1": update.out}
            parts |= {"edge_updates.eln0": update.norms[0], "edge_updates.eln1": update.norms[1]}
            parts |= {"edge_updates.edge_mlp1.0": update.mlp[0], "edge_updates.edge_mlp1.2": update.mlp[2]}
        for part, module in parts.items():
            source.fill(module, f"{name}.{part}")
    return made


def _readout(config: Config, source: _Reader) -> GraphReadout:
    if config["model"]["pooling_method"] != "cat":
        raise CheckpointError(f"pooling_method {config['model']['pooling_method']!r}: only 'cat' was released")
    places = [0]
    while f"proj_out.{places[-1] + 2}.weight" in source:
        places.append(places[-1] + 2)
    first, last = source("proj_out.0.weight"), source(f"proj_out.{places[-1]}.weight")
    width = config["model"].get("d_node") or config["model"]["d_hid"]
    pool = ConcatOutputs(first.shape[1] // width)
    made = GraphReadout(width, len(last), pool, len(first), depth=len(places) - 1)
    for place in places:
        source.fill(made.mlp[place], f"proj_out.{place}")
    return made


def _edit_readout(config: Config, source: _Reader, layout: Layout) -> WeightReadout:
    nodes, edges = source("proj_node.0.weight").shape[1], source("proj_edge.0.weight").shape[1]
    stats = _standardise(config, source("proj_node.0.weight").dtype) if config["model"].get("normalize") else None
    made = WeightReadout(nodes, edges, len(layout.groups) - 1, ends=False, standardise=stats)
    parts = {
        "proj_node.0": made.node[0],
        "proj_node.2": made.node[2],
        "proj_edge.0": made.edge,
        "proj_edge.2": made.kernel,
    }
    for name, module in parts.items():
        source.fill(module, name)
    for name, scale in (("weight_scale", made.weight_scale), ("bias_scale", made.bias_scale)):
        scale.data = torch.stack([source(f"{name}.{group}").reshape(()) for group in range(len(scale))])
    return made
