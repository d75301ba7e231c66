"""Time the growing of small CNNs beside a plain loop: `python benchmarks/grow.py --images fashion-mnist --runs 64`."""

import argparse
import time
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.memory import keep_memory
from neural_graphs.zoo.cnn import RECIPES, CnnRecipe, SmallCnn, WildPark, cnn_recipe
from neural_graphs.zoo.cnn.grow import Growing
from neural_graphs.zoo.cnn.recipe import Part, Study
from neural_graphs.zoo.cnn.small import Draw
from neural_graphs.zoo.engines import Processes
from neural_graphs.zoo.find_images import find_source

OPTIMIZERS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def plain_cnn(recipe: SmallCnn, draw: Draw, study: Study) -> nn.Module:
    """What one would write first: modules, one network."""
    layers: list[nn.Module] = []
    channels = (study.image[0], *recipe.channels)
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, recipe.kernel, recipe.stride), ACTIVATIONS[draw.activation]()]
        layers += [nn.Dropout(draw.dropout)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], study.classes))


def train_plainly(recipe: SmallCnn, draw: Draw, study: Study) -> None:
    """Train one network as `recipe` does, with the same checkpoints, by autograd and `torch.optim`."""
    model = plain_cnn(recipe, draw, study)
    optimizer = OPTIMIZERS[draw.optimizer](model.parameters(), lr=draw.learning_rate, weight_decay=2 * draw.l2)
    train, test = study.train.first(draw.train_fraction).tensors(), study.test.tensors()
    batch = min(recipe.batch, len(train[1]))
    for epoch in range(recipe.checkpoints[-1] + 1):
        model.train()
        for chosen in torch.randperm(len(train[1])).split(batch) if epoch else ():
            if len(chosen) == batch:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(train[0][chosen]), train[1][chosen]).backward()
                optimizer.step()
        if epoch in recipe.checkpoints:
            examine_plainly(model.eval(), *train)
            examine_plainly(model, *test)


@torch.no_grad()
def examine_plainly(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Return the accuracy on images, a thousand at a time."""
    answers = torch.cat([model(part).argmax(1) for part in pixels.split(1000)])
    return (answers == labels).double().mean().item()


def grown(recipe: CnnRecipe, parts: list[Part], study: Study, workers: int) -> float:
    """Return the seconds that growing takes, the start of the processes included."""
    engine, job = Processes(workers), Growing(recipe, study)
    started = time.perf_counter()
    for _ in engine.run(job, parts):
        pass
    return time.perf_counter() - started


def epochs(recipe: CnnRecipe, run: int) -> int:
    """Return the epochs that a run is trained for."""
    if isinstance(recipe, SmallCnn):
        return recipe.checkpoints[-1]
    return recipe.draw(run, 0).epochs if isinstance(recipe, WildPark) else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True, help="name or folder")
    parser.add_argument("--recipe", choices=RECIPES, default="small-cnn-mini")
    parser.add_argument("--runs", type=int, default=64, help="networks to grow")
    parser.add_argument("--plain", type=int, default=8, help="of them in the plain loop, small CNNs only")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    keep_memory()
    recipe, source = cnn_recipe(arguments.recipe), find_source(arguments.images)
    train, test = (recipe.pictures.prepare(source.load(split), 0) for split in ("train", "test"))
    study = Study(train, test, 0)
    parts = list(recipe.parts(arguments.runs, study))
    work = sum(epochs(recipe, run) for run in range(arguments.runs))
    ours = work / grown(recipe, parts, study, arguments.workers)
    line = f"{recipe.name}: {ours:.1f} networks × epochs/s with {arguments.workers} workers"
    if isinstance(recipe, SmallCnn):
        torch.set_num_threads(1)
        chosen = np.linspace(0, arguments.runs - 1, arguments.plain).astype(int).tolist()
        started = time.perf_counter()
        for run in chosen:
            train_plainly(recipe, recipe.draw(run, 0), study)
        plain = sum(epochs(recipe, run) for run in chosen) / (time.perf_counter() - started)
        line += f", plain loop {plain:.1f}, ratio {ours / plain:.1f}"
    print(line)


if __name__ == "__main__":
    main()
