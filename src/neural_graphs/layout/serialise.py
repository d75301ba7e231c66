"""Frozen dataclasses, and objects that remember how they were made, to plain JSON values and back."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, get_type_hints

from neural_graphs.errors import LayoutError
from neural_graphs.layout.recorded import Recorded, arguments_of, constructor_parameters

Kind = TypeVar("Kind")
PLAIN: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}  # hint → values


def to_json(value: Any) -> Any:
    """Plain values: an object becomes a dictionary with its class name under `kind_of`, a tuple a list.

    Objects are dataclasses, of which fields are written, and `Recorded` ones, of which arguments are.
    """
    if isinstance(value, Recorded):
        return {"kind_of": written_as(type(value)), **{key: to_json(item) for key, item in arguments_of(value).items()}}
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
    """The value `to_json` described, built from the given classes only. Raises LayoutError on an unknown one."""
    if isinstance(value, list):
        return tuple(from_json(item, kinds) for item in value)
    if not isinstance(value, dict):
        return value
    by_name = {written_as(kind): kind for kind in kinds}
    name = value.get("kind_of")
    if name not in by_name:
        near = get_close_matches(str(name), by_name, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(by_name))}"
        raise LayoutError(f"unknown kind {name!r} in a description; {hint}")
    return build(by_name[name], {key: from_json(item, kinds) for key, item in value.items() if key != "kind_of"})


def written_as(kind: type) -> str:
    """The name of a class in files: its own, or the one it had when files were first written."""
    return str(getattr(kind, "KIND_OF", kind.__name__))


def build(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """An object from its fields or arguments. Raises LayoutError naming an unknown, lacking or mistyped key."""
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
    """What is written of a class, what it needs, and the kinds of values of what is plain."""
    if is_dataclass(kind):
        every = [each for each in fields(kind) if each.compare]
        names, hints = tuple(each.name for each in every), get_type_hints(kind)
        required = tuple(f.name for f in every if f.default is MISSING and f.default_factory is MISSING)
    else:
        parameters = constructor_parameters(kind)
        names, hints = tuple(parameters), {name: each.annotation for name, each in parameters.items()}
        required = tuple(name for name, each in parameters.items() if each.default is each.empty)
    return names, required, {name: PLAIN[hints[name]] for name in names if hints[name] in PLAIN}
