"""``neural-graphs fit | validate | test``: train a metanetwork as a configuration says, and measure it."""

import shlex
import warnings
from argparse import ArgumentError, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neural_graphs.commands import show
from neural_graphs.commands.explain import FRAME, check_overrides, explain
from neural_graphs.commands.parser import from_the_start, positive
from neural_graphs.errors import ConfigError

# Keys at the top of a configuration, and the classes they configure; the task configures itself by `model`.
HEADS = {
    "task": None,
    "model": "neural_graphs.tasks.Classification",
    "data": "neural_graphs.tasks.ZooData",
    "trainer": "lightning.pytorch.Trainer",
    "seed_everything": None,
    "published": None,
    "elsewhere": None,
}
VIEWS = "average answers over K networks of the same function, signs of hidden neurons flipped at random; default: 1"
PLAIN = [head for head, configured in HEADS.items() if configured is None]

FIT = """\
Trains as a YAML file says; any key of it can be overridden, with dots for nesting. A run folder keeps the resolved
configuration, metrics.csv and the checkpoints of the best and of the last epoch. The key `task` names what to
train for: neural_graphs.tasks.Classification (where it is missing), Editing, Generalization or LearningToOptimize.

  neural-graphs fit --config experiments/inr_classification/digits_nggnn.yaml
  neural-graphs fit --config experiments/style_editing/mnist_dilate_nggnn_2cores.yaml
  neural-graphs fit --config experiments/learning_to_optimize/fmnist_nggnn_2cores.yaml
  neural-graphs fit --config FILE --model.metanetwork.width 64 --trainer.max_epochs 50 --run runs/wide
  neural-graphs fit --run runs/wide --resume        goes on exactly where it stopped

Several processes: --trainer.devices 2 --trainer.strategy ddp; data.batch_size is that of each.
Loggers: --trainer.logger lightning.pytorch.loggers.TensorBoardLogger, WandbLogger … (extras tensorboard, wandb).
"""


def add(commands: Any) -> None:
    """Adds ``fit``, ``validate`` and ``test`` to the subparsers."""
    parser = commands.add_parser(
        "fit",
        help="train a metanetwork on a zoo",
        description=FIT,
        passes_on=[f"--{head}{mark}" for head in HEADS for mark in (".", "=")] + [f"--{head}" for head in PLAIN],
        usage="neural-graphs fit --config FILE [--run DIR] [--resume] [--model.KEY VALUE] [--data.KEY VALUE] …",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", action="append", help="YAML; later ones override")
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of the run; default: runs/NAME for NAME.yaml")
    parser.add_argument("--resume", action="store_true", help="go on with the run where it stopped")
    parser.set_defaults(command=fit, goes_on=resumed)
    for name, split, command in (("validate", "val", validate), ("test", "test", test)):
        parser = commands.add_parser(name, help=f"measure the best checkpoint of a run on the {split} split")
        parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder of the run")
        parser.add_argument("--zoo", type=Path, metavar="DIR", help="another zoo than the one it was trained on")
        if name == "test":
            parser.add_argument("--views", type=positive, default=1, metavar="K", help=VIEWS)
        show.add_json(parser)
        parser.set_defaults(command=command)


def fit(arguments: Namespace) -> int:
    """Trains, and says what to do next."""
    configs = arguments.config or []
    if not configs and not arguments.resume:
        raise ConfigError("fit needs --config FILE, or --run DIR --resume to go on with a run")
    if not arguments.run and not configs:
        raise ConfigError("fit --resume needs --run DIR, the run to go on with")
    for config in configs:
        if not config.is_file():
            raise ConfigError(f"{config} is no file; the project's experiments are in experiments/")
    folder = _folder(arguments)
    from neural_graphs import tasks

    words = [word for config in configs for word in ("--config", str(config))] + arguments.overrides
    asked = tasks.asked_task(words, folder if arguments.resume else None)
    heads = HEADS | {"model": asked, "data": tasks.data_of(asked)}
    check_overrides(arguments.overrides, heads)
    with configuration(heads), show.bars_on_stderr():
        run = tasks.fit(words, folder, resume=arguments.resume)
    from lightning.pytorch.utilities import rank_zero_only

    rank_zero_only(print)(f"{run.folder} is trained; measure it with: neural-graphs test --run {run.folder}")
    return 0


def resumed(arguments: Namespace) -> str:
    """How a run that was interrupted goes on: as a run, once it has begun."""
    from neural_graphs.tasks import Run

    folder = _folder(arguments)
    if not Run(folder).config_file.is_file():
        return from_the_start(arguments)
    return f"go on after its last whole epoch: neural-graphs fit --run {shlex.quote(str(folder))} --resume"


def _folder(arguments: Namespace) -> Path:
    """The folder of the run; `runs/NAME` of the first configuration where none is named."""
    return arguments.run or Path("runs") / arguments.config[0].stem


@contextmanager
def configuration(heads: Mapping[str, str | None] = HEADS) -> Iterator[None]:
    """Turns what jsonargparse and Lightning say about a wrong configuration into one line."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        with warnings.catch_warnings():
            # Lightning 2.6 calls what jsonargparse 4.4x and later deprecate: nothing a user could change.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except ArgumentError as error:
        raise explain(str(error), heads) from error
    except ValueError as error:
        if not FRAME.search(str(error)):  # not from jsonargparse
            raise
        raise explain(str(error), heads) from error
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error


def validate(arguments: Namespace) -> int:
    """Measures a run on the val split, and prints it."""
    from neural_graphs import tasks

    with show.bars_on_stderr():
        result = tasks.validate(arguments.run, arguments.zoo)
    return _report(result, arguments.json)


def test(arguments: Namespace) -> int:
    """Measures a run on the test split, and prints it."""
    from neural_graphs import tasks

    with show.bars_on_stderr():
        result = tasks.test(arguments.run, arguments.zoo, arguments.views)
    return _report(result, arguments.json)


def _report(result: dict[str, Any], as_json: bool) -> int:
    if as_json:
        show.print_json(result)
        return 0
    from neural_graphs.tasks import find_task

    for place in (result, *result.get("elsewhere", [])):
        print(f"{place['networks']:,} networks of the {place['split']} split of {place['zoo']}:")
        print("\n".join(f"  {sentence}" for sentence in find_task(place["task"]).summary(place)))
    for absent in result.get("absent", []):
        print(f"{absent} is not there: not measured")
    if confusion := result.get("confusion"):
        rows = [
            {"true \\ said": str(label)} | {str(said): count for said, count in enumerate(row)}
            for label, row in enumerate(confusion)
        ]
        print("\n" + show.table(rows))
    return 0
