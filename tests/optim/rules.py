"""What the laws of learned optimizers range over: update rules × networks. A new one joins by one line here."""

from collections.abc import Callable
from typing import Any

import torch

from neural_graphs import InputSpec, Layout, Networks, trace
from neural_graphs.graph import Looped
from neural_graphs.optim import (
    Decay,
    FeedForwardRule,
    LSTMRule,
    NFNRule,
    NGGNNRule,
    NGTRule,
    PropagatorRule,
    Refinements,
    SharedUNFRule,
    UpdateRule,
)
from neural_graphs.optim.signals import CHANNELS, SIGNALS
from tests.test_align import TRACED

Make = Callable[..., UpdateRule]
RULES: dict[str, Make] = {
    "FF": lambda f, **o: FeedForwardRule(f, width=8, **o),
    "LSTM": lambda f, **o: LSTMRule(f, width=8, **o),
    "NG-GNN": lambda f, **o: NGGNNRule(f, width=8, depth=2, rows=128, **o),
    "NG-GNN of any size": lambda f, **o: NGGNNRule(f, width=8, depth=2, rows=None, **o),
    "NG-T": lambda f, **o: NGTRule(f, width=8, depth=2, heads=2, rows=128, **o),
    "NG-T over weights": lambda f, **o: NGTRule(f, width=8, depth=2, heads=2, wiring=Looped(), rows=None, **o),
    "Propagator": lambda f, **o: PropagatorRule(f, width=8, depth=2, heads=2, **o),
    "SharedUNF": lambda f, **o: SharedUNFRule(f, width=8, depth=2, **o),
    "NFN": lambda f, **o: NFNRule(f, width=6, depth=2, **o),
}
PAPER = Layout.cnn((1, 3, 6, 6), (3, 3, 3), 4, stride=(2, 1, 1), padding=(0, None, None))  # at h = 3
LAYOUTS: dict[str, Callable[[], list[Layout]]] = {
    "MLP": lambda: [Layout.mlp((4, 5, 6, 3), "tanh")],
    "CNN": lambda: [PAPER],
    "CNN of other kernels": lambda: [Layout.cnn((1, 3, 4), (7, 5), 2, places=(2, 2))],
    "residual": lambda: [Layout.cnn((1, 4, 4, 6), (3, 3, 3), 3, residual=(-1, -1, 0))],
    "traced residual": lambda: [trace(TRACED["residual"][0]().eval(), TRACED["residual"][1])],
    "traced attention": lambda: [trace(TRACED["transformer"][0]().eval(), TRACED["transformer"][1])],
}
MIXED = [Layout.mlp((4, 5, 6, 3), "tanh"), Layout.mlp((4, 6, 3), "relu"), PAPER]


def family_of(layouts: list[Layout]) -> InputSpec:
    return InputSpec.of(layouts, channels=CHANNELS)


def built(make: Make, layouts: list[Layout], **options: Any) -> UpdateRule:
    """In float64, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(family_of(layouts), **options).double()


def signals(layouts: list[Layout], count: int = 3) -> Networks:
    """Random values, gradients and momenta of networks of these layouts in turn."""
    generator = torch.Generator().manual_seed(0)
    each = [layouts[place % len(layouts)] for place in range(count)]
    values = [torch.randn(layout.size, SIGNALS, generator=generator, dtype=torch.float64) for layout in each]
    return Networks(torch.stack(values), layouts[0]) if len(layouts) == 1 else Networks(torch.cat(values), each)


SCALED = Refinements(scaled_inputs=True, scaled_steps=True)
REFINED = Refinements(scaled_inputs=True, scaled_steps=True, gain=0.1, nominal=0.02, saturation=10.0, decay=Decay())
OPTIONS: dict[str, dict[str, Any]] = {"plain": {}, "refined": {"refinements": REFINED}}
