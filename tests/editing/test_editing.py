"""The editing task in pieces: targets, pictures, loss, figures and views, each against what it is by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning import Trainer
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNNEditor, NGTEditor
from neural_graphs.nn.run import microbatch
from neural_graphs.nn.spec import InputSpec
from neural_graphs.tasks import Editing, ZooData
from neural_graphs.tasks.editing import Drawing
from neural_graphs.tasks.logging import quiet
from neural_graphs.testing import assert_same_function
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.styles import Dilate, Invert
from neural_graphs.zoo.writer import ShardData, writing


def measured(task: Editing, zoo: Zoo, batch_size: int = 3) -> dict[str, float]:
    """What testing on the test split finds."""
    with quiet():
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(accelerator="cpu", enable_checkpointing=False, **options)
        (found,) = trainer.test(task, ZooData(zoo.path, batch_size), verbose=False)
    return task.result(found, "test")


# -- targets -----------------------------------------------------------------------------------------------------------


def test_targets_are_the_styled_images_of_the_networks_asked_for(zoo: Zoo) -> None:
    chosen = zoo.split("train").at([7, 2, 30])
    targets = Editing(nn.Identity(), Dilate()).targets(chosen)
    assert targets.shape == (3, 64, 1) and targets.dtype == torch.float32
    for target, record in zip(targets, chosen, strict=True):
        styled = Dilate()(record.image[None].astype(np.float32) / np.float32(255))
        assert torch.equal(target, torch.from_numpy(styled).reshape(64, 1))
    assert not torch.equal(targets[0], targets[1])


def test_networks_without_images_are_restyled_as_they_draw(soft: Zoo) -> None:
    chosen = soft.split("val").at([3, 1])
    targets = Editing(nn.Identity(), Dilate()).targets(chosen)
    drawn = soft.canvas.render(soft.split("val").networks([3, 1]))[..., None]
    np.testing.assert_array_equal(targets.numpy(), Dilate()(drawn).reshape(2, 54, 1))


def test_networks_that_draw_nothing_are_refused(tmp_path) -> None:
    layout = Layout.mlp((2, 3, 1))
    with writing(tmp_path / "plain", {}, [layout], 2) as writer:
        writer.write(ShardData(np.zeros((2, layout.size), np.float32), {"split": ["train", "test"]}))
    plain = Zoo(tmp_path / "plain")
    with pytest.raises(ConfigError, match="plain holds no implicit images"):
        Editing(nn.Identity(), Dilate()).targets(plain)
    with pytest.raises(ConfigError, match="must be implicit images"):
        Editing(nn.Identity(), Dilate()).answer(plain.networks())


# -- the loss, whole and in pieces -------------------------------------------------------------------------------------

LAYOUTS = [Layout.mlp((2, 5, 1), "sine", scale=3.0, offset=0.5), Layout.mlp((2, 4, 3, 1), "sine", scale=3.0)]


@pytest.fixture(params=[LAYOUTS[:1], LAYOUTS], ids=["regular", "mixed"])
def networks(request: pytest.FixtureRequest) -> Networks:
    """Seven networks in float64."""
    layouts = [request.param[i % len(request.param)] for i in range(7)]
    values = [torch.randn(1, each.size, generator=torch.Generator().manual_seed(i)) for i, each in enumerate(layouts)]
    return Networks.cat([Networks(v.double(), each) for v, each in zip(values, layouts, strict=True)])


@pytest.mark.parametrize("canvas", [Canvas(4, 5, 1), Canvas(5, 4, 1, axes="ij", low=-1.0)], ids=["0 … 1", "−1 … 1"])
@pytest.mark.parametrize("make", [NGGNNEditor, NGTEditor], ids=lambda make: make.__name__)
@pytest.mark.parametrize("size", [1, 3])
def test_loss_and_gradients_in_pieces_are_those_of_one_go(
    networks: Networks, canvas: Canvas, make: type, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"width": 6} if make is NGGNNEditor else {"widths": (6, 4), "attention": 4, "hidden": (6, 4)}
    torch.manual_seed(0)
    editor = make(InputSpec.of(LAYOUTS), depth=2, probes=3, initial=0.3, **options).double()
    drawing = Drawing(editor, canvas)
    targets = torch.rand(7, 20, 1, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        editor.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in editor.named_parameters() if p.grad is not None}

    whole = canvas.draw(networks + editor.read(networks))
    by_hand = ((networks + editor.read(networks)).run(canvas.coordinates(torch.float64)) - canvas.low) / (
        1 - canvas.low
    )
    torch.testing.assert_close(whole, by_hand, rtol=1e-14, atol=1e-14)
    expected = gradients(F.mse_loss(whole, targets))
    monkeypatch.setattr(microbatch, "BUDGET", {"cpu": size * drawing.numbers(networks)})
    assert len(microbatch.pieces(drawing, networks)) == -(-7 // size)
    loss, pictures = microbatch.mean_loss(drawing, networks, targets, F.mse_loss)
    found = gradients(loss)
    torch.testing.assert_close(loss, F.mse_loss(whole, targets), rtol=1e-12, atol=0)
    torch.testing.assert_close(pictures, whole.detach(), rtol=1e-11, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(drawing(networks), whole.detach(), rtol=1e-11, atol=1e-12)
    assert found.keys() == expected.keys() and len(found) > 10
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-11 * float(gradient.abs().max()), msg=name)


def test_a_picture_with_many_pixels_is_drawn_in_small_pieces() -> None:
    editor = NGGNNEditor(InputSpec.of(LAYOUTS), width=4, depth=2)
    networks = Networks(torch.zeros(2, LAYOUTS[0].size), LAYOUTS[0])
    assert Drawing(editor, Canvas(2, 2, 1)).numbers(networks) == editor.numbers(networks)
    assert Drawing(editor, Canvas(300, 200, 1)).numbers(networks) == 300 * 200 * 5  # the widest layer has 5 neurons


# -- figures -----------------------------------------------------------------------------------------------------------


def test_an_editor_that_does_nothing_closes_nothing(soft: Zoo, nothing: nn.Module) -> None:
    """Errors are counted where black is 0 and white is 1, whatever the networks were fitted to."""
    found = measured(Editing(nothing, Invert()), soft)
    pictures = soft.split("test").render(slice(None)).astype(np.float64)
    errors = ((1 - 2 * pictures) ** 2).mean((1, 2))
    assert found["mse"] == found["unedited_mse"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["psnr"] == found["unedited_psnr"] == pytest.approx((-10 * np.log10(errors)).mean(), rel=1e-5)
    assert found["ssim"] == found["unedited_ssim"] < 0.999
    assert found["closed"] == 0


def test_a_perfect_edit_closes_everything(soft: Zoo, negative: nn.Module) -> None:
    found = measured(Editing(negative, Invert()), soft)
    assert found["mse"] < 1e-12 and found["closed"] == pytest.approx(1, abs=1e-6)
    assert found["psnr"] == pytest.approx(100) and found["ssim"] == pytest.approx(1, abs=1e-6)
    assert found["unedited_mse"] > 1e-3 and found["unedited_psnr"] < 30 and found["unedited_ssim"] < 0.999


def test_figures_do_not_depend_on_how_networks_are_batched(zoo: Zoo, nothing: nn.Module) -> None:
    figures = [measured(Editing(nothing, Dilate()), zoo, size) for size in (4, 15)]  # of fifteen networks
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)
    images = zoo.split("test").images().astype(np.float32) / np.float32(255)
    drawn = zoo.split("test").render(slice(None))[..., None]
    assert figures[0]["unedited_mse"] == pytest.approx(((drawn - Dilate()(images)) ** 2).mean(), rel=1e-5)


def test_errors_count_values_out_of_range_and_likeness_does_not() -> None:
    """A picture too white to be shown is wrong, and looks right."""
    task = Editing(nn.Identity(), Invert())
    task.canvas, told = Canvas(8, 8, 1), {}
    task.log_metrics = lambda split, networks, **quantities: told.update(quantities)
    layout = Layout.mlp((2, 3, 1), "sine")
    blank = Networks(torch.zeros(2, layout.size), layout)
    task.measure("test", torch.full((2, 64, 1), 1.5), torch.ones(2, 64, 1), blank)
    assert float(told["mse"]) == 0.25 and float(told["psnr"]) == pytest.approx(100) and float(told["ssim"]) == 1
    assert float(told["unedited_mse"]) == 1 and float(told["unedited_psnr"]) == 0


def test_closed_compares_the_errors() -> None:
    found = dict.fromkeys(["test_psnr", "test_ssim", "test_unedited_psnr", "test_unedited_ssim"], 0.5)
    result = Editing(nn.Identity(), Invert()).result({"test_mse": 0.02, "test_unedited_mse": 0.08, **found}, "test")
    assert result["closed"] == 0.75
    said = " ".join(Editing.summary({**result, "split": "test", "published": 1.6}))
    assert "MSE 2.000 · 10⁻²" in said and "8.000 · 10⁻² before" in said and "75.0%" in said and "1.6 · 10⁻²" in said


# -- views -------------------------------------------------------------------------------------------------------------


class Spy(nn.Module):
    """Adds an amount to all parameters, or a part of them, and remembers what it was shown."""

    def __init__(self, amount: float = 0.0, part: float = 0.0) -> None:
        super().__init__()
        self.amount, self.part = amount, part
        self.seen: list[Networks] = []

    def forward(self, networks: Networks) -> Networks:
        self.seen.append(networks)
        return networks.map(lambda values: self.amount + self.part * values)


def viewed(editor: nn.Module, views: int, networks: Networks, index: int = 0) -> Tensor:
    task = Editing(editor, Dilate())
    task.canvas, task.views = Canvas(8, 8, 1), views
    return task.mean_answer(networks, index)


@pytest.fixture
def precise(zoo: Zoo) -> Networks:
    """Six networks in float64."""
    return zoo.networks(slice(0, 6)).to(torch.float64)


def test_views_are_the_same_functions_and_their_answers_are_averaged(precise: Networks) -> None:
    editor, canvas = Spy(amount=0.05), Canvas(8, 8, 1)
    mean = viewed(editor, 4, precise)
    assert len(editor.seen) == 4 and torch.equal(editor.seen[0].values, precise.values)
    answers = [canvas.draw(networks.map(lambda values: values + 0.05)) for networks in editor.seen]
    torch.testing.assert_close(mean, torch.stack(answers).mean(0), rtol=1e-12, atol=1e-12)
    for networks in editor.seen[1:]:
        assert bool((networks.values != precise.values).any(1).all())
        assert_same_function(networks, precise, canvas.coordinates(torch.float64), 1e-12)
    assert float((answers[1] - answers[0]).abs().max()) > 0.01


def test_views_of_an_editor_that_minds_no_signs_are_one(precise: Networks) -> None:
    one, five = (viewed(Spy(part=0.2), views, precise) for views in (1, 5))
    torch.testing.assert_close(five, one, rtol=1e-12, atol=1e-12)


def test_views_are_drawn_from_their_seeds(precise: Networks) -> None:
    first, again, other = (viewed(Spy(amount=0.05), 3, precise, index) for index in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
