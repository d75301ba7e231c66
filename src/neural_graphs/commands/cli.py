"""The command line: ``neural-graphs demo | graph | zoo … | fit | test | reproduce | predict | rank | edit | …``.

Nothing heavy is imported here: help and mistakes answer at once, and a command imports what it needs when it runs.
"""

import errno
import os
import sys
from collections.abc import Sequence

from neural_graphs.commands import (
    align,
    bench,
    completion,
    demo,
    edit,
    ensemble,
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
from neural_graphs.commands.parser import Parser, from_the_start
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
  neural-graphs ensemble RUN RUN --out DIR                  one that answers by the mean of several
  neural-graphs share RUN FOLDER                            what others need for --pretrained FOLDER
"""


ADVICE = {
    errno.ENOSPC: "no space is left; free some, and run the same command again",
    errno.EDQUOT: "no space is left to you; free some, and run the same command again",
    errno.EROFS: "it may not be written; choose another folder",
    errno.EACCES: "it may not be read or written by you; choose another place, or change its permissions",
    errno.EPERM: "it may not be changed by you; choose another place",
    errno.EEXIST: "it is there already, as a file; choose another place for the folder",
    errno.ENOTDIR: "a folder on the way there is a file; choose another place",
    errno.EISDIR: "it is a folder; name a file",
}  # what the system refused, and what to do


def build_parser() -> Parser:
    """The parser of all commands.

    Each sets ``command``, the function that does the work and returns the exit code, and ``goes_on`` where it keeps
    what was done when it is interrupted: the function that says how to continue.
    """
    parser = Parser(prog="neural-graphs", description=DESCRIPTION)
    parser.set_defaults(goes_on=from_the_start)
    parser.add_argument("--version", action="version", version=f"neural-graphs {version_of('neural-graphs')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    everything = (
        demo, graph, align, zoo, train, reproduce, predict, rank, edit, optimize, ensemble, share, report, bench, info,
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
        print(f"neural-graphs: error: {_advised(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"neural-graphs: interrupted; {parsed.goes_on(parsed)}", file=sys.stderr)
        return 130


def _advised(error: Exception) -> str:
    """What went wrong, and what to do where the system only says the former."""
    if not isinstance(error, OSError) or error.errno not in ADVICE:
        return str(error)
    return f"{error.filename or 'a file'}: {ADVICE[error.errno]}"
