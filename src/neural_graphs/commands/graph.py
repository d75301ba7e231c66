"""``neural-graphs graph``: any network as a graph, and the proof of its symmetries."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_graphs.commands.parser import positive
from neural_graphs.commands.show import add_json, print_json
from neural_graphs.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from neural_graphs.commands.subjects import Subject

DESCRIPTION = """\
Reads a network, and prints it as a graph: groups of neurons, blocks of weights, which neurons may be permuted, and how
many of its parameters that covers.

  neural-graphs graph model.onnx                              an ONNX file
  neural-graphs graph net.pt2                                 a program of torch.export.save
  neural-graphs graph gpt2/                                   a Hugging Face folder: config.json, model.safetensors
  neural-graphs graph net.pt --module models:make_net --input 1x3x224x224
  neural-graphs graph inr.safetensors                         an MLP or a plain CNN, by the shapes of its tensors
  neural-graphs graph zoos/digits                             the networks of a zoo

No code from the files is run; the function models:make_net is yours. --check runs the network (in float64) before and
after random permutations of its neurons: exit code 1 where an output changes.
"""
PICTURES = (".png", ".pdf", ".svg")


def sizes(word: str) -> tuple[tuple[int, ...], str]:
    """Sizes and kind of one input: ``1x3x224x224``, or ``1x16:int64`` for whole numbers.

    >>> sizes("1x3x8x8"), sizes("1x16:int64")
    (((1, 3, 8, 8), 'float32'), ((1, 16), 'int64'))
    """
    numbers, _, kind = word.partition(":")
    if kind not in ("", "float32", "int64") or not all(part.isdigit() and int(part) for part in numbers.split("x")):
        raise argparse.ArgumentTypeError(f"expected sizes such as 1x3x224x224 or 1x16:int64, got {word!r}")
    return tuple(int(part) for part in numbers.split("x")), kind or "float32"


def factory(word: str) -> str:
    """The name of a function, ``package.module:function``."""
    package, _, name = word.partition(":")
    if not (package and name):
        raise argparse.ArgumentTypeError(f"expected package.module:function, got {word!r}")
    return word


def add(commands: Any) -> None:
    """Adds ``graph`` to the subparsers."""
    parser = commands.add_parser("graph", help="any network as a graph, with its symmetries", description=DESCRIPTION)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a file or folder, see above")
    parser.add_argument("--module", type=factory, metavar="PKG:FACTORY", help="your function that makes the module")
    parser.add_argument("--input", type=sizes, action="append", metavar="SIZES",
                        help="what the network reads, such as 1x3x224x224 or 1x16:int64; once per input")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"draw the graph ({', '.join(PICTURES)})")
    parser.add_argument("--check", action="store_true", help="prove the symmetries by running the network")
    parser.add_argument("--draws", type=positive, default=3, metavar="N", help="random symmetries to try (default 3)")
    add_json(parser)
    parser.set_defaults(command=graph)


def graph(arguments: Namespace) -> int:
    """Prints the graph of a network, draws and checks it; 1 where the check fails."""
    _refuse_early(arguments)
    from neural_graphs.commands.subjects import read

    subject = read(arguments.checkpoint, arguments.module, arguments.input, double=arguments.check)
    said: dict[str, Any] = {"check": _check(subject, arguments.draws)} if arguments.check else {}
    if arguments.out:
        from neural_graphs.plots import layout_graph, save

        said["picture"] = str(save(layout_graph(subject.layout, title=arguments.checkpoint.stem), arguments.out))
    _print(subject, arguments, said)
    return 0 if said.get("check", {"same": True})["same"] else 1


def _refuse_early(arguments: Namespace) -> None:
    """Raises what is wrong before anything heavy is imported."""
    if not arguments.checkpoint.exists():
        raise CheckpointError(f"{arguments.checkpoint} does not exist")
    if arguments.out and arguments.out.suffix not in PICTURES:
        raise ConfigError(f"--out {arguments.out} should end in one of {', '.join(PICTURES)}")


def _check(subject: "Subject", draws: int) -> dict[str, Any]:
    """Whether random symmetries leave the outputs as they are, and by how much they change."""
    try:
        change = subject.prove(draws)
    except AssertionError as error:
        return {"same": False, "draws": draws, "said": str(error)}
    return {"same": True, "draws": draws, "largest_change": change}


def _print(subject: "Subject", arguments: Namespace, said: dict[str, Any]) -> None:
    from neural_graphs.layout.describe import coverage, description, line, symmetry

    layout = subject.layout
    if arguments.json:
        counts = {"groups": len(layout.groups), "blocks": len(layout.blocks), "neurons": layout.neurons}
        facts = {"checkpoint": str(arguments.checkpoint), "read": subject.said, "line": line(layout), **counts,
                 "weights": layout.weights, "numbers": layout.size, "symmetry": symmetry(layout),
                 "coverage": coverage(layout), **said, "layout": layout.to_json()}  # fmt: skip
        print_json(facts)
        return
    print(f"{arguments.checkpoint}: {subject.said}\n\n{description(layout)}")
    if "picture" in said:
        print(f"{said['picture']}: its picture")
    if check := said.get("check"):
        largest = f"the outputs change by at most {check.get('largest_change', 0.0):.1e} of the largest one"
        print(f"{check['draws']} random symmetries: {largest if check['same'] else check['said']}")
