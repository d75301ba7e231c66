"""What a trained metanetwork says: of the splits of a zoo, and of single files. Data comes back; nothing is printed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.io.network_files import read_network
from neural_graphs.networks import Networks
from neural_graphs.networks.evaluating import evaluating
from neural_graphs.tasks.base import BaseTask, TaskData
from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.logging import interruptible, quiet
from neural_graphs.tasks.runs import Run, Trained, load_task
from neural_graphs.tasks.task import CLASSIFICATION
from neural_graphs.zoo.remote import is_zoo


def validate(run: str | Path, zoo: str | Path | None = None) -> dict[str, Any]:
    """What a run's best checkpoint reaches on the val split of its zoo, or of another."""
    task, config = load_task(run)
    return _measure(Run(run), task, config, zoo, "val")


def test(run: str | Path, zoo: str | Path | None = None, views: int = 1) -> dict[str, Any]:
    """What a run's best checkpoint reaches on the test split of its zoo, or of another.

    Answers are means over `views` networks of the same function, as `Task.mean_answer` makes them. For the run's own
    zoo, figures for the zoos that its configuration names under `elsewhere` come along (those not there are listed as
    `absent`), and all are kept in its `result.json` (with several views in `result-views8.json`), pictures beside it.
    """
    folder = Run(run)
    task, config = load_task(run)
    task.views = views
    result = _measure(folder, task, config, zoo, "test")
    if zoo is None:
        others = {other: is_zoo(other) for other in config.get("elsewhere", [])}
        result["elsewhere"] = [_measure(folder, task, config, o, "test") for o, there in others.items() if there]
        result["absent"] = [other for other, there in others.items() if not there]
        folder.write(folder.results(views), result)
    return result


def _measure(
    run: Run, task: BaseTask, config: dict[str, Any], zoo: str | Path | None, split: str
) -> dict[str, Any]:  # fmt: skip
    data: TaskData = task.data_class.of(config["data"], zoo)
    with quiet(), interruptible():
        figures = task.figures(data, split, run.folder)
    return {
        "task": config.get("task", CLASSIFICATION),
        "run": str(run.folder),
        "zoo": data.place,
        "split": split,
        "networks": data.count(split),
        "views": task.views,
        "published": config.get("published") if zoo is None else None,
        "parameters": run.facts["parameters"],
        **figures,
    }


def predict(run: str | Path | Trained, files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The class and the probabilities of all classes for networks in `.safetensors` or `.pt` files, by a run's best
    checkpoint or by what was shared of one.

    Tensors may have other names than those of the run's zoo, as long as shapes and order are the same. Raises
    CheckpointError naming the file that cannot be read, holds NaN, or is of another architecture.
    """
    trained = run if isinstance(run, Trained) else Run(run)
    task = trained.task()
    if not isinstance(task, Classification):
        raise ConfigError(
            f"{trained.folder} was trained for {type(task).__name__}; classes are predicted by runs of Classification"
        )
    paths = [Path(file) for file in files]
    layouts, batch_size = trained.layouts, trained.batch_size
    precision = next(task.metanetwork.parameters()).dtype
    networks = Networks.cat([read_network(path, layouts).to(precision) for path in paths])
    many = len(networks) > batch_size  # fewer are answered before a card is awake
    device = torch.device("cuda" if many and torch.cuda.is_available() else "cpu")
    scores = classify(task.metanetwork.to(device), networks.to(device), batch_size)
    rows = zip(paths, scores.softmax(1).tolist(), strict=True)
    return [{"file": str(path), "class": row.index(max(row)), "probabilities": row} for path, row in rows]


@torch.inference_mode()
def classify(metanetwork: nn.Module, networks: Networks, batch_size: int = 128) -> Float[Tensor, "networks classes"]:
    """Scores of any number of networks, in evaluation mode, a batch at a time; on the device of the networks."""
    batches = [slice(start, start + batch_size) for start in range(0, len(networks), batch_size)]
    with evaluating(metanetwork):
        return torch.cat([metanetwork(networks[batch]) for batch in batches])
