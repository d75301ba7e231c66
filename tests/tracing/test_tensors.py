"""Tensors that are computed before each run, empty, or not made yet: traced where that is right, else refused."""

import logging
import threading
from collections.abc import Callable

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import neural_graphs as ng
from neural_graphs.errors import LayoutError
from neural_graphs.testing import assert_same_function

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "hook", [lambda layer: prune.l1_unstructured(layer, "weight", 0.5), lambda layer: nn.utils.weight_norm(layer)]
)
def test_weights_that_hooks_compute_are_traced_from_what_they_are_made_of(hook: Callable[[nn.Module], object]) -> None:
    module = mlp()
    hook(module[0])
    assert not module[0].weight.is_leaf  # what copy.deepcopy stumbles over
    layout = ng.trace(module, X)
    assert [atom.size for atom in layout.free_atoms] == [6]
    assert_same_function(module, layout, X)
    torch.testing.assert_close(ng.Networks.from_modules([module], layout).run(X)[0], module(X), rtol=1e-12, atol=1e-12)


class Holding(nn.Module):
    """A linear layer beside a tensor of no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.empty, self.layer = nn.Parameter(torch.zeros(0, 3)), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Reading(Holding):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.layer(x), x @ self.empty.T], -1)


def test_an_empty_tensor_that_nothing_reads_is_carried_along() -> None:
    module = Holding().double()
    layout = ng.trace(module, X)
    assert layout.size == 8 and layout.shapes["empty"] == (0, 3) and ng.Layout.from_json(layout.to_json()) == layout
    assert_same_function(module, layout, X)
    found = ng.Networks.from_modules([module], layout).state_dicts()[0]
    assert all(torch.equal(tensor, found[name]) for name, tensor in module.state_dict().items())


def test_empty_tensors_that_are_read_are_refused() -> None:
    with pytest.raises(LayoutError, match=r"aten\.cat\.default .*shape \(4, 0\).* no numbers.*empty there: empty"):
        ng.trace(Reading().double(), X)
    with pytest.raises(LayoutError, match=r"shape \(0, 3\) and holds nothing; give one row"):
        ng.trace(mlp(), X[:0])


class Locked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.LazyLinear(2)), r"0\.weight of Sequential has no shape yet; run the module once"),
        (torch.relu, r"expected a torch\.nn\.Module with its tensors, got a builtin_function"),
        (nn.Linear, r"expected a torch\.nn\.Module with its tensors, got Linear;"),
        (Locked(), r"Locked cannot be copied: .*lock.* \(TypeError\); keep"),
        (nn.ReLU(), r"ReLU has no parameters"),
        (
            nn.Bilinear(3, 3, 2),
            r"Bilinear cannot be traced: .*missing 1 required .*'input2' \(TypeError\); the example",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_what_has_no_tensors_to_trace_is_refused(module: nn.Module, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # what a user sees, to whom nothing is checked
    with pytest.raises(LayoutError, match=f"^{said}"):
        ng.trace(module, X.float())
    if not isinstance(module, nn.Module):
        with pytest.raises(LayoutError, match=f"^{said}"):
            ng.Networks.from_modules([module])


def test_an_input_that_does_not_fit_is_one_error_and_no_log() -> None:
    """torch logs a traceback of its own, past redirections, before it raises."""
    said: list[logging.LogRecord] = []
    log, handler = logging.getLogger("torch._subclasses.fake_tensor"), logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        with pytest.raises(LayoutError, match=r"^Sequential cannot be traced: .*reduction dim"):
            ng.trace(mlp(), X[:, :2])
        assert not said and not log.disabled
        log.error("heard")
        assert len(said) == 1
    finally:
        log.removeHandler(handler)
