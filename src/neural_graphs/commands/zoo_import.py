"""``neural-graphs zoo import …``: networks of other people, and one's own checkpoints, made zoos."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_graphs.commands import show
from neural_graphs.commands.graph import factory, sizes
from neural_graphs.commands.parser import Parser, same_command, seed
from neural_graphs.errors import ConfigError

if TYPE_CHECKING:  # heavy
    from neural_graphs.zoo import Zoo

IMPLICIT = """\
Converts a published folder of implicit networks, one file each. Files that cannot be used are skipped, with the reason
in `zoo info`. Only tensors are read from them.
"""
SMALL = """\
Converts weights.npy, metrics.csv.gz and layout.csv of one image set (Unterthiner et al. 2020) without ever holding all
weights in memory. All checkpoints are kept; published figures are of those with `epoch == 86`, which `data.only` of a
configuration chooses. Half of the runs is test, of the others a fifth val, in the order of the published shuffle where
it is given. Interrupted, the same command goes on where it stopped.
"""
PARK = """\
Converts all .pt or .ckpt files at or below a folder (Kofinas et al. 2024): `model`, `config` and the test accuracy in
each. Only tensors and plain values are read from them. Networks, never their checkpoints, are split at random, unless a
JSON file in the folder lists train, val and test.
"""
STATE_DICTS = """\
Makes a zoo of your own checkpoints and a table with a row for each:

  neural-graphs zoo import state-dicts 'runs/**/*.pt' --table metrics.csv --module nets:make --input 1x3x32x32 zoos/mine

With --module the network is traced, so it may be any; without it, networks are chains of linear or convolutional layers
and may differ from file to file. The table names each file in a column, by its path, the end of it, or its name, or in
several: --key '{run}/epoch_{epoch}'. Checkpoints of one run stay in one split: a column `run` of the table says which
are, or else their paths (`runs/7/epoch_10.pt`). Columns `epoch` and `split` count as well, all others are kept.
"""


def add_import(parser: Parser) -> None:
    """Adds the formats to ``zoo import``."""
    formats = parser.add_subparsers(metavar="FORMAT", required=True, parser_class=Parser)
    for name, whose in (("navon", "Navon et al. 2023, dws2023"), ("zhou", "Zhou et al. 2023, nfn2023")):
        one = formats.add_parser(name, help=f"implicit networks of {whose}", description=IMPLICIT)
        _add_folder(one, "folder of .pt, .pth or .ckpt files")
        one.set_defaults(command=convert, goes_on=same_command, format=name)
    small = formats.add_parser("small-cnn-zoo", help="the Small CNN Zoo: weights.npy and its tables", description=SMALL)
    _add_folder(small, "folder of weights.npy, metrics.csv.gz and layout.csv")
    small.add_argument("--shuffle", type=Path, metavar="CSV", help="the published order of the final checkpoints")
    small.set_defaults(command=convert_small, goes_on=same_command)
    park = formats.add_parser("cnn-wild-park", help="CNN Wild Park: folders of checkpoint.pt", description=PARK)
    _add_folder(park, "folder of folders of .pt files")
    park.add_argument("--seed", type=seed, default=0, metavar="N", help="of the splits; default: 0")
    park.set_defaults(command=convert_park, goes_on=same_command)
    own = formats.add_parser("state-dicts", help="your own checkpoints and their accuracies", description=STATE_DICTS)
    _add_own(own)


def _add_folder(parser: Parser, what: str) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help=what)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the new zoo")


def _add_own(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILES", help="patterns such as 'runs/**/*.pt', or files")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the new zoo")
    parser.add_argument("--table", required=True, type=Path, metavar="FILE", help=".csv, .tsv or .parquet")
    parser.add_argument(
        "--column", default="test_accuracy", metavar="NAME", help="column of the accuracies; default: %(default)s"
    )
    parser.add_argument("--percent", action="store_true", help="accuracies are 0 to 100, not 0 to 1")
    parser.add_argument("--key", metavar="NAME", help="column, or columns, that name the files; default: the best")
    parser.add_argument("--module", type=factory, metavar="PKG:FACTORY", help="your function that makes the module")
    parser.add_argument(
        "--input", type=sizes, metavar="SIZES", help="what the module reads, such as 1x3x32x32, to trace it"
    )
    parser.add_argument(
        "--activation", default="relu", metavar="NAME", help="between layers, without --module; default: %(default)s"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the splits; default: %(default)s")
    parser.set_defaults(command=convert_own, goes_on=same_command)


def convert(arguments: Namespace) -> int:
    """Converts a published zoo of implicit networks."""
    from neural_graphs import zoo

    with show.bar("files") as tick:
        made = zoo.convert(zoo.FORMATS[arguments.format](), arguments.folder, arguments.out, progress=tick)
    return _tell(made, "files", arguments)


def convert_small(arguments: Namespace) -> int:
    """Converts the Small CNN Zoo."""
    from neural_graphs.zoo import convert_small_cnn_zoo

    with show.bar("checkpoints") as tick:
        made = convert_small_cnn_zoo(arguments.folder, arguments.out, shuffle=arguments.shuffle, progress=tick)
    return _tell(made, "checkpoints", arguments)


def convert_park(arguments: Namespace) -> int:
    """Converts CNN Wild Park."""
    from neural_graphs.zoo import convert_cnn_wild_park

    with show.bar("files, each twice") as tick:
        made = convert_cnn_wild_park(arguments.folder, arguments.out, seed=arguments.seed, progress=tick)
    return _tell(made, "files", arguments)


def convert_own(arguments: Namespace) -> int:
    """Makes a zoo of a user's own checkpoints."""
    from neural_graphs.zoo import convert_state_dicts

    shape, kind = arguments.input or (None, "float32")
    if kind != "float32":
        raise ConfigError(f"--input …:{kind}: networks of a zoo of checkpoints read floats; leave {kind} out")
    with show.bar("files, each twice") as tick:
        made = convert_state_dicts(
            arguments.files,
            arguments.table,
            arguments.out,
            module=arguments.module,
            shape=shape,
            activation=arguments.activation,
            column=arguments.column,
            key=arguments.key,
            percent=arguments.percent,
            seed=arguments.seed,
            progress=tick,
        )
    return _tell(made, "files", arguments)


def _tell(made: "Zoo", unit: str, arguments: Namespace) -> int:
    """Prints what was made, and where to read what was left out."""
    print(made)
    skipped: Any = made.manifest.planned - len(made)
    if skipped:
        print(f"{unit} skipped: {skipped}; neural-graphs zoo info {arguments.out} says why")
    return 0
