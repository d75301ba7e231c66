"""The keys of a configuration, and what they would be without anyone's doing."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from lightning import Trainer

from neural_graphs.layout.recorded import constructor_parameters
from neural_graphs.tasks.fit import DEFAULTS, read_configuration
from neural_graphs.tasks.task import CLASSIFICATION, find_class, find_task

ABSENT = "–"
TOLD_ELSEWHERE = ("published", "elsewhere")  # they change nothing about the training


@dataclass(frozen=True)
class Setting:
    """A key with dots, its value in a run, and the `usual` one: of an experiment, or the default. All as text."""

    key: str
    value: str
    usual: str

    @property
    def differs(self) -> bool:
        """Whether the run does otherwise."""
        return self.value != self.usual


def settings(config: Mapping[str, Any], against: Path | None = None) -> list[Setting]:
    """Every key of a resolved configuration beside its default, or beside what an experiment file says.

    Raises ConfigError where the file cannot be read.
    """
    own = dict(_flat(config))
    usual = dict(_flat(_defaults(config)))
    if against is not None:
        usual |= dict(_flat(read_configuration(against)))
    keys = [key for key in {**own, **(usual if against else {})} if key.partition(".")[0] not in TOLD_ELSEWHERE]
    return [Setting(_short(key), _text(own, key), _text(usual, key)) for key in keys]


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots and plain values; a list of plain values is one."""
    nested: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping) and value:
        nested = iter(value.items())
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        nested = iter(enumerate(value))
    if nested is None:
        yield key, value
        return
    for name, each in nested:
        yield from _flat(each, f"{key}.{name}" if key else str(name))


def _short(key: str) -> str:
    """A key as the command line takes it: without the words that say that a class follows."""
    return key.replace(".init_args.", ".").removesuffix(".class_path").removesuffix(".init_args")


def _text(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return ABSENT
    value = values[key]
    if (key == "task" or key.endswith("class_path")) and (kind := find_class(str(value))) is not None:
        return f"{kind.__module__}.{kind.__qualname__}".removeprefix("neural_graphs.")  # however it was named
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return f"{number:g}" if number is not None and abs(number) < 1e6 else str(value)


def _defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration would be if it named its classes alone."""
    task = find_task(str(config.get("task", CLASSIFICATION)))
    return {
        "task": CLASSIFICATION,
        "seed_everything": 0,
        "model": _of_class(task, config["model"]),
        "data": _of_class(task.data_class, config["data"]),
        "trainer": {**_of_class(Trainer, config.get("trainer", {})), **DEFAULTS},
    }


def _of_class(kind: type | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a constructor's arguments, and of those classes that are given for some of them."""
    parameters = () if kind is None else constructor_parameters(kind).values()
    found = {each.name: _plain(each.default) for each in parameters if each.default is not Parameter.empty}
    return found | {name: inner for name, value in given.items() if (inner := _inside(value))}


def _inside(value: Any) -> Any:
    """The defaults inside a value that describes objects; nothing for other values."""
    if isinstance(value, list):
        found = [_inside(each) for each in value]
        return found if any(found) else None
    if not isinstance(value, Mapping) or "class_path" not in value:
        return None
    path = str(value["class_path"])
    return {"class_path": path, "init_args": _of_class(find_class(path), value.get("init_args") or {})}


def _plain(value: Any) -> Any:
    """A default as a configuration would have it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(each) for name, each in asdict(value).items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
