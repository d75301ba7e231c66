"""The Small CNN Zoo (Unterthiner et al. 2020) converted to a zoo of ours, piece by piece: it is never all in memory."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from neural_graphs.errors import ZooError
from neural_graphs.io.atomic import sha256
from neural_graphs.layout import Layout
from neural_graphs.networks.execution import ACTIVATIONS
from neural_graphs.zoo.importers.keras import KerasCnn, read_layout
from neural_graphs.zoo.importers.pieces import Piece, columns_of, pieces, write_pieces
from neural_graphs.zoo.importers.runs_of_files import numbered
from neural_graphs.zoo.store import Zoo
from neural_graphs.zoo.writer import ShardData

WEIGHTS, METRICS, LAYOUT = "weights.npy", "metrics.csv.gz", "layout.csv"
FINAL = 86  # epochs; the split counts the networks that got there
MEASURES = ("test_accuracy", "test_loss", "train_accuracy", "train_loss")
RENAMED = {"step": "epoch", "l2reg": "l2", "w_init": "initializer", "b_init": "bias_initializer"}
RUN = "modeldir"  # one folder per network, on the machine that trained it
STRIDE, PADDING = 2, 0
INITIALIZERS = {"RandomNormal": "normal", "TruncatedNormal": "truncated_normal"}  # Keras' words, ours
SHARD = 2048  # networks: 40 MB


@dataclass(frozen=True)
class Published:
    """The files of one image set: weights (rows, size) as they lie on disk, and a row of `table` for each of them."""

    folder: Path
    cnn: KerasCnn
    rows: int
    table: pa.Table
    networks: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> "Published":
        """Read everything but the weights; raises `ZooError` naming the file that is missing or does not fit."""
        if missing := [name for name in (WEIGHTS, METRICS, LAYOUT) if not (folder / name).is_file()]:
            raise ZooError(f"{folder} has no {' and no '.join(missing)}; the Small CNN Zoo is these three files.")
        cnn = read_layout(folder / LAYOUT)
        weights = _map(folder)
        if weights.ndim != 2 or weights.shape[1] != cnn.size or weights.dtype != np.float32:
            found = f"{weights.dtype} {weights.shape}"
            raise ZooError(f"{folder / WEIGHTS} is {found}; {LAYOUT} tells of float32 (networks, {cnn.size}).")
        table = _read_metrics(folder / METRICS)
        if len(table) != len(weights):
            raise ZooError(f"{folder}: {METRICS} has {len(table)} rows, {WEIGHTS} {len(weights)}.")
        return cls(folder, cnn, len(weights), table, numbered(_run_names(table)))

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows in PyTorch's order; the file is mapped anew, so no page outlives the call."""
        return np.take(_map(self.folder)[rows], self.cnn.order, axis=1)


def convert_small_cnn_zoo(
    folder: str | Path,
    out: str | Path,
    *,
    shuffle: str | Path | None = None,
    shard_size: int = SHARD,
    progress: Callable[[int, int], None] | None = None,
) -> Zoo:
    """Convert `weights.npy`, `metrics.csv.gz` and `layout.csv` to a zoo and return it; interrupted, it goes on.

    Every checkpoint is kept; `row` is its row in the files, `network` numbers the runs and `epoch == 86` chooses the
    checkpoints that the published figures are of. Splits are of runs, as Zhou et al. 2023 make them: in the order of
    `shuffle`, a CSV file of one column of places among the rows of epoch 86, the second half is test, and of the first
    half a fifth val (Python's `random.Random(0)`); without that file the order is one of ours.
    Rows whose weights or accuracies are not finite are kept, and not `ok`; those of an unknown activation are skipped
    and reported. `progress` receives checkpoints done and in all. Raises `ZooError` naming the file that is missing or
    does not fit.
    """
    folder = Path(folder)
    found = Published.open(folder)
    kinds = found.table["activation"].to_pylist()
    known = list(dict.fromkeys(kind for kind in kinds if kind in ACTIVATIONS))
    if not known:
        raise ZooError(f"{folder / METRICS}: none of the activations {sorted(set(kinds))} is known.")
    layouts = [
        Layout.cnn(
            found.cnn.channels, found.cnn.kernels, found.cnn.classes, activations=kind, stride=STRIDE, padding=PADDING
        )
        for kind in known
    ]
    splits = split_runs(found.networks, found.table["epoch"].to_numpy() == FINAL, _read_shuffle(shuffle))
    table = found.table.append_column("network", pa.array(found.networks)).append_column("split", pa.array(splits))
    table = table.append_column("row", pa.array(np.arange(found.rows)))
    table = table.drop_columns([name for name in (RUN,) if name in table.column_names])
    recipe = {
        "kind": "cnn",
        "source": "small-cnn-zoo",
        "images": folder.resolve().name,
        "metrics_sha256": sha256((folder / METRICS).read_bytes()),
        "shuffle_sha256": None if shuffle is None else sha256(Path(shuffle).read_bytes()),
    }
    number = {kind: place for place, kind in enumerate(known)}
    plan = pieces(np.array([number.get(kind, 0) for kind in kinds]), shard_size)

    def rows_of(piece: Piece) -> ShardData:
        return _rows(found, table, piece)

    return write_pieces(out, recipe, layouts, plan, rows_of, progress)


def split_runs(networks: NDArray[np.int64], final: NDArray[np.bool_], order: NDArray[np.int64] | None) -> list[str]:
    """Return the split of every checkpoint from the runs (numbers) of all and which of them are `final`.

    `order` numbers the final checkpoints in their order in the files. Runs without a final checkpoint are train.
    Raises `ZooError` where it is no permutation of them.
    """
    runs = networks[final]
    order = np.random.default_rng(0).permutation(len(runs)) if order is None else order
    if not np.array_equal(np.sort(order), np.arange(len(runs))):
        raise ZooError(f"The shuffle has {len(order)} places; expected each of 0 … {len(runs) - 1} once.")
    half = len(runs) // 2
    first, test = order[:half].tolist(), order[half:]
    random.Random(0).shuffle(first)
    of = dict.fromkeys(runs[first[4 * half // 5 :]].tolist(), "val") | dict.fromkeys(runs[test].tolist(), "test")
    return [of.get(run, "train") for run in networks.tolist()]


def _map(folder: Path) -> NDArray[Any]:
    """Return the weights as a map of their file."""
    try:
        return np.load(folder / WEIGHTS, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ZooError(f"{folder / WEIGHTS} is no whole array of numpy ({error}); download it again.") from error


def _rows(found: Published, table: pa.Table, piece: Piece) -> ShardData:
    """Return the networks of one piece; those that cannot be used are skipped with the reason."""
    kinds = table["activation"].take(pa.array(piece.rows)).to_pylist()
    usable = np.array([kind in ACTIVATIONS for kind in kinds])
    unknown = zip(piece.rows[~usable].tolist(), (kind for kind in kinds if kind not in ACTIVATIONS), strict=True)
    skipped = [(f"{METRICS}, row {row}", f"its activation {kind!r} is unknown") for row, kind in unknown]
    values = found.read(piece.rows[usable])
    columns: dict[str, Any] = {**columns_of(table, piece.rows[usable])}
    columns["ok"] = np.isfinite(values).all(axis=1) & np.isfinite(columns["test_accuracy"].to_numpy())
    return ShardData(values, columns, layout=piece.layout, skipped=skipped)


def _read_metrics(path: Path) -> pa.Table:
    """Return the table with our names of columns; raises `ZooError` naming the columns that are missing."""
    try:
        table = pa.csv.read_csv(str(path))  # tells gzip from the name
    except (pa.ArrowInvalid, OSError) as error:
        raise ZooError(f"{path} is no readable table ({error}).") from error
    names = [name.removeprefix("config.") for name in table.column_names]
    table = table.rename_columns([RENAMED.get(name, name) for name in names])
    if missing := {"activation", "epoch", *MEASURES} - set(table.column_names):
        raise ZooError(f"{path} has no column {', '.join(sorted(missing))}; it has {', '.join(table.column_names)}.")
    try:
        typed = {name: table[name].cast(pa.float64()).fill_null(np.nan) for name in MEASURES}
        typed["epoch"] = table["epoch"].cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ZooError(f"{path}: accuracies, losses and steps must be numbers ({error}).") from error
    if "initializer" in table.column_names:
        words = [INITIALIZERS.get(word, word) for word in table["initializer"].to_pylist()]
        typed["initializer"] = pa.array(words)
    for name, column in typed.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table.drop_columns([name for name in ("", "laststep", "index") if name in table.column_names])


def _run_names(table: pa.Table) -> list[str]:
    """Return a name for the run of every row: its folder, or all its hyper-parameters where there is none."""
    if RUN in table.column_names:
        return table[RUN].to_pylist()
    columns = [name for name in table.column_names if name not in ("epoch", *MEASURES)]
    texts = [table[name].cast(pa.string()) for name in columns]
    return pc.binary_join_element_wise(*texts, "|", null_handling="replace").to_pylist()


def _read_shuffle(path: str | Path | None) -> NDArray[np.int64] | None:
    """Return the numbers of a CSV file of one column, with or without a title."""
    if path is None:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").split()
        return np.array(lines[0 if lines[0].isdigit() else 1 :], dtype=np.int64)
    except (OSError, ValueError, IndexError) as error:
        raise ZooError(f"{path} is no CSV file of one column of whole numbers ({error}).") from error
