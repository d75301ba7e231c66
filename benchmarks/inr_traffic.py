"""What a step of growing INRs moves through memory, and the seconds of a growth outside the fits.

    python benchmarks/inr_traffic.py [--count 20000]

`traffic` counts what the step of an accelerator reads and writes, in tensors of activities (networks × width × points
numbers): by operators one by one, and by what the compiler makes of them (its own count; a C++ compiler is needed).
`outside` grows `--count` networks on random pictures of 28 × 28 with fits that only wait, and tells for how long the
accelerator would: for images, initial values and shards; the processor seconds are those of all threads.
"""

import argparse
import logging
import tempfile
import time
from threading import Lock
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neural_graphs.zoo import grow_inrs, preset
from neural_graphs.zoo.images import Source
from neural_graphs.zoo.recipes import inr
from neural_graphs.zoo.recipes.fused import FusedFit, error_and_gradient, options

RECIPE = inr.Recipe(preset("dws2023"), (28, 28, 1))
POINTS, WIDTH = 784, 32
FIT, CARD = 0.3, Lock()  # seconds that a pretended accelerator takes for a stack


class Traffic(TorchDispatchMode):
    """Adds up the bytes of the tensors that operators read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        found = function(*given, **(named or {}))
        if not function.is_view:
            tensors = [each for each in tree_leaves((given, named, found)) if isinstance(each, Tensor)]
            self.bytes += sum(min(each.nbytes, each.untyped_storage().nbytes()) for each in tensors)
        return found


def traffic(networks: int = 32) -> dict[str, float]:
    """Tensors of activities that a step reads and writes."""
    fit = FusedFit(RECIPE.preset, RECIPE.layout, RECIPE.coordinates(), networks, None)
    activities = 4 * networks * WIDTH * POINTS
    with Traffic() as eager:
        error_and_gradient(fit.layers, fit.x, fit.goal)
    return {"one by one": eager.bytes / activities, "compiled": compiled_bytes(fit) / activities}


def compiled_bytes(fit: FusedFit) -> int:
    """Bytes that the compiled step reads and writes, as the compiler counts them."""
    from torch._inductor import compile_fx, metrics

    log = compile_fx.inductor_metrics_log
    log.setLevel(logging.INFO)  # or it does not count
    log.propagate = False
    metrics.reset()
    fused = torch.compile(error_and_gradient, dynamic=False, options=options() | {"fx_graph_cache": False})
    fused(fit.layers, fit.x, fit.goal)
    return int(metrics.num_bytes_accessed)


class Pictures(Source):
    """Random ones, as many as Fashion-MNIST has."""

    def read(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        random, count = np.random.default_rng(0), 60_000 if split == "train" else 10_000
        return random.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8), random.integers(0, 10, count)


def outside(count: int) -> tuple[float, float]:
    """Seconds of a growth in stacks as on an accelerator, but for its fits, and those of the processor."""
    images, stack = Pictures("pictures"), inr.STACK["cuda"]
    fits, stacks = patch.object(inr, "_in_cache", lambda _: untrained), patch.dict(inr.STACK, cpu=stack)
    with tempfile.TemporaryDirectory() as folder, fits, stacks:
        start, processor = time.perf_counter(), time.process_time()
        grow_inrs(f"{folder}/zoo", images, RECIPE.preset, count=count, shard_size=4 * stack)
        seconds = time.perf_counter() - start - FIT * -(-count // stack)
        return seconds, time.process_time() - processor


def untrained(values: Tensor, _: Tensor) -> inr.Grown:
    """Networks as they start, after a fit's time; one stack at a time."""
    with CARD:
        time.sleep(FIT)
    return inr.Grown(values, torch.zeros(len(values)), torch.zeros(len(values), dtype=torch.int64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="networks (default %(default)s)")
    arguments = parser.parse_args()
    seconds, processor = outside(arguments.count)
    print(f"outside the fits of {arguments.count} networks: {seconds:.2f} s; processor {processor:.2f} s", flush=True)
    moved = ", ".join(f"{name} {tensors:.1f}" for name, tensors in traffic().items())
    print(f"tensors of activities read and written a step: {moved}", flush=True)


if __name__ == "__main__":
    main()
