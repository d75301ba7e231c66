"""The loss barrier between networks trained independently, before and after alignment: a line per pair of seeds.

An MLP of two wide layers, and a residual CNN with batch norms whose statistics are taken anew, on labelled images. Loss
is cross-entropy on the test split, at 11 shares on the line; `seconds` is the alignment alone.

    python benchmarks/align.py --images mnist [--seeds 3] [--train 20000] [--networks mlp cnn] [--plot FILE]
    python benchmarks/align.py --resnet18     # how long the alignment of two ResNet-18 takes
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs import Networks, plots, trace
from neural_graphs.symmetry import align
from neural_graphs.tasks.barriers import barrier
from neural_graphs.zoo import load_images

EPOCHS, BATCH, RATE = {"mlp": 12, "cnn": 8}, 128, 2e-3


class Residual(nn.Module):
    """A residual block with batch norms."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.first, self.second = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.two(F.relu(self.first(self.one(x))))) + self.short(x))


class Convolutional(nn.Module):
    """A residual network of `widths`, `blocks` blocks each."""

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...] = (48, 96), blocks: int = 1) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        layers: list[nn.Module] = []
        inputs = widths[0]
        for place, width in enumerate(widths):
            for block in range(blocks):
                layers.append(Residual(inputs, width, 2 if place and not block else 1))
                inputs = width
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


def make(kind: str, pixels: Tensor) -> nn.Module:
    """A fresh network for these images."""
    if kind == "cnn":
        return Convolutional(pixels.shape[1], 10)
    hidden = (nn.Linear(pixels[0].numel(), 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    return nn.Sequential(*hidden, nn.Linear(512, 10))


def trained(kind: str, pixels: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """A network trained by Adam, its order of images and initial values those of the seed."""
    torch.manual_seed(seed)
    module, pixels = make(kind, pixels), pixels if kind == "cnn" else pixels.flatten(1)
    optimizer = torch.optim.Adam(module.parameters(), RATE, weight_decay=1e-4)
    steps = EPOCHS[kind] * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS[kind]):
        for chosen in torch.randperm(len(labels)).split(BATCH)[: len(labels) // BATCH]:
            optimizer.zero_grad()
            F.cross_entropy(module(pixels[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def images(name: str, split: str, count: int) -> tuple[Tensor, Tensor]:
    """Standardised pixels and labels."""
    found = load_images(name, split)[:count]
    pixels = torch.tensor(found.pixels).movedim(3, 1).float() / 255
    return (pixels - 0.2) / 0.35, torch.from_numpy(found.labels)


def measure(kind: str, name: str, count: int, seed: int, plot: Path | None) -> str:
    """One pair of networks."""
    train, test = images(name, "train", count), images(name, "test", 2000)
    first, second = (trained(kind, *train, seed=2 * seed + place) for place in range(2))
    inputs = test[0] if kind == "cnn" else test[0].flatten(1)
    layout = trace(first, inputs[:2])
    one, other = (Networks.from_modules([module], layout) for module in (first, second))
    start = time.perf_counter()
    align(one, other)
    seconds = time.perf_counter() - start
    found = barrier(one, other, inputs, test[1], seed=seed)
    if plot is not None:
        ways = {"as they are": found.naive, "aligned": found.aligned}
        plots.save(
            plots.barrier_curve(found.shares, ways, title=f"{kind} on {Path(name).name}: test cross-entropy"), plot
        )
    ends = f"{found.naive[0]:.3f} {found.naive[-1]:.3f}"
    naive, aligned = found.heights
    told = f"barrier {naive:.3f} → {aligned:.3f}   align {seconds:.2f} s"
    return f"{kind} {Path(name).name} seed {seed}   ends {ends}   {told}"


def resnet18() -> str:
    """How long two networks of the size of ResNet-18 take."""
    layout = trace(Convolutional(3, 1000, (64, 128, 256, 512), 2).eval(), torch.zeros(1, 3, 32, 32))
    one, other = (Networks(torch.randn(1, layout.size), layout) for _ in range(2))
    start = time.perf_counter()
    align(one, other)
    return f"ResNet-18: {layout.size:,} numbers   align {time.perf_counter() - start:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--networks", nargs="+", default=["mlp", "cnn"], choices=["mlp", "cnn"])
    parser.add_argument("--plot", type=Path, help="draw the last pair")
    parser.add_argument("--resnet18", action="store_true")
    arguments = parser.parse_args()
    if arguments.resnet18:
        print(resnet18())
        return
    for kind in arguments.networks:
        for seed in range(arguments.seeds):
            print(measure(kind, arguments.images, arguments.train, seed, arguments.plot), flush=True)


if __name__ == "__main__":
    main()
