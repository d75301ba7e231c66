"""Our operators of torch: gradients of every order, transforms, compilers; and gradients into the networks read."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from neural_graphs import InputSpec, Layout, Networks
from neural_graphs.graph import AllPairs, Bidirectional, Forward, Looped, Wiring
from neural_graphs.graph.index import index_of
from neural_graphs.graph.ops import aggregate, attention, plain, propagate
from neural_graphs.nn import (
    NGGNN,
    NGT,
    CanonicalScales,
    Metanetwork,
    NGGNNEditor,
    NGTEditor,
    Propagator,
    PropagatorEditor,
    ScaleGMN,
    ScaleGMNEditor,
    SharedUNFEditor,
    Signs,
    SignsAndScales,
)
from neural_graphs.nn.fourier import fourier_linear
from neural_graphs.nn.run import microbatch
from neural_graphs.nn.run.microbatch import mean_loss

LAYOUTS = {
    "MLP": Layout.mlp((2, 3, 2), "tanh"),
    "CNN": Layout.cnn((1, 2, 3), (3, 3), 2, residual=(-1, 0)),
}
WIRINGS: list[Wiring] = [Forward(), Bidirectional(), Looped(), AllPairs()]
CPU = torch.device("cpu")
OPS = torch.ops.neural_graphs


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


Case = tuple[str, tuple[Tensor | int | str | bool | list[int], ...], Callable[..., Tensor], Callable[..., Tensor]]


def cases(layout: Layout, wiring: Wiring) -> list[Case]:
    """Name, arguments, our operator, the plain one."""
    index, count = index_of(layout, wiring, CPU), layout.neurons
    edges = index.edge_blocks[-1].edges.stop
    nodes, sent = draw(2, count, 3), draw(2, edges, 3, seed=1)
    first, second = draw(2, count, 12), draw(2, edges, 3, seed=2)
    attends: list[Case] = []
    for gated in (0, 1):
        weight = draw(12 + 4 * gated, 3, seed=3)
        arguments = (first, second, weight, index.code, 2, bool(gated))
        attends.append((f"attend{gated}", arguments, attention.attend, plain.attend))
    return [
        ("gather_add", (nodes, draw(2, count, 3, seed=4), index.code), aggregate.gather_add, plain.gather_add),
        ("gather", (nodes, index.code, "source"), aggregate.gather, plain.gather),
        ("scatter_sum", (sent, index.code, count, "target"), aggregate.scatter_sum, plain.scatter_sum),
        ("scatter_statistics", (sent, index.in_degree, index.code), aggregate.scatter_statistics,
         plain.scatter_statistics),
        ("propagate", (first, draw(2, edges, 4, seed=5), index.code, "target"), propagate.propagate, plain.propagate),
        ("propagate_back", (first, draw(2, edges, 2, seed=6), index.code, "source"), propagate.propagate,
         plain.propagate),
        ("edge_products", (first, draw(2, count, 12, seed=7), index.code, 3), propagate.edge_products,
         plain.edge_products),
        *attends,
    ]  # fmt: skip


EVERY = [
    pytest.param(*case, id=f"{case[0]}-{name}-{wiring}")
    for name, layout in LAYOUTS.items()
    for wiring in WIRINGS
    for case in cases(layout, wiring)
]


@pytest.mark.parametrize(("name", "arguments", "ours", "theirs"), EVERY)
def test_an_operator_is_its_plain_reference(name: str, arguments: tuple, ours: Callable, theirs: Callable) -> None:
    one, other = ours(*arguments), theirs(*arguments)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    inputs = [each for each in arguments if isinstance(each, Tensor) and each.requires_grad]
    grad = draw(*one.shape, seed=9).detach()
    for a, b in zip(torch.autograd.grad(one, inputs, grad), torch.autograd.grad(other, inputs, grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "arguments", "ours", "theirs"), [each for each in EVERY if "Looped" in str(each.id)])
def test_gradients_of_gradients(name: str, arguments: tuple, ours: Callable, theirs: Callable) -> None:
    places = [place for place, each in enumerate(arguments) if isinstance(each, Tensor) and each.requires_grad]

    def function(*inputs: Tensor) -> Tensor:
        full = list(arguments)
        for place, each in zip(places, inputs, strict=True):
            full[place] = each
        return ours(*full)

    inputs = tuple(arguments[place] for place in places)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize(
    "name", ["gather_add", "gather", "scatter_sum", "scatter_statistics", "propagate", "edge_products", "attend1"]
)
def test_torch_finds_nothing_wrong_with_the_registration(name: str) -> None:
    (arguments,) = [each[1] for each in cases(LAYOUTS["CNN"], Bidirectional()) if each[0] == name]
    opcheck(getattr(OPS, name.rstrip("01")).default, arguments)


def test_torch_finds_nothing_wrong_with_the_others() -> None:
    index = index_of(LAYOUTS["MLP"], Looped(), CPU)
    edges, count = index.edge_blocks[-1].edges.stop, LAYOUTS["MLP"].neurons
    opcheck(OPS.peak.default, (draw(2, edges, 2).detach(), index.code, count))
    messages = draw(2, edges, 3).detach()
    output = OPS.scatter_statistics(messages, index.in_degree, index.code)
    opcheck(OPS.scatter_statistics_backward.default, (output, messages, output, index.in_degree, index.code))
    values, frequencies, weight, bias = draw(5, 2), draw(4, 2).detach(), draw(3, 8), draw(3)
    opcheck(OPS.fourier_linear.default, (values, frequencies, weight, bias))
    opcheck(
        OPS.fourier_linear_backward.default, (draw(5, 3).detach(), values.detach(), frequencies, weight.detach(), True)
    )
    assert torch.autograd.gradcheck(lambda v, w, b: fourier_linear(v, frequencies, w, b), (values, weight, bias))
    assert torch.autograd.gradgradcheck(lambda v, w, b: fourier_linear(v, frequencies, w, b), (values, weight, bias))


def test_a_further_axis_is_one_more_of_networks() -> None:
    index, layout = index_of(LAYOUTS["CNN"], Looped(), CPU), LAYOUTS["CNN"]
    edges = index.edge_blocks[-1].edges.stop
    nodes, sent = draw(4, 2, layout.neurons, 3).detach(), draw(2, 4, edges, 3).detach()
    found = torch.vmap(lambda x: OPS.gather(x, index.code, "target"))(nodes)
    assert torch.equal(found, torch.stack([OPS.gather(x, index.code, "target") for x in nodes]))
    shared = torch.vmap(lambda x: OPS.gather_add(x, nodes[0], index.code))(nodes)
    assert torch.equal(shared[2], OPS.gather_add(nodes[2], nodes[0], index.code))
    summed = torch.vmap(lambda x: OPS.scatter_sum(x, index.code, layout.neurons, "source"), in_dims=1)(sent)
    assert torch.equal(summed[3], OPS.scatter_sum(sent[:, 3], index.code, layout.neurons, "source"))


# -- whole metanetworks -----------------------------------------------------------------------------------------------

SMALL = {"widths": (8, 4), "attention": 8, "heads": 2, "hidden": (8, 8), "depth": 2}
MAKERS: dict[str, Callable[[InputSpec], Metanetwork]] = {
    "NG-GNN": lambda spec: NGGNN(spec, 3, width=8, depth=2),
    "NG-T": lambda spec: NGT(spec, 3, **SMALL),  # type: ignore[arg-type]
    "NG-T all pairs": lambda spec: NGT(spec, 3, wiring=AllPairs(), **SMALL),  # type: ignore[arg-type]
    "NG-GNN editor": lambda spec: NGGNNEditor(spec, width=4, depth=2),
    "NG-T editor": lambda spec: NGTEditor(spec, **SMALL),  # type: ignore[arg-type]
    "representatives": lambda spec: NGGNN(spec, 3, width=8, depth=2, canonical=[CanonicalScales(True)]),
    "Propagator": lambda spec: Propagator(spec, 3, width=8, depth=2, heads=2),
    "SharedUNF editor": lambda spec: SharedUNFEditor(spec, width=8, depth=2),
    "Propagator editor": lambda spec: PropagatorEditor(spec, width=8, depth=2, heads=2),
    "ScaleGMN": lambda spec: ScaleGMN(spec, 3, SignsAndScales(), width=8, depth=2),
    "ScaleGMN editor": lambda spec: ScaleGMNEditor(spec, Signs(), width=4, depth=2),
}


def metanetwork(name: str, *layouts: Layout) -> Metanetwork:
    torch.manual_seed(0)
    return MAKERS[name](InputSpec.of(layouts)).double()


def penalty(module: Metanetwork, layout: Layout) -> Callable[[Tensor], Tensor]:
    def function(values: Tensor) -> Tensor:
        found = module(Networks(values, layout))
        return (found.values if isinstance(found, Networks) else found).square().sum()

    return function


@pytest.mark.parametrize("name", MAKERS)
def test_second_derivatives_of_readers_and_editors(name: str) -> None:
    layout = LAYOUTS["MLP"]
    function = penalty(metanetwork(name, layout), layout)
    values, way = draw(2, layout.size), draw(2, layout.size, seed=1).detach()

    def slope(at: Tensor) -> Tensor:
        return torch.autograd.grad(function(at), at, create_graph=True)[0]

    found = torch.autograd.grad(slope(values), values, way)[0]
    step = 1e-5
    ends = [slope((values + sign * step * way).detach().requires_grad_()).detach() for sign in (1, -1)]
    torch.testing.assert_close(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=1e-5 * float(found.abs().max()))
    through = torch.func.grad(function)(values.detach())
    torch.testing.assert_close(through, slope(values).detach(), rtol=1e-10, atol=1e-10)
    along = torch.func.grad(lambda at: (torch.func.grad(function)(at) * way).sum())
    twice = along(values.detach())
    torch.testing.assert_close(twice, found, rtol=1e-9, atol=1e-9 * float(found.abs().max()))


@pytest.mark.parametrize("name", ["NG-GNN", "NG-T", "Propagator", "ScaleGMN", "representatives", "DWSNet", "NFN"])
def test_a_compiler_sees_one_graph(name: str) -> None:
    program = [sys.executable, str(Path(__file__).with_name("compiled.py")), name]
    said = subprocess.run(program, capture_output=True, text=True, check=False)
    assert said.stdout == "one graph\n", said.stderr[-2000:]


@pytest.mark.parametrize("mixed", [False, True], ids=["regular", "mixed"])
@pytest.mark.parametrize("name", ["NG-GNN", "NG-T", "Propagator"])
def test_pieces_hand_gradients_on_to_the_networks(name: str, mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = [LAYOUTS["MLP"], Layout.mlp((2, 4, 2), "tanh")]
    module, targets = metanetwork(name, *layouts), torch.tensor([0, 2, 1, 0, 1])
    each = [layouts[place % 2] for place in range(5)]
    values = draw(sum(layout.size for layout in each)) if mixed else draw(5, layouts[0].size)

    def found() -> list[Tensor]:
        values.grad = None
        module.zero_grad()
        networks = Networks(values * 1.0, each if mixed else layouts[0])  # not a leaf: the chain goes on
        loss, _ = mean_loss(module, networks, targets, torch.nn.functional.cross_entropy)
        loss.backward()
        assert values.grad is not None
        return [values.grad.clone(), *(p.grad.clone() for p in module.parameters() if p.grad is not None)]

    whole = found()
    monkeypatch.setitem(microbatch.BUDGET, "cpu", 1)
    parts = found()
    assert len(whole) == len(parts) and float(whole[0].abs().max()) > 0
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
    networks = Networks(values, each if mixed else layouts[0])
    loss, _ = mean_loss(module, networks, targets, torch.nn.functional.cross_entropy)
    (slope,) = torch.autograd.grad(loss, values, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        torch.autograd.grad(slope.sum(), values)
