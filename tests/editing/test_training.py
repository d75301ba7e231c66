"""Training editors: what is learned, kept and drawn, and that a resumed run ends as if it had not been interrupted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imread
from PIL import Image

from neural_graphs.errors import ConfigError
from neural_graphs.tasks import Editing, Galleries, Run, fit, load_task, validate
from neural_graphs.tasks import test as evaluate
from neural_graphs.tasks.history import read_csv
from neural_graphs.tasks.report import report
from neural_graphs.zoo import Zoo, grow_inrs, preset
from neural_graphs.zoo.styles import Dilate
from tests.page.checking import outline

BARE = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]


def error_by_hand(run: Run, zoo: Zoo, views: int = 1) -> tuple[float, float]:
    """Mean squared errors before and after the edit, from renders and images."""
    task, _ = load_task(run.folder)
    assert isinstance(task, Editing)
    task.canvas, task.views = zoo.canvas, views
    batches = [zoo.networks(slice(start, start + 8)) for start in range(0, len(zoo), 8)]  # as the run's own
    wanted = Dilate()(zoo.images().astype(np.float32) / np.float32(255)).reshape(len(zoo), -1)
    with torch.no_grad():
        answers = [task.mean_answer(batch, index) for index, batch in enumerate(batches)]
    edited = torch.cat(answers).numpy().reshape(len(zoo), -1)
    before = zoo.render(slice(None)).reshape(len(zoo), -1)
    return float(((before - wanted) ** 2).mean()), float(((edited - wanted) ** 2).mean())


def test_training_lowers_the_error_on_networks_it_did_not_see(run: Run, zoo: Zoo) -> None:
    before, after = error_by_hand(run, zoo.split("val"))
    assert validate(run.folder)["mse"] == pytest.approx(after, rel=1e-4)
    assert after < 0.5 * before
    columns = read_csv(run.metrics_file)
    assert list(columns) == ["epoch", "step", "train_mse", "val_mse", "lr", "seconds"]
    assert columns["train_mse"][-1] < 0.5 * columns["train_mse"][0]


def test_the_best_checkpoint_is_that_of_the_smallest_error(run: Run) -> None:
    errors = read_csv(run.metrics_file)["val_mse"]
    assert len(errors) == 8 and run.checkpoint()["epoch"] == int(np.argmin(errors))
    assert validate(run.folder)["mse"] == pytest.approx(min(errors), abs=1e-6)


def test_a_worse_epoch_does_not_become_the_best(zoo: Zoo, configure, tmp_path: Path) -> None:
    found = fit([*configure(zoo, tmp_path), "--trainer.max_epochs=4", "--model.lr=0.5"], tmp_path / "run")
    errors = read_csv(found.metrics_file)["val_mse"]
    assert found.checkpoint()["epoch"] == int(np.argmin(errors)) != 3
    assert found.checkpoint(found.last)["epoch"] == 3


def test_a_resumed_run_ends_as_if_it_had_not_been_interrupted(run: Run, zoo: Zoo, configure, tmp_path: Path) -> None:
    part = fit([*configure(zoo, tmp_path), "--trainer.max_epochs", "3"], tmp_path / "part")
    part = fit(["--trainer.max_epochs", "8", *BARE], part.folder, resume=True)
    for file, other in ((part.last, run.last), (part.best, run.best)):
        ours, theirs = part.checkpoint(file)["state_dict"], run.checkpoint(other)["state_dict"]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    rows = [[row.rsplit(",", 1)[0] for row in each.metrics_file.read_text().splitlines()] for each in (part, run)]
    assert rows[0] == rows[1]  # but for the seconds


def test_a_task_is_loaded_as_it_was_trained(zoo: Zoo, configure, tmp_path: Path) -> None:
    words = [*configure(zoo, tmp_path), "--trainer.max_epochs=1", "--model.style.size=5", "--model.seed=7"]
    found = fit([*words, "--model.steps=20"], tmp_path / "run")
    task, config = load_task(found.folder)
    assert isinstance(task, Editing) and isinstance(task.style, Dilate) and config["model"]["warmup"] == 4
    assert (task.style.size, task.seed, task.lr, task.warmup, task.steps, task.views) == (5, 7, 1e-2, 4, 20, 1)
    assert not task.metanetwork.training


# -- testing -----------------------------------------------------------------------------------------------------------


def test_figures_of_a_test_are_those_by_hand(run: Run, zoo: Zoo) -> None:
    result = evaluate(run.folder)
    before, after = error_by_hand(run, zoo.split("test"))
    assert result["unedited_mse"] == pytest.approx(before, rel=1e-4)
    assert result["mse"] == pytest.approx(after, rel=1e-4)
    assert result["closed"] == pytest.approx(1 - after / before, rel=1e-3)
    assert result["networks"] == 15 and result["views"] == 1 and result["task"] == "neural_graphs.tasks.Editing"
    assert json.loads(run.result_file.read_text()) == result
    gallery = imread(run.folder / "gallery-digits.png")
    assert gallery.shape[1] > 2 * gallery.shape[0] and gallery[..., :3].std() > 0.1


def test_a_page_shows_edits_under_a_slider(run: Run, zoo: Zoo) -> None:
    result = evaluate(run.folder)
    found = outline(report(run.folder, run.folder / "page.html").read_text(encoding="utf-8"))
    told = "".join(found.text)
    assert "Before and after the edit" in told and f"MSE {100 * result['mse']:.3f} · 10⁻²" in told
    shown = zoo.split("test").spaced(12)
    task = run.task()
    task.canvas = zoo.canvas
    pictures = task.drawn(shown)
    before, after = (
        100 * np.square(pictures[name] - pictures["target"]).mean((1, 2)) for name in ("network", "edited")
    )
    for pair in zip(before, after, strict=True):
        assert "{:.1f} → {:.1f} · 10⁻²".format(*pair) in told
    assert [held["type"] for tag, held in found.elements if tag == "input"] == ["range"]
    assert sum(held.get("alt") == "what the edited network draws" for _, held in found.elements) == len(shown)


def test_several_views_have_a_result_of_their_own(run: Run, zoo: Zoo) -> None:
    one = evaluate(run.folder)
    three = evaluate(run.folder, views=3)
    assert three == evaluate(run.folder, views=3)
    _, by_hand = error_by_hand(run, zoo.split("test"), views=3)
    assert three["mse"] == pytest.approx(by_hand, rel=1e-4) and three["mse"] != one["mse"]
    assert three["unedited_mse"] == one["unedited_mse"] and three["views"] == 3
    assert json.loads((run.folder / "result-views3.json").read_text()) == three
    assert run.result == one


def test_other_zoos_are_measured_where_they_are(zoo: Zoo, configure, tmp_path: Path) -> None:
    other = grow_inrs(tmp_path / "other", "digits", preset("fast"), count=12, hidden=(8,), shares=(1, 1, 2), seed=5)
    words = configure(zoo, tmp_path, elsewhere=[str(tmp_path / "gone"), str(other.path)])
    found = fit([*words, "--trainer.max_epochs=1"], tmp_path / "run")
    result = evaluate(found.folder)
    (elsewhere,) = result["elsewhere"]
    assert result["absent"] == [str(tmp_path / "gone")]
    assert elsewhere["zoo"] == str(other.path) and elsewhere["networks"] == 6
    before, after = error_by_hand(found, other.split("test"))
    assert (elsewhere["unedited_mse"], elsewhere["mse"]) == pytest.approx((before, after), rel=1e-4)
    assert {path.name for path in found.folder.glob("*.png")} == {"gallery-digits.png", "gallery-other.png"}
    alone = evaluate(found.folder, other.path)
    assert "elsewhere" not in alone and alone["mse"] == elsewhere["mse"]
    assert Path(found.result["zoo"]) == zoo.path


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_galleries_are_drawn_while_it_trains(zoo: Zoo, configure, tmp_path: Path) -> None:
    watcher = {"class_path": "neural_graphs.tasks.Galleries", "init_args": {"every": 2}}
    words = configure(zoo, tmp_path, trainer={"max_epochs": 5, "callbacks": [watcher]})
    found = fit(words, tmp_path / "run")
    names = sorted(path.name for path in (found.folder / "galleries").iterdir())
    assert names == ["epoch-002.png", "epoch-004.png"]
    assert len(read_csv(found.metrics_file)["epoch"]) == 5 and found.best.is_file()
    without = fit([*configure(zoo, tmp_path), "--trainer.max_epochs=5"], tmp_path / "without")
    watched, unwatched = (each.checkpoint(each.last)["state_dict"] for each in (found, without))
    assert all(torch.equal(watched[name], unwatched[name]) for name in unwatched)  # looking on changes nothing


def test_no_galleries_of_other_tasks_or_every_nought_epochs(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every 0 epochs"):
        Galleries(0)
    mlp = {"class_path": "neural_graphs.nn.baselines.FlatMLP", "init_args": {"classes": 10}}
    content = {"model": {"metanetwork": mlp}, "data": {"zoo": str(zoo.path)}}
    content["trainer"] = {"max_epochs": 1, "callbacks": [{"class_path": "neural_graphs.tasks.Galleries"}]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError, match="Editing task"):
        fit(["--config", str(tmp_path / "config.yaml"), *BARE], tmp_path / "run")


def test_colour_is_edited_too(configure, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        ramp = np.linspace(0, 255, 36).reshape(6, 6, 1) * random.random(3)
        Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "pictures" / f"{number:02d}.png")
    colours = grow_inrs(tmp_path / "colours", tmp_path / "pictures", preset("fast"), hidden=(6,), shares=(10, 2, 3))
    assert colours.canvas.channels == 3
    found = fit([*configure(colours, tmp_path, "Contrast"), "--trainer.max_epochs=2"], tmp_path / "run")
    result = evaluate(found.folder)
    task, _ = load_task(found.folder)
    test = colours.split("test")
    wanted = task.targets(test).reshape(len(test), 6, 6, 3).numpy()
    assert result["unedited_mse"] == pytest.approx(((test.render(slice(None)) - wanted) ** 2).mean(), rel=1e-4)
    assert result["networks"] == len(test) and 0 < result["ssim"] <= 1
    picture = imread(found.folder / "gallery-colours.png")[..., :3]
    assert np.ptp(picture, axis=-1).max() > 0.2  # not grey
