"""`LearnedOptimizer` is an optimizer like any other: groups, states, schedules, clipping, closures, and its errors."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs import Layout, Networks, trace
from neural_graphs.errors import CheckpointError, ConfigError, GradientError, LayoutError
from neural_graphs.optim import LearnedOptimizer, UpdateRule
from neural_graphs.optim.inner import ImageSet, InnerTask, gradients
from neural_graphs.optim.memory import Memory
from neural_graphs.optim.pretrained import CARRIED, load_rule
from tests.optim.rules import OPTIONS, PAPER, RULES, built
from tests.test_align import TRACED


def cnn() -> nn.Module:
    """The module whose layout is `PAPER`."""
    first = (nn.Conv2d(1, 3, 3, 2), nn.ReLU(), nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
    last = (nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return nn.Sequential(*first, *last)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


class Tied(nn.Module):
    """An embedding that is read again as the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.embed(x))))


MODULES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "MLP": (mlp, torch.rand(6, 4, dtype=torch.float64)),
    "CNN": (cnn, torch.rand(6, 1, 9, 9, dtype=torch.float64)),
    "residual": (TRACED["residual"][0], TRACED["residual"][1].double()),
    "attention": (TRACED["transformer"][0], TRACED["transformer"][1].double()),
    "tied": (Tied, torch.arange(6).reshape(2, 3)),
}


def made(name: str) -> tuple[nn.Module, Tensor, Layout]:
    make, x = MODULES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make().double().eval()
    return module, x, trace(module, x)


def rule_for(layout: Layout, name: str = "NG-GNN of any size", **options: Any) -> UpdateRule:
    return built(RULES[name], [layout], **options)


def loss_of(module: nn.Module, x: Tensor) -> Tensor:
    return module(x).square().mean()


def train(module: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(module, x).backward()
        optimizer.step()


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("rule", RULES)
def test_a_step_is_the_inner_step_of_meta_training(rule: str, every: int, options: str) -> None:
    module, x, layout = made("CNN")
    labels = torch.arange(6) % 4
    update = built(RULES[rule], [layout], **OPTIONS[options])
    optimizer = LearnedOptimizer(update, module, layout, every=every)
    networks, memory = Networks.from_state_dicts([tensors(module)] * 2, layout), Memory()
    batch = x.expand(2, *x.shape), labels.expand(2, -1)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(module(x), labels).backward()
        optimizer.step()
        _, gradient = gradients(networks, batch)
        with torch.no_grad():
            networks = networks + memory.change(update, networks, gradient, every)
        expected = networks.state_dicts()[1]
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MODULES)
def test_any_traced_module_is_trained_and_resumed_bit_for_bit(name: str) -> None:
    module, x, layout = made(name)
    before, rule = tensors(module), rule_for(layout)
    optimizer = LearnedOptimizer(rule, module, layout, every=3)
    train(module, optimizer, x, 2)
    for parameter_name, _ in module.named_parameters():
        if not parameter_name.endswith("in_proj_bias"):
            assert not torch.equal(module.state_dict()[parameter_name], before[parameter_name]), parameter_name
    twin, _, _ = made(name)
    twin.load_state_dict(module.state_dict())
    resumed = LearnedOptimizer(copy.deepcopy(rule), twin, layout, every=3)
    resumed.load_state_dict(optimizer.state_dict())
    train(module, optimizer, x, 3)
    train(twin, resumed, x, 3)
    assert same(tensors(module), tensors(twin))


def test_a_state_goes_through_a_file_and_shares_no_memory(tmp_path: Any) -> None:
    module, x, layout = made("MLP")
    optimizer = LearnedOptimizer(rule_for(layout), module, layout)
    train(module, optimizer, x, 2)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    kept, steps = torch.load(tmp_path / "state.pt", weights_only=True), tensors(module)
    results = []
    for state in (kept, kept):  # reading it once must not change it
        module.load_state_dict(steps)
        other = LearnedOptimizer(rule_for(layout), module, layout)
        other.load_state_dict(state)
        train(module, other, x, 2)
        results.append(tensors(module))
    assert same(*results)
    module.load_state_dict(steps)
    train(module, LearnedOptimizer(rule_for(layout), module, layout), x, 2)
    assert not same(results[0], tensors(module))  # momenta do matter


def test_groups_have_their_own_rates_and_what_is_left_out_keeps_still() -> None:
    module, x, layout = made("MLP")
    before = tensors(module)
    groups = [{"params": [module[0].weight], "lr": 0.0}, {"params": list(module[2].parameters()), "lr": 0.5}]
    optimizer = LearnedOptimizer(rule_for(layout), module, layout, groups)
    train(module, optimizer, x, 1)
    moved = {name for name, tensor in tensors(module).items() if not torch.equal(tensor, before[name])}
    assert moved == {"2.weight", "2.bias"}
    whole, _, _ = made("MLP")
    optimizer = LearnedOptimizer(rule_for(layout), whole, layout)
    optimizer.zero_grad()
    loss_of(whole, x).backward()
    for parameter in (whole[0].weight, whole[0].bias, whole[4].weight, whole[4].bias):
        parameter.grad = None
    whole[0].weight.grad = module[0].weight.grad
    optimizer.step()
    half = (before["2.weight"] + tensors(whole)["2.weight"]) / 2
    torch.testing.assert_close(module[2].weight.detach(), half, rtol=1e-12, atol=0)
    optimizer.add_param_group({"params": []})
    assert len(optimizer.param_groups) == 2
    with pytest.raises(ConfigError, match=r"shape \(3,\) is not one of the module"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
    assert len(optimizer.param_groups) == 2


def test_what_has_no_gradient_is_skipped_with_its_momenta() -> None:
    module, x, layout = made("MLP")
    optimizer = LearnedOptimizer(rule_for(layout), module, layout)
    train(module, optimizer, x, 1)
    before, momenta = tensors(module), optimizer.state["memory"]["momenta"].clone()  # type: ignore[index]
    optimizer.zero_grad(set_to_none=True)
    module[4].weight.square().sum().backward()
    optimizer.step()
    there = layout.slices["4.weight"]
    changed = (optimizer.state["memory"]["momenta"] != momenta).any(-1)[0]  # type: ignore[index]
    assert bool(changed[there].all()) and int(changed.sum()) == there.stop - there.start
    assert [name for name, tensor in tensors(module).items() if not torch.equal(tensor, before[name])] == ["4.weight"]
    optimizer.zero_grad()
    optimizer.step()  # no gradient at all
    assert optimizer.state["memory"]["steps"] == 2  # type: ignore[index]


def test_frozen_layers_are_read_and_keep_still() -> None:
    module, x, layout = made("CNN")
    module[0].requires_grad_(False)
    before, optimizer = tensors(module), LearnedOptimizer(rule_for(layout), module, layout)
    train(module, optimizer, x, 2)
    after = tensors(module)
    assert torch.equal(before["0.weight"], after["0.weight"]) and not torch.equal(before["2.weight"], after["2.weight"])


def test_closures_schedules_and_clipping() -> None:
    module, x, layout = made("MLP")
    start, rule = tensors(module), rule_for(layout)
    optimizer = LearnedOptimizer(rule, module, layout)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(module, x)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1e-2)
        return loss

    first = optimizer.step(closure)
    assert torch.equal(first, loss_of(_with(start), x))
    norm = sum(float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None) ** 0.5
    assert abs(norm - 1e-2) < 1e-6
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.5]
    middle = tensors(module)
    optimizer.step(closure)
    halved = tensors(module)
    module.load_state_dict(start)
    plain = LearnedOptimizer(rule, module, layout)
    optimizer = plain
    plain.step(closure)
    assert same(middle, tensors(module))
    plain.step(closure)
    whole = tensors(module)["0.weight"]
    torch.testing.assert_close(
        2 * (halved["0.weight"] - middle["0.weight"]), whole - middle["0.weight"], rtol=1e-9, atol=1e-14
    )


def _with(state: dict[str, Tensor]) -> nn.Module:
    module, _, _ = made("MLP")
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_parameters_have_momenta_in_the_precision_of_the_rule(kind: torch.dtype) -> None:
    module, x, layout = made("MLP")
    rule = rule_for(layout).float()
    exact = copy.deepcopy(module).float()
    module.to(kind)
    exact.load_state_dict(module.state_dict())
    optimizer, twin = (LearnedOptimizer(copy.deepcopy(rule), each, layout) for each in (module, exact))
    loss_of(module, x.to(kind)).backward()
    for half, whole in zip(module.parameters(), exact.parameters(), strict=True):
        assert half.grad is not None
        whole.grad = half.grad.float()
    optimizer.step()
    twin.step()
    assert optimizer.state["memory"]["momenta"].dtype == torch.float32  # type: ignore[index]
    for half, whole in zip(module.parameters(), exact.parameters(), strict=True):
        assert half.dtype == kind and torch.equal(half, whole.to(kind))
    other = LearnedOptimizer(copy.deepcopy(rule), module, layout)
    other.load_state_dict(optimizer.state_dict())
    assert torch.equal(other.state["memory"]["momenta"], optimizer.state["memory"]["momenta"])  # type: ignore[index]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_gradients_that_are_not_finite_change_nothing(bad: float) -> None:
    module, x, layout = made("CNN")
    optimizer = LearnedOptimizer(rule_for(layout), module, layout)
    train(module, optimizer, x, 1)
    before, state = tensors(module), copy.deepcopy(optimizer.state_dict())
    loss_of(module, x).backward()
    module[2].weight.grad.view(-1)[5] = bad
    with pytest.raises(GradientError, match=r"the gradient of (2\.weight|conv1\.weight) holds NaN or infinite values"):
        optimizer.step()
    skipping = LearnedOptimizer(rule_for(layout), module, layout, skip_nonfinite=True)
    skipping.load_state_dict(state)
    skipping.step()
    for each in (optimizer, skipping):
        assert torch.equal(each.state_dict()["state"]["memory"]["momenta"], state["state"]["memory"]["momenta"])
        assert each.state_dict()["state"]["memory"]["steps"] == 1
    assert same(before, tensors(module))
    module[2].weight.grad.view(-1)[5] = 0.0
    skipping.step()
    assert not same(before, tensors(module))


@pytest.mark.parametrize("rule", [name for name in RULES if name != "FF"])
def test_a_rule_reads_the_network_each_kth_step_only(rule: str) -> None:
    module, x, layout = made("CNN")
    update, read = built(RULES[rule], [layout]), []
    kept = update.read
    update.read = lambda channels: read.append(1) or kept(channels)  # type: ignore[func-returns-value, method-assign]
    optimizer = LearnedOptimizer(update, module, layout, every=3)
    train(module, optimizer, x, 7)
    assert len(read) == 3
    with pytest.raises(ConfigError, match="every ≥ 1"):
        LearnedOptimizer(update, module, layout, every=0)


def test_a_layout_of_another_module_is_refused() -> None:
    module, _, _ = made("MLP")
    _, _, other = made("residual")
    with pytest.raises(LayoutError, match=r"is not the layout of Sequential: .* (is missing|has shape)"):
        LearnedOptimizer(rule_for(other), module, other)
    wide = Layout.mlp((4, 9, 3), "tanh")
    with pytest.raises(LayoutError, match=r"0\.weight|missing"):
        LearnedOptimizer(rule_for(wide), module, wide)


def test_inner_networks_are_initialised_as_modules_are() -> None:
    """Every number within the bound of its tensor, and spread as a uniform one is."""
    networks = InnerTask((PAPER,), ImageSet(torch.zeros(4, 1, 9, 9), torch.arange(4)), batch=1).start(
        400, torch.Generator().manual_seed(0)
    )
    modules = [cnn() for _ in range(20)]
    names = zip(PAPER.shapes, modules[0].state_dict(), strict=True)
    for name, of_module in names:
        drawn = networks.values[:, PAPER.slices[name]]
        bound = torch.stack([m.state_dict()[of_module].abs().max() for m in modules]).max()
        assert float(bound) <= float(drawn.abs().max()) * 1.2
        torch.testing.assert_close(float(drawn.std()), float(drawn.abs().max()) / 3**0.5, rtol=0.05, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", RULES)
def test_ten_steps_on_a_card_are_those_on_the_processor(rule: str) -> None:
    module, x, layout = made("CNN")
    there, update = copy.deepcopy(module).cuda(), built(RULES[rule], [layout])
    train(module, LearnedOptimizer(copy.deepcopy(update), module, layout, every=2), x, 10)
    train(there, LearnedOptimizer(update, there, layout, every=2), x.cuda(), 10)
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(there.state_dict()[name].cpu(), tensor, rtol=1e-9, atol=1e-12)


# -- what comes along --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ng-gnn", "ng-t", "ff"])
def test_a_rule_that_comes_along_trains_a_network_it_has_not_seen(name: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 4))
    x, y = torch.randn(64, 6), torch.randint(0, 4, (64,))
    optimizer = LearnedOptimizer.from_pretrained(name, module, x)
    losses = []
    for _ in range(60):
        loss = F.cross_entropy(module(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_rules_that_come_along_are_small() -> None:
    assert sum(file.stat().st_size for file in CARRIED.rglob("*") if file.is_file()) < 2_000_000


def test_copies_and_pickles_go_on_as_the_original() -> None:
    module, x, layout = made("MLP")
    optimizer = LearnedOptimizer(built(RULES["NG-GNN"], [layout]), module, layout, every=2)
    train(module, optimizer, x)
    copied = copy.deepcopy((module, optimizer))
    pickled = pickle.loads(pickle.dumps((module, optimizer)))
    for other in (copied, pickled, (module, optimizer)):
        train(*other, x)
    for other in (copied, pickled):
        assert all(map(torch.equal, module.parameters(), other[0].parameters()))
        assert not set(map(id, module.parameters())) & set(map(id, other[0].parameters()))


def test_a_network_is_read_anew_where_it_was_read_now_and_then_before() -> None:
    module, x, layout = made("MLP")
    seldom, always = (LearnedOptimizer(built(RULES["NG-GNN"], [layout]), module, layout, every=k) for k in (2, 1))
    train(module, seldom, x)
    always.load_state_dict(seldom.state_dict())
    before = [parameter.clone() for parameter in module.parameters()]
    state = copy.deepcopy(always.state_dict())
    train(module, always, x, 1)
    after = [parameter.clone() for parameter in module.parameters()]
    state["state"]["memory"]["context"] = None  # what was kept is not looked at
    with torch.no_grad():
        for parameter, old in zip(module.parameters(), before, strict=True):
            parameter.copy_(old)
    always.load_state_dict(state)
    train(module, always, x, 1)
    assert all(map(torch.equal, module.parameters(), after))


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_words_never_seen_keep_still(sparse: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(9, 4, padding_idx=0, sparse=sparse), nn.Linear(4, 3)).double()
    words = torch.tensor([[0, 1, 2], [3, 1, 0]])
    layout = trace(module, words)
    optimizer = LearnedOptimizer(built(RULES["FF"], [layout]), module, layout)
    start = module[0].weight.detach().clone()
    train(module, optimizer, words)
    moved = (module[0].weight - start).abs().amax(1) > 0
    assert moved.tolist() == [False, True, True, True, *[False] * 5]


def test_numbers_of_more_precision_than_the_rule_keep_it() -> None:
    """What keeps still has the same bits, what moves is the old number and the step."""
    module, x, layout = made("MLP")
    rule = built(RULES["FF"], [layout]).float()
    optimizer, before = LearnedOptimizer(rule, module, layout), tensors(module)
    train(module, optimizer, x, 1)
    for name, parameter in module.named_parameters():
        step = (parameter.detach() - before[name]).abs()
        moved = step > 0
        assert torch.equal(parameter.detach()[~moved], before[name][~moved])
        close = (step[moved].float().double() - step[moved]).abs() <= 2e-16  # steps are numbers of single precision
        assert bool(close.all()) and bool(moved.any())


def test_states_of_others_are_refused() -> None:
    module, _, layout = made("MLP")
    optimizer = LearnedOptimizer(built(RULES["FF"], [layout]), module, layout)
    with pytest.raises(CheckpointError, match="expected the state of a LearnedOptimizer"):
        optimizer.load_state_dict(torch.optim.Adam(module.parameters()).state_dict())
    module, x, layout = made("MLP")
    graph = LearnedOptimizer(built(RULES["NG-GNN"], [layout]), module, layout, every=2)
    train(module, graph, x, 1)
    with pytest.raises(CheckpointError, match=r"the context .* another rule"):
        optimizer.load_state_dict(graph.state_dict())
    state = graph.state_dict()
    state["state"]["memory"]["momenta"] = state["state"]["memory"]["momenta"][:, 1:]
    with pytest.raises(CheckpointError, match=r"the momenta .* of another network"):
        graph.load_state_dict(state)


@pytest.mark.parametrize("skip", [False, True])
def test_a_step_that_is_not_finite_changes_nothing(skip: bool) -> None:
    """Gradients that double precision holds and single precision does not; and a weight that is NaN."""
    module, x, layout = made("MLP")
    rule = built(RULES["NG-GNN"], [layout]).float()
    optimizer = LearnedOptimizer(rule, module, layout, skip_nonfinite=skip)
    train(module, optimizer, x)
    before, state = [p.detach().clone() for p in module.parameters()], copy.deepcopy(optimizer.state_dict())
    module(x).square().mean().backward()
    module[0].weight.grad[0, 0] = 1e300
    if skip:
        optimizer.step()
    else:
        with pytest.raises(GradientError, match=r"the step of .* though all gradients are finite"):
            optimizer.step()
    assert all(map(torch.equal, before, module.parameters()))
    assert torch.equal(state["state"]["memory"]["momenta"], optimizer.state_dict()["state"]["memory"]["momenta"])


def test_autocast_does_not_reach_the_rule() -> None:
    (module, x, layout), (other, _, _) = made("MLP"), made("MLP")
    first, second = (
        LearnedOptimizer(built(RULES["NG-GNN"], [layout]).float(), each, layout) for each in (module, other)
    )
    train(module, first, x)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            second.zero_grad()
            with torch.autocast("cpu", enabled=False):
                other(x).square().mean().backward()
            second.step()
    assert all(map(torch.equal, module.parameters(), other.parameters()))


def test_a_rule_that_is_loaded_draws_nothing() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_rule("ff")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": float("nan")}, {"every": 0}], ids=str)
def test_options_that_are_none_are_refused(options: dict[str, Any]) -> None:
    module, _, layout = made("MLP")
    rule = built(RULES["FF"], [layout])
    with pytest.raises(ConfigError, match="expected lr ≥ 0"):
        LearnedOptimizer(rule, module, layout, **options)
    with pytest.raises(ConfigError, match="no parameter of this Sequential requires a gradient"):
        LearnedOptimizer(rule, module.requires_grad_(False), layout)
