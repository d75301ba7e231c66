"""What a run must know to rank networks of others: the margin of its predictions, and what it has seen."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.networks import Networks
from neural_graphs.nn import Metanetwork, microbatch
from neural_graphs.tasks.conformal import Margin
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.generalization import Generalization
from neural_graphs.tasks.novelty import Novelty
from neural_graphs.tasks.runs import Run
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.manifest import sha256, write_whole

KNOWN = 4096  # networks of the train split, evenly spaced, stand for all that was seen


@runtime_checkable
class Describes(Protocol):
    """A metanetwork that makes a vector of every network before it answers."""

    def describe(self, networks: Networks) -> Tensor:
        """`(networks, d)`."""
        ...


class Description(nn.Module):
    """A metanetwork that answers with what its readout sees; read piece by piece, as a `Metanetwork` is."""

    def __init__(self, metanetwork: nn.Module) -> None:
        super().__init__()
        if not isinstance(metanetwork, Describes):
            raise ConfigError(f"{type(metanetwork).__name__} has no `describe`: it cannot tell what is unlike its zoo")
        self.metanetwork: Any = metanetwork

    @torch.no_grad()
    def forward(self, networks: Networks) -> Float[Tensor, "networks d"]:
        """The descriptions."""
        if isinstance(self.metanetwork, Metanetwork):
            return microbatch.read(self, networks)
        return self.read(networks)

    def read(self, networks: Networks) -> Float[Tensor, "networks d"]:
        """The descriptions, in one go."""
        return self.metanetwork.describe(networks)

    def numbers(self, networks: Networks) -> int:
        """As `Metanetwork.numbers`, which alone is read in pieces."""
        return self.metanetwork.numbers(networks)

    def of(self, zoo: Zoo, batch_size: int) -> Float[Tensor, "networks d"]:
        """Those of all networks of a zoo."""
        starts = range(0, len(zoo), batch_size)
        return torch.cat([self(zoo.networks(slice(start, start + batch_size))) for start in starts])


@dataclass(frozen=True)
class Calibration:
    """The margin of predictions and what is near to known networks, from the zoo of a run; see `calibrate`."""

    margin: Margin
    novelty: Novelty

    def write(self, file: Path, checkpoint: str) -> None:
        """Put everything into one safetensors file, in one step; `checkpoint` is the SHA-256 of what it is of."""
        tensors = {name: getattr(self.novelty, name).contiguous() for name in ("known", "mean", "spread")}
        numbers = {"width": self.margin.width, "level": self.margin.level, "limit": self.novelty.limit}
        write_whole(file, save(tensors, {"numbers": json.dumps(numbers), "checkpoint": checkpoint}))

    @classmethod
    def read(cls, file: Path, checkpoint: str) -> "Calibration | None":
        """What was written for this checkpoint; None for another's. Raises CheckpointError for a damaged file."""
        try:
            with safe_open(file, "pt") as content:
                if (content.metadata() or {}).get("checkpoint") != checkpoint:
                    return None
                numbers: dict[str, Any] = json.loads(content.metadata()["numbers"])
                known, mean, spread = (content.get_tensor(name) for name in ("known", "mean", "spread"))
        except (SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(f"{file} is damaged ({error}); delete it, and it will be made again") from error
        return cls(Margin(numbers["width"], numbers["level"]), Novelty(known, mean, spread, numbers["limit"]))


def calibrate(run: Run, task: Generalization, config: dict[str, Any]) -> Calibration:
    """The calibration of a run's best checkpoint, from `calibration.safetensors` in its folder, or made and kept there.

    Making it needs the zoo that the run was trained on, with networks in its val split; raises ConfigError without.
    """
    file, checkpoint = run.folder / "calibration.safetensors", sha256(run.best.read_bytes())
    found = Calibration.read(file, checkpoint) if file.is_file() else None
    if found is not None:
        return found
    place = Path(config["data"]["zoo"])
    if not (place / "manifest.json").is_file():
        raise ConfigError(f"{run.folder} is not calibrated yet, and its zoo {place} is not there: rank once beside it")
    data = ZooData(place, config["data"]["batch_size"], only=config["data"].get("only"))
    margin = task.calibrate(data)
    if margin is None:
        raise ConfigError(f"{place} has no networks in split 'val' to calibrate intervals on")
    describe = Description(task.metanetwork).eval()
    known = describe.of(data.zoo.split("train").spaced(KNOWN), data.batch_size)
    made = Calibration(margin, Novelty.of(known, describe.of(data.zoo.split("val"), data.batch_size)))
    made.write(file, checkpoint)
    return made
