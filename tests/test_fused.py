"""The step of an accelerator: the gradient and the fit of a processor's, and captured the same bits as it stands."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from neural_graphs.errors import ZooError
from neural_graphs.layout import Layout
from neural_graphs.nn.run import capture
from neural_graphs.zoo import grow_inrs
from neural_graphs.zoo.recipes import inr
from neural_graphs.zoo.recipes.fused import FusedFit, Unfused, error_and_gradient
from neural_graphs.zoo.recipes.inr import Recipe, preset
from neural_graphs.zoo.recipes.presets import OMEGA, Preset
from neural_graphs.zoo.recipes.siren import SirenStack, StackAdam, layers_of
from tests.recorder import Recorder

IMAGES = torch.from_numpy(load_digits().images[:5] / 16.0).flatten(1)[:, None]  # (5, 1, 64) float64
PRESETS = {
    "all pixels": dataclasses.replace(preset("dws2023"), steps=12, stop_psnr=None),
    "drawn pixels": dataclasses.replace(preset("fast"), steps=12),
    "early stop": dataclasses.replace(preset("dws2023"), steps=12, lr=1e-3, stop_psnr=11.0),
}


def fit_of(law: Preset, kind: type[FusedFit] = FusedFit) -> tuple[FusedFit, torch.Tensor, Recipe]:
    """A fit of five networks in float64, and where they start."""
    recipe = Recipe(law, (8, 8, 1))
    start = torch.stack([recipe.initial(number) for number in range(5)]).double()
    return kind(law, recipe.layout, recipe.coordinates().double(), 5, recipe.drawn()), start, recipe


@settings(deadline=None, max_examples=20)
@given(
    hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    outputs=st.integers(1, 3),
    points=st.integers(1, 17),
    seed=st.integers(0, 99),
)
def test_the_gradient_is_that_of_the_stack(hidden, outputs, points, seed):
    random = torch.Generator().manual_seed(seed)
    layout = Layout.mlp((2, *hidden, outputs), activation="sine", names="layers.{}")
    values, x, target = (
        torch.randn(shape, generator=random, dtype=torch.float64)
        for shape in ((3, layout.size), (2, points), (3, outputs, points))
    )
    values = 0.1 * values
    stack = SirenStack(values, layout, OMEGA, points)
    residual = stack.residual(x, target).clone()
    error, gradient = error_and_gradient(layers_of(values, layout), x, target)
    torch.testing.assert_close(error, residual.square().mean((1, 2)), rtol=1e-12, atol=1e-12)
    expected = stack.backward()
    for one, other in zip(
        Unfused(values, layout, x)(layers_of(values, layout), x, target), (error, gradient), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert (gradient - expected).abs().max() <= 1e-12 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("law", PRESETS.values(), ids=PRESETS)
def test_the_fit_is_that_of_a_processor(law):
    fit, values, recipe = fit_of(law)
    found, error, steps = fit(values, IMAGES - law.offset)
    x, drawn, goal = recipe.coordinates().double(), recipe.drawn(), IMAGES - law.offset
    stack, adam = SirenStack(values, recipe.layout, OMEGA, 64), StackAdam(values)
    active, expected = values.new_ones(5, 1), torch.zeros(5, 1).double()
    for step in range(law.steps):
        points = slice(None) if drawn is None else drawn[step]
        active *= stack.residual(x[:, points], goal[..., points]).square().mean((1, 2))[:, None] > law.enough
        adam.step(values, stack.backward(), law.rate(step), active)
        expected += active
    torch.testing.assert_close(found, values, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(error, stack.residual(x, goal).square().mean((1, 2)), rtol=1e-10, atol=0)
    assert torch.equal(steps, expected)
    assert (expected.min() < 12) == (law is PRESETS["early stop"])


@pytest.mark.parametrize("law", PRESETS.values(), ids=PRESETS)
def test_a_replayed_fit_ends_with_the_same_bits(law, monkeypatch):
    fit, start, _ = fit_of(law)
    plain = [each.clone() for each in fit(start, IMAGES - 0.5)]
    monkeypatch.setitem(capture.RECORDERS, "cpu", Recorder)
    replayed, _, _ = fit_of(law)
    monkeypatch.setattr(replayed, "step", None)  # no Python between its operators
    for _ in range(2):
        for one, other in zip(replayed(start, IMAGES - 0.5), plain, strict=True):
            assert torch.equal(one, other)


class Counting(FusedFit):
    """Broken: the number of the step is Python's."""

    count = 0

    def step(self) -> None:
        self.number.fill_(self.count % self.steps)
        self.count += 1
        super().step()


def test_a_step_that_asks_python_for_its_number_is_found_out(monkeypatch):
    fit, start, _ = fit_of(PRESETS["all pixels"], Counting)
    plain = fit(start, IMAGES - 0.5)[0].clone()
    monkeypatch.setitem(capture.RECORDERS, "cpu", Recorder)
    assert not torch.equal(fit_of(PRESETS["all pixels"], Counting)[0](start, IMAGES - 0.5)[0], plain)


def test_stacks_of_an_accelerator_are_stacks_of_networks():
    recipe = Recipe(dataclasses.replace(preset("dws2023"), steps=20), (8, 8, 1))
    values = torch.stack([recipe.initial(number) for number in range(5)])
    fit = inr._on_device(recipe, 5, torch.device("cpu"))
    for goal in (IMAGES.float() - 0.5, IMAGES.float().flip(0) - 0.5):
        found, expected = fit(values, goal), inr._in_cache(recipe)(values.clone(), goal)
        torch.testing.assert_close(found.values, expected.values, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.psnr, expected.psnr, rtol=0, atol=1e-2)
        assert torch.equal(found.steps, expected.steps)


def test_without_a_compiler_the_operators_run_one_by_one():
    def missing(*_: object) -> None:
        raise RuntimeError("no compiler")

    fit, start, _ = fit_of(PRESETS["all pixels"])
    plain = fit(start, IMAGES - 0.5)[0].clone()
    alone, _, recipe = fit_of(PRESETS["all pixels"])
    unfused = Unfused(alone.values, recipe.layout, alone.x)
    alone.slope = capture.compiled(lambda layers, x, target: (x + 1, x), unfused, backend=missing)  # never run
    with pytest.warns(RuntimeWarning, match="going on without"):
        torch.testing.assert_close(alone(start, IMAGES - 0.5)[0], plain, rtol=1e-10, atol=1e-12)


def test_a_zoo_of_other_stacks_is_refused(tmp_path, monkeypatch):
    law = dataclasses.replace(preset("fast"), steps=2)
    zoo = grow_inrs(tmp_path / "zoo", "digits", law, count=4)
    monkeypatch.setitem(inr.STACK, "cpu", 32)
    with pytest.raises(ZooError, match=r"stack is 16 there, 32 asked for"):
        grow_inrs(tmp_path / "zoo", "digits", law, count=8)
    assert np.array_equal(zoo.networks().values, type(zoo)(tmp_path / "zoo").networks().values)
