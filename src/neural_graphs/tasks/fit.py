"""Training from a configuration: Lightning's CLI reads it, Lightning trains, a run folder keeps what came of it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.io.atomic import write_whole
from neural_graphs.io.documents import read_text
from neural_graphs.tasks.base import BaseTask, TaskData
from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.former import current, renamed
from neural_graphs.tasks.history import History
from neural_graphs.tasks.logging import interruptible, quiet
from neural_graphs.tasks.runs import MetanetworkOf, Run, device_name, made_with
from neural_graphs.tasks.task import CLASSIFICATION, find_task

TRAINING = ("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers", "callbacks")  # in last.ckpt
# The published protocol; a configuration may say otherwise.
DEFAULTS = {
    "max_epochs": 200,
    "gradient_clip_val": 10.0,
    "logger": False,  # metrics.csv is always written; TensorBoard and W&B by their class_path
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,  # it would draw numbers that a resumed run does not draw
    "use_distributed_sampler": False,  # our sampler knows of ranks
}


def configurable(task: type[BaseTask]) -> type[BaseTask]:
    """The task with the metanetwork still to be made, for the family of networks of the data."""

    class Configurable(task):  # type: ignore[misc, valid-type]  # a class only known here
        """A task whose first argument makes the metanetwork of a family: in a configuration a class that takes one."""

        def __init__(self, metanetwork: MetanetworkOf, family: Any, **options: Any) -> None:
            super().__init__(metanetwork(family), **options)

    return Configurable


class FitCLI(LightningCLI):
    """Reads `seed_everything`, `model`, `data`, `trainer` and `published` and makes the objects; trains nothing."""

    def __init__(self, arguments: Sequence[str], run: Run, task: type[BaseTask]) -> None:
        super().__init__(
            configurable(task),
            task.data_class,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={**DEFAULTS, "callbacks": callbacks(run, task)},
            parser_kwargs={"exit_on_error": False},
            args=list(arguments),
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.family", "model.family", apply_on="instantiate")
        parser.add_argument(
            "--published",
            type=float | None,
            default=None,
            help="published figure, to be shown beside ours: test accuracy in %%, squared error in 10⁻², or τ",
        )
        parser.add_argument("--task", type=str, default=CLASSIFICATION, help="class of the task")
        parser.add_argument("--elsewhere", type=list[Path], default=[], help="zoos that `test` measures besides")

    def resolved(self) -> str:
        """The whole configuration as YAML, defaults included."""
        return self.parser.dump(self.config, skip_unset=False)  # null is a value, such as sigma: null


def fit(arguments: Sequence[str], folder: str | Path, *, resume: bool = False) -> Run:
    """Train as a configuration says, and return the run.

    `arguments` are `--config FILE` and overrides such as `--model.lr 3e-4`; with `resume` the run's own configuration
    comes first and training goes on after its last whole epoch, exactly as if it had not been interrupted. Raises
    jsonargparse's ArgumentError for a configuration that does not fit the signatures, ConfigError where the folder
    holds a trained run already (without `resume`) or no run (with it).
    """
    run = Run(folder)
    asked = [str(word) for word in arguments]
    begun = run.last.is_file()  # a run stopped before its first epoch ended starts again from its beginning
    if resume and run.config:  # which is read first, so that what is wrong with it is said
        asked = [*(run.facts.get("arguments", []) if run.facts_file.is_file() else []), *asked]
        arguments = ["--config", str(run.config_file), *arguments]
    elif begun:
        raise ConfigError(f"{run.folder} holds a run already; add --resume to go on with it, or choose another folder")
    with quiet(), interruptible():
        cli = FitCLI(current(arguments), run, find_task(asked_task(arguments)))
        if cli.trainer.is_global_zero:
            _begin(run, cli, asked)
        start: dict[str, Any] = {"ckpt_path": resumable(run, cli.model), "weights_only": True} if begun else {}
        cli.trainer.fit(cli.model, cli.datamodule, **start)
    if not run.best.is_file():
        raise CheckpointError(f"{run.best} was not written: training stopped before its first epoch ended")
    return run


def resumable(run: Run, task: BaseTask) -> Path:
    """The last checkpoint of a run. Raises CheckpointError naming what it lacks, or what is not of this task."""
    content = run.checkpoint(run.last)
    if lacking := [key for key in TRAINING if key not in content]:
        raise CheckpointError(f"{run.last} lacks {', '.join(lacking)}: it is no checkpoint that training goes on from")
    own = {name: tuple(tensor.shape) for name, tensor in task.state_dict().items()}
    held = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in content["state_dict"].items()}
    if strange := sorted(name for name in {*own, *held} if own.get(name) != held.get(name)):
        name = strange[0]
        facts = f"{name} is {held.get(name, 'missing')} there, {own.get(name, 'not')} in the run's configuration"
        raise CheckpointError(f"{run.last} is of another network: {facts}; restore it, or train into another folder")
    return run.last


def callbacks(run: Run, task: type[BaseTask] = Classification) -> list[Callback]:
    """What keeps a run while a `Trainer` trains: metrics of every epoch, and two checkpoints.

    The checkpoint of the best epoch, as the task judges it, becomes `best.ckpt`, that of the last epoch `last.ckpt`.
    """
    options: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}  # after metrics
    name, mode = task.best
    best = ModelCheckpoint(run.checkpoints, run.best.stem, monitor=f"val_{name}", mode=mode, **options)
    last = ModelCheckpoint(run.checkpoints, run.last.stem, **options)
    return [History(run.metrics_file, task.quantities), best, last]  # the last one holds the state of those before it


def asked_task(arguments: Sequence[str], resumed: str | Path | None = None) -> str:
    """The class of the task that configurations and `--task` ask for, the last one winning; first, of a resumed run."""
    asked = CLASSIFICATION
    words = iter(arguments if resumed is None else ["--config", str(Run(resumed).known().config_file), *arguments])
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        value = value or next(words, "")
        if name in ("config", "task"):
            asked = value if name == "task" else str(read_configuration(Path(value)).get("task", asked))
    return renamed(asked)


def read_configuration(file: Path) -> dict[str, Any]:
    """The content of a configuration, names as they are today. Raises ConfigError naming a file that holds none."""
    try:
        content = yaml.safe_load(renamed(read_text(file, ConfigError, "write it again, as UTF-8")))
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        held = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ConfigError(f"{file} {held}; expected the keys model and data, as in the files of experiments/")
    return content


def _begin(run: Run, cli: FitCLI, asked: list[str]) -> None:
    """Write down what is about to happen, and the words that asked for it."""
    data: TaskData = cli.datamodule
    run.folder.mkdir(parents=True, exist_ok=True)
    write_whole(run.config_file, cli.resolved().encode())
    facts: dict[str, Any] = {
        **made_with(),
        "device": device_name(cli.trainer.strategy.root_device),
        "arguments": asked,
        "date": time.strftime("%Y-%m-%d"),
        "family": data.family.to_json(),
        **data.facts,
        "parameters": sum(p.numel() for p in cli.model.metanetwork.parameters()),
    }
    run.write(run.facts_file, facts, sealed=True)
