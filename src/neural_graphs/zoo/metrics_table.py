"""A user's table of results, joined to files of checkpoints by their paths or names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from neural_graphs.errors import ZooError

KEYS = ("file", "path", "checkpoint", "name", "run", "network", "id")  # columns that usually name the file


def read_table(path: Path) -> pa.Table:
    """Read a `.csv` (also `.csv.gz`), `.tsv` or `.parquet` table; raises `ZooError` where it cannot be read."""
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        tabs = ".tsv" in path.suffixes
        return pa.csv.read_csv(str(path), parse_options=pa.csv.ParseOptions(delimiter="\t" if tabs else ","))
    except (pa.ArrowInvalid, OSError) as error:
        raise ZooError(f"{path} is no readable table ({error}); give a .csv, .tsv or .parquet file.") from error


def join(table: pa.Table, files: Sequence[str], key: str | None = None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the row of each file that has one, and the names in the table that are no file.

    A name in the column `key` (default: the column that names most files) is a file's path, an end of it, either
    without its suffix, or an end of its folder's path; the longest counts. Raises `ZooError` where no row fits, a name
    stands in two rows, or a name fits several files as well.
    """
    if key is not None and key not in table.column_names:
        raise ZooError(f"The table has no column {key!r}; it has {', '.join(table.column_names)}.")
    texts = [name for name in table.column_names if pa.types.is_string(table[name].type) or name in KEYS]
    matched = {name: _match(table[name].to_pylist(), files) for name in ([key] if key else texts)}
    best = max(matched, key=lambda name: _alone(matched[name]), default=None)
    if best is None or not matched[best]:
        shown = f"{files[0]!r}, for example," if files else "no file"
        raise ZooError(f"No column of the table names the files: {shown} is in none of {', '.join(matched) or 'them'}.")
    names = [str(name) for name in table[best].to_pylist()]
    if twins := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise ZooError(f"The table has {twins[0]!r} in two rows of its column {best!r}; one row per file is needed.")
    rows = dict(zip(names, table.drop_columns(best).to_pylist(), strict=True))
    _refuse_shared(matched[best])
    left = [name for name in names if name not in set(matched[best].values())]
    return {file: rows[name] for file, name in matched[best].items()}, left


def _match(names: Sequence[Any], files: Sequence[str]) -> dict[str, str]:
    """Return the name of every file that has one."""
    known = {PurePosixPath(str(name)).as_posix(): str(name) for name in names if name is not None}
    found = {}
    for file in files:
        end = next((end for end in _ends(file) if end in known), None)
        if end is not None:
            found[file] = known[end]
    return found


def _ends(file: str) -> list[str]:
    """Return what may name a file, longest first: ends of its path, without its suffix, of its folder's path."""
    path = PurePosixPath(Path(file).as_posix())
    ways = (path, path.with_suffix(""), path.parent)
    parts = [way.parts for way in ways]
    return ["/".join(each[start:]).replace("//", "/") for each in parts for start in range(len(each))]


def _alone(found: Mapping[str, str]) -> int:
    """Return how many names fit one file only: a column of optimizers may fit folders called so."""
    return sum(count == 1 for count in Counter(found.values()).values())


def _refuse_shared(found: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for file, name in found.items():
        if (other := first.setdefault(name, file)) != file:
            raise ZooError(f"{name!r} of the table fits both {other} and {file}; write longer paths into it.")
