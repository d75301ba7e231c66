"""A program of its own, without checks of shapes, which compilers do not see through: one graph per forward pass."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neural_graphs import NFN, NGGNN, NGT, DWSNet, InputSpec, Layout, Networks

warnings.simplefilter("ignore")  # torch's own
CNN = Layout.cnn((1, 2, 3), (3, 3), 2, residual=(-1, 0))
SPEC = InputSpec.of([CNN])
SMALL: dict[str, Any] = {"widths": (8, 4), "attention": 8, "heads": 2, "hidden": (8, 8), "depth": 2}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "NG-GNN": lambda: NGGNN(SPEC, 3, width=8, depth=2),
    "NG-T": lambda: NGT(SPEC, 3, **SMALL),
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
    sys.stdout.write("one graph\n")


if __name__ == "__main__":
    main(sys.argv[1])
