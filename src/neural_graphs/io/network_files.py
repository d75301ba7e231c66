"""Networks in files of their own: read by a layout, written back in the form they came in."""

import json
from collections.abc import Sequence
from pathlib import Path

from neural_graphs.errors import CheckpointError, ConfigError, LayoutError
from neural_graphs.io.atomic import write_whole
from neural_graphs.io.foreign import in_order
from neural_graphs.io.tensors import StateDict, bare, read_tensors, to_safetensors
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks

SHOWN = 3  # of tensors, or of layouts, in an error
LAYOUT = "layout"  # the entry of a safetensors file's metadata that describes its network


def read_network(path: Path, layouts: Sequence[Layout]) -> Networks:
    """One network from a state dict on disk, of the first of `layouts` that it fits, see `names_in`."""
    return as_network(read_tensors(path), layouts, path)


def as_network(state: StateDict, layouts: Sequence[Layout], path: Path) -> Networks:
    """As `read_network`, of tensors that were read from `path` already."""
    fitting = ((layout, names_in(state, layout)) for layout in layouts)
    layout, names = next(((layout, names) for layout, names in fitting if names), (None, {}))
    if layout is not None:
        return Networks.from_state_dicts([{ours: state[own] for ours, own in names.items()}], layout, [str(path)])
    found = _first([f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()], ", ")
    expected = _first(list(map(format, layouts)), " or ")
    raise CheckpointError(f"{path}: expected a network {expected}; got tensors {found}")


def _first(words: Sequence[str], between: str) -> str:
    """The first few words, and how many more there are."""
    return between.join([*words[:SHOWN], *([f"{len(words) - SHOWN} more"] if len(words) > SHOWN else [])])


def read_unambiguous(path: Path, layouts: Sequence[Layout]) -> Networks:
    """One network of the layout written into its file (`write_network`), else of the one of `layouts` that it fits.

    Raises CheckpointError where it fits none or, since shapes do not tell activations and skips, several.
    """
    state, own = read_tensors(path), written_layout(path)
    fitting = [own] if own else [layout for layout in dict.fromkeys(layouts) if names_in(state, layout)]
    if len(fitting) > 1:
        raise CheckpointError(
            f"{path}: its tensors fit {len(fitting)} layouts, such as {fitting[0]} and {fitting[1]}; say which"
            " activation it has, or write the network with tasks.write_network, which keeps its layout in the file"
        )
    return as_network(state, fitting or layouts, path)


def with_activation(layouts: Sequence[Layout], activation: str) -> list[Layout]:
    """Those layouts whose hidden neurons all have the activation. Raises ConfigError where there is none."""
    kinds = [{group.activation.kind for group in layout.groups if group.role == "hidden"} for layout in layouts]
    chosen = [layout for layout, kind in zip(layouts, kinds, strict=True) if kind == {activation}]
    if not chosen:
        pure = sorted({kind for each in kinds if len(each) == 1 for kind in each})
        raise ConfigError(f"no layout has only {activation} in it; there are some with only {' or '.join(pure) or '…'}")
    return chosen


def written_layout(path: Path) -> Layout | None:
    """The layout that a `.safetensors` file says its network has; None where it says nothing."""
    if path.suffix != ".safetensors":
        return None
    from safetensors import safe_open

    with safe_open(path, "pt") as content:
        written = (content.metadata() or {}).get(LAYOUT)
    try:
        return None if written is None else Layout.from_json(json.loads(written))
    except (ValueError, TypeError, KeyError, LayoutError) as error:
        raise CheckpointError(f"{path}: the layout written into it cannot be read ({error})") from error


def names_in(state: StateDict, layout: Layout) -> dict[str, str]:
    """What the tensors of a layout are called in a state dict; nothing where shapes do not fit.

    They may have the same names in any order. Other names are taken layer by layer, by the numbers in them, weights
    before biases (`net.0.linear.weight`; safetensors keeps no order), and as they stand where there are no numbers.
    Prefixes that all names share (`module.`) do not count.
    """
    whole = dict(zip(bare(state, layout.shapes), state, strict=True))
    own = [whole[name] for name in layout.shapes] if set(whole) == set(layout.shapes) else in_order(state)
    if [tuple(state[name].shape) for name in own] != list(layout.shapes.values()):
        return {}
    return dict(zip(layout.shapes, own, strict=True))


def write_network(network: Networks, path: str | Path, like: StateDict | None = None) -> None:
    """Write a network, a batch of one, as a `.safetensors` file that also keeps its layout.

    Names and precision are those of `like`, the tensors it was read from; by default those of its layout.
    Raises CheckpointError for a path of another kind: a `.pt` file would be a pickle, and none is ever written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} should end in .safetensors, the one format that networks are written in")
    (kept,) = network.state_dicts()
    if like is not None:
        names = {own: ours for ours, own in names_in(like, network.layout).items()}
        kept = {own: kept[names[own]].to(tensor.dtype) for own, tensor in like.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_safetensors(kept, {LAYOUT: json.dumps(network.layout.to_json())}))
