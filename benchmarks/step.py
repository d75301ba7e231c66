"""Time a training step and inference on 128 networks 2 → 32 → 32 → 1 in float32, with the library's own settings.

A step is forward, cross-entropy, backward and AdamW. Every model runs in a process of its own, so that peak memory is
its own. `work` is the step's floating-point work (matrix products), `bound` the time that work takes at the rate of a
4096³ product in the same run, `share` that bound over the step. Prints yardsticks, then one line per model.

    python benchmarks/step.py [--models nggnn ngt-pairs ngt-weights] [--batch 128] [--repeats 5]
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neural_graphs.family import Family, Statistics
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNN, NGT, Metanetwork
from neural_graphs.nn.microbatch import mean_loss
from neural_graphs.wiring import AllPairs, Looped

LAYOUT = Layout.mlp((2, 32, 32, 1), "sine", offset=0.5)
FAMILY = Family.of([LAYOUT], Statistics((0.0,) * 3, (0.06, 0.02, 0.12), (0.0,) * 3, (0.02, 0.01, 0.1)))
MODELS: dict[str, Callable[[], Metanetwork]] = {
    "nggnn": lambda: NGGNN(FAMILY, 10, reverse=True),
    "ngt-pairs": lambda: NGT(FAMILY, 10, wiring=AllPairs()),
    "ngt-weights": lambda: NGT(FAMILY, 10, wiring=Looped()),
}


def best(run: Callable[[], Any], repeats: int) -> float:
    """The shortest of some runs, seconds, after a warm-up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def yardsticks() -> dict[str, float]:
    """What this machine can do: GFLOP/s of two products, GB/s into old and new memory, G sines/s."""
    a, b = torch.randn(4096, 4096), torch.randn(4096, 4096)
    thin, weight, out = torch.randn(286_720, 32), torch.randn(32, 64), torch.empty(286_720, 64)
    x, y = torch.randn(1 << 24), torch.empty(1 << 24)
    return {
        "4096³ GFLOP/s": 2 * 4096**3 / best(lambda: a @ b, 3) / 1e9,
        "thin GFLOP/s": 2 * thin.numel() * 64 / best(lambda: torch.mm(thin, weight, out=out), 5) / 1e9,
        "old memory GB/s": 8 * x.numel() / best(lambda: torch.mul(x, 2, out=y), 5) / 1e9,
        "new memory GB/s": 8 * x.numel() / best(lambda: x * 2, 5) / 1e9,
        "G sines/s": x.numel() / best(lambda: torch.sin(x, out=y), 5) / 1e9,
    }


def work(metanetwork: Metanetwork, networks: Networks, labels: Tensor) -> int:
    """Floating-point operations of the matrix products of forward and backward."""

    def addmm_(into: Any, a: Any, b: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return int(2 * a[0] * a[1] * b[1])

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm_}) as counter:
        F.cross_entropy(metanetwork.read(networks[0:2]), labels[0:2]).backward()
    return int(counter.get_total_flops() * len(networks) / 2)


def measure(name: str, batch: int, repeats: int, rate: float) -> str:
    """One line of result."""
    torch.manual_seed(0)
    metanetwork = MODELS[name]()
    networks = Networks(0.05 * torch.randn(batch, LAYOUT.size), LAYOUT)
    labels = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.AdamW(metanetwork.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        mean_loss(metanetwork, networks, labels, F.cross_entropy)[0].backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad():
            metanetwork(networks)

    flops = work(metanetwork, networks, labels)
    seconds, inference = best(step, repeats), best(infer, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    bound = flops / rate / 1e9
    return (
        f"{name:12s} step {seconds * 1e3:6.0f} ms   inference {inference * 1e3:5.0f} ms   peak {peak:4.2f} GB   "
        f"work {flops / 1e9:4.0f} GFLOP   bound {bound * 1e3:5.0f} ms   share {bound / seconds:4.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batch", type=int, default=128, help="networks per step (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="the best of so many counts (default %(default)s)")
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)  # set in the processes of the models
    arguments = parser.parse_args()
    if arguments.rate:
        print(measure(arguments.models[0], arguments.batch, arguments.repeats, arguments.rate), flush=True)
        return
    found = yardsticks()
    print(f"{torch.get_num_threads()} threads   " + "   ".join(f"{k} {v:.1f}" for k, v in found.items()), flush=True)
    options = ["--batch", str(arguments.batch), "--repeats", str(arguments.repeats)]
    options += ["--rate", str(found["4096³ GFLOP/s"])]
    for name in arguments.models:
        subprocess.run([sys.executable, __file__, "--models", name, *options], check=True)


if __name__ == "__main__":
    main()
