"""A user's own checkpoints, with a table of their accuracies, made a zoo."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from neural_graphs.errors import CheckpointError, LayoutError, ZooError
from neural_graphs.io.atomic import sha256
from neural_graphs.io.foreign import place
from neural_graphs.io.modules import Source, fill, make
from neural_graphs.io.tensors import KINDS, StateDict, bare, check_finite, is_pickled, read_tensors
from neural_graphs.layout import Layout
from neural_graphs.layout.builders import from_shapes
from neural_graphs.networks import Networks
from neural_graphs.zoo.importers.collect import collect
from neural_graphs.zoo.importers.metrics_table import join, read_table
from neural_graphs.zoo.importers.runs_of_files import files_like, run_and_epoch
from neural_graphs.zoo.store import Zoo
from neural_graphs.zoo.writer import SHARD_SIZE

OURS = {"file": "listed_as", "index": "row"}  # columns of a table that a zoo has of its own


def convert_state_dicts(
    files: str | list[str],
    table: str | Path,
    out: str | Path,
    *,
    module: Source | None = None,
    shape: tuple[int, ...] | None = None,
    activation: str = "relu",
    column: str = "test_accuracy",
    key: str | None = None,
    percent: bool = False,
    seed: int = 0,
    shard_size: int = SHARD_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Zoo:
    """Convert `.safetensors` files and those of torch (`.pt`, `.pth`, `.ckpt`, `.bin`, `.pth.tar`) to a zoo.

    Args:
        files: patterns such as `runs/**/*.pt`, or paths.
        table: `.csv`, `.tsv` or `.parquet`, a row per file; all its columns are kept. Its columns `run`, `epoch` and
            `split` count, where it has them; else the first two are told by the paths, the split is at random.
        module: what makes the network, a function or `package.module:function`; it is traced with an input of
            `shape` (`(1, 3, 32, 32)`). Without it layouts are read off the tensor shapes of each file, with
            `activation` between the layers.
        column: the column of the accuracy, a fraction, or 0 to 100 with `percent`.
        key: the column that names the files, by their path, its end, or their name, or columns that do so together,
            `{run}/epoch_{epoch}`; default: the column that fits most.

    Raises:
        ZooError: where there is no file, the table does not fit them, or none can be used; single files that cannot be
            used, and rows of the table without a file, are skipped and reported.
    """
    patterns = [files] if isinstance(files, str) else files
    paths = (path for pattern in patterns for path in files_like(pattern))
    there = sorted({path.as_posix() for path in paths})
    found = [path for path in there if path.endswith(KINDS)]
    if not found:
        raise ZooError(f"No file of {', '.join(KINDS)} is like {', '.join(patterns)}.")
    results = read_table(Path(table), key)
    if column not in results.column_names:
        raise ZooError(f"{table} has no column {column!r}; it has {', '.join(results.column_names)}: say --column.")
    rows, left = join(results, found, key)
    tensors_of = _from_shapes(activation) if module is None else _from_module(make(module), shape)

    def read(file: str) -> tuple[Networks, Mapping[str, Any]]:
        if file not in rows:
            raise CheckpointError("the table has no row for it" if file in found else _unread(file, there))
        return tensors_of(file), _facts(file, rows[file], column, percent)

    recipe = {
        "source": "state-dicts",
        "table_sha256": sha256(Path(table).read_bytes()),
        "module": module if isinstance(module, str | None) else getattr(module, "__qualname__", str(module)),
        "shape": shape,
        "activation": activation,
        "column": column,
        "percent": percent,
    }
    return collect(out, recipe, [*found, *left], read, seed=seed, shard_size=shard_size, progress=progress)


def _unread(name: str, there: Sequence[str]) -> str:
    """Return why a name of the table is no file that was read."""
    if any(path == name or path.endswith(f"/{name}") for path in there):
        return f"it is of none of the kinds that are read: {', '.join(KINDS)}"
    return "it is in the table only"


def _facts(file: str, row: Mapping[str, Any], column: str, percent: bool) -> dict[str, Any]:
    """Return what the table says of a file, in our words, completed by what its path says."""
    run, epoch = run_and_epoch(file)
    accuracy = row[column]
    if isinstance(accuracy, int | float) and accuracy > 1 and not percent:
        raise CheckpointError(f"its accuracy is {accuracy:g}; of accuracies from 0 to 100, say --percent")
    facts = {OURS.get(name, name): value for name, value in row.items() if name not in (column, "network", "ok")}
    facts["test_accuracy"] = accuracy / 100 if percent and isinstance(accuracy, int | float) else accuracy
    named = row.get("run", row.get("network"))
    facts["run"] = run if named is None else str(named)
    stated = facts.get("epoch")
    facts["epoch"] = epoch if stated is None else int(stated) if str(stated).isdecimal() else stated
    return facts


def _from_module(module: torch.nn.Module, shape: tuple[int, ...] | None) -> Callable[[str], Networks]:
    """Return what reads the networks of files that fit one module."""
    from neural_graphs.tracing import trace

    if shape is None:
        raise ZooError(f"{type(module).__name__} is traced with an input: give its shape, such as --input 1x3x32x32.")
    module = module.eval()
    layout = trace(module, torch.zeros(shape))

    def read(file: str) -> Networks:
        filled = fill(module, read_tensors(Path(file)), Path(file))
        return Networks.from_state_dicts([filled.state_dict()], layout, names=[file])

    return read


def _from_shapes(activation: str) -> Callable[[str], Networks]:
    """Return what reads the networks of files whose shapes tell their layouts."""
    layouts: dict[tuple[Any, ...], Layout] = {}

    def read(file: str) -> Networks:
        tensors = bare(read_tensors(Path(file)))
        check_finite(tensors, Path(file))
        tensors = tensors if is_pickled(file) else _in_order(tensors)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        build = tuple(shapes.items())
        if build not in layouts:
            layouts[build] = _layout(shapes, activation)
        return Networks.from_state_dicts([tensors], layouts[build], names=[file])

    return read


def _layout(shapes: dict[str, tuple[int, ...]], activation: str) -> Layout:
    try:
        return from_shapes(shapes, activation)
    except LayoutError as error:
        raise CheckpointError(f"its shapes tell no layout ({error}); say --module and --input") from error


def _in_order(tensors: StateDict) -> StateDict:
    """Return tensors of a safetensors file, which are in the order of the alphabet, in the order of computation.

    Convolutions come before linear layers, both by the numbers in their names; a weight comes before its bias.
    """
    layers = {name: name.rpartition(".")[0] for name in tensors}
    ranks = {layer: max(tensors[name].ndim for name in tensors if layers[name] == layer) for layer in layers.values()}
    order = sorted(tensors, key=lambda name: (-ranks[layers[name]], place(layers[name]), -tensors[name].ndim))
    return {name: tensors[name] for name in order}
