"""Builders of layouts (MLP, INR, CNN with skips), layouts read off state dicts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isqrt, prod
from typing import Any

from neural_graphs.errors import LayoutError
from neural_graphs.layout.axes import Atom, Axis, Concat
from neural_graphs.layout.layout import Activation, Block, Conv, GlobalMean, Group, Layout, MaxPool, Parameter, Skip
from neural_graphs.layout.naming import rename


def mlp(
    sizes: Sequence[int],
    activation: str = "relu",
    *,
    names: str = "layers.{}",
    scale: float | None = None,
    offset: float = 0.0,
) -> Layout:
    """A chain of Linear layers with one activation kind between them.

    `names` is the pattern of the tensor names, `.weight` and `.bias` are appended. `scale` multiplies the input of the
    activation (30 for `sine`: SIREN, Sitzmann et al. 2020, section 3.2; else 1); `offset` is added to the output.
    """
    if len(sizes) < 2:
        raise LayoutError(f"an MLP needs at least an input and an output size, got {tuple(sizes)}")
    scale = (30.0 if activation == "sine" else 1.0) if scale is None else scale
    last = len(sizes) - 2
    groups = [Group("input", Atom("input", sizes[0]), "input")]
    blocks, parameters = [], []
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        name, hidden = names.format(layer), layer < last
        groups.append(
            Group(
                name if hidden else "output", Atom(name, fan_out, free=hidden), "hidden" if hidden else "output",
                f"{name}.bias", Activation(activation, scale) if hidden else Activation(), 0.0 if hidden else offset,
            )
        )  # fmt: skip
        blocks.append(Block(layer, layer + 1, f"{name}.weight"))
        parameters += [Parameter(f"{name}.weight", (fan_out, fan_in)), Parameter(f"{name}.bias", (fan_out,))]
    return Layout(tuple(groups), tuple(blocks), tuple(parameters))


def cnn(
    channels: Sequence[int],
    kernels: Sequence[int],
    classes: int,
    *,
    activations: str | Sequence[str] = "relu",
    residual: Sequence[int] | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int | None] | None = None,
    places: tuple[int, int] | None = None,
    names: tuple[str, str] = ("conv{}", "fc"),
    pool: MaxPool | None = None,
) -> Layout:
    """Convolutions, a pool, and a Linear head.

    `channels` has one entry more than `kernels`; `residual[l] = k` adds the output of conv layer `k` to the input of
    the activation of layer `l` on the channels both have (-1: no skip). `padding` None means "same" (odd kernels);
    `stride` and `padding` may be one for each layer. `places` None puts a global mean before the head; `places=(h, w)`
    lets the head read the last feature map flattened, so that each of its weights is an h × w kernel, after an optional
    `pool`.
    """
    depth = len(kernels)
    if len(channels) != depth + 1:
        raise LayoutError(f"{depth} kernels need {depth + 1} channel counts, got {tuple(channels)}")
    kinds = (activations,) * depth if isinstance(activations, str) else tuple(activations)
    skips = (-1,) * depth if residual is None else tuple(residual)
    strides = (stride,) * depth if isinstance(stride, int) else tuple(stride)
    paddings = (padding,) * depth if padding is None or isinstance(padding, int) else tuple(padding)
    if {len(kinds), len(skips), len(strides), len(paddings)} != {depth}:
        raise LayoutError(
            f"{depth} conv layers need as many activations, skips, strides and paddings, got {kinds}, {skips}, "
            f"{strides} and {paddings}"
        )
    axes = _tie(tuple(channels[1:]), skips, names[0])
    groups = [Group("input", Atom("input", channels[0]), "input")]
    blocks, parameters = [], []
    for layer, (fan_in, fan_out) in enumerate(pairwise(channels)):
        name, square = names[0].format(layer), (kernels[layer], kernels[layer])
        last = None if layer < depth - 1 else GlobalMean() if places is None else pool
        groups.append(Group(name, axes[layer], "hidden", f"{name}.bias", Activation(kinds[layer]), pool=last))
        pad = paddings[layer]
        conv = Conv(strides[layer], kernels[layer] // 2 if pad is None else pad)
        blocks.append(Block(layer, layer + 1, f"{name}.weight", square, conv))
        if skips[layer] >= 0:
            span = min(channels[skips[layer] + 1], fan_out)
            blocks.append(Block(skips[layer] + 1, layer + 1, None, (1, 1), Skip(), span))
        parameters += [Parameter(f"{name}.weight", (fan_out, fan_in, *square)), Parameter(f"{name}.bias", (fan_out,))]
    head, kernel = names[1], places or ()
    groups.append(Group("output", Atom(head, classes), "output", f"{head}.bias"))
    blocks.append(Block(depth, depth + 1, f"{head}.weight", kernel))
    parameters += [
        Parameter(f"{head}.weight", (classes, channels[-1] * prod(kernel))),
        Parameter(f"{head}.bias", (classes,)),
    ]
    return Layout(tuple(groups), tuple(blocks), tuple(parameters))


def _tie(channels: tuple[int, ...], skips: tuple[int, ...], pattern: str) -> list[Axis]:
    """One axis per conv layer: channels joined by a skip share their atoms, those beyond it stay apart."""
    cuts: list[set[int]] = [{count} for count in channels]  # where the axis of a layer falls into pieces
    for _ in channels:  # cuts travel along skips, both ways, at most as far as there are layers
        for layer, source in enumerate(skips):
            if source >= 0:
                span = min(channels[source], channels[layer])
                shared = {cut for cut in cuts[source] | cuts[layer] if cut <= span} | {span}
                cuts[source] |= shared
                cuts[layer] |= shared
    axes: list[list[Atom]] = []
    for layer, source in enumerate(skips):
        starts = sorted({0} | cuts[layer])
        pieces = [Atom(f"{pattern.format(layer)}[{a}:{b}]", b - a, free=True) for a, b in pairwise(starts)]
        if source >= 0:
            span = min(channels[source], channels[layer])
            shared_atoms: list[Atom] = []
            for atom in axes[source]:
                if sum(piece.size for piece in shared_atoms) < span:
                    shared_atoms.append(atom)
            pieces[: len(shared_atoms)] = shared_atoms
        axes.append(pieces)
    return [pieces[0] if len(pieces) == 1 else Concat(tuple(pieces)) for pieces in axes]


def from_shapes(shapes: Mapping[str, Sequence[int]], activation: str = "relu", **options: Any) -> Layout:
    """Read an MLP or a plain CNN off the tensor shapes of a state dict, in their order.

    Weights `(out, in)` are Linear layers and `(out, in, h, w)` convolutions; every weight is followed by its bias.
    `activation`, and the `options` `scale` and `offset` (MLP) or `stride`, `padding`, `residual` and `activations`
    (CNN), describe what shapes cannot tell. Raises LayoutError naming the tensors that do not fit.
    """
    if not shapes:
        raise LayoutError("there are no tensors to read a layout off; give the shapes of weights and biases")
    weights = [name for name in shapes if len(shapes[name]) > 1]
    prefixes = [name.removesuffix("weight") for name in weights]
    expected = [name for prefix in prefixes for name in (f"{prefix}weight", f"{prefix}bias")]
    if list(shapes) != expected:
        odd = [name for name in shapes if name not in expected] or list(shapes)
        raise LayoutError(f"tensors {odd} are not weights followed by their biases; describe this layout by hand")
    convs = [name for name in weights if len(shapes[name]) == 4]
    for before, after in pairwise(weights):
        if shapes[after][1] % shapes[before][0] or (after in convs and shapes[after][1] != shapes[before][0]):
            raise LayoutError(
                f"{before} feeds {shapes[before][0]} channels but {after} expects {shapes[after][1]}; "
                f"is a layer missing between them? Known layers: {', '.join(prefix.rstrip('.') for prefix in prefixes)}"
            )
    if not convs:
        layout = mlp([shapes[weights[0]][1], *(shapes[name][0] for name in weights)], activation, **options)
    else:
        if len(convs) != len(weights) - 1 or weights[-1] in convs:
            raise LayoutError(f"a CNN here is convolutions and one Linear head, got {weights}")
        head = shapes[weights[-1]]
        layout = cnn(
            [shapes[convs[0]][1], *(shapes[name][0] for name in convs)], [shapes[name][2] for name in convs], head[0],
            places=_square(head[1], shapes[convs[-1]][0], weights[-1]), **{"activations": activation, **options},
        )  # fmt: skip
    layout = rename(layout, {old.name: new for old, new in zip(layout.parameters, shapes, strict=True)})
    for name, shape in layout.shapes.items():
        if tuple(shapes[name]) != shape:
            raise LayoutError(
                f"{name} has shape {tuple(shapes[name])}, but {shape} in {layout}, which the other tensors tell; "
                "describe this layout by hand, or trace its module"
            )
    return layout


def _square(inputs: int, channels: int, name: str) -> tuple[int, int] | None:
    """The places of a flattened square feature map; None after a global mean."""
    side = isqrt(inputs // channels)
    if side * side * channels != inputs:
        raise LayoutError(f"{name} reads {inputs} inputs: not {channels} channels of a square feature map")
    return None if side == 1 else (side, side)
