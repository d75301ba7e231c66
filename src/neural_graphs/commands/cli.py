"""The command line: ``neural-graphs demo | graph | zoo … | fit | test | reproduce | predict | rank | edit | …``.

Nothing heavy is imported here: help and mistakes answer at once, and a command imports what it needs when it runs.
"""

import os
import sys
from collections.abc import Sequence

from neural_graphs.commands import (
    align,
    bench,
    completion,
    demo,
    edit,
    graph,
    info,
    optimize,
    predict,
    rank,
    report,
    reproduce,
    share,
    train,
    zoo,
)
from neural_graphs.commands.parser import Parser
from neural_graphs.errors import NeuralGraphsError
from neural_graphs.versions import version_of

DESCRIPTION = """\
Metanetworks: networks that read other networks as graphs.

  neural-graphs demo                                        the whole story on scikit-learn's digits, under 5 minutes
  neural-graphs graph model.onnx --check                    any network as a graph, its symmetries proven
  neural-graphs align A B --out C                           B with its neurons in the order of A's
  neural-graphs zoo grow inr --images digits --out zoos/d   one small network per image
  neural-graphs zoo show zoos/d                             their renders beside the images
  neural-graphs fit --config FILE                           train a metanetwork on a zoo
  neural-graphs reproduce FILE                              an experiment file from its zoo to its figure
  neural-graphs predict --run RUN NET.safetensors           what does this network show?
  neural-graphs rank --run RUN '*.safetensors'              which of these networks is best, without running them?
  neural-graphs optimize models:make --images NAME --rule R train your module by a learned optimizer
  neural-graphs edit --run RUN ZOO --index 5 --out FILE     the same network, drawing another picture
  neural-graphs share RUN FOLDER                            what others need for --pretrained FOLDER
"""


def build_parser() -> Parser:
    """The parser of all commands; each sets ``command``, the function that does the work and returns the exit code."""
    parser = Parser(prog="neural-graphs", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"neural-graphs {version_of('neural-graphs')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    everything = (
        demo, graph, align, zoo, train, reproduce, predict, rank, edit, optimize, share, report, bench, info,
    )  # fmt: skip
    for module in everything:
        module.add(commands)
    completion.add(commands, parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after ``neural-graphs``; by default those of this process.

    Returns:
        0 when all went well, 1 when the answer is "no" (a damaged zoo), 2 for an error that was printed as one line,
        130 when interrupted.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed))
    except BrokenPipeError:  # the reader of our output left (… | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (NeuralGraphsError, OSError) as error:  # ours, or a disk that is full, a folder that is closed
        if getattr(parsed, "debug", False):
            raise
        print(f"neural-graphs: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("neural-graphs: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
