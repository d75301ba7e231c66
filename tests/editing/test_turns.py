"""Quarter turns and reflections: exact for networks and pictures, undone again, and learned from."""

import numpy as np
import pytest
import torch

from neural_graphs import Layout, Networks
from neural_graphs.errors import ConfigError
from neural_graphs.tasks import Editing, fit
from neural_graphs.zoo import Zoo, turns
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.styles import Dilate

CANVASES = [
    Canvas(height, width, channels, axes)
    for height, width, channels in ((5, 5, 1), (4, 6, 3), (6, 4, 1), (1, 3, 1), (1, 1, 1))
    for axes in ("xy", "ij")
]


def random(canvas: Canvas, count: int) -> Networks:
    layout = Layout.mlp((2, 6, canvas.channels), "sine")
    values = torch.randn(count, layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Networks(values / 4, layout)


@pytest.mark.parametrize("canvas", CANVASES, ids=str)
def test_turned_networks_draw_turned_pictures(canvas: Canvas) -> None:
    """All of them, told apart by an arbitrary network, the one that moves nothing first, and each undone again."""
    many = turns.count(canvas)
    assert many == {(5, 5): 8, (1, 3): 2, (1, 1): 2}.get((canvas.height, canvas.width), 4)
    networks, which = random(canvas, 1)[[0] * many], torch.arange(many)
    drawn = canvas.draw(networks)
    turned = canvas.draw(turns.turn(networks, which, canvas))
    assert torch.allclose(turns.turn_pictures(drawn, which, canvas), turned, rtol=1e-12, atol=1e-12)
    assert torch.equal(turns.turn_pictures(turns.turn_pictures(drawn, which, canvas), which, canvas, back=True), drawn)
    assert torch.equal(turns.turn(networks, which, canvas)[0].values, networks[0].values)
    if canvas.height * canvas.width > 1:
        assert len({tuple(each) for each in turned.flatten(1).tolist()}) == many


@pytest.mark.parametrize("axes", ["xy", "ij"])
def test_a_reflected_picture_is_what_numpy_makes_of_it(axes: str) -> None:
    canvas = Canvas(3, 3, 1, axes)
    picture = torch.arange(9.0).reshape(1, 9, 1).expand(8, 9, 1)
    made = turns.turn_pictures(picture, torch.arange(8), canvas).reshape(8, 3, 3).numpy()
    every = [f(np.rot90(picture[0].reshape(3, 3).numpy(), k)) for k in range(4) for f in (np.array, np.fliplr)]
    assert {each.tobytes() for each in made} == {np.ascontiguousarray(each).tobytes() for each in every}


def test_an_editor_learns_from_turned_networks(zoo: Zoo, configure, tmp_path) -> None:
    """It ends elsewhere than without, and resumes exactly."""
    words = [*configure(zoo, tmp_path), "--model.turns=true"]
    whole = fit([*words, "--trainer.max_epochs=4"], tmp_path / "whole")
    part = fit([*words, "--trainer.max_epochs=2"], tmp_path / "part")
    part = fit(["--trainer.max_epochs=4", "--trainer.enable_progress_bar=false"], part.folder, resume=True)
    plain = fit([*configure(zoo, tmp_path), "--trainer.max_epochs=4"], tmp_path / "plain")
    ours, theirs, others = (run.checkpoint(run.last)["state_dict"] for run in (part, whole, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[name], others[name]) for name in ours)


class Fixed(Editing):
    """Edits nothing, so that its answer is what is drawn."""

    def forward(self, networks: Networks) -> Networks:
        return networks.map(torch.zeros_like)


def test_views_are_turned_back() -> None:
    canvas = CANVASES[0]
    task = Fixed(torch.nn.Linear(1, 1), Dilate(), turns=True)
    task.canvas, networks = canvas, random(canvas, 3)
    plain = task.mean_answer(networks)
    task.views = 9
    assert torch.allclose(task.mean_answer(networks), plain, rtol=1e-12, atol=1e-12)
    seen = []
    task._answers = lambda given: seen.append(given.values) or canvas.draw(given)  # type: ignore[assignment]
    task.mean_answer(networks)
    assert all(not torch.equal(a, b) for k, a in enumerate(seen) for b in seen[:k])


def test_styles_that_do_not_commute_are_refused(zoo: Zoo, configure, tmp_path) -> None:
    words = [*configure(zoo, tmp_path), "--model.turns=true", "--model.style=neural_graphs.zoo.styles.Rotate"]
    with pytest.raises(ConfigError, match=r"Rotate.* makes something else of an image that is turned: leave out turns"):
        fit(words, tmp_path / "run")
