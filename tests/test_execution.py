"""Running networks: every operator against torch's own modules, regular and mixed, values and gradients."""

import copy
import pickle
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout, MaxPool
from neural_graphs.networks import Networks
from neural_graphs.networks.execution import ACTIVATIONS, apply, run_each, run_groups
from neural_graphs.nn import NGGNN
from neural_graphs.nn.spec import InputSpec
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.testing import assert_invariant
from neural_graphs.tracing import trace
from tests.test_align import TRACED

PARK = Layout.cnn(
    (3, 4, 6, 5, 6), kernels=(5, 3, 7, 3), classes=4, residual=(-1, -1, 0, 1),
    activations=("relu", "tanh", "gelu", "silu"),
)  # fmt: skip
MODULES = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
           "leaky_relu": nn.LeakyReLU, "none": nn.Identity, "elu": nn.ELU, "selu": nn.SELU, "softplus": nn.Softplus,
           "mish": nn.Mish, "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid}  # fmt: skip
FUNCTIONS = {"abs": torch.abs, "cos": torch.cos, "exp": torch.exp, "erf": torch.erf, "atan": torch.atan,
             "square": torch.square, "sine": torch.sin}  # fmt: skip


def draw(layout: Layout, count: int = 3, scale: float = 0.3) -> Networks:
    generator = torch.Generator().manual_seed(0)
    return Networks(scale * torch.randn(count, layout.size, generator=generator, dtype=torch.float64), layout)


def points(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def mlp(sizes: tuple[int, ...], kind: str) -> nn.Sequential:
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), MODULES[kind]())]
    return nn.Sequential(*layers[:-1]).double()


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_an_mlp_runs_like_its_module(kind: str) -> None:
    modules = [mlp((3, 5, 4, 2), kind) for _ in range(3)]
    layouts = Layout.mlp((3, 5, 4, 2), kind)
    names = [f"{2 * i}.{what}" for i in range(3) for what in ("weight", "bias")]
    state_dicts = [dict(zip(layouts.shapes, map(m.state_dict().get, names), strict=True)) for m in modules]
    networks = Networks.from_state_dicts(state_dicts, layouts)  # type: ignore[arg-type]
    x = points(7, 3)
    torch.testing.assert_close(networks.run(x), torch.stack([m(x) for m in modules]), rtol=1e-12, atol=1e-12)


def test_every_activation_is_tested() -> None:
    assert set(ACTIVATIONS) == {*MODULES, *FUNCTIONS}
    x = points(50)
    for kind, function in FUNCTIONS.items():
        assert torch.equal(ACTIVATIONS[kind](x), function(x))


def test_an_inr_runs_as_published() -> None:
    layout = Layout.mlp((2, 8, 8, 3), activation="sine", offset=0.5)
    networks, x = draw(layout), points(5, 2)
    for place, s in enumerate(networks.state_dicts()):
        hidden = torch.sin(30 * F.linear(x, s["layers.0.weight"], s["layers.0.bias"]))
        hidden = torch.sin(30 * F.linear(hidden, s["layers.1.weight"], s["layers.1.bias"]))
        expected = F.linear(hidden, s["layers.2.weight"], s["layers.2.bias"]) + 0.5
        torch.testing.assert_close(networks.run(x)[place], expected, rtol=1e-10, atol=1e-10)


def test_a_small_cnn_runs_like_torch() -> None:
    layout = Layout.cnn((1, 4, 4, 4), kernels=(3, 3, 3), classes=10, stride=2, padding=0)
    networks, x = draw(layout), points(2, 1, 15, 15)
    for place, s in enumerate(networks.state_dicts()):
        hidden = x
        for name in ("conv0", "conv1", "conv2"):
            hidden = F.relu(F.conv2d(hidden, s[f"{name}.weight"], s[f"{name}.bias"], stride=2))
        expected = F.linear(hidden.mean((2, 3)), s["fc.weight"], s["fc.bias"])
        torch.testing.assert_close(networks.run(x)[place], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", [None, MaxPool(4)])
def test_a_flattening_cnn_runs_like_torch(pool: MaxPool | None) -> None:
    layout = Layout.cnn((1, 4, 3), kernels=(3, 5), classes=5, places=(2, 2), pool=pool)
    size = 8 if pool else 2
    networks, x = draw(layout), points(2, 1, size, size)
    for place, s in enumerate(networks.state_dicts()):
        hidden = F.relu(F.conv2d(x, s["conv0.weight"], s["conv0.bias"], padding=1))
        hidden = F.relu(F.conv2d(hidden, s["conv1.weight"], s["conv1.bias"], padding=2))
        hidden = F.max_pool2d(hidden, 4) if pool else hidden
        expected = F.linear(hidden.flatten(1), s["fc.weight"], s["fc.bias"])
        torch.testing.assert_close(networks.run(x)[place], expected, rtol=1e-12, atol=1e-12)


def park(s: dict[str, Tensor], x: Tensor) -> Tensor:
    """The residual CNN by hand: skips are added before the activation, on the channels both layers have."""
    first = F.relu(F.conv2d(x, s["conv0.weight"], s["conv0.bias"], padding=2))
    second = torch.tanh(F.conv2d(first, s["conv1.weight"], s["conv1.bias"], padding=1))
    third = F.conv2d(second, s["conv2.weight"], s["conv2.bias"], padding=3)
    third = F.gelu(torch.cat([third[:, :4] + first, third[:, 4:]], 1))
    fourth = F.silu(F.conv2d(third, s["conv3.weight"], s["conv3.bias"], padding=1) + second)
    return F.linear(fourth.mean((2, 3)), s["fc.weight"], s["fc.bias"])


def test_a_residual_cnn_runs_by_hand() -> None:
    networks, x = draw(PARK), points(2, 3, 6, 6)
    expected = torch.stack([park(s, x) for s in networks.state_dicts()])
    torch.testing.assert_close(networks.run(x), expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_each_network_alone() -> None:
    networks, x = draw(PARK), points(2, 3, 6, 6)
    values = networks.values.requires_grad_()
    weight = points(3, 2, 4)
    (gradient,) = torch.autograd.grad((networks.with_values(values).run(x) * weight).sum(), values)
    for place, state_dict in enumerate(draw(PARK).state_dicts()):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in state_dict.items()}
        expected = torch.autograd.grad((park(leaves, x) * weight[place]).sum(), list(leaves.values()))
        flat = torch.cat([g.flatten() for g in expected])
        torch.testing.assert_close(gradient[place], flat, rtol=1e-10, atol=1e-12)


def test_a_mixed_batch_runs_every_network_in_its_place() -> None:
    other = Layout.cnn((3, 4, 4), kernels=(3, 3), classes=4)
    networks, x = Networks.cat([draw(PARK, 2), draw(other, 2)])[[0, 2, 1, 3]], points(2, 3, 6, 6)
    alone = torch.cat([networks[place].run(x) for place in range(4)])
    torch.testing.assert_close(networks.run(x), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (4,), (3,), (3, 5), (3, 4, 5), (3, 3, 2, 2)])
def test_points_may_form_any_grid(shape: tuple[int, ...]) -> None:
    networks, x = draw(Layout.mlp((2, 5, 3))), points(*shape, 2)  # three networks: a grid of three rows is still shared
    flat = networks.run(x.reshape(-1, 2))
    assert networks.run(x).shape == (3, *shape, 3)
    torch.testing.assert_close(networks.run(x).reshape(3, -1, 3), flat, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("layout", "shape"), [(Layout.mlp((2, 5, 3)), (4, 2)), (PARK, (2, 3, 6, 6))], ids=["mlp", "cnn"]
)
def test_every_network_may_have_inputs_of_its_own(layout: Layout, shape: tuple[int, ...]) -> None:
    networks, x = draw(layout), points(3, *shape)
    expected = torch.cat([networks[place].run(x[place]) for place in range(3)])
    torch.testing.assert_close(run_each(networks, x), expected, rtol=1e-12, atol=1e-12)
    loose = Networks(networks.values.flatten(), [layout] * 3)
    torch.testing.assert_close(run_each(loose, x), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(LayoutError, match="inputs of their own for 3 networks"):
        run_each(networks, x[:2])


def test_the_values_of_every_group_are_at_hand() -> None:
    networks, x = draw(PARK, 2), points(2, 2, 3, 6, 6)
    values = run_groups(networks, x)
    assert [tuple(v.shape) for v in values] == [(2, 2, c, 6, 6) for c in (3, 4, 6, 5, 6)] + [(2, 2, 4)]
    hidden = run_groups(draw(Layout.mlp((2, 5, 3)), 2), points(2, 7, 4, 2))
    assert [tuple(v.shape) for v in hidden] == [(2, 7, 4, 2), (2, 7, 4, 5), (2, 7, 4, 3)]


@pytest.mark.parametrize(("layout", "shape"), [(Layout.mlp((2, 5, 3)), (4, 3)), (PARK, (2, 1, 6, 6)), (PARK, (4, 3))])
def test_inputs_of_another_size_are_refused(layout: Layout, shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError, match=rf"reads {layout.groups[0].size} inputs, got a tensor \({shape[0]}, "):
        draw(layout).run(points(*shape))


def test_a_traced_layout_from_a_file_says_what_it_lost() -> None:
    module = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    layout = trace(module, points(4, 2))
    networks = Networks.from_modules([module], layout)
    assert torch.equal(networks.run(points(4, 2))[0], module(points(4, 2)))
    assert torch.equal(networks.run((points(4, 2),))[0], module(points(4, 2)))
    read = Layout.from_json(layout.to_json())
    assert read == layout and read.program is None
    with pytest.raises(LayoutError, match=r"networks.with_module\(module\)"):
        Networks.from_modules([module], read).run(points(4, 2))
    with pytest.raises(LayoutError, match="has lost the module that runs it"):
        Networks.from_modules([module], read).run((points(4, 2),))


def test_networks_from_a_file_run_with_a_module_given_back() -> None:
    modules = [
        nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double().eval() for _ in "abc"
    ]
    layout = trace(modules[0], points(4, 2))
    read = Networks.from_modules(modules, Layout.from_json(layout.to_json()))
    running = read.with_module(modules[2])
    assert torch.equal(running.run(points(4, 2)), torch.stack([module(points(4, 2)) for module in modules]))
    with pytest.raises(LayoutError, match=r"Linear does not run .*: 0.bias is missing there, expected \(5,\)"):
        read.with_module(nn.Linear(2, 5))


@pytest.mark.parametrize("name", TRACED)
def test_traced_networks_run_at_once_or_one_by_one_and_agree(name: str) -> None:
    make, x = TRACED[name]
    modules, x = [make().double().eval() for _ in range(3)], x.double()
    networks = Networks.from_modules(modules, trace(modules[0], x))
    expected = torch.stack([module(x) for module in modules])
    torch.testing.assert_close(networks.run(x), expected, rtol=1e-10, atol=1e-12)
    assert networks.layout.program.batches == (name != "recurrent")  # torch has no vmap of an LSTM
    own = torch.stack([x, 2 * x, 3 * x])
    each = torch.stack([module(part) for module, part in zip(modules, own, strict=True)])
    torch.testing.assert_close(run_each(networks, own), each, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(networks.run((x,)), expected, rtol=1e-10, atol=1e-12)
    values = networks.values.clone().requires_grad_()
    slope = torch.autograd.grad(networks.with_values(values).run(x).square().sum(), values)[0]
    networks.layout.program.batches = False
    again = torch.autograd.grad(networks.with_values(values).run(x).square().sum(), values)[0]
    torch.testing.assert_close(slope, again, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", TRACED)
def test_single_groups_of_traced_networks_have_values_that_move_with_them(name: str) -> None:
    make, x = TRACED[name]
    modules, x = [make().double().eval() for _ in range(2)], x.double()
    layout = trace(modules[0], x)
    networks = Networks.from_modules(modules, layout)
    more = torch.rand(5, *x.shape[1:], dtype=torch.float64).expand(2, 5, *x.shape[1:])  # no multiple of the example's
    values = run_groups(networks, more)
    assert [value.shape for value in values] == [(2, 5, group.size) for group in layout.groups]
    symmetry = NeuronPermutation.sample(layout, torch.Generator().manual_seed(0))
    moved = run_groups(symmetry.act(networks), more)
    for group, order, one, other in zip(layout.groups, symmetry.group_orders, values, moved, strict=True):
        torch.testing.assert_close(
            other, one[..., order], rtol=1e-9, atol=1e-11, msg=lambda text, g=group: f"{g.name}: {text}"
        )
    (output,) = [value for group, value in zip(layout.groups, values, strict=True) if group.role == "output"]
    answers = networks.run(more[0])
    answers = answers.flatten(2, -2).mean(2) if answers.ndim > 3 else answers
    torch.testing.assert_close(output, answers, rtol=1e-9, atol=1e-11)
    known = sum(float(value.abs().max()) > 0 for value in values)
    assert known == len(values) or name in ("recurrent", "transformer"), known  # a kernel of torch hides what is inside


def test_pickled_traced_networks_run_elsewhere_but_for_single_groups() -> None:
    """As workers and `torch.save` need it. A copy in the same process still has all."""
    module, x = (
        nn.Sequential(nn.Linear(2, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3)).double().eval(),
        points(4, 2),
    )
    networks = Networks.from_modules([module], trace(module, x))
    each = x[None]
    sent, copied = pickle.loads(pickle.dumps(networks)), copy.deepcopy(networks)
    assert torch.equal(sent.run(x), networks.run(x))
    for one, other in zip(run_groups(copied, each), run_groups(networks, each), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(LayoutError, match="was traced in this process"):
        run_groups(sent, each)


@pytest.mark.parametrize("name", ["residual", "transformer"])
def test_a_reader_probes_traced_networks(name: str) -> None:
    make, x = TRACED[name]
    modules = [make().double().eval() for _ in range(2)]
    layout = trace(modules[0], x.double())
    reader = NGGNN(InputSpec.of([layout]), 3, width=8, depth=2, probes=3, probe_shape=x.shape[1:]).double()
    networks = Networks.from_modules(modules, layout)
    assert_invariant(reader, networks)
    torch.nn.init.normal_(reader.encoder.probes.inputs)
    before = reader(networks)
    reader.encoder.probes.inputs.data.mul_(2)
    assert not torch.allclose(reader(networks), before)
    with pytest.raises(LayoutError, match="was traced in this process"):
        reader(Networks(networks.values, Layout.from_json(layout.to_json())))


def test_an_unknown_activation_is_named() -> None:
    layout = Layout.mlp((2, 5, 3), "swish")
    with pytest.raises(LayoutError, match=r"layers.0: unknown activation 'swish'; known: .*'sine'"):
        draw(layout).run(points(4, 2))


@pytest.mark.parametrize(("layout", "shape"), [(PARK, (3,)), (PARK, (3, 8, 8)), (Layout.mlp((3, 2)), ())])
def test_inputs_of_too_few_axes_are_refused(layout: Layout, shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError, match="reads 3 inputs, got a tensor"):
        draw(layout).run(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("name", ["residual", "recurrent"])
@pytest.mark.parametrize("groups", [False, True])
def test_wrong_inputs_leave_a_traced_layout_as_fast_as_it_was(name: str, groups: bool) -> None:
    """Whether it runs all networks at once is learnt from inputs that one network can read."""
    make, x = TRACED[name]
    modules, x = [make().double().eval() for _ in range(2)], x.double()
    networks = Networks.from_modules(modules, trace(modules[0], x))

    def answer(inputs: Tensor) -> Any:
        return run_groups(networks, torch.stack([inputs, inputs])) if groups else networks.run(inputs)

    with pytest.raises((RuntimeError, ValueError, IndexError)):
        answer(x.narrow(1 if name == "residual" else -1, 0, 2))
    assert networks.layout.program.batches
    answer(x)
    assert networks.layout.program.batches == (name != "recurrent")


def test_networks_too_many_for_the_memory_run_one_by_one_this_time(monkeypatch: pytest.MonkeyPatch) -> None:
    make, x = TRACED["residual"]
    modules, x = [make().double().eval() for _ in range(2)], x.double()
    networks = Networks.from_modules(modules, trace(modules[0], x))
    expected = networks.run(x)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patch:
        patch.setattr(torch, "vmap", full)
        torch.testing.assert_close(networks.run(x), expected, rtol=1e-10, atol=1e-12)
    assert networks.layout.program.batches


def test_an_operator_without_a_rule_is_named() -> None:
    networks = draw(Layout.mlp((2, 5, 3)))
    with pytest.raises(LayoutError, match="no rule to run the operator str"):
        apply("attention", networks.layout.blocks[0], networks, points(3, 4, 2), None)
