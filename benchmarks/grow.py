"""Time the growing of CNNs beside plain loops: `python benchmarks/grow.py --images fashion-mnist --runs 128`.

For small CNNs also the gradients of a whole stack, in four ways: one network after another, `torch.func.vmap`, grouped
convolutions, and as the recipe does.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy

from neural_graphs.graph.memory import keep_memory
from neural_graphs.zoo.engines import Processes
from neural_graphs.zoo.find_images import find_source
from neural_graphs.zoo.recipes import RECIPES, CnnRecipe, SmallCnn, cnn_recipe
from neural_graphs.zoo.recipes import batched_cnn as program
from neural_graphs.zoo.recipes.grow_cnns import Growing
from neural_graphs.zoo.recipes.small_cnn import Hyperparameters
from neural_graphs.zoo.recipes.training_data import TrainingData

OPTIMIZERS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def plain_cnn(recipe: SmallCnn, data: TrainingData, activation: str, dropout: float) -> nn.Module:
    """What one would write first: modules, one network."""
    layers: list[nn.Module] = []
    channels = (data.image[0], *recipe.channels)
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, recipe.kernel, recipe.stride), ACTIVATIONS[activation]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    whole = nn.AvgPool2d(recipe.geometry(data).places[-1])
    return nn.Sequential(*layers, whole, nn.Flatten(), nn.Linear(channels[-1], data.classes))


def train_plainly(recipe: SmallCnn, draw: Hyperparameters, data: TrainingData) -> None:
    """Train one network as `recipe` does, with the same checkpoints, by autograd and `torch.optim`."""
    model = plain_cnn(recipe, data, draw.activation, draw.dropout)
    optimizer = OPTIMIZERS[draw.optimizer](model.parameters(), lr=draw.learning_rate, weight_decay=2 * draw.l2)
    train, test = data.train.first(draw.train_fraction).tensors(), data.test.tensors()
    batch = min(recipe.batch, len(train[1]))
    for epoch in range(recipe.checkpoints[-1] + 1):
        model.train()
        for chosen in torch.randperm(len(train[1])).split(batch) if epoch else ():
            if len(chosen) == batch:
                optimizer.zero_grad()
                cross_entropy(model(train[0][chosen]), train[1][chosen]).backward()
                optimizer.step()
        if epoch in recipe.checkpoints:
            examine_plainly(model.eval(), *train)
            examine_plainly(model, *test)


@torch.no_grad()
def examine_plainly(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Return the accuracy on images, a thousand at a time."""
    answers = torch.cat([model(part).argmax(1) for part in pixels.split(1000)])
    return (answers == labels).double().mean().item()


def plain(recipe: SmallCnn, runs: Sequence[int], data: TrainingData, threads: int) -> float:
    """Return the networks × epochs per second of a plain loop."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    for run in runs:
        train_plainly(recipe, recipe.draw(run, data.seed), data)
    return len(runs) * recipe.checkpoints[-1] / (time.perf_counter() - started)


def grown(recipe: CnnRecipe, runs: int, data: TrainingData, workers: int) -> float:
    """Return the networks × epochs per second of growing, the start of the processes included."""
    epochs = 0
    started = time.perf_counter()
    for rows in Processes(workers).run(Growing(recipe, data), recipe.parts(runs, data)):
        last = dict(zip(rows.columns["network"], rows.columns["epoch"], strict=True))  # of rising epochs
        epochs += sum(last.values())
    return epochs / (time.perf_counter() - started)


class Stack:
    """The gradients of the networks of one stack on one batch, in four ways."""

    def __init__(self, recipe: SmallCnn, data: TrainingData, activation: str) -> None:
        self.module = plain_cnn(recipe, data, activation, dropout=0)
        self.stack = program.BatchedCnn(recipe.geometry(data), activation, recipe.stack, recipe.batch)
        self.stride, self.activation = recipe.stride, ACTIVATIONS[activation]()
        random = torch.Generator().manual_seed(0)
        self.values = 0.2 * torch.randn(recipe.stack, self.stack.layout.size, generator=random)
        pixels, labels = data.train.tensors()
        self.pixels, self.labels = pixels[: recipe.batch], labels[: recipe.batch]

    def tensors(self, values: Tensor) -> list[Tensor]:
        """The parameters, in the order of the modules', (*batch, *shape)."""
        layout = self.stack.layout
        return [values[..., where].unflatten(-1, layout.shapes[name]) for name, where in layout.slices.items()]

    def loop(self) -> Tensor:
        """One network after another, by autograd."""
        gradients, parameters = [], list(self.module.parameters())
        for values in self.values:
            nn.utils.vector_to_parameters(values, parameters)
            loss = cross_entropy(self.module(self.pixels), self.labels)
            gradients.append(torch.cat([each.flatten() for each in torch.autograd.grad(loss, parameters)]))
        return torch.stack(gradients)

    def vmap(self) -> Tensor:
        """`torch.func`: the gradient of one network, vectorised over networks."""
        names = [name for name, _ in self.module.named_parameters()]

        def loss(values: Tensor) -> Tensor:
            parameters = dict(zip(names, self.tensors(values), strict=True))
            return cross_entropy(torch.func.functional_call(self.module, parameters, (self.pixels,)), self.labels)

        return torch.func.vmap(torch.func.grad(loss))(self.values)

    def grouped(self) -> Tensor:
        """Convolutions with a group of channels per network, by autograd."""
        leaf, networks = self.values.clone().requires_grad_(), len(self.values)
        *convolutions, weight, bias = self.tensors(leaf)
        x = self.pixels.repeat(1, networks, 1, 1)
        for kernel, offset in zip(convolutions[::2], convolutions[1::2], strict=True):
            x = self.activation(conv2d(x, kernel.flatten(0, 1), offset.flatten(), self.stride, groups=networks))
        pooled = x.mean((2, 3)).unflatten(1, (networks, -1)).transpose(0, 1)
        logits = torch.baddbmm(bias[:, None], pooled, weight.transpose(1, 2)).flatten(0, 1)
        (gradient,) = torch.autograd.grad(networks * cross_entropy(logits, self.labels.repeat(networks)), leaf)
        return gradient

    def ours(self) -> Tensor:
        """As the recipe does."""
        logits = self.stack.forward(self.values, self.pixels.flatten(1).T.contiguous())
        return self.stack.backward(program.cross_entropy(logits, self.labels)[1])

    def report(self) -> None:
        """Print the time of each way, and how far its gradients are from the loop's."""
        torch.set_num_threads(1)
        reference = self.loop()
        ways = {"one by one": self.loop, "vmap": self.vmap, "grouped": self.grouped, "ours": self.ours}
        for name, way in ways.items():
            seconds = fastest(way) / len(self.values) / len(self.labels)
            error = (way() - reference).abs().max() / reference.abs().max()
            print(f"  {name:12} {1e6 * seconds:8.1f} µs   relative error {error:.0e}")


def fastest(call: Callable[[], object], repeats: int = 25) -> float:
    """Return the processor's own seconds of the fastest of some calls, on one thread."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True, help="name or folder")
    parser.add_argument("--recipe", choices=RECIPES, default="small-cnn-mini")
    parser.add_argument("--runs", type=int, default=128, help="networks to grow")
    parser.add_argument("--plain", type=int, default=16, help="of them in the plain loops, small CNNs only")
    parser.add_argument("--epochs", type=int, help="of small CNNs; default: the recipe's, hours for small-cnn")
    parser.add_argument("--workers", type=int, default=cores, help=f"default: all cores, {cores}")
    arguments = parser.parse_args()
    keep_memory()
    recipe, source = cnn_recipe(arguments.recipe), find_source(arguments.images)
    if arguments.epochs and isinstance(recipe, SmallCnn):
        recipe = replace(recipe, checkpoints=(arguments.epochs,))
    train, test = (recipe.pictures.prepare(source.load(split), 0) for split in ("train", "test"))
    data = TrainingData(train, test, 0)
    print(f"{recipe.name}, {source.name}, {arguments.runs} networks: networks × epochs per second")
    rates = {workers: grown(recipe, arguments.runs, data, workers) for workers in sorted({1, arguments.workers})}
    for workers, rate in rates.items():
        print(f"  grown, {workers} worker{'s'[: workers > 1]:15} {rate:8.1f}", flush=True)
    if isinstance(recipe, SmallCnn):
        runs = np.linspace(0, arguments.runs - 1, arguments.plain).astype(int).tolist()
        for threads in sorted({1, cores}):
            loop = plain(recipe, runs, data, threads)
            ratios = ", ".join(f"{rate / loop:.1f} with {workers}" for workers, rate in rates.items())
            print(f"  plain loop, {threads} thread{'s'[: threads > 1]:10} {loop:8.1f}   ratio {ratios}", flush=True)
        for activation in recipe.activations:
            print(f"gradients of {recipe.stack} {activation} networks, one thread: per network and image")
            Stack(recipe, data, activation).report()


if __name__ == "__main__":
    main()
