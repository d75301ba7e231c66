"""A program of its own, without checks of shapes, which compilers do not see through: one graph per forward pass."""

import sys
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from neural_graphs import NGGNN, NGT, InputSpec, Layout, Metanetwork, Networks, ScaleGMN
from neural_graphs.nn import CanonicalScales, CompleteSigns, SignsAndScales

warnings.simplefilter("ignore")  # torch's own
CNN = Layout.cnn((1, 2, 3), (3, 3), 2, residual=(-1, 0))


def main(name: str) -> None:
    torch.manual_seed(0)
    spec = InputSpec.of([CNN])
    small = {"widths": (8, 4), "attention": 8, "heads": 2, "hidden": (8, 8), "depth": 2}
    canonical = [CanonicalScales(True), CompleteSigns(True)]
    makers: dict[str, Callable[[], Metanetwork]] = {
        "NG-GNN": lambda: NGGNN(spec, 3, width=8, depth=2),
        "NG-T": lambda: NGT(spec, 3, **small),  # type: ignore[arg-type]
        "ScaleGMN": lambda: ScaleGMN(spec, 3, SignsAndScales(), width=8, depth=2),
        "representatives": lambda: NGGNN(spec, 3, width=8, depth=2, canonical=canonical),
    }
    module = makers[name]().double()
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
