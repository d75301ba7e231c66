"""Frozen dataclasses to plain JSON values and back, for manifests."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, get_type_hints

from neural_graphs.errors import LayoutError

Kind = TypeVar("Kind")
PLAIN: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}  # hint → values


def to_json(value: Any) -> Any:
    """Plain values: a dataclass becomes a dictionary with its class name under `kind_of`, a tuple a list."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: to_json(getattr(value, f.name)) for f in fields(value) if f.compare and _told(f, value)}
        return {"kind_of": written_as(type(value)), **content}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def _told(field: Field[Any], value: Any) -> bool:
    """Whether a field is written: those that older versions do not know only where they say something."""
    return not field.metadata.get("sparse") or bool(getattr(value, field.name) != field.default)


def from_json(value: Any, kinds: tuple[type, ...]) -> Any:
    """The value `to_json` described, built from the given dataclasses only. Raises LayoutError on an unknown one."""
    if isinstance(value, list):
        return tuple(from_json(item, kinds) for item in value)
    if not isinstance(value, dict):
        return value
    by_name = {written_as(kind): kind for kind in kinds}
    name = value.get("kind_of")
    if name not in by_name:
        raise LayoutError(f"unknown kind {name!r} in a layout description; known: {', '.join(sorted(by_name))}")
    return build(by_name[name], {key: from_json(item, kinds) for key, item in value.items() if key != "kind_of"})


def written_as(kind: type) -> str:
    """The name of a class in files: its own, or the one it had when files were first written."""
    return str(getattr(kind, "KIND_OF", kind.__name__))


def build(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """A dataclass from its fields by name. Raises LayoutError naming a key that is unknown, lacks, or is mistyped."""
    known, required, plain = _fields(kind)  # type: ignore[arg-type]  # classes are hashable
    for key in content:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise LayoutError(f"{kind.__name__} has no {key!r}, it has {', '.join(known)}{hint}")
    for key in required:
        if key not in content:
            raise LayoutError(f"{kind.__name__} lacks {key!r}, it has {', '.join(known)}")
    for key, kinds in plain.items():
        value = content.get(key, kinds[0]())
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise LayoutError(f"{kind.__name__}: {key} is {value!r}, expected {kinds[-1].__name__}")
    return kind(**content)


@cache
def _fields(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, tuple[type, ...]]]:
    """The fields of a dataclass that are written, those it needs, and the kinds of values of those that are plain."""
    every = [each for each in fields(kind) if each.compare]
    hints = get_type_hints(kind)
    required = tuple(f.name for f in every if f.default is MISSING and f.default_factory is MISSING)
    plain = {each.name: PLAIN[hints[each.name]] for each in every if hints[each.name] in PLAIN}
    return tuple(each.name for each in every), required, plain
