"""Growing INRs: hand-written gradients against autograd, bytes that depend on seed and number only, presets, errors."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from neural_graphs.errors import ConfigError, ImageError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.recipes.inr import PRESETS, STACK, Grown, Preset, Recipe, grow, preset
from neural_graphs.zoo.recipes.siren import SirenStack, StackAdam

DIGITS = (load_digits().images / 16.0).astype(np.float32)  # (1797, 8, 8)


def short(name: str, steps: int, **changes) -> Preset:
    """A preset with fewer steps."""
    return dataclasses.replace(preset(name), steps=steps, **changes)


def recipe_of(law: Preset, channels: int = 1, seed: int = 0) -> Recipe:
    """A recipe for 8 × 8 images."""
    return Recipe(law, (8, 8, channels), seed=seed)


class Siren(nn.Module):
    """The plain module that a stack must agree with."""

    def __init__(self, values: torch.Tensor, layout: Layout, offset: float = 0.0):
        super().__init__()
        shapes = [p.shape for p in layout.parameters if len(p.shape) == 2]
        self.layers = nn.ModuleList(nn.Linear(i, o, dtype=values.dtype) for o, i in shapes)
        self.offset = offset
        self.load_state_dict(Networks(values[None], layout).state_dicts()[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = torch.sin(30 * layer(x))
        return self.layers[-1](x) + self.offset


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@settings(deadline=None, max_examples=15)
@given(
    hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    outputs=st.integers(1, 3),
    points=st.integers(1, 17),
    seed=st.integers(0, 99),
)
def test_gradient_equals_autograd(hidden, outputs, points, seed):
    generator = torch.Generator().manual_seed(seed)
    layout = Layout.mlp((2, *hidden, outputs), activation="sine", names="layers.{}")
    values = 0.1 * torch.randn(3, layout.size, generator=generator, dtype=torch.float64)
    x = torch.randn(2, points, generator=generator, dtype=torch.float64)
    target = torch.randn(3, outputs, points, generator=generator, dtype=torch.float64)
    stack = SirenStack(values, layout, 30.0, 20)  # buffers larger than the points in use
    residual = stack.residual(x, target).clone()
    gradient = stack.backward()
    for i in range(3):
        module = Siren(values[i], layout)
        error = module(x.T).T - target[i]
        error.square().mean().backward()
        expected = flat(p.grad for p in module.parameters())
        torch.testing.assert_close(residual[i], error.detach(), rtol=0, atol=1e-12)
        assert (gradient[i] - expected).abs().max() <= 1e-12 * max(1.0, float(expected.abs().max()))


def test_adam_equals_torch():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4, 30, generator=generator, dtype=torch.float64)
    parameter = nn.Parameter(values.clone())
    theirs, ours = torch.optim.Adam([parameter], lr=0.01), StackAdam(values)
    for step in range(20):
        gradient = torch.randn(4, 30, generator=generator, dtype=torch.float64)
        lr = 0.01 / (step + 1)
        theirs.param_groups[0]["lr"] = lr
        parameter.grad = gradient.clone()
        theirs.step()
        ours.step(values, gradient, lr)
    torch.testing.assert_close(values, parameter.data, rtol=1e-13, atol=1e-13)


def test_adam_leaves_inactive_networks():
    values = torch.ones(2, 5)
    StackAdam(values).step(values, torch.ones(2, 5), 0.1, torch.tensor([[1.0], [0.0]]))
    assert (values[0] < 1).all()
    assert (values[1] == 1).all()


@pytest.mark.parametrize("name", ["dws2023", "nfn2023"])
def test_fit_equals_a_plain_loop(name):
    """Ten steps of a preset are ten steps of torch's Adam on the mean squared error of the image."""
    law = short(name, 10)
    recipe = recipe_of(law)
    grown = grow(DIGITS[:2], recipe)
    grid = torch.linspace(-1, 1, 8)
    row, column = torch.meshgrid(grid, grid, indexing="ij")
    x = torch.stack((column, row) if name == "dws2023" else (row, column), -1).flatten(0, 1)
    for i in range(2):
        module = Siren(recipe.initial(i), recipe.layout, law.offset)
        adam = torch.optim.Adam(module.parameters(), lr=law.lr)
        target = law.low + (1 - law.low) * torch.from_numpy(DIGITS[i]).reshape(-1, 1)
        for _ in range(10):
            adam.zero_grad()
            nn.functional.mse_loss(module(x), target).backward()
            adam.step()
        torch.testing.assert_close(grown.values[i], flat(module.parameters()).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_psnr_is_that_of_the_render(name):
    law = short(name, 30)
    recipe = recipe_of(law)
    grown = grow(DIGITS[:3], recipe)
    render = Networks(grown.values, recipe.layout).run(recipe.coordinates().T)[..., 0]  # (networks, points)
    image = (render - law.low) / (1 - law.low)
    error = (image - torch.from_numpy(DIGITS[:3]).flatten(1)).square().mean(1)
    torch.testing.assert_close(grown.psnr, -10 * error.log10(), rtol=0, atol=1e-3)
    assert (grown.steps == 30).all()


@pytest.mark.parametrize("name", ["dws2023", "fast"])
def test_bytes_depend_on_seed_and_number_only(name):
    recipe = recipe_of(short(name, 25))
    count = STACK["cpu"] + 5
    whole = grow(DIGITS[:count], recipe, workers=1)
    again = grow(DIGITS[:count], recipe, workers=2)
    cuts = [0, 3, 4, STACK["cpu"] + 1, count]
    parts = [grow(DIGITS[a:b], recipe, first=a) for a, b in itertools.pairwise(cuts)]
    for field in dataclasses.fields(Grown):
        expected = getattr(whole, field.name)
        assert torch.equal(getattr(again, field.name), expected)
        assert torch.equal(torch.cat([getattr(part, field.name) for part in parts]), expected)


def test_bytes_do_not_depend_on_the_neighbours():
    recipe = recipe_of(short("dws2023", 25))
    strangers = DIGITS[:8].copy()
    strangers[[0, 1, 2, 4, 5, 6, 7]] = 1.0
    assert torch.equal(grow(strangers, recipe).values[3], grow(DIGITS[:8], recipe).values[3])


def test_seeds_and_numbers_differ():
    law = short("fast", 2)
    same_image = np.stack([DIGITS[0]] * 3)
    values = torch.cat([grow(same_image, recipe_of(law, seed=seed)).values for seed in (0, 1)])
    assert len(values.unique(dim=0)) == 6


def test_bytes_come_without_torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one = grow(DIGITS[:2], recipe_of(short("fast", 5)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.values, grow(DIGITS[:2], recipe_of(short("fast", 5))).values)


def test_early_stop_freezes_each_network():
    images = DIGITS[:3].copy()
    images[1] = 0.5  # easy: the offset alone is right
    law = short("dws2023", 400, stop_psnr=22.0)
    grown = grow(images, recipe_of(law))
    assert grown.steps[1] < grown.steps[0] <= 400
    assert (grown.psnr[grown.steps < 400] >= 22.0 - 1e-3).all()
    alone = grow(images, recipe_of(dataclasses.replace(law, steps=int(grown.steps[1]))))
    assert torch.equal(alone.values[1], grown.values[1])  # it stayed as it was when it stopped


def test_a_finished_stack_ends_early():
    law = short("dws2023", 10**6, stop_psnr=1.0)
    assert (grow(DIGITS[:2], recipe_of(law)).steps < 1000).all()


def test_colour():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)  # height and width differ
    recipe = Recipe(short("fast", 300, pixels=1.0), (6, 5, 3), hidden=(16, 16, 16))
    grown = grow(images, recipe)
    render = Networks(grown.values, recipe.layout).run(recipe.coordinates().T).reshape(2, 6, 5, 3)
    assert (grown.psnr > 30).all()
    assert (render - torch.from_numpy(images) / 255).abs().max() < 0.2


def test_fast_is_faithful():
    assert grow(DIGITS[:4], recipe_of(preset("fast"))).psnr.min() > 40


def test_initial_values_follow_the_preset():
    layout = recipe_of(preset("dws2023")).layout
    names = list(layout.slices)
    for name, expected in {
        "dws2023": [6**0.5 / 30 / 2**0.5, 0, 6**0.5 / 30 / 32**0.5, 0, 1 / 32**0.5, 1 / 32**0.5],
        "siren2020": [1 / 2, 1 / 2**0.5, 6**0.5 / 30 / 32**0.5, 1 / 32**0.5, 6**0.5 / 30 / 32**0.5, 1 / 32**0.5],
    }.items():
        recipe = recipe_of(preset(name))
        start = torch.stack([recipe.initial(i) for i in range(300)])
        for tensor, bound in zip(names, expected, strict=True):
            largest = float(start[:, layout.slices[tensor]].abs().max())
            assert 0.97 * bound <= largest <= bound * (1 + 1e-6)


def test_all_networks_may_start_from_the_same_values():
    shared = recipe_of(preset("same-start"))
    assert torch.equal(shared.initial(0), shared.initial(7))
    assert not torch.equal(shared.initial(0), recipe_of(preset("same-start"), seed=1).initial(0))
    assert "same_start" not in recipe_of(preset("fast")).to_json()["preset"]  # older zoos can be grown further


def test_a_step_draws_a_quarter_of_the_pixels():
    drawn = recipe_of(preset("fast")).drawn()
    assert drawn.shape == (500, 16)
    assert all(len(row.unique()) == 16 for row in drawn)
    assert (drawn.flatten().bincount(minlength=64) > 60).all()
    assert recipe_of(preset("dws2023")).drawn() is None


@pytest.mark.parametrize("name", PRESETS)
def test_recipe_survives_json(name):
    recipe = Recipe(preset(name), (8, 9, 3), hidden=(16,), seed=7)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_progress_counts_networks():
    seen: list[int] = []
    grow(DIGITS[: STACK["cpu"] + 3], recipe_of(short("fast", 1)), first=2, progress=seen.append)
    assert sum(seen) == STACK["cpu"] + 3
    assert len(seen) == 2


def test_bad_images():
    recipe = recipe_of(short("fast", 1))
    broken = DIGITS[:3].copy()
    broken[1, 2, 2] = np.nan
    with pytest.raises(ImageError, match="image 1 holds NaN"):
        grow(broken, recipe)
    with pytest.raises(ImageError, match="outside"):
        grow(DIGITS[:3] * 255, recipe)
    with pytest.raises(ImageError, match=r"\(3, 8, 7\), expected"):
        grow(DIGITS[:3, :, :7], recipe)
    with pytest.raises(ImageError, match="expected"):
        grow(DIGITS[0], recipe)
    assert len(grow(DIGITS[:0], recipe).values) == 0


@pytest.mark.parametrize(
    "changes", [{"pixels": 0.0}, {"pixels": 0.5, "stop_psnr": 40.0}, {"axes": "yx"}, {"steps": 0}, {"low": 1.0}]
)
def test_impossible_presets(changes):
    with pytest.raises(ConfigError):
        dataclasses.replace(preset("fast"), **changes)


def test_impossible_recipes():
    with pytest.raises(ConfigError, match="dws2023"):
        preset("dws")
    for changes in ({"image": (0, 8, 1)}, {"hidden": ()}, {"seed": -1}):
        with pytest.raises(ConfigError):
            Recipe(**{"preset": preset("fast"), "image": (8, 8, 1), **changes})
    with pytest.raises(ConfigError, match="cpu, cuda"):
        grow(DIGITS[:1], recipe_of(preset("fast")), device="meta")


def test_an_error_in_a_stack_reaches_the_caller():
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grow(DIGITS[: 3 * STACK["cpu"]], recipe_of(short("fast", 3)), progress=interrupt)
    assert torch.get_num_threads() == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_agrees_with_cpu():
    recipe = recipe_of(short("dws2023", 20))
    cpu, gpu = grow(DIGITS[:5], recipe), grow(DIGITS[:5], recipe, device="cuda")
    torch.testing.assert_close(cpu.values, gpu.values, rtol=1e-3, atol=1e-4)
