"""What a step after the first may not do: make index tables anew, copy, wait for a device, run too many operators."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from neural_graphs import InputSpec, Layout, Networks
from neural_graphs.graph import AllPairs
from neural_graphs.nn import (
    NGGNN,
    NGT,
    CanonicalScales,
    CanonicalSigns,
    CompleteSigns,
    Metanetwork,
    NGGNNEditor,
    NGTEditor,
    Propagator,
    PropagatorEditor,
    ScaleGMN,
    ScaleGMNEditor,
    SharedUNF,
    Signs,
    SignsAndScales,
    fourier,
)
from neural_graphs.symmetry import shuffling
from neural_graphs.tasks.editing import Drawing
from neural_graphs.zoo import transforms
from neural_graphs.zoo.canvas import Canvas

MLP = Layout.mlp((2, 32, 32, 1), "sine")
CNN = Layout.cnn((1, 3, 4), (3, 5), 2, places=(2, 2))
SMALL = {"widths": (8, 4), "attention": 8, "heads": 2, "hidden": (8, 8), "depth": 2}
MODULES: dict[str, Callable[[InputSpec], Metanetwork]] = {
    "NG-GNN": lambda spec: NGGNN(spec, 3, width=8),
    "NG-T": lambda spec: NGT(spec, 3, **SMALL),  # type: ignore[arg-type]
    "NG-T all pairs": lambda spec: NGT(spec, 3, wiring=AllPairs(2), **SMALL),  # type: ignore[arg-type]
    "NG-GNN editor": lambda spec: NGGNNEditor(spec, width=8),
    "NG-T editor": lambda spec: NGTEditor(spec, **SMALL),  # type: ignore[arg-type]
    "representatives": lambda spec: NGGNN(spec, 3, width=8, canonical=[CanonicalScales(True), CompleteSigns(True)]),
    "Propagator": lambda spec: Propagator(spec, 3, width=8, heads=2),
    "SharedUNF": lambda spec: SharedUNF(spec, 3, width=8),
    "Propagator editor": lambda spec: PropagatorEditor(spec, width=8, heads=2),
    "ScaleGMN": lambda spec: ScaleGMN(spec, 3, SignsAndScales(), width=8),
    "ScaleGMN editor": lambda spec: ScaleGMNEditor(spec, Signs(), width=8),
}
WAITS = {"_to_copy(device)", "index(bool)", "_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "_unique2"}
VIEWS = {  # which start no kernel
    "view", "_unsafe_view", "detach", "as_strided", "slice", "select", "expand", "t", "transpose", "unsqueeze",
    "squeeze", "permute", "split", "split_with_sizes", "alias", "empty", "empty_like", "new_empty", "unbind",
}  # fmt: skip


class Operators(TorchDispatchMode):
    """Counts the operators that run; copies to a device and boolean indexing, which waits for it, under own names."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        name = str(function).split(".")[1]
        places = given[1] if name == "index" else ()
        if any(each is not None and each.dtype == torch.bool for each in places):
            name += "(bool)"
        self.seen[name + "(device)" * ("device" in named and name == "_to_copy")] += 1
        return function(*given, **named)

    def kernels(self) -> int:
        return sum(count for name, count in self.seen.items() if name not in VIEWS)


def step(module: Metanetwork, networks: Networks) -> None:
    module.zero_grad()
    answer = module.read(networks)
    (answer.values if isinstance(answer, Networks) else answer).square().mean().backward()


@pytest.mark.parametrize("layout", [MLP, CNN], ids=["MLP", "CNN"])
@pytest.mark.parametrize("name", MODULES)
def test_further_steps_upload_nothing_and_wait_for_nothing(
    name: str, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, networks = MODULES[name](InputSpec.of([layout])), Networks(torch.randn(3, layout.size), layout)
    step(module, networks)

    def upload(*_: object) -> None:
        raise AssertionError("an index table was made again")

    for maker in ("from_numpy", "tensor", "as_tensor"):
        monkeypatch.setattr(torch, maker, upload)
    with Operators() as operators:
        step(module, networks)
    assert not WAITS & operators.seen.keys()


@pytest.mark.parametrize("layout", [MLP, CNN], ids=["MLP", "CNN"])
@pytest.mark.parametrize("name", MODULES)
def test_nothing_travels_to_another_device_twice(name: str, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no pretended device
    module = MODULES[name](InputSpec.of([layout])).to("meta")
    networks = Networks(torch.randn(3, layout.size, device="meta"), layout)
    found = []
    for _ in range(2):
        with Operators() as operators:
            step(module, networks)
        found.append(operators.seen["_to_copy(device)"])
    assert found[0] > 0 and found[1] == 0


def test_an_editor_draws_without_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    drawing = Drawing(NGGNNEditor(InputSpec.of([MLP]), width=8), Canvas(6, 5, 1)).to("meta")
    networks = Networks(torch.randn(3, MLP.size, device="meta"), MLP)
    found = []
    for _ in range(2):
        with Operators() as operators:
            drawing.read(networks).sum().backward()
        found.append(operators.seen["_to_copy(device)"])
    assert found[0] > 0 and found[1] == 0


TRANSFORMS = [
    transforms.Permute(),
    transforms.FlipSigns(),
    transforms.Rescale(missing_ok=True),
    transforms.Translate(),
    transforms.Rotate(),
    transforms.Zoom(),
    transforms.TranslateDeep(),
    transforms.Noise(),
    transforms.Dropout(0.2),
    transforms.Sometimes(transforms.Compose([transforms.Permute(), transforms.Noise()])),
]


def count_a_second_call(transform: transforms.Transform, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What further networks meet; index tables that are made again are an error."""
    networks, generator = Networks(torch.randn(3, MLP.size), MLP), torch.Generator()
    transform(networks, generator)

    def upload(*_: object) -> None:
        raise AssertionError("a table was made again")

    for maker in ("from_numpy", "tensor", "as_tensor"):
        monkeypatch.setattr(torch, maker, upload)
    with Operators() as operators:
        transform(networks, generator)
    return operators.seen


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_augmentations_upload_nothing_and_wait_for_nothing(
    transform: transforms.Transform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffling, "HOST", "no device")  # as with a generator on an accelerator
    assert not WAITS & count_a_second_call(transform, monkeypatch).keys()


def test_networks_moved_one_by_one_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="made again"):
        count_a_second_call(transforms.Permute(), monkeypatch)


def test_canonical_signs_upload_their_tables_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module, networks = CanonicalSigns(), Networks(torch.randn(3, MLP.size), MLP)
    before = module(networks).values
    monkeypatch.setattr(torch, "from_numpy", None)
    assert torch.equal(module(networks).values, before)


def test_a_step_of_ng_gnn_starts_few_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fourier, "CHUNK", fourier.LARGE_CHUNK)  # as on an accelerator
    module = NGGNN(InputSpec.of([MLP]), 10)
    networks = Networks(torch.randn(128, MLP.size), MLP)
    step(module, networks)
    with Operators() as operators:
        step(module, networks)
    assert operators.kernels() <= 450, operators.seen.most_common(20)


def test_the_count_sees_a_copy_and_a_wait() -> None:
    numbers = torch.randn(4)
    with Operators() as operators:
        numbers.to("meta")
        float(numbers.sum())
        _ = numbers[numbers > 0]
    assert all(
        any(each in name for name in operators.seen) for each in ("_to_copy(device)", "_local_scalar_dense", "(bool)")
    )
