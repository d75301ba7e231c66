"""How far the rules that come along go beyond the networks and images of their meta-training, beside Adam as it comes.

python experiments/learning_to_optimize/beyond.py                       # an hour of one core
python experiments/learning_to_optimize/beyond.py --only 28 --starts 1

A line for every setting: test accuracy after the steps, mean and deviation over the starts. The rules were meta-trained
on Fashion-MNIST at 14 × 14 (196 inputs); nothing is tuned here, for any optimizer.
"""

# ruff: noqa: T201
import argparse
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, pstdev

import torch
from torch import nn

from neural_graphs import trace
from neural_graphs.optim import LearnedOptimizer, load_rule
from neural_graphs.optim.training import train_module
from neural_graphs.tasks import InnerTasks


def perceptron(*sizes: int, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Linear layers on all pixels."""
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def cnn(*channels: int, classes: int = 10, norm: bool = False) -> nn.Module:
    """Convolutions 3 × 3, the first with stride 2, the mean over places, a Linear head."""
    layers: list[nn.Module] = []
    for place, (a, b) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(a, b, 3, stride=1 if place else 2, padding=1), *([nn.BatchNorm2d(b)] * norm), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes))


Make = Callable[[], nn.Module]
SETTINGS: dict[str, tuple[str, Make]] = {
    "digits 8 × 8, CNN 16-32": ("digits", lambda: cnn(1, 16, 32)),
    "digits 8 × 8, 64-64-10": ("digits", lambda: perceptron(64, 64, 10)),
    "digits 8 × 8, 64-64-10, tanh": ("digits", lambda: perceptron(64, 64, 10, activation=nn.Tanh)),
    "Fashion-MNIST 28 × 28, 784-16-10": ("fashion-mnist", lambda: perceptron(784, 16, 10)),
    "Fashion-MNIST 28 × 28, 784-32-32-10": ("fashion-mnist", lambda: perceptron(784, 32, 32, 10)),
    "Fashion-MNIST 28 × 28, CNN 16-32-32": ("fashion-mnist", lambda: cnn(1, 16, 32, 32)),
    "Fashion-MNIST 28 × 28, the same with norms": ("fashion-mnist", lambda: cnn(1, 16, 32, 32, norm=True)),
    "MNIST 28 × 28, 784-16-10": ("mnist", lambda: perceptron(784, 16, 10)),
}


def optimizer_of(name: str, module: nn.Module, x: torch.Tensor) -> torch.optim.Optimizer:
    """A rule that comes along, or Adam, "Adam RATE"."""
    kind, _, rate = name.partition(" ")
    if kind == "Adam":
        return torch.optim.Adam(module.parameters(), float(rate))
    return LearnedOptimizer(load_rule(name), module, trace(module.eval(), x))


def trained(setting: str, optimizer: str, seed: int, steps: int) -> float:
    """Test accuracy at the end, in %."""
    images, make = SETTINGS[setting]
    splits = InnerTasks(images, held_out=1).splits
    torch.manual_seed(seed)
    module = make()
    made = optimizer_of(optimizer, module, splits.train.pixels[:2])
    (end,) = train_module(module.train(), made, splits.train, splits.test, steps=steps, seed=seed, reports=1)
    return 100 * end.accuracy


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--only", default="", metavar="WORD", help="settings that have this in their name; default: all")
parser.add_argument(
    "--optimizers", nargs="+", default=["ng-t", "ng-gnn", "ff", "Adam 0.01", "Adam 0.001"], metavar="NAME",
    help="rules that come along, or 'Adam RATE'; default: all of them",
)  # fmt: skip
parser.add_argument("--starts", type=int, default=3, metavar="N", help="default: %(default)s")
parser.add_argument("--steps", type=int, default=500, metavar="N", help="default: %(default)s")
arguments = parser.parse_args()
for setting in (each for each in SETTINGS if arguments.only in each):
    found = {
        name: [trained(setting, name, seed, arguments.steps) for seed in range(arguments.starts)]
        for name in arguments.optimizers
    }
    said = [f"{name} {fmean(each):.1f} ± {pstdev(each):.1f}" for name, each in found.items()]
    print(f"{setting:44}", *said, sep=" | ", flush=True)
