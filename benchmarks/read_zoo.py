"""Time a random batch of 64 networks out of a zoo of 20,000: `python benchmarks/read_zoo.py [--zoo DIR]`."""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural_graphs.layout import Layout
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.writer import ShardData, writing

NETWORKS, BATCH, REPEATS = 20_000, 64, 500


def write_zoo(path: Path) -> None:
    """Write a zoo of random SIRENs with images of 28×28."""
    layout = Layout.mlp((2, 32, 32, 1), activation="sine", names="layers.{}")
    random = np.random.default_rng(0)
    with writing(path, {"kind": "random"}, [layout], NETWORKS) as writer:
        for numbers in writer.remaining():
            count = len(numbers)
            values = random.normal(size=(count, layout.size)).astype(np.float32)
            images = random.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
            columns: dict[str, Any] = {"split": ["train"] * count, "label": random.integers(0, 10, count)}
            writer.write(ShardData(values, columns, images))


def read(path: Path) -> str:
    """Return one line: milliseconds to open the zoo, and for a random batch (median and 95 % quantile)."""
    started = time.perf_counter()
    zoo = Zoo(path)
    opening = time.perf_counter() - started
    random = np.random.default_rng(1)
    total = zoo.networks([0]).values.sum()
    times = []
    for _ in range(REPEATS):
        chosen = random.integers(0, len(zoo), BATCH)
        started = time.perf_counter()
        networks = zoo.networks(chosen)
        times.append(1e3 * (time.perf_counter() - started))
        total += networks.values.flatten()[-1]  # the values are really there
    assert torch.isfinite(total)
    quantile = statistics.quantiles(times, n=20)[-1]
    return (
        f"random batch of {BATCH} from {len(zoo):,} networks in {len(zoo.manifest.shards)} shards: "
        f"{statistics.median(times):.3f} ms median, {quantile:.3f} ms 95 %; opening {1e3 * opening:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", type=Path, help="a zoo to read; by default one of random networks is written")
    arguments = parser.parse_args()
    if arguments.zoo is not None:
        print(read(arguments.zoo))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_zoo(Path(folder) / "zoo")
        print(read(Path(folder) / "zoo"))


if __name__ == "__main__":
    main()
