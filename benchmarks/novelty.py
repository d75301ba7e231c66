"""Spoil the held-out networks of a run in many ways, and print how many are called unlike anything seen, in per cent.

By the two distances of `neural-graphs rank`, and by either. Then networks of other zoos, with Kendall's τ of predicted
and true accuracy, the per cent whose truth lies in the 90 % interval, and the mean of predicted minus true, in points.

    python benchmarks/novelty.py RUN [--elsewhere ZOO …] [--only 'epoch == 16 and fate != "diverged"']
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from neural_graphs.networks import Networks
from neural_graphs.symmetry.relabel import new_places
from neural_graphs.tasks import Generalization, Run, ZooData, load_task
from neural_graphs.tasks.generalization.calibration import Calibration, Embedding, calibrate
from neural_graphs.tasks.generalization.measures import kendall
from neural_graphs.zoo import Zoo

BATCH = 128
HEADER = f"{'networks':34s} {'count':>5s} {'embedding':>9s} {'weights':>7s} {'either':>6s}"
ELSEWHERE = f"\n{HEADER} {'τ':>6s} {'inside':>6s} {'points':>6s}"
Way = Callable[[Networks, Generator], Networks]


def times(factor: float) -> Way:
    """All numbers times this."""
    return lambda networks, _: networks * factor


def every_tensor(spoil: Callable[[Tensor, Generator], Tensor]) -> Way:
    """The same done to each tensor by itself."""

    def way(networks: Networks, generator: Generator) -> Networks:
        states = [{name: spoil(t, generator) for name, t in state.items()} for state in networks.state_dicts()]
        return Networks.from_state_dicts(states, networks.layouts)

    return way


def fresh(tensor: Tensor, generator: Generator) -> Tensor:
    """As PyTorch starts linear and convolutional weights, biases at 0."""
    if tensor.ndim < 2:
        return torch.zeros_like(tensor)
    return (2 * torch.rand(tensor.shape, generator=generator) - 1) / tensor[0].numel() ** 0.5


def shuffled(tensor: Tensor, generator: Generator) -> Tensor:
    """The same numbers in another order."""
    return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].view(tensor.shape)


def noise(size: float) -> Callable[[Tensor, Generator], Tensor]:
    """Gaussian noise of this share of a tensor's root mean square, added."""
    return lambda t, generator: t + size * t.square().mean().sqrt() * torch.randn(t.shape, generator=generator)


def transposed(tensor: Tensor, _: Generator) -> Tensor:
    """Inputs and outputs exchanged, where they are equally many."""
    return tensor.transpose(0, 1) if tensor.ndim > 1 and tensor.shape[0] == tensor.shape[1] else tensor


def classes_permuted(networks: Networks, generator: Generator) -> Networks:
    """Each network's output neurons in another order."""
    moved = []
    for vector, layout in zip(networks.vectors(), networks.layouts, strict=True):
        *rest, outputs = (group.size for group in layout.groups)
        orders = [*map(np.arange, rest), torch.randperm(outputs, generator=generator).numpy()]
        moved.append(vector[torch.from_numpy(new_places(layout, orders))])
    return networks.with_values(torch.stack(moved) if networks.regular else torch.cat(moved))


WAYS: dict[str, Way] = {
    "as they are (false alarms)": times(1.0),
    "freshly initialised, zero biases": every_tensor(fresh),
    "all numbers × 30": times(30.0),
    "all numbers × 1/30": times(1 / 30),
    "all numbers × 3": times(3.0),
    "all numbers × 1/3": times(1 / 3),
    "shuffled within every tensor": every_tensor(shuffled),
    "all numbers negated": times(-1.0),
    "noise as large as each tensor": every_tensor(noise(1.0)),
    "noise of 0.3 of each tensor": every_tensor(noise(0.3)),
    "square kernels transposed": every_tensor(transposed),
    "classes of the output permuted": classes_permuted,
}


def line(name: str, networks: Networks, calibration: Calibration, embed: Embedding) -> str:
    """How many there are, and the per cent of them that are unlike anything seen."""
    parts = [calibration.distances(networks[at : at + BATCH], embed) for at in range(0, len(networks), BATCH)]
    beyond = np.concatenate([np.array(part) for part in parts], 1) > 1  # (embedding and weights, networks)
    embedding, weights, either = 100 * np.array([*beyond.mean(1), beyond.any(0).mean()])
    return f"{name:34s} {len(networks):5d} {embedding:9.0f} {weights:7.0f} {either:6.0f}"


def agreement(task: Generalization, zoo: Zoo, calibration: Calibration) -> str:
    """τ, the per cent inside the interval, and the mean of predicted minus true, in points."""
    predicted, true = task.predict(zoo, BATCH), task.truth(zoo)
    inside = (np.abs(predicted - true) <= calibration.margin.width).mean()
    return f"{kendall(predicted, true):6.2f} {100 * inside:6.0f} {100 * (predicted - true).mean():+6.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run of Generalization, beside its zoo")
    parser.add_argument("--elsewhere", type=Path, nargs="+", metavar="ZOO", default=[], help="zoos of other networks")
    parser.add_argument("--only", help="a question that networks elsewhere must answer; default: the run's data.only")
    arguments = parser.parse_args()
    if arguments.only and not arguments.elsewhere:
        parser.error("--only asks networks elsewhere: name their zoo with --elsewhere")
    task, config = load_task(arguments.run)
    if not isinstance(task, Generalization):
        parser.error(f"{arguments.run} was trained for {type(task).__name__}, not Generalization")
    calibration, embed = calibrate(Run(arguments.run), task), Embedding(task.metanetwork).eval()
    only, place = config["data"].get("only"), Path(config["data"]["zoo"])
    held_out = ZooData(place, BATCH, only=only).zoo.split("test").networks()
    print(f"held-out networks of {place.name}\n{HEADER}", flush=True)
    for name, way in WAYS.items():
        generator = torch.Generator().manual_seed(0)
        print(line(name, way(held_out, generator), calibration, embed), flush=True)
    if arguments.elsewhere:
        print(ELSEWHERE, flush=True)
    for path in arguments.elsewhere:
        zoo = ZooData(path, BATCH, only=arguments.only or only).zoo
        shown = line(path.name, zoo.networks(), calibration, embed)
        print(shown, agreement(task, zoo, calibration), flush=True)


if __name__ == "__main__":
    main()
