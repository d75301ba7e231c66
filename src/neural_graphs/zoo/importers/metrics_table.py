"""A user's table of results, joined to files of checkpoints by their paths or names."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from neural_graphs.errors import ZooError
from neural_graphs.io.tensors import without_kind

KEYS = ("file", "path", "checkpoint", "name", "run", "network", "id")  # columns that usually name the file
TOGETHER = "one row per file is needed, which columns may name together: --key '{run}/epoch_{epoch}'"


def read_table(path: Path, key: str | None = None) -> pa.Table:
    """Read a `.csv` (also `.csv.gz`), `.tsv` or `.parquet` table; columns that may name files are text (`007`).

    A column without a title, as pandas writes its index, is left out. Raises `ZooError` where the table cannot be read.
    """
    texts = dict.fromkeys((*KEYS, key or KEYS[0]), pa.string())
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    try:
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
        else:
            table = pa.csv.read_csv(
                str(path),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter),
                convert_options=pa.csv.ConvertOptions(column_types=texts),
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise ZooError(f"{path} is no readable table ({error}); give a .csv, .tsv or .parquet file.") from error
    if twins := [name for name, count in Counter(table.column_names).items() if count > 1]:
        raise ZooError(f"{path} has two columns {twins[0]!r}; rename one.")
    return table.select([name for name in table.column_names if name])


def join(table: pa.Table, files: Sequence[str], key: str | None = None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the row of each file that has one, and the names in the table that are no file.

    A name is what the column `key` holds (default: the column that names most files), or `key` filled in from several
    columns where it has braces (`{run}/epoch_{epoch}`). It is a file's path, an end of it, either without its suffix,
    or an end of its folder's path, the longest counts; else a longer path that ends so. Raises `ZooError` where no row
    fits, a name stands in two rows, or a name fits several files as well.
    """
    named = {each: _match(names, files) for each, names in _names(table, key).items()}
    best = max(named, key=lambda each: _alone(named[each]), default=None)
    if best is None or not named[best]:
        raise _nameless(table, files, list(named))
    names = _names(table, best)[best]
    if twins := [name for name, count in Counter(names).items() if count > 1]:
        raise ZooError(f"The table has {twins[0]!r} in two rows of its column {best!r}; {TOGETHER}.")
    facts = table.drop_columns(best) if best in table.column_names else table
    rows = dict(zip(names, facts.to_pylist(), strict=True))
    _refuse_shared(named[best])
    used = set(named[best].values())
    return {file: rows[name] for file, name in named[best].items()}, [name for name in names if name not in used]


def _names(table: pa.Table, key: str | None) -> dict[str, list[str]]:
    """Return the names in a column, in a pattern with braces, or in every column that may name files."""
    if key is not None and "{" in key:
        try:
            return {key: [key.format(**row) for row in table.to_pylist()]}
        except (KeyError, ValueError, IndexError) as error:
            raise ZooError(f"{key} cannot be filled in from {', '.join(table.column_names)}: {error!r}.") from error
    if key is not None and key not in table.column_names:
        raise ZooError(f"The table has no column {key!r}; it has {', '.join(table.column_names)}.")
    texts = [name for name in table.column_names if pa.types.is_string(table[name].type) or name in KEYS]
    return {name: [str(each) for each in table[name].to_pylist()] for name in ([key] if key else texts)}


def _match(names: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Return the name of every file that has one."""
    known = {PurePosixPath(name).as_posix(): name for name in names}
    longer: dict[str, str] = {}
    for path, name in known.items():
        for end in list(_ends(PurePosixPath(path)))[1:]:
            longer[end] = "" if end in longer else name  # of two names neither
    found = {file: next(filter(None, _fitting(file, known, longer)), "") for file in files}
    return {file: name for file, name in found.items() if name}


def _fitting(file: str, known: Mapping[str, str], longer: Mapping[str, str]) -> Iterator[str | None]:
    """Yield what may be the name of a file, the best first."""
    path = PurePosixPath(Path(file).as_posix())
    ways = (path, PurePosixPath(without_kind(str(path))), path.parent)
    yield from (known.get(end) for way in ways for end in _ends(way))
    yield from (longer.get(str(way)) for way in ways)


def _ends(path: PurePosixPath) -> Iterator[str]:
    """Yield what a path ends in, from all of it to its name."""
    return ("/".join(path.parts[start:]).replace("//", "/") for start in range(len(path.parts)))


def _alone(found: Mapping[str, str]) -> int:
    """Return how many names fit one file only: a column of optimizers may fit folders called so."""
    return sum(count == 1 for count in Counter(found.values()).values())


def _nameless(table: pa.Table, files: Sequence[str], asked: Sequence[str]) -> ZooError:
    """Return the error for a table in which no file is named."""
    shown = f"{files[0]!r}, for example," if files else "no file"
    held = [f"{name} ({next(iter(table[name].to_pylist()), '')})" if name in table.column_names else name
            for name in asked]  # fmt: skip
    return ZooError(
        f"No column of the table names the files: {shown} is in none of {', '.join(held) or 'them'}; {TOGETHER}."
    )


def _refuse_shared(found: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for file, name in found.items():
        if (other := first.setdefault(name, file)) != file:
            raise ZooError(f"{name!r} of the table fits both {other} and {file}; write longer paths into it.")
