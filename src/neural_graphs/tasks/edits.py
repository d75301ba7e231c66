"""Editing single networks with a trained run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from neural_graphs.errors import ConfigError
from neural_graphs.io.network_files import as_network, write_network
from neural_graphs.io.tensors import StateDict, read_tensors
from neural_graphs.networks import Networks
from neural_graphs.plots import gallery
from neural_graphs.tasks.editing import Editing
from neural_graphs.tasks.runs import Run, Trained
from neural_graphs.zoo import Zoo


@dataclass(frozen=True)
class Edit:
    """A network before and after an edit, batches of one.

    `like` holds the tensors it was read from, if from a file; `target` tells whether the picture shows what was wanted.
    """

    before: Networks
    after: Networks
    picture: Figure
    like: StateDict | None
    target: bool

    def write(self, path: str | Path) -> None:
        """Write the edited network as `.safetensors`, with names and precision of the tensors it came in."""
        write_network(self.after, Path(path), self.like)


def edit(run: str | Path | Trained, source: str | Path, index: int | None = None) -> Edit:
    """Edit one network with the best checkpoint of a run, or with what was shared of one.

    `source` is a file of parameters, or a zoo of which `index` chooses the network; what was wanted is known for zoos
    of implicit images only. Raises ConfigError where the run is no editing run or the index is missing or out of range,
    CheckpointError naming the file for networks the run does not know.
    """
    trained = run if isinstance(run, Trained) else Run(run)
    task = trained.task()
    if not isinstance(task, Editing):
        raise ConfigError(
            f"{trained.folder} was trained for {type(task).__name__}; an edit needs a run of the task Editing"
        )
    path = Path(source)
    if not path.is_dir():
        if index is not None:
            raise ConfigError(f"--index chooses a network of a zoo, but {path} is no folder")
        task.canvas = trained.canvas
        like = read_tensors(path)
        before = as_network(like, trained.layouts, path)
        return Edit(before, *_apply(task, before, None), like, target=False)
    zoo = Zoo(path)
    if index is None or not -len(zoo) <= index < len(zoo):
        raise ConfigError(f"{path} holds {len(zoo):,} networks: choose one by an index from 0 to {len(zoo) - 1}")
    task.canvas = zoo.canvas or trained.canvas
    chosen, known = zoo.at([index % len(zoo)]), zoo.canvas is not None
    before = chosen.networks()
    return Edit(before, *_apply(task, before, chosen if known else None), None, known)


@torch.no_grad()
def _apply(task: Editing, before: Networks, zoo: Zoo | None) -> tuple[Networks, Figure]:
    """The edited network, and a picture of it beside the target where it is known.

    The editor reads in its own precision; its edit is added in that of the network, or in float32 if that is more.
    """
    own = next(task.metanetwork.parameters()).dtype
    change = task.eval()(before.to(own))
    before = before.to(torch.promote_types(before.values.dtype, torch.float32))
    after = before + change.to(before.values.dtype)
    canvas = task.required_canvas
    rows = {"network": canvas.render(before), "edited": canvas.render(after)}
    if zoo is not None:
        rows = {"network": rows["network"], "target": canvas.picture(task.targets(zoo)), "edited": rows["edited"]}
    return after, gallery({name: np.asarray(row) for name, row in rows.items()})
