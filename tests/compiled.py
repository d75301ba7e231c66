"""A program of its own, without checks of shapes, which compilers do not see through: one graph per forward pass."""

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs import NFN, NGGNN, NGT, DWSNet, InputSpec, Layout, Networks, Propagator, ScaleGMN
from neural_graphs.nn import CanonicalScales, CapturedLoss, CompleteSigns, SignsAndScales
from neural_graphs.nn.run.capture import RECORDERS, Recorder
from neural_graphs.nn.run.microbatch import Reader

warnings.simplefilter("ignore")  # torch's own
CNN = Layout.cnn((1, 2, 3), (3, 3), 2, residual=(-1, 0))
SPEC = InputSpec.of([CNN])
SMALL: dict[str, Any] = {"widths": (8, 4), "attention": 8, "heads": 2, "hidden": (8, 8), "depth": 2}
MODELS: dict[str, Callable[[], Reader]] = {
    "NG-GNN": lambda: NGGNN(SPEC, 3, width=8, depth=2),
    "NG-T": lambda: NGT(SPEC, 3, **SMALL),
    "Propagator": lambda: Propagator(SPEC, 3, width=8, depth=2, heads=2),
    "ScaleGMN": lambda: ScaleGMN(SPEC, 3, SignsAndScales(), width=8, depth=2),
    "representatives": lambda: NGGNN(SPEC, 3, width=8, depth=2, canonical=[CanonicalScales(True), CompleteSigns(True)]),
    "DWSNet": lambda: DWSNet(SPEC, 3, width=4, depth=2, norm=True),
    "NFN": lambda: NFN(SPEC, 3, width=4, depth=2, dropout=0.0, hidden=(8,)),
}


def main(name: str) -> None:
    torch.manual_seed(0)
    module = MODELS[name]().double()
    values = torch.randn(3, CNN.size, dtype=torch.float64, requires_grad=True)

    def forward(values: Tensor) -> Tensor:
        return module(Networks(values, CNN))

    expected = forward(values)
    compiled = torch.compile(forward, backend="aot_eager", fullgraph=True)  # which fails where a graph breaks
    found = compiled(values)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    slopes = [torch.autograd.grad(each.square().sum(), values)[0] for each in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-10, atol=1e-12)
    if name == "NG-GNN":  # which reader it is makes no difference to the step around it
        captured(module, values.detach(), found.detach())
    sys.stdout.write("one graph\n")


class Again(Recorder):
    """Of a graph, it only keeps the promise: the same tensors, computed again."""

    def record(self, function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        found = function()

        def replay() -> None:
            for own, new in zip(found, function(), strict=True):
                if own is not None:
                    own.copy_(new)

        return found, replay


def captured(module: Reader, values: Tensor, answers: Tensor) -> None:
    """A captured step may be compiled; its loss and gradients are those of the plain one."""
    RECORDERS["cpu"] = Again
    torch.compile = functools.partial(torch.compile, backend="aot_eager")  # type: ignore[assignment]
    steps = [CapturedLoss(module, F.cross_entropy, compile=compile) for compile in (False, True)]
    targets, known = torch.tensor([0, 2, 1]), list(module.parameters())
    for _ in range(5):
        found = [step(Networks(values, CNN), targets) for step in steps]
        torch.testing.assert_close(found[1][1], answers, rtol=1e-10, atol=1e-12)
        slopes = [torch.autograd.grad(loss, known, allow_unused=True) for loss, _ in found]
        torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-10, atol=1e-12)
    assert all(step.captured.recordings for step in steps)


if __name__ == "__main__":
    main(sys.argv[1])
