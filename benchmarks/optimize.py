"""Time a step of learned optimizers beside Adam's, and beside forward and backward of the module that is trained.

Modules: the CNN of the paper (14,378 parameters, batch 128), ResNet-18 (batch 8 of 64 × 64) and a GPT of ten million
parameters (batch 2 of 16 tokens). Every line is measured in a process of its own, so that peak memory is its own; `/fb`
is relative to forward and backward, `ns/number` tells whether steps grow with the parameters.

    python benchmarks/optimize.py [--cases paper resnet18 gpt] [--rules adam ff lstm nggnn ngt] [--every 1 10]
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from trace import CASES as LARGE  # type: ignore[attr-defined]  # the script beside this one

import torch
from torch import Tensor, nn

from neural_graphs import InputSpec, trace
from neural_graphs.errors import MemoryNeeded
from neural_graphs.graph import Looped
from neural_graphs.optim import (
    FeedForwardRule,
    LearnedOptimizer,
    LSTMRule,
    NGGNNRule,
    NGTRule,
    PropagatorRule,
    UpdateRule,
)
from neural_graphs.optim.signals import CHANNELS


def paper() -> tuple[nn.Module, Tensor]:
    """The network that the published rules are trained on."""
    first, second, third = nn.Conv2d(1, 16, 3, 2), nn.Conv2d(16, 32, 3, 1, 1), nn.Conv2d(32, 32, 3, 1, 1)
    convolutions = (first, nn.ReLU(), second, nn.ReLU(), third, nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return nn.Sequential(*convolutions, *head), torch.randn(128, 1, 28, 28)


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "paper": paper,
    "resnet18": lambda: _batched(LARGE["resnet18"], 8),
    "gpt": lambda: _batched(LARGE["gpt"], 2),
}
RULES: dict[str, Callable[[InputSpec, int, int], UpdateRule]] = {
    "ff": lambda family, width, _: FeedForwardRule(family, width),
    "lstm": lambda family, width, _: LSTMRule(family, width),
    "nggnn": lambda family, width, depth: NGGNNRule(family, width, depth, rows=None),
    "propagator": lambda family, width, depth: PropagatorRule(family, width, depth),
    "ngt": lambda family, width, depth: NGTRule(family, width, depth, wiring=Looped(), rows=None),
}
HEADER = (
    f"{'module':9s} {'rule':6s} {'every':>5s} {'numbers':>11s} {'fb ms':>8s} {'step ms':>9s} {'/fb':>7s} "
    f"{'ns/number':>10s} {'peak GB':>8s}"
)


def _batched(make: Callable[[], tuple[nn.Module, Tensor]], count: int) -> tuple[nn.Module, Tensor]:
    module, inputs = make()
    return module, inputs.repeat(count, *(1,) * (inputs.ndim - 1))


def measure(case: str, rule: str, every: int, width: int, depth: int) -> str:
    """One line of result, or why there is none."""
    torch.manual_seed(0)
    module, inputs = CASES[case]()
    optimizer, size = _optimizer(rule, module, inputs, every, width, depth)
    forward_backward, steps = 0.0, []
    for _ in range(every + 2):
        optimizer.zero_grad()
        start = time.perf_counter()
        found = module(inputs)
        (found if isinstance(found, Tensor) else found.logits).square().mean().backward()
        forward_backward, start = time.perf_counter() - start, time.perf_counter()
        try:
            optimizer.step()
        except MemoryNeeded as error:
            return f"{case:9s} {rule:6s} {every:5d} {error}"
        steps.append(time.perf_counter() - start)
    step = sum(steps[-every:]) / every  # the mean over steps that read the network and those that do not
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return (
        f"{case:9s} {rule:6s} {every:5d} {size:11,d} {1e3 * forward_backward:8.1f} {1e3 * step:9.2f} "
        f"{step / forward_backward:7.2f} {1e9 * step / size:10.1f} {peak:8.2f}"
    )


def _optimizer(
    rule: str, module: nn.Module, inputs: Tensor, every: int, width: int, depth: int
) -> tuple[torch.optim.Optimizer, int]:  # fmt: skip
    size = sum(parameter.numel() for parameter in module.parameters())
    if rule == "adam":
        return torch.optim.Adam(module.parameters(), 1e-3), size
    layout = trace(module, inputs[:2])
    family = InputSpec.of([layout], channels=CHANNELS)
    return LearnedOptimizer(RULES[rule](family, width, depth), module, layout, every=every), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--rules", nargs="+", choices=["adam", *RULES], default=["adam", *RULES], help="default: all")
    parser.add_argument("--every", nargs="+", type=int, default=[1, 10], help="default: 1 10")
    parser.add_argument("--width", type=int, default=32, help="of the rule (default %(default)s)")
    parser.add_argument("--depth", type=int, default=4, help="of the rule (default %(default)s)")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # set in the processes of the cases
    arguments = parser.parse_args()
    if arguments.alone:
        (case,), (rule,), (every,) = arguments.cases, arguments.rules, arguments.every
        print(measure(case, rule, every, arguments.width, arguments.depth), flush=True)
        return
    print(f"{torch.get_num_threads()} threads\n{HEADER}", flush=True)
    options = ["--alone", "--width", str(arguments.width), "--depth", str(arguments.depth)]
    for case in arguments.cases:
        for rule in arguments.rules:
            for every in arguments.every if rule in ("nggnn", "ngt", "lstm") else [1]:
                words = [*options, "--cases", case, "--rules", rule, "--every", str(every)]
                subprocess.run([sys.executable, __file__, *words], check=True)


if __name__ == "__main__":
    main()
