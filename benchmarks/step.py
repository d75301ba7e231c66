"""Time a training step and inference on a batch of networks in float32, with the library's own settings.

The networks are 128 INRs 2 → 32 → 32 → 1; with `--zoo` CNNs of the small CNN zoo, all alike, and of the CNN Wild Park,
all different, read by metanetworks of the published sizes. The last line then says how many times as long a weight of
mixed networks takes as one of networks all alike, in the same metanetwork. A step is forward, loss, backward and AdamW.
Every model runs in a process of its own, so that peak memory is
its own. `work` is the step's floating-point work (matrix products), `bound` the time that work takes at the rate of a
4096³ product in the same run, `share` that bound over the step. Prints yardsticks, then one line per model.

    python benchmarks/step.py [--models nggnn ngt-pairs ngt-weights] [--batch 128] [--repeats 5]
    python benchmarks/step.py --zoo [--models small-nggnn small-ngt park-nggnn park-ngt small-nggnn-64] [--repeats 5]
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neural_graphs.errors import ConfigError
from neural_graphs.graph import AllPairs, Looped
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNN, NGT, Metanetwork, Propagator
from neural_graphs.nn.run.microbatch import Loss, mean_loss
from neural_graphs.nn.spec import InputSpec, Statistics
from neural_graphs.zoo.recipes import WildPark, cnn_recipe

Layouts = Sequence[Layout]


@dataclass(frozen=True)
class Case:
    """A metanetwork, the networks it reads, and how many of them make a batch."""

    make: Callable[[InputSpec], Metanetwork]
    layouts: Callable[[int], Layouts]
    batch: int = 128
    classes: int = 10

    def family(self, layouts: Layouts) -> InputSpec:
        """Of these networks; INRs with figures to standardise them by."""
        return InputSpec.of(layouts, INR_FIGURES if layouts[0] == INR else None)

    def prepared(self, batch: int | None = None) -> tuple[Any, Networks, Tensor, Loss]:
        """The metanetwork, a batch of networks with random numbers, what is to be said of them, and the loss."""
        torch.manual_seed(0)
        layouts = self.layouts(batch or self.batch)
        metanetwork = self.make(self.family(layouts))
        networks = Networks.cat([Networks(0.05 * torch.randn(1, layout.size), layout) for layout in layouts])
        if self.classes == 1:
            return metanetwork, networks, torch.rand(len(layouts), 1), F.binary_cross_entropy_with_logits
        return metanetwork, networks, torch.randint(0, self.classes, (len(layouts),)), F.cross_entropy


INR = Layout.mlp((2, 32, 32, 1), "sine", offset=0.5)
INR_FIGURES = Statistics((0.0,) * 3, (0.06, 0.02, 0.12), (0.0,) * 3, (0.02, 0.01, 0.1))
SMALL = Layout.cnn((1, 16, 16, 16), (3, 3, 3), 10, stride=2, padding=0)


def inrs(count: int) -> Layouts:
    """So many INRs."""
    return [INR] * count


def small(count: int) -> Layouts:
    """So many networks of the small CNN zoo."""
    return [SMALL] * count


def park(count: int) -> Layouts:
    """So many networks of the CNN Wild Park, as its recipe draws them; images have three channels."""
    recipe = cnn_recipe("wild-park")
    if not isinstance(recipe, WildPark):
        raise ConfigError("the recipe wild-park draws no architectures")
    return [recipe.draw(run, 0).layout(3, 10) for run in range(count)]


def ngt(widths: tuple[int, int], attention: int, heads: int, hidden: tuple[int, int], depth: int) -> Any:
    """What makes an NG-T that predicts one number, over all pairs."""
    return lambda family: NGT(family, 1, widths, attention, heads, hidden, depth, AllPairs())


MODELS: dict[str, Case] = {
    "nggnn": Case(lambda family: NGGNN(family, 10, reverse=True), inrs),
    "propagator": Case(lambda family: Propagator(family, 10), inrs),
    "nggnn-64": Case(lambda family: NGGNN(family, 10, 64, reverse=True), inrs),
    "ngt-pairs": Case(lambda family: NGT(family, 10, wiring=AllPairs()), inrs),
    "ngt-weights": Case(lambda family: NGT(family, 10, wiring=Looped()), inrs),
}
ZOO: dict[str, Case] = {
    "small-nggnn": Case(lambda family: NGGNN(family, 1, 256, reverse=False), small, classes=1),
    "small-ngt": Case(ngt((128, 64), 256, 8, (256, 128), 4), small, 192, classes=1),
    "park-nggnn": Case(lambda family: NGGNN(family, 1, 64, reverse=False), park, classes=1),
    "park-ngt": Case(ngt((32, 16), 32, 4, (64, 64), 3), park, classes=1),
    "small-nggnn-64": Case(lambda family: NGGNN(family, 1, 64, reverse=False), small, classes=1),
}
MIXED, ALIKE = "park-nggnn", "small-nggnn-64"


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


def work(metanetwork: Metanetwork, networks: Networks, targets: Tensor, loss: Loss) -> int:
    """Floating-point operations of the matrix products of forward and backward; counted on two networks all alike."""

    def addmm_(into: Any, a: Any, b: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return int(2 * a[0] * a[1] * b[1])

    part = slice(None) if not networks.regular else slice(0, 2)
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm_}) as counter:
        loss(metanetwork.read(networks[part]), targets[part]).backward()
    return int(counter.get_total_flops() * len(networks) / len(networks[part]))


def measure(name: str, batch: int | None, repeats: int, rate: float) -> str:
    """One line of result."""
    metanetwork, networks, targets, loss = (MODELS | ZOO)[name].prepared(batch)
    optimizer = torch.optim.AdamW(metanetwork.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        mean_loss(metanetwork, networks, targets, loss)[0].backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad():
            metanetwork(networks)

    seconds, inference = best(step, repeats), best(infer, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    flops = work(metanetwork, networks, targets, loss)
    bound, weight = flops / rate / 1e9, seconds / sum(layout.weights for layout in networks.layouts)
    return (
        f"{name:14s} step {seconds * 1e3:6.0f} ms   inference {inference * 1e3:5.0f} ms   peak {peak:4.2f} GB   "
        f"work {flops / 1e9:4.0f} GFLOP   bound {bound * 1e3:5.0f} ms   share {bound / seconds:4.0%}   "
        f"{weight * 1e6:6.2f} µs a weight"
    )


def run(name: str, options: Sequence[str]) -> float:
    """Measure one model in a process of its own, print its line, and return its microseconds a weight."""
    words = [sys.executable, __file__, "--models", name, *options]
    line = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    print(line, flush=True)
    return float(line.split()[-4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", action="store_true", help="read CNNs instead of INRs")
    parser.add_argument("--models", nargs="+", choices=[*MODELS, *ZOO], help="default: all of that kind of networks")
    parser.add_argument("--batch", type=int, help="networks per step (default: 128, small-ngt 192)")
    parser.add_argument("--repeats", type=int, default=5, help="the best of so many counts (default %(default)s)")
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)  # set in the processes of the models
    arguments = parser.parse_args()
    if arguments.rate:
        print(measure(arguments.models[0], arguments.batch, arguments.repeats, arguments.rate), flush=True)
        return
    found = yardsticks()
    print(f"{torch.get_num_threads()} threads   " + "   ".join(f"{k} {v:.1f}" for k, v in found.items()), flush=True)
    options = ["--repeats", str(arguments.repeats), "--rate", str(found["4096³ GFLOP/s"])]
    options += ["--batch", str(arguments.batch)] if arguments.batch else []
    times = {name: run(name, options) for name in arguments.models or (ZOO if arguments.zoo else MODELS)}
    if {MIXED, ALIKE} <= set(times):
        print(f"a weight of mixed networks takes {times[MIXED] / times[ALIKE]:.2f} times as long as one of alike ones")


if __name__ == "__main__":
    main()
