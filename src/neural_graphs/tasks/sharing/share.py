"""Writing the folder of a trained metanetwork, as `Pretrained` reads it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neural_graphs.errors import ConfigError
from neural_graphs.io.atomic import sha256, write_whole
from neural_graphs.io.documents import write_json
from neural_graphs.io.tensors import to_safetensors
from neural_graphs.layout.serialise import to_json, written_as
from neural_graphs.nn.shareable import Shareable, family_of
from neural_graphs.tasks.generalization.calibration import CALIBRATION, Calibration, calibrate
from neural_graphs.tasks.generalization.task import Generalization
from neural_graphs.tasks.runs import Run
from neural_graphs.tasks.sharing.card import card
from neural_graphs.tasks.sharing.kinds import KINDS
from neural_graphs.tasks.sharing.pretrained import CARD, CONFIG, FORMAT, VERSION, WEIGHTS, Pretrained
from neural_graphs.tasks.task import Task
from neural_graphs.versions import versions

BATCH = 128  # networks read at once, where no run says another number
LEFT_OUT = ("run", "zoo", "elsewhere", "absent", "confusion")  # of a result: long, or places on one machine
LICENCE = re.compile(r"[\w.-]+")  # an identifier such as apache-2.0


def share(run: str | Path, folder: str | Path, licence: str = "mit") -> Pretrained:
    """Write the best checkpoint of a run into a folder that `Pretrained`, and every `--pretrained`, reads.

    A predictor of accuracies brings its intervals and what it has seen along, made now if they are not there yet, which
    needs its zoo; figures are those that `test` found. Raises ConfigError where the run is of classes of your own.
    """
    made = Run(run)
    task, known = made.task(), made.facts
    if not isinstance(task, Task):
        raise ConfigError(
            f"{made.folder} is a run of {type(task).__name__}; share its rule: neural_graphs.optim.save_rule"
        )
    result = made.result if made.result_file.is_file() else {}
    facts = {
        "layouts": known["layouts"],
        "canvas": known["canvas"],
        "batch_size": made.batch_size,
        "recipe": _without_places(known.get("recipe")),
        "figures": {name: value for name, value in result.items() if name not in LEFT_OUT},
    }
    calibration = calibrate(made, task) if isinstance(task, Generalization) else None
    return _write(Path(folder), task, facts, task.summary(result) if result else [], licence, calibration)


def save(metanetwork: Shareable, folder: str | Path, licence: str, figures: Mapping[str, Any]) -> Pretrained:
    """Write a metanetwork without a task; see `Shareable.save_pretrained`."""
    family = family_of(metanetwork)
    layouts = [] if family is None or family.layout is None else [family.layout.to_json()]
    facts = {"layouts": layouts, "canvas": None, "batch_size": BATCH, "recipe": None, "figures": dict(figures)}
    said = [f"{name}: {value}" for name, value in figures.items()]
    return _write(Path(folder), metanetwork, facts, said, licence, None)


def push(metanetwork: Shareable, name: str, licence: str, figures: Mapping[str, Any], private: bool) -> str:
    """Write a metanetwork onto the Hub; see `Shareable.push_to_hub`."""
    with TemporaryDirectory() as folder:
        return save(metanetwork, folder, licence, figures).push_to_hub(name, private=private)


def _write(
    folder: Path, made: Task | Shareable, facts: dict[str, Any], said: Sequence[str], licence: str,
    calibration: Calibration | None,
) -> Pretrained:  # fmt: skip
    """Write all files of a folder, the configuration last: without it there is nothing."""
    if not LICENCE.fullmatch(licence):
        raise ConfigError(f"licence is {licence!r}, expected an identifier such as mit or apache-2.0")
    content = {"format": FORMAT, "version": VERSION, "model": _described(made), **facts, "licence": licence}
    content["versions"] = versions("torch")
    metanetwork = made.metanetwork if isinstance(made, Task) else made
    assert isinstance(metanetwork, Shareable)  # or it had no description
    weights = to_safetensors(metanetwork.state_dict())
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / WEIGHTS, weights)
    content["files"] = {WEIGHTS: sha256(weights)}
    if calibration is not None:
        calibration.write(folder / CALIBRATION, sha256(weights))
        content["files"][CALIBRATION] = sha256((folder / CALIBRATION).read_bytes())
    write_whole(folder / CARD, card(made, metanetwork, content, said).encode())
    write_json(folder / CONFIG, content)
    return Pretrained(folder)


def _described(made: Task | Shareable) -> dict[str, Any]:
    """How an object is made again. Raises ConfigError naming a part that nobody else could make."""
    name = type(made).__name__
    try:
        content: dict[str, Any] = json.loads(json.dumps(to_json(made)))
    except TypeError as error:
        raise ConfigError(
            f"{name} was made of parts that cannot be written down ({error}): give it a class of its own, whose"
            " constructor takes an InputSpec and plain values"
        ) from error
    own = set() if isinstance(made, Task) else {written_as(type(made))}  # named by whoever loads it
    if strange := set(_kinds(content)) - own - {written_as(kind) for kind in KINDS}:
        raise ConfigError(
            f"{name} is, or is made of, {', '.join(sorted(strange))}, which is no class of this library: nobody else"
            " could load it; a metanetwork by itself can be shared: save_pretrained, then YourClass.from_pretrained"
        )
    return content


def _kinds(content: Any) -> Iterator[str]:
    """The classes that a description names."""
    if isinstance(content, dict):
        yield str(content.get("kind_of", "a dictionary"))
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from _kinds(each)


def _without_places(recipe: Any) -> Any:
    """A recipe that tells folders by their names: where they lay on one machine is nobody's business."""
    if isinstance(recipe, dict):
        return {key: _without_places(value) for key, value in recipe.items()}
    return Path(recipe).name if isinstance(recipe, str) else recipe
