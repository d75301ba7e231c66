"""``neural-graphs edit``: change a network as a trained editor does."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from neural_graphs.commands.parser import safetensors_file
from neural_graphs.commands.trained import add_trained, trained

DESCRIPTION = """\
Edits one implicit network with a trained run, and writes the edited network and a picture of what it draws before and
after (and of what was wanted, for networks of a zoo of images).

  neural-graphs edit --run runs/mnist_dilate_ngt zoos/mnist --index 5 --out edited.safetensors
  neural-graphs edit --run runs/mnist_dilate_ngt net.pt --out edited.safetensors
"""


def add(commands: Any) -> None:
    """Adds ``edit`` to the subparsers."""
    parser = commands.add_parser("edit", help="change a network as a trained editor does", description=DESCRIPTION)
    add_trained(parser, "folder of a trained editing run")
    parser.add_argument("source", type=Path, metavar="ZOO|FILE", help="a zoo, or parameters (.safetensors, .pt, …)")
    parser.add_argument("--index", type=int, metavar="N", help="which network of the zoo")
    parser.add_argument(
        "--out", type=safetensors_file, required=True, metavar="FILE", help="the edited network, .safetensors"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="default: --out with .png at its end")
    parser.set_defaults(command=edit)


def edit(arguments: Namespace) -> int:
    """Edits one network, and says where it is."""
    from neural_graphs import tasks
    from neural_graphs.plots import save

    found = tasks.edit(trained(arguments), arguments.source, arguments.index)
    found.write(arguments.out)
    picture = save(found.picture, arguments.picture or arguments.out.with_suffix(".png"))
    wanted = ", and what was wanted" if found.target else "; no target, as its image is not known"
    print(
        f"{arguments.out}: the edited network, {found.after.layout}\n{picture}: what it draws before and after{wanted}"
    )
    return 0
