"""Time a training step of metanetworks of linear layers on 128 INRs 2 → 32 → 32 → 1, in float32, at published sizes.

A step is forward, loss, backward and AdamW; `cpu` counts the processor's own seconds, of all threads together. `work`,
`bound` and `share` as in `step.py`. Prints the rate of a 4096³ product, then one line per model. With `--resnet` one
UNF of 16 channels and four layers reads ResNet-18 instead, a thousand classes permuted: forward and backward, and the
peak memory of the process.

    python benchmarks/linear.py [--models dwsnet nfn-np nfn-hnp unf] [--batch 128] [--repeats 3]
    python benchmarks/linear.py --resnet
"""

import argparse
import resource
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from step import INR, INR_FIGURES, best, work  # type: ignore[import-not-found]  # the script beside this one

import neural_graphs
from neural_graphs.networks import Networks
from neural_graphs.nn import NFN, UNF, DWSNet
from neural_graphs.nn.linear import LinearMetanetwork, Neighbours
from neural_graphs.nn.run.microbatch import mean_loss
from neural_graphs.nn.spec import InputSpec

MODELS: dict[str, Callable[[InputSpec], LinearMetanetwork]] = {
    "dwsnet": lambda family: DWSNet(family, 10),
    "nfn-np": lambda family: NFN(family, 10),
    "nfn-hnp": lambda family: NFN(family, 10, ends=False),
    "unf": lambda family: UNF(family, 10),
}


def measure(name: str, batch: int, repeats: int, rate: float) -> str:
    """One line of result; `rate` in GFLOP/s."""
    torch.manual_seed(0)
    metanetwork = MODELS[name](InputSpec.of([INR], INR_FIGURES))
    networks = Networks(0.05 * torch.randn(batch, INR.size), INR)
    targets = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.AdamW(metanetwork.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        mean_loss(metanetwork, networks, targets, F.cross_entropy)[0].backward()
        optimizer.step()

    seconds, flops = best(step, repeats), work(metanetwork, networks, targets, F.cross_entropy)
    start = time.process_time()
    step()
    cpu = time.process_time() - start
    count, bound = sum(parameter.numel() for parameter in metanetwork.parameters()), flops / rate / 1e9
    return (
        f"{name:8s} {count:11,} parameters   step {seconds:6.2f} s   cpu {cpu:6.2f} s   "
        f"work {flops / 1e9:4.0f} GFLOP   bound {bound:5.2f} s   share {bound / seconds:4.0%}"
    )


def measure_resnet(repeats: int) -> str:
    """One line of result."""
    from trace import CASES  # type: ignore[attr-defined]  # the script beside this one

    module, example = CASES["resnet18"]()
    layout = neural_graphs.trace(module, example)
    networks = Networks.from_modules([module], layout)
    metanetwork = UNF(InputSpec.of([layout]), 2, 16, 4, maps=Neighbours(), ends=True)

    def step() -> None:
        loss, _ = mean_loss(metanetwork, networks, torch.zeros(1, dtype=torch.long), F.cross_entropy)
        metanetwork.zero_grad()
        loss.backward()

    seconds, peak = best(step, repeats), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return f"unf on ResNet-18   {layout.size:,} numbers   forward and backward {seconds:5.1f} s   peak {peak:4.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument("--batch", type=int, default=128, help="networks per step (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many counts (default %(default)s)")
    parser.add_argument("--resnet", action="store_true", help="read ResNet-18 instead")
    arguments = parser.parse_args()
    if arguments.resnet:
        print(measure_resnet(arguments.repeats), flush=True)
        return
    a, b = torch.randn(4096, 4096), torch.randn(4096, 4096)
    rate = 2 * 4096**3 / best(lambda: a @ b, 3) / 1e9
    print(f"{torch.get_num_threads()} threads   4096³ {rate:.0f} GFLOP/s", flush=True)
    for name in arguments.models:
        print(measure(name, arguments.batch, arguments.repeats, rate), flush=True)


if __name__ == "__main__":
    main()
