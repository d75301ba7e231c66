"""JSON and YAML files of ours, written and read in one place: damage is seen, and named by its file and key."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neural_graphs.errors import NeuralGraphsError
from neural_graphs.io.atomic import sha256, write_whole

SEAL = "sha256"  # the last key of a sealed document: the checksum of the others
BROKEN = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)


def seal(content: Mapping[str, Any]) -> str:
    """The checksum of a document, of its values in their order: spaces and line breaks do not count."""
    return sha256(json.dumps(content, ensure_ascii=False).encode())


def write_json(path: Path, content: Mapping[str, Any], *, sealed: bool = True) -> None:
    """Write plain values in one step; sealed, `read_json` sees when a number in them was changed."""
    whole = {**content, SEAL: seal(content)} if sealed else content
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{text}\n".encode())


def read_json(path: Path, error: type[NeuralGraphsError], advice: str) -> dict[str, Any]:
    """The values of a document, without its seal, which older ones do not have.

    Raises `error` naming the file where it is missing, no JSON object, or not what was written; `advice` says what to
    do then.
    """
    with reading(path, error, advice):
        return unsealed(json_object(path))


def json_object(path: Path) -> dict[str, Any]:
    """The named values of a JSON file. Raises ValueError where it holds none."""
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, expected an object of named values")
    return content


def unsealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a document without its seal. Raises ValueError where they are not those that were sealed."""
    values = {key: value for key, value in content.items() if key != SEAL}
    if SEAL in content and content[SEAL] != seal(values):
        raise ValueError("its values are not those that were written")
    return values


def read_text(path: Path, error: type[NeuralGraphsError], advice: str) -> str:
    """The text of a file. Raises `error` naming it where it is missing or no UTF-8."""
    with reading(path, error, advice):
        return path.read_text(encoding="utf-8")


@contextmanager
def reading(path: Path, error: type[NeuralGraphsError], advice: str) -> Iterator[None]:
    """Name the file, and what to do, in whatever goes wrong while its content is understood."""
    try:
        yield
    except FileNotFoundError as cause:
        raise error(f"{path} is missing; {advice}") from cause
    except (*BROKEN, NeuralGraphsError) as cause:
        raise error(f"{path} is damaged ({_explained(cause)}); {advice}") from cause


def _explained(cause: Exception) -> str:
    if isinstance(cause, KeyError):
        return f"it lacks the key {cause}"
    text = " ".join(str(cause).split())
    return text if isinstance(cause, NeuralGraphsError | ValueError) and text else f"{type(cause).__name__}: {text}"


def within(content: Mapping[str, Any], *keys: str) -> Any:
    """The value under keys, each inside the one before. Raises ValueError naming the first that is not there.

    >>> within({"data": {"zoo": "zoos/digits"}}, "data", "zoo")
    'zoos/digits'
    >>> within({"data": {"zoo": "zoos/digits"}}, "data", "batch_size")
    Traceback (most recent call last):
    ValueError: it lacks the key data.batch_size; data has zoo
    """
    found: Any = content
    for depth, key in enumerate(keys):
        if not isinstance(found, Mapping) or key not in found:
            place = ".".join(keys[:depth]) or "it"
            held = f"has {', '.join(map(str, found)) or 'no keys'}" if isinstance(found, Mapping) else f"is {found!r}"
            raise ValueError(f"it lacks the key {'.'.join(keys[: depth + 1])}; {place} {held}")
        found = found[key]
    return found
