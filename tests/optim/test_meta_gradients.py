"""Meta-gradients are what they are said to be: derivatives of losses after steps; diverged runs are counted."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neural_graphs import Layout, Networks
from neural_graphs.errors import CheckpointError, ConfigError, LayoutError
from neural_graphs.optim import (
    ConvNet,
    FeedForwardRule,
    ImageSet,
    InnerTask,
    Perceptron,
    PersistentES,
    PersistentStepwise,
    Stepwise,
    UpdateRule,
)
from neural_graphs.optim.descent import ByOptimizers, ByRule, train
from neural_graphs.optim.inner import accuracies, gradients, initial_networks, losses
from neural_graphs.optim.memory import Memory
from neural_graphs.optim.meta_gradients import LIMIT, InnerRun
from tests.optim.rules import PAPER, RULES, SCALED, built

WIDE = Layout.cnn((1, 4, 5), (3, 3), 4, padding=0, stride=2)
IMAGES = ImageSet(
    torch.rand(20, 1, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64), torch.arange(20) % 4
)
TASK = InnerTask((PAPER,), IMAGES, batch=5)
MIXED = InnerTask((PAPER, WIDE, Layout.mlp((81, 3, 4), "tanh")), IMAGES, batch=5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_definition(rule: UpdateRule, task: InnerTask, count: int, steps: int) -> list[Tensor]:
    """Σ_t ∇ of the mean loss after step t on its own mini-batch, everything before the step detached."""
    generator, memory, total = seeded(), Memory(), None
    networks = task.start(count, generator)
    for _ in range(steps):
        batch = task.draw(count, generator)
        _, gradient = gradients(networks, batch)
        moved = networks + memory.change(rule, networks, gradient)
        found = torch.autograd.grad(losses(moved, batch).mean(), list(rule.parameters()), allow_unused=True)
        full = [torch.zeros_like(p) if g is None else g for g, p in zip(found, rule.parameters(), strict=True)]
        total = full if total is None else [a + b for a, b in zip(total, full, strict=True)]
        networks = moved.map(Tensor.detach)
    assert total is not None
    return total


def worst(actual: list[Tensor], expected: list[Tensor]) -> float:
    scale = max(float(each.abs().max()) for each in expected)
    return max(float((a - b).abs().max()) for a, b in zip(actual, expected, strict=True)) / scale


@pytest.mark.parametrize("task", [TASK, MIXED], ids=["one layout", "several"])
@pytest.mark.parametrize("name", ["FF", "LSTM", "NG-GNN", "NG-T"])
def test_the_stepwise_gradient_is_that_of_the_paper(name: str, task: InnerTask) -> None:
    rule = built(RULES[name], list(task.layouts))
    found = Stepwise(steps=3, networks=3)(rule, task, seeded())
    assert worst(found.gradient, by_definition(rule, task, 3, 3)) < 1e-10
    assert found.diverged == 0 and found.runs == 3 and 0 < found.loss < LIMIT
    assert all(parameter.grad is None for parameter in rule.parameters())


class Explosive(FeedForwardRule):
    """Moves the networks whose first number is negative to where no loss is finite."""

    def forward(self, signals: Networks, context: Networks | None = None, step: int = 0) -> Networks:
        change = super().forward(signals, context, step)
        factors = torch.where(signals.values[:, :1, 0] < 0, float("inf"), 1.0)
        return change.map(lambda values: values * factors)


def test_diverged_runs_are_counted_and_do_not_spoil_the_others() -> None:
    rule, calm = (built(lambda f, make=make: make(f, width=4), [PAPER]) for make in (Explosive, FeedForwardRule))
    start = TASK.start(6, seeded()).values[:, 0]
    count = int((start < 0).sum())
    assert 0 < count < 6
    found = Stepwise(steps=1, networks=6)(rule, TASK, seeded())
    assert found.diverged == count and found.runs == 6
    generator = seeded()
    networks = TASK.start(6, generator)
    batch = TASK.draw(6, generator)
    _, gradient = gradients(networks, batch)
    each = losses(networks + Memory().change(calm, networks, gradient), batch)[start >= 0]
    expected = torch.autograd.grad(each.sum() / 6, list(calm.parameters()), allow_unused=True)
    assert worst(found.gradient, [x for x in expected if x is not None]) < 1e-10
    assert found.loss == pytest.approx(float(each.detach().mean()), rel=1e-10)
    all_gone = Stepwise(steps=3, networks=2)(_always(rule), TASK, seeded())
    assert all_gone.diverged == 2 and all(bool((g == 0).all()) for g in all_gone.gradient)
    assert all_gone.loss != all_gone.loss  # nothing to average


def _always(rule: UpdateRule) -> UpdateRule:
    with torch.no_grad():
        rule.layers[-1].bias.fill_(1e8)  # type: ignore[union-attr, operator]
    return rule


def test_persistent_es_is_a_directional_derivative_for_small_moves() -> None:
    """One pair, one step: (L⁺ − L⁻) / 2 is the derivative along ε, and the estimate is ε times it over σ²."""
    rule, sigma = built(RULES["FF"], [PAPER]), 1e-5
    estimator = PersistentES(steps=2, piece=1, pairs=1, sigma=sigma)
    before = copy.deepcopy(rule.state_dict())
    found = estimator(rule, TASK, seeded())
    assert all(torch.equal(before[name], tensor) for name, tensor in rule.state_dict().items())
    noise = estimator.particles[0].moved
    generator = seeded()
    networks = TASK.start(1, generator)
    torch.randn(noise.shape, generator=generator, dtype=torch.float64)
    own = seeded(int(torch.randint(2**62, (), generator=generator)))
    batch = TASK.draw(1, own)
    _, gradient = gradients(networks, batch)
    loss = losses(networks + Memory().change(rule, networks, gradient), batch).mean()
    exact = nn.utils.parameters_to_vector(torch.autograd.grad(loss, list(rule.parameters())))
    estimate = torch.cat([each.flatten() for each in found.gradient])
    assert worst([estimate], [noise * (noise @ exact) / sigma**2]) < 1e-5
    second = estimator(rule, TASK, seeded(1))
    assert not estimator.particles and found.runs == second.runs == 2  # its runs have ended


@pytest.mark.parametrize("task", [TASK, MIXED], ids=["one layout", "several"])
def test_persistent_es_goes_on_from_its_state(task: InnerTask, tmp_path: Any) -> None:
    rule = built(RULES["LSTM"], list(task.layouts))
    first, second = (PersistentES(steps=6, piece=2, pairs=2, networks=3) for _ in range(2))
    first(rule, task, seeded())
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    one, other = first(rule, task, seeded(5)), second(rule, task, seeded(5))
    assert one.loss == other.loss and all(map(torch.equal, one.gradient, other.gradient))
    fresh = PersistentES(steps=6, piece=2, pairs=2, networks=3)(rule, task, seeded(5))
    assert fresh.loss != one.loss
    with pytest.raises(CheckpointError, match="Stepwise keeps nothing"):
        Stepwise().load_state_dict(first.state_dict())
    with pytest.raises(CheckpointError, match="no state of PersistentStepwise: expected"):
        PersistentStepwise().load_state_dict(first.state_dict())
    kept = {"0": {"values": [], "layouts": [], "memories": []}}
    with pytest.raises(CheckpointError, match=r"no state of PersistentES: expected .*moved"):
        second.load_state_dict(kept)


def test_persistent_es_starts_diverged_runs_anew() -> None:
    rule = _always(built(RULES["FF"], [PAPER]))
    estimator = PersistentES(steps=4, piece=2, pairs=2, networks=2)
    found = estimator(rule, TASK, seeded())
    assert found.diverged == found.runs == 8 and not estimator.particles
    assert all(bool(each.isfinite().all()) for each in found.gradient)
    with pytest.raises(ConfigError, match="got 4 steps in pieces of 3"):
        PersistentES(steps=4, piece=3)


@pytest.mark.parametrize("task", [TASK, MIXED], ids=["one layout", "several"])
def test_estimates_of_a_run_that_goes_on_are_those_of_its_pieces(task: InnerTask, tmp_path: Any) -> None:
    """Two estimates of two steps are one of four; so they are with a state kept and loaded between them."""
    rule = built(RULES["NG-GNN"], list(task.layouts))
    whole = InnerRun.begun(3, rule, task, seeded())
    pieces = InnerRun.begun(3, rule, task, seeded())
    generator = seeded(1)
    both = Stepwise(steps=4).go_on(whole, rule, task, seeded(1))
    first = Stepwise(steps=2).go_on(pieces, rule, task, generator)
    torch.save(InnerRun.to_state([pieces]), tmp_path / "state.pt")
    [loaded] = InnerRun.of_state(torch.load(tmp_path / "state.pt", weights_only=True))
    second = Stepwise(steps=2).go_on(loaded, rule, task, generator)
    assert torch.equal(loaded.networks.values, whole.networks.values) and loaded.memory.steps == 4
    assert worst([a + b for a, b in zip(first.gradient, second.gradient, strict=True)], both.gradient) < 1e-12
    assert first.loss + second.loss == pytest.approx(2 * both.loss)


def test_persistent_runs_go_on_and_end() -> None:
    """Runs are as long on the average as asked, of any age at one time, and diverged ones start anew."""
    rule = built(RULES["FF"], [PAPER])
    estimator = PersistentStepwise(steps=1, length=4, runs=3)
    generator, ages = seeded(), []
    for _ in range(300):
        before = {place: run.memory.steps for place, run in estimator.pool.items()}
        estimator(rule, TASK, generator)
        gone = [place for place in before if place not in estimator.pool]
        ages += [before[place] + 1 for place in gone]
        assert all(run.memory.steps in (before.get(place, 0), before.get(place, 0) + 1)
                   for place, run in estimator.pool.items())  # fmt: skip
    # Runs that end with their first step are in no pool: a quarter of all, and the others live a step longer.
    assert 4 < sum(ages) / len(ages) < 6 and len(set(ages)) > 5
    assert PersistentStepwise(steps=2, length=2, runs=1)(rule, TASK, seeded()).runs == 1
    gone = PersistentStepwise(steps=2, length=100, runs=1)
    assert gone(_always(rule), TASK, seeded()).diverged == 1 and not gone.pool
    with pytest.raises(ConfigError, match="at least the 4 steps of an estimate; got 10 of length 3"):
        PersistentStepwise(steps=4, length=3)


def test_many_networks_at_once_are_as_many_alone() -> None:
    """Losses, gradients and accuracies of a batch, of one layout or several, are those of its networks."""
    networks, batch = MIXED.start(6, seeded()), MIXED.draw(6, seeded(1))
    loss, gradient = gradients(networks, batch)
    every = networks.with_values(gradient).vectors()
    right = accuracies(networks, IMAGES)
    for place in range(6):
        one = networks[place]
        alone, own = gradients(one, (batch[0][[place]], batch[1][[place]]))
        torch.testing.assert_close(alone[0], loss[place], rtol=1e-12, atol=0)
        torch.testing.assert_close(own[0], every[place], rtol=1e-10, atol=1e-14)
        assert float(accuracies(one, IMAGES)) == float(right[place])
    assert len(set(networks.layouts)) == 3


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_torchs_optimizers_train_a_grid_as_they_train_each_point(make: Any) -> None:
    rates = (0.05, 0.001)
    each = [lambda params, lr=lr: make(params, lr=lr, weight_decay=1e-3) for lr in rates]
    together = train(TASK, lambda n: ByOptimizers(n, each), 5, (1, 2), IMAGES, copies=2)
    for place, one in enumerate(each):
        alone = train(TASK, lambda n, one=one: ByOptimizers(n, [one]), 5, (1, 2), IMAGES)
        torch.testing.assert_close(together.losses[:, 2 * place : 2 * place + 2], alone.losses, rtol=1e-10, atol=0)
    assert torch.equal(together.losses[0, :2], together.losses[0, 2:])  # the same start and images
    assert not torch.equal(together.losses[1, :2], together.losses[1, 2:])


def test_a_training_by_a_rule_is_measured_on_the_way_and_says_what_diverged() -> None:
    rule = built(RULES["NG-GNN"], [PAPER], refinements=SCALED)
    made = train(TASK, lambda _: ByRule(rule, every=2), 7, (1, 2, 3), IMAGES, measure=3)
    assert made.losses.shape == (7, 3) and made.measured == (2, 5, 7) and made.accuracies.shape == (3, 3)
    assert not made.diverged.any()
    one = train(TASK, lambda _: ByRule(rule, every=2), 7, (2,), IMAGES)
    torch.testing.assert_close(one.losses[:, 0], made.losses[:, 1], rtol=1e-9, atol=0)
    wild = train(TASK, lambda _: ByRule(_always(built(RULES["FF"], [PAPER]))), 4, (1, 2), IMAGES)
    assert bool(wild.diverged.all())


@pytest.mark.parametrize("architecture", [ConvNet(4), ConvNet(3, 4), ConvNet(3, residual=True), Perceptron((5, 6))])
def test_architectures_read_the_images(architecture: Any) -> None:
    layout = architecture.layout((1, 9, 9), 4)
    task = InnerTask((layout,), IMAGES, 3)
    assert losses(task.start(2, seeded()), task.draw(2, seeded())).shape == (2,)
    assert sum(block.parameter is None for block in layout.blocks) == int(getattr(architecture, "residual", False))


def test_the_papers_network_has_its_size() -> None:
    layout = ConvNet(16).layout((1, 28, 28), 10)
    assert (layout.size, layout.neurons) == (14_378, 91)
    assert ConvNet(32).layout((3, 32, 32), 10).size == 56_970


def test_what_cannot_be_an_inner_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reads 80 inputs .* these images have 81"):
        InnerTask((Layout.mlp((80, 4), "relu"),), IMAGES)
    with pytest.raises(ConfigError, match=r"answers with 3; .* 4 classes"):
        InnerTask((Layout.mlp((81, 3), "relu"),), IMAGES)
    from tests.optim.rules import LAYOUTS

    with pytest.raises(LayoutError, match="is no weight or bias of a Linear layer or a convolution"):
        initial_networks(LAYOUTS["traced residual"]()[0], 1, seeded())


def test_a_clipped_gradient_is_that_of_losses_whose_slope_is_bounded() -> None:
    """Far above the slopes nothing changes; far below every network counts by its direction alone."""
    rule = built(RULES["LSTM"], list(MIXED.layouts))
    whole = Stepwise(2, 3)(rule, MIXED, seeded()).gradient
    assert worst(Stepwise(2, 3, clip=1e6)(rule, MIXED, seeded()).gradient, whole) < 1e-12
    small, smaller = (Stepwise(2, 3, clip=c)(rule, MIXED, seeded()).gradient for c in (1e-6, 1e-7))
    assert worst([10 * each for each in smaller], small) < 1e-10
    assert worst([1e6 * each for each in small], whole) > 1e-3


def test_an_interrupted_estimate_leaves_the_rule_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, wherever it stops."""
    rule = built(RULES["FF"], [PAPER])
    before = [parameter.clone() for parameter in rule.parameters()]
    estimator = PersistentES(steps=4, piece=2, pairs=1, networks=1)

    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(estimator, "_run", stop)
    with pytest.raises(KeyboardInterrupt):
        estimator(rule, TASK, seeded())
    assert all(map(torch.equal, before, rule.parameters()))
