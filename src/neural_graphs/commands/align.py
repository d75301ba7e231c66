"""``neural-graphs align``: one network's neurons in the order of another's, and the barrier between them."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_graphs.commands.graph import factory, sizes
from neural_graphs.commands.parser import positive, safetensors_file, seed
from neural_graphs.commands.show import add_json, print_json, table
from neural_graphs.errors import CheckpointError, ConfigError

if TYPE_CHECKING:  # heavy
    from torch import Tensor

    from neural_graphs.networks import Networks

DESCRIPTION = """\
Writes network B with its hidden neurons in the order of their likes in network A (weight matching): the same function,
closer to A. With labelled images, the loss on the line between A and B is measured and drawn, before and after.

  neural-graphs align a.safetensors b.safetensors --out c.safetensors --images mnist --plot barrier.png
  neural-graphs align a.pt b.pt --module nets:make --input 1x1x28x28 --out c.safetensors

Without --module networks are MLPs or plain CNNs, read off the shapes of their tensors, with --activation between.
Statistics of batch norms are taken anew on the images for every network that is measured.
"""


def add(commands: Any) -> None:
    """Adds ``align`` to the subparsers."""
    parser = commands.add_parser(
        "align", help="bring one network's neurons into another's order", description=DESCRIPTION
    )
    parser.add_argument("reference", type=Path, metavar="A", help="the network whose order counts")
    parser.add_argument("network", type=Path, metavar="B", help="the network whose neurons are reordered")
    parser.add_argument(
        "--out", type=safetensors_file, required=True, metavar="FILE", help="B in the order of A, .safetensors"
    )
    parser.add_argument("--module", type=factory, metavar="PKG:FACTORY", help="your function that makes the module")
    parser.add_argument("--input", type=sizes, metavar="SIZES", help="what the module reads, such as 1x1x28x28")
    parser.add_argument("--activation", default="relu", metavar="NAME", help="without --module; default: %(default)s")
    parser.add_argument("--images", metavar="NAME|DIR", help="labelled images to measure the loss on: their test split")
    parser.add_argument("--range", type=float, nargs=2, default=(0.0, 1.0), metavar=("LOW", "HIGH"),
                        help="of the pixels as the networks read them; default: 0 1")  # fmt: skip
    parser.add_argument(
        "--count", type=positive, default=2000, metavar="N", help="images at most; default: %(default)s"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the barrier, with --images")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="order of the search; default: %(default)s")
    add_json(parser)
    parser.set_defaults(command=align)


def align(arguments: Namespace) -> int:
    """Writes the aligned network, and says how far apart both are."""
    if arguments.plot is not None and arguments.images is None:
        raise ConfigError("--plot draws the loss on labelled images: say which with --images")
    from neural_graphs.io.network_files import write_network
    from neural_graphs.symmetry import align as match

    one, other = _read(arguments)
    facts: dict[str, Any] = {}
    if arguments.images is None:
        symmetry = match(one, other, seed=arguments.seed)
    else:
        from neural_graphs.tasks.barriers import barrier

        found = barrier(one, other, *_images(arguments, one), seed=arguments.seed)
        symmetry = found.symmetry
        facts = {"shares": found.shares, "naive": found.naive, "aligned": found.aligned}
        facts["barrier"] = dict(zip(("naive", "aligned"), found.heights, strict=True))
        _draw(arguments.plot, found)
    near = symmetry.act(other)
    distances = {name: float((each.values - one.values).norm()) for name, each in (("naive", other), ("aligned", near))}
    write_network(near, arguments.out, _as_stored(arguments.network))
    _tell(arguments, {"distance": distances, **facts})
    return 0


def _read(arguments: Namespace) -> "tuple[Networks, Networks]":
    """Both networks, of one layout."""
    from neural_graphs.commands.subjects import example_inputs
    from neural_graphs.io import bare, read_checkpoint, read_tensors
    from neural_graphs.io.foreign import in_order
    from neural_graphs.io.formats import Tensors
    from neural_graphs.io.network_files import as_network, written_layout
    from neural_graphs.layout.builders import from_shapes
    from neural_graphs.networks import Networks
    from neural_graphs.tracing import trace

    paths = (arguments.reference, arguments.network)
    if arguments.module is None and all(map(Tensors().recognises, paths)):
        states = [bare(read_tensors(path)) for path in paths]
        shapes = {name: tuple(states[0][name].shape) for name in in_order(states[0])}
        layout = written_layout(paths[0]) or from_shapes(shapes, arguments.activation)
        first, second = (as_network(state, [layout], path) for state, path in zip(states, paths, strict=True))
        return first, second
    inputs = None if arguments.input is None else example_inputs([arguments.input])
    modules = []
    for path in paths:
        module, example = read_checkpoint(path, arguments.module, inputs)
        modules.append(module)
    layout = trace(modules[0], example)
    states = [module.state_dict() for module in modules]
    if list(states[0]) != list(states[1]):
        raise CheckpointError(f"{paths[0]} and {paths[1]} have tensors of different names: only alike networks align")
    pairs = zip(states, paths, strict=True)
    first, second = (Networks.from_state_dicts([state], layout, [str(path)]) for state, path in pairs)
    return first, second


def _as_stored(path: Path) -> "dict[str, Tensor] | None":
    """The tensors of a file of tensors, whose names and precision the new file gets; None for others."""
    from neural_graphs.io import read_tensors
    from neural_graphs.io.formats import Tensors

    return read_tensors(path) if Tensors().recognises(path) else None


def _images(arguments: Namespace, network: "Networks") -> "tuple[Tensor, Tensor]":
    """Pixels as the networks read them, flattened for those that read points, and labels."""
    import torch

    from neural_graphs.zoo import load_images

    images = load_images(arguments.images, "test")[: arguments.count]
    low, high = arguments.range
    pixels = low + (high - low) * torch.tensor(images.pixels).movedim(3, 1).to(network.values.dtype) / 255
    flat = network.layout.groups[0].size != pixels.shape[1] or (arguments.input and len(arguments.input[0]) == 2)
    return (pixels.flatten(1) if flat else pixels), torch.tensor(images.labels)


def _draw(file: Path | None, found: Any) -> None:
    if file is not None:
        from neural_graphs import plots

        plots.save(plots.barrier_curve(found.shares, {"as they are": found.naive, "aligned": found.aligned}), file)


def _tell(arguments: Namespace, facts: dict[str, Any]) -> None:
    if arguments.json:
        print_json(facts)
        return
    rows = [_row(way, facts) for way in ("naive", "aligned")]
    print(table(rows))
    print(f"\n{arguments.out}" + (f"\n{arguments.plot}" if arguments.plot else ""))


def _row(way: str, facts: dict[str, Any]) -> dict[str, Any]:
    row = {"": way, "distance": facts["distance"][way]}
    if "barrier" in facts:
        row |= {"loss half-way": facts[way][len(facts["shares"]) // 2], "barrier": facts["barrier"][way]}
    return row
