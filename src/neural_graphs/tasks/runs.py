"""A run on disk: its configuration, what it was made with, its checkpoints, metrics and result."""

import platform
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.io.documents import read_json, read_text, reading, within, write_json
from neural_graphs.io.tensors import load
from neural_graphs.layout import Layout
from neural_graphs.nn.spec import InputSpec
from neural_graphs.tasks.base import BaseTask
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.former import renamed
from neural_graphs.tasks.task import CLASSIFICATION, find_task
from neural_graphs.versions import versions
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.remote import is_zoo

MetanetworkOf = Callable[[InputSpec], nn.Module]  # in a configuration: a class whose first argument is the family
RETEST = "test the run again: neural-graphs test"
RETRAIN = "copy the whole run again, or train it again"
FACTS = ("versions", "commit", "layouts", "family", "classes", "canvas", "parameters")  # of run.json
PREFIX = "metanetwork."  # of the metanetwork's tensors in the checkpoint of its task


class Trained(ABC):
    """A trained metanetwork on disk and what answering with it takes: a `Run`, or what was shared of one.

    `folder` is where it lies, `weights` the file of its numbers.
    """

    folder: Path
    weights: Path

    @property
    @abstractmethod
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts of the networks it was trained on."""

    @property
    @abstractmethod
    def canvas(self) -> Canvas:
        """How the networks it was trained on draw."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many networks it read at once."""

    @abstractmethod
    def task(self) -> BaseTask:
        """The task around the metanetwork, in evaluation mode."""

    @abstractmethod
    def data(self) -> ZooData:
        """The zoo it was trained on. Raises ConfigError where that is not there."""


class Run(Trained):
    """The folder of a run.

    `config.yaml` (resolved), `run.json` (versions, commit, layouts, family, classes), `checkpoints/best.ckpt` and
    `last.ckpt`, `metrics.csv` (a row per epoch) and `result.json` (what `test` found). Checkpoints are read with
    `weights_only=True`: tensors and plain values, never code.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config_file = self.folder / "config.yaml"
        self.facts_file = self.folder / "run.json"
        self.metrics_file = self.folder / "metrics.csv"
        self.result_file = self.folder / "result.json"
        self.checkpoints = self.folder / "checkpoints"
        self.best = self.weights = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def known(self) -> "Run":
        """The run itself. Raises ConfigError where the folder holds none."""
        if not self.config_file.is_file():
            raise ConfigError(f"{self.folder} is not a run: it has no config.yaml; train one with: neural-graphs fit")
        return self

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration. Raises ConfigError where the folder is no run or the file is damaged."""
        path = self.known().config_file
        text = renamed(read_text(path, ConfigError, RETRAIN))
        try:
            config = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not readable: {' '.join(str(error).split())}") from error
        with reading(path, ConfigError, RETRAIN):
            if not isinstance(config, dict) or not {"model", "data"} <= config.keys():
                raise ValueError("it does not hold the keys model and data; it is no run's configuration")
            within(config, "model", "metanetwork")
        needed = find_task(config.get("task", CLASSIFICATION)).data_class.NEEDED
        with reading(path, ConfigError, RETRAIN):
            for key in needed:
                within(config, "data", key)
        return config

    @property
    def facts(self) -> dict[str, Any]:
        """What the run was made with and of: versions, commit, layouts, number of classes."""
        facts = read_json(self.facts_file, ConfigError, RETRAIN)
        with reading(self.facts_file, ConfigError, RETRAIN):
            for key in FACTS:
                within(facts, key)
        return facts

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts of the networks it was trained on."""
        facts = self.facts["layouts"]
        with reading(self.facts_file, ConfigError, RETRAIN):
            return tuple(map(Layout.from_json, facts))

    @property
    def family(self) -> InputSpec:
        """What its metanetwork knows of the networks it reads."""
        facts = self.facts["family"]
        with reading(self.facts_file, ConfigError, RETRAIN):
            return InputSpec.from_json(facts)

    @property
    def canvas(self) -> Canvas:
        """How the networks it was trained on draw."""
        facts = self.facts["canvas"]
        with reading(self.facts_file, ConfigError, RETRAIN):
            return Canvas.from_json(facts)

    @property
    def batch_size(self) -> int:
        """How many networks it read at once."""
        return int(self.config["data"]["batch_size"])

    def task(self) -> BaseTask:
        """The task around the metanetwork of the best checkpoint; raises what `load_run` raises."""
        return load_task(self.folder)[0]

    def data(self) -> ZooData:
        """The zoo it was trained on. Raises ConfigError where that is not there."""
        facts = self.config["data"]
        if not is_zoo(facts["zoo"]):
            raise ConfigError(f"its zoo {facts['zoo']} is not there")
        return ZooData(Path(facts["zoo"]), facts["batch_size"], only=facts.get("only"))

    @property
    def result(self) -> dict[str, Any]:
        """What `test` found last."""
        return read_json(self.result_file, ConfigError, RETEST)

    def results(self, views: int = 1) -> Path:
        """Where the figures of a test are kept that averaged over so many views."""
        return self.result_file if views == 1 else self.folder / f"result-views{views}.json"

    def write(self, file: Path, content: dict[str, Any], *, sealed: bool = False) -> None:
        """Put plain values into a JSON file of the run, in one step; a changed value of a sealed one is noticed."""
        write_json(file, content, sealed=sealed)

    def checkpoint(self, file: Path | None = None) -> dict[str, Any]:
        """Read a checkpoint, by default the best. Raises CheckpointError naming the file."""
        path = self.best if file is None else file
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: the run has no checkpoint yet; let it finish an epoch")
        content = load(path)
        if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
            raise CheckpointError(f"{path} holds no state_dict; it is no checkpoint of a run")
        return content


def load_run(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The trained metanetwork of a run, best checkpoint, in evaluation mode, and the run's resolved configuration.

    Raises ConfigError where the folder is no run, CheckpointError where the checkpoint is missing, damaged or of
    another metanetwork.

    Examples:
        >>> import neural_graphs as ng
        >>> metanetwork, config = ng.load_run("tests/former/runs/classification")  # in a checkout
        >>> type(metanetwork).__name__, config["seed_everything"]
        ('NGGNN', 1)
    """
    run = Run(path)
    config = run.config
    metanetwork = build(config["model"]["metanetwork"], run.family)
    saved = run.checkpoint()["state_dict"]
    state = {name.removeprefix(PREFIX): tensor for name, tensor in saved.items() if name.startswith(PREFIX)}
    return filled(metanetwork, state, run.best, run.config_file), config


def filled(metanetwork: nn.Module, state: Mapping[str, Tensor], weights: Path, made_by: Path) -> nn.Module:
    """The metanetwork with the numbers of a file, in their precision and in evaluation mode.

    Raises CheckpointError naming the file and the first tensor that does not fit what `made_by` describes.
    """
    own = {name: tuple(tensor.shape) for name, tensor in metanetwork.state_dict().items()}
    held = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if strange := next((name for name in {**own, **held} if own.get(name) != held.get(name)), None):
        there, expected = held.get(strange, "missing"), own.get(strange, "no such tensor")
        raise CheckpointError(
            f"{weights} does not fit the metanetwork of {made_by}: {strange} is {there}, expected {expected}"
        )
    precision = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), torch.float32)
    metanetwork.to(precision).load_state_dict(state)
    return metanetwork.eval()


def load_task(path: str | Path) -> tuple[BaseTask, dict[str, Any]]:
    """The task of a run around its trained metanetwork, and the run's configuration; raises what `load_run` raises."""
    from jsonargparse import ArgumentError, ArgumentParser

    metanetwork, config = load_run(path)
    task = find_task(config.get("task", CLASSIFICATION))
    options = {name: value for name, value in config["model"].items() if name != "metanetwork"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(task, "model", skip={"metanetwork"}, instantiate=False)
    try:
        made = parser.instantiate(parser.parse_object({"model": options})).model
    except ArgumentError as error:
        raise ConfigError(f"{Run(path).config_file}: {' '.join(str(error).split())}") from error
    return task(metanetwork, **made.as_dict()), config


def build(description: dict[str, Any], family: InputSpec) -> nn.Module:
    """The metanetwork that a configuration describes by `{class_path, init_args}`, for networks of a family.

    Raises ConfigError saying what does not fit the signatures.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--metanetwork", type=MetanetworkOf)
    try:
        return parser.instantiate(parser.parse_object({"metanetwork": description})).metanetwork(family)
    except (ArgumentError, TypeError) as error:
        raise ConfigError(f"model.metanetwork: {' '.join(str(error).split())}") from error


def device_name(device: torch.device) -> str:
    """What a device calls itself, such as NVIDIA H100."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def made_with() -> dict[str, Any]:
    """Versions of the libraries, and the commit of the working directory where it is a checkout."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
        commit = answer.stdout.strip() or None
    except OSError:
        commit = None
    return {"versions": versions("torch", "lightning", "numpy"), "commit": commit}
