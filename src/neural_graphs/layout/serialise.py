"""Frozen dataclasses to plain JSON values and back, for manifests."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from neural_graphs.errors import LayoutError


def to_json(value: Any) -> Any:
    """Plain values: a dataclass becomes a dictionary with its class name under `kind_of`, a tuple a list."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: to_json(getattr(value, f.name)) for f in fields(value) if f.compare}
        return {"kind_of": type(value).__name__, **content}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any, kinds: tuple[type, ...]) -> Any:
    """The value `to_json` described, built from the given dataclasses only. Raises LayoutError on an unknown one."""
    if isinstance(value, list):
        return tuple(from_json(item, kinds) for item in value)
    if not isinstance(value, dict):
        return value
    by_name = {kind.__name__: kind for kind in kinds}
    name = value.get("kind_of")
    if name not in by_name:
        raise LayoutError(f"unknown kind {name!r} in a layout description; known: {', '.join(sorted(by_name))}")
    kind = by_name[name]
    content = {key: from_json(item, kinds) for key, item in value.items() if key != "kind_of"}
    known = {f.name for f in fields(kind) if f.compare}
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if not required <= set(content) <= known:
        raise LayoutError(f"{name} needs the keys {sorted(required)} and knows {sorted(known)}, got {sorted(content)}")
    return kind(**content)
