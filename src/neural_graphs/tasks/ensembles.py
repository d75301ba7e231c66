"""Runs joined to one that answers by the mean of their metanetworks (deep ensembles)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from neural_graphs.errors import ConfigError
from neural_graphs.io.atomic import write_whole
from neural_graphs.tasks.learning_to_optimize import LearningToOptimize
from neural_graphs.tasks.runs import PREFIX, Run, load_run
from neural_graphs.tasks.task import CLASSIFICATION, find_task

ENSEMBLE = "neural_graphs.nn.Ensemble"
ALIKE = ("family", "classes", "layouts", "canvas")  # of run.json: members were trained for the same networks

Json = dict[str, Any]


def ensemble(runs: Sequence[str | Path], folder: str | Path) -> Run:
    """Write a run whose metanetwork is the `Ensemble` of the best checkpoints of others; nothing is trained.

    All that trained runs do, it does: test, rank, predict, edit, share. Configuration and zoo are those of the first.
    A run that is an ensemble counts as one member.
    Nothing is written where it raises: ConfigError for fewer than two runs, runs of other tasks, styles or networks
    than the first, or a folder that holds a run, CheckpointError for a damaged checkpoint.
    """
    members, made = [Run(run).known() for run in runs], Run(folder)
    if len(members) < 2:
        raise ConfigError(f"an ensemble is of two runs or more, got {len(members)}")
    if made.config_file.exists():
        raise ConfigError(f"{made.folder} holds a run already; choose another folder")
    configs, facts = [member.config for member in members], [member.facts for member in members]
    _require_alike(members, configs, facts)
    described = [config["model"]["metanetwork"] for config in configs]
    config = configs[0]
    config["model"]["metanetwork"] = {"class_path": ENSEMBLE, "init_args": {"members": described}}
    state = {name: tensor for place, member in enumerate(members) for name, tensor in _numbers(member, place).items()}
    joined = {"parameters": sum(each["parameters"] for each in facts), "members": [str(run.folder) for run in members]}
    made.checkpoints.mkdir(parents=True, exist_ok=True)
    made.write(made.facts_file, facts[0] | joined, sealed=True)
    _write_checkpoint(made, state)
    write_whole(made.config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())
    return made


def _require_alike(members: Sequence[Run], configs: Sequence[Json], facts: Sequence[Json]) -> None:
    """Raise ConfigError naming what a run differs from the first in."""
    first, *tasks = [config.get("task", CLASSIFICATION) for config in configs]
    if issubclass(find_task(first), LearningToOptimize):
        raise ConfigError(f"{members[0].folder} is a run of {first}: an update rule remembers, and has no mean")
    styles = [config["model"].get("style") for config in configs]
    for other, task, style, known in zip(members[1:], tasks, styles[1:], facts[1:], strict=True):
        if task != first:
            raise ConfigError(
                f"{other.folder} is a run of {task}, {members[0].folder} of {first}: their answers differ"
            )
        if style != styles[0]:
            raise ConfigError(f"{other.folder} edits in another style than {members[0].folder}; join runs of one style")
        if different := [fact for fact in ALIKE if known[fact] != facts[0][fact]]:
            raise ConfigError(
                f"{other.folder} was trained for other networks than {members[0].folder} ({', '.join(different)} in"
                " run.json); join runs on the same zoo"
            )


def _numbers(run: Run, place: int) -> dict[str, Tensor]:
    """The tensors of the metanetwork of a run, named as those of a member; raises what `load_run` raises."""
    metanetwork, _ = load_run(run.folder)
    return {f"{PREFIX}members.{place}.{name}": tensor for name, tensor in metanetwork.state_dict().items()}


def _write_checkpoint(run: Run, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save({"state_dict": state}, buffer)
    write_whole(run.best, buffer.getvalue())
