"""Time the import of a CNN Wild Park, and the opening of what it becomes: `python benchmarks/import_zoo.py`.

The published one has the size `--networks 2800 --checkpoints 42`; it takes 16 GB of disk.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from neural_graphs.zoo import Zoo, convert_cnn_wild_park

KINDS = ("relu", "gelu", "tanh", "sigmoid", "leaky_relu", "none")


def write_network(folder: Path, checkpoints: int, random: np.random.Generator) -> None:
    """Write the checkpoints of a network of a random architecture, with random numbers."""
    depth = int(random.integers(2, 6))
    channels = [3, *random.choice([4, 8, 16, 32], depth).tolist()]
    kernels = random.choice([3, 5, 7], depth).tolist()
    skips = [int(random.integers(-1, layer - 1)) if layer > 1 else -1 for layer in range(depth)]
    config = {"residual": skips, "activation": random.choice(KINDS, depth).tolist()}
    for epoch in range(10, 10 * checkpoints + 1, 10):
        state = {}
        for layer, kernel in enumerate(kernels):
            state[f"conv{layer}.weight"] = torch.rand(channels[layer + 1], channels[layer], kernel, kernel)
            state[f"conv{layer}.bias"] = torch.rand(channels[layer + 1])
        state |= {"fc.weight": torch.rand(10, channels[-1]), "fc.bias": torch.rand(10)}
        path = folder / f"checkpoint_{epoch:06d}" / "checkpoint.pt"
        path.parent.mkdir(parents=True)
        torch.save({"model": state, "config": config, "test_accuracy": float(random.random())}, path)


def memory() -> float:
    """Return how many GB this process has needed at most, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # from KiB


def timed(make: Callable[[], Zoo]) -> tuple[Zoo, float, float]:
    """Return what is made, and its seconds on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    made = make()
    return made, time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100, help="each of its own architecture")
    parser.add_argument("--checkpoints", type=int, default=10, help="of each network")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(arguments.networks):
            write_network(folder / "park" / f"net_{number}", arguments.checkpoints, random)
        zoo, clock, processor = timed(lambda: convert_cnn_wild_park(folder / "park", folder / "zoo"))
        share = 1e3 / len(zoo)
        print(
            f"import of {len(zoo):,} checkpoints: {clock * share:.1f} s per 1,000 ({processor * share:.1f} s of the"
            f" processor), {memory():.1f} GB at most"
        )
        zoo, clock, processor = timed(lambda: Zoo(folder / "zoo"))
        print(f"opening {len(zoo.layouts):,} layouts: {clock:.2f} s ({processor:.2f} s of the processor)")


if __name__ == "__main__":
    main()
