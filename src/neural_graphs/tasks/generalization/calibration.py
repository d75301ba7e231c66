"""What a run must know to rank networks of others: the margin of its predictions, and what it has seen."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.io.atomic import sha256, write_whole
from neural_graphs.networks import Networks
from neural_graphs.nn.run.microbatch import Reader
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.generalization.conformal import Margin
from neural_graphs.tasks.generalization.novelty import TRAITS, Novelty, traits
from neural_graphs.tasks.generalization.task import Generalization, runs_of
from neural_graphs.tasks.runs import Trained
from neural_graphs.zoo import Zoo

CALIBRATION = "calibration.safetensors"  # beside the checkpoint
FORMAT = 2  # of the file; one of another format is made again
FIELDS = ("known", "mean", "spread")  # tensors of a `Novelty`
KNOWN = 4096  # networks of the train split, evenly spaced, stand for all that was seen
FALSE_ALARMS = 0.05  # of networks like the known ones are called unlike them, by embedding and weights together


@runtime_checkable
class Embeds(Protocol):
    """A metanetwork that makes a vector of every network before it answers."""

    def embed(self, networks: Networks) -> Tensor:
        """`(networks, d)`."""
        ...


class Embedding(Reader):
    """A metanetwork that answers with its embeddings of networks."""

    def __init__(self, metanetwork: nn.Module) -> None:
        super().__init__()
        if not isinstance(metanetwork, Embeds):
            raise ConfigError(f"{type(metanetwork).__name__} has no `embed`: it cannot tell what is unlike its zoo")
        self.metanetwork: Any = metanetwork

    @torch.no_grad()
    def forward(self, networks: Networks) -> Float[Tensor, "networks d"]:
        """The embeddings; only of a `Reader` piece by piece."""
        found: Tensor = super().forward(networks) if isinstance(self.metanetwork, Reader) else self.read(networks)
        return found

    def read(self, networks: Networks) -> Float[Tensor, "networks d"]:
        """The embeddings, in one go."""
        return self.metanetwork.embed(networks)

    def numbers(self, networks: Networks) -> int:
        """As many as the metanetwork's."""
        return self.metanetwork.numbers(networks)


@dataclass(frozen=True)
class Calibration:
    """The margin of predictions and what is near to known networks, from the zoo of a run; see `calibrate`.

    A network may be unlike all known ones in what the metanetwork makes of it, its `embedding`, or in the size and
    order of its tensors, its `weights`: a metanetwork squashes what it has no use for, and scales are lost first.
    """

    margin: Margin
    embedding: Novelty
    weights: Novelty

    def distances(self, networks: Networks, embed: Embedding) -> tuple[list[float], list[float]]:
        """Of every network by embedding and by weights, each in units of what is called unlike all known ones."""
        found = traits(networks, self.weights.known.shape[1] // TRAITS)
        return self.embedding.distance(embed(networks)).tolist(), self.weights.distance(found).tolist()

    def write(self, file: Path, checkpoint: str) -> None:
        """Put everything into one safetensors file, in one step; `checkpoint` is the SHA-256 of what it is of."""
        views = {"embedding": self.embedding, "weights": self.weights}
        tensors = {
            f"{view}.{name}": getattr(novelty, name).contiguous() for view, novelty in views.items() for name in FIELDS
        }
        limits = {view: novelty.limit for view, novelty in views.items()}
        numbers = {"margin": [self.margin.width, self.margin.runs, self.margin.level], "limits": limits}
        write_whole(file, save(tensors, {"numbers": json.dumps(numbers), "of": _mark(checkpoint)}))

    @classmethod
    def read(cls, file: Path, checkpoint: str) -> "Calibration | None":
        """What was written for this checkpoint; None for another's. Raises CheckpointError for a damaged file."""
        try:
            with safe_open(file, "pt") as content:
                if (content.metadata() or {}).get("of") != _mark(checkpoint):
                    return None
                numbers: dict[str, Any] = json.loads(content.metadata()["numbers"])
                views = {
                    view: Novelty(**{name: content.get_tensor(f"{view}.{name}") for name in FIELDS}, limit=limit)
                    for view, limit in numbers["limits"].items()
                }
        except (SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(f"{file} is damaged ({error}); delete it, and it will be made again") from error
        return cls(Margin(*numbers["margin"]), **views)


def _mark(checkpoint: str) -> str:
    return f"format {FORMAT}, checkpoint {checkpoint}"


def calibrate(trained: Trained, task: Generalization) -> Calibration:
    """The calibration of a trained metanetwork, from `calibration.safetensors` beside it, or made and kept there.

    Making it needs the zoo that it was trained on, with networks in its val split; raises ConfigError without.
    """
    file, checkpoint = trained.folder / CALIBRATION, sha256(trained.weights.read_bytes())
    found = Calibration.read(file, checkpoint) if file.is_file() else None
    if found is not None:
        return found
    try:
        data = trained.data()
    except ConfigError as error:
        raise ConfigError(f"{trained.folder} is not calibrated yet, and {error}: rank once beside it") from error
    margin = task.calibrate(data)
    if margin is None:
        raise ConfigError(f"{data.zoo.path} has no networks in split 'val' to calibrate intervals on")
    tensors = max(len(layout.parameters) for layout in data.zoo.layouts)
    views = (Embedding(task.metanetwork).eval(), partial(traits, tensors=tensors))
    made = Calibration(margin, *(_novelty(data, view) for view in views))
    made.write(file, checkpoint)
    return made


def _novelty(data: ZooData, embed: Callable[[Networks], Tensor]) -> Novelty:
    """What is near to the train split, and as far as networks of the val split rarely are."""
    known, held_out = data.zoo.split("train").spaced(KNOWN), data.zoo.split("val")
    seen, other = (_of_all(zoo, embed, data.batch_size) for zoo in (known, held_out))
    return Novelty.of(seen, other, runs_of(held_out), 1 - FALSE_ALARMS / 2)


def _of_all(zoo: Zoo, embed: Callable[[Networks], Tensor], batch_size: int) -> Float[Tensor, "networks d"]:
    """The embeddings of all networks of a zoo."""
    return torch.cat([embed(batch) for batch in zoo.batches(batch_size)])
