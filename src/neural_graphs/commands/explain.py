"""What jsonargparse says about a wrong configuration, said in one line: the key, the mistake, the nearest right key."""

import re
from collections.abc import Iterable, Mapping
from importlib import import_module

from neural_graphs.commands.parser import did_you_mean
from neural_graphs.errors import ConfigError

UNKNOWN = re.compile(r"(?:Group '(?P<group>[^']+)' does not accept option|Option) '(?P<key>[^']+)'")
UNRECOGNIZED = re.compile(r"unrecognized arguments: --(?P<key>[^\s=]+)")
NO_CLASS = re.compile(r"module '(?P<module>[^']+)' has no attribute '(?P<name>[^']+)'")
PATH = re.compile(r'Parser key "([^"]+)"')
CLASS = re.compile(r"class_path '([^']+)'")
CONFIGURED = re.compile(r"class_path(?:=|': )'([^']+)'")
CALLABLE = re.compile(r"Type collections.*? expects a function or a callable class: ")
ECHO = re.compile(r"\.? Got value: Namespace\(.*")
VALUE = re.compile(r"Given value: (?!Namespace\()(.{1,80})")
# Lines that only say where in a union or a class jsonargparse was when it failed.
FRAME = re.compile(
    r"Does not validate against any|Subtypes:|Errors:|Given value|NoneType|Problem with given|^Parser key"
)
MISSING = re.compile(r"Requirement '(?P<package>tensorboard|wandb)[^']*' not met")
LISTED = 12  # more known keys than this are not listed


def explain(message: str, heads: Mapping[str, str | None]) -> ConfigError:
    """The error for a message of jsonargparse.

    Args:
        message: what its ``ArgumentError``, or its ``ValueError`` while it makes the objects, says.
        heads: the keys a configuration may have at its top, each with the class it configures, if any.
    """
    classes = CLASS.findall(message) or CONFIGURED.findall(message)[:1]
    message = ECHO.sub("", CALLABLE.sub("", message))
    path = PATH.findall(message)
    if unknown := UNKNOWN.search(message) or UNRECOGNIZED.search(message):
        group = unknown.groupdict().get("group")
        return _unknown([*path, *([group] if group else []), *unknown["key"].split(".")], classes, heads)
    where = f"{'.'.join(path)}: " if path else ""
    if missing := NO_CLASS.search(message):
        classes_there = [name for name in dir(import_module(missing["module"])) if name[0].isupper()]
        hint = _nearest(missing["name"], classes_there)
        return ConfigError(f"{where}{missing['module']} has no class {missing['name']}{hint}")
    if missing := MISSING.search(message):
        extra = f"pip install 'neural-graphs[{missing['package']}]'"
        return ConfigError(f"{where}{classes[-1]} needs an extra: {extra}")
    value = VALUE.search(message)
    leaf = _leaf(message)
    return ConfigError(f"{where}{leaf}" + (f"; got {value[1]}" if value and "ot value" not in leaf else ""))


def check_overrides(overrides: Iterable[str], heads: Mapping[str, str | None]) -> None:
    """Refuses overrides such as ``--trainer.max_epoch=3``, which jsonargparse would take for an abbreviation."""
    for override in overrides:
        path = override.removeprefix("--").partition("=")[0].split(".")
        configured = heads.get(path[0])
        if len(path) > 1 and configured and path[1] not in _parameters(configured):
            raise _unknown(path, [], heads)


def _unknown(path: list[str], classes: list[str], heads: Mapping[str, str | None]) -> ConfigError:
    """The error for a key that nothing accepts: of the innermost class, of a class at the top, or at the top."""
    if classes:
        return ConfigError(
            f"unknown key {'.'.join(path)} of {classes[-1]}{_nearest(path[-1], _parameters(classes[-1]))}"
        )
    if len(path) > 1 and (configured := heads.get(path[0])):
        return ConfigError(f"unknown key {'.'.join(path)}{_nearest(path[1], _parameters(configured))}")
    return ConfigError(f"unknown key {path[0]}{_nearest(path[0], heads)}")


def _nearest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    listed = f" (known: {', '.join(known)})" if 0 < len(known) <= LISTED else ""
    return f"{did_you_mean(key, known)}{listed}"


def _leaf(message: str) -> str:
    """The line that says what is wrong, without the frames around it; all of a message without frames."""
    lines = [line.strip(" -") for line in message.splitlines()]
    if not any(FRAME.search(line) for line in lines):
        return " ".join(lines)
    said = [line for line in lines if line and not FRAME.search(line)]
    return said[0] if said else PATH.sub("", lines[0]).strip(": ")


def _parameters(class_path: str) -> list[str]:
    """Names of the constructor's parameters; none where the class cannot be found."""
    from neural_graphs.layout.recorded import constructor_parameters
    from neural_graphs.tasks.task import find_class

    kind = find_class(class_path)
    return [] if kind is None else list(constructor_parameters(kind))
