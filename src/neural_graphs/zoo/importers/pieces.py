"""Zoos of many layouts made of rows in any order: every shard holds networks of one layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neural_graphs.layout import Layout
from neural_graphs.zoo.store import Zoo
from neural_graphs.zoo.writer import ShardData, writing


@dataclass(frozen=True)
class Piece:
    """What becomes one shard: the places of its networks in a list of all, and the index of their layout."""

    layout: int
    rows: NDArray[np.int64]


def pieces(layouts: NDArray[np.int64], size: int) -> list[Piece]:
    """Return pieces of at most `size` rows of one layout each, given the layout of every row.

    Rows of a layout keep their order, and pieces follow each other by their first row, so that a file is read once
    from its beginning to its end.
    """
    order = np.argsort(layouts, kind="stable")
    bounds = np.flatnonzero(np.diff(layouts[order])) + 1
    found = [
        Piece(int(layouts[rows[0]]), rows[start : start + size])
        for rows in np.split(order, bounds)
        for start in range(0, len(rows), size)
    ]
    return sorted(found, key=lambda piece: int(piece.rows[0]))


def columns_of(table: pa.Table, rows: NDArray[np.int64]) -> dict[str, pa.Array]:
    """Return some rows of a table as columns of a shard."""
    return {name: table[name].take(pa.array(rows)).combine_chunks() for name in table.column_names}


def write_pieces(
    out: str | Path,
    recipe: dict[str, Any],
    layouts: Sequence[Layout],
    plan: Sequence[Piece],
    rows_of: Callable[[Piece], ShardData],
    progress: Callable[[int, int], None] | None = None,
) -> Zoo:
    """Write a shard for every piece and return the zoo; pieces that are on disk already are not read again."""
    sizes = [len(piece.rows) for piece in plan]
    planned = sum(sizes)
    with writing(out, recipe, layouts, planned, shard_size=sizes) as writer:
        for piece in plan[len(writer.manifest.shards) :]:
            writer.write(rows_of(piece))
            if progress is not None:
                progress(writer.manifest.done, planned)
    return Zoo(out)
