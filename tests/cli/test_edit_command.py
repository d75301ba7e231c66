"""``neural-graphs edit``, and what ``fit`` and ``test`` say of an editing run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neural_graphs.commands.cli import main
from neural_graphs.zoo import Zoo

EDITING = """
task: neural_graphs.tasks.Editing
model:
  warmup: 0
  style: {class_path: neural_graphs.zoo.styles.Dilate}
  metanetwork:
    class_path: neural_graphs.nn.NGGNNEditor
    init_args: {width: 4, depth: 2, sigma: null}
trainer: {max_epochs: 1, accelerator: cpu}
elsewhere: [nowhere]
"""
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def style(configure: Callable[[str], Path]) -> Path:
    """A configuration."""
    return configure(EDITING)


@pytest.fixture(scope="module")
def editor(train: Callable[..., Path], style: Path) -> Path:
    """A run of it."""
    return train(style, "--model.style.size", "5")


def test_an_edited_network_and_its_picture(editor: Path, zoo: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "deeper" / "edited.safetensors"
    assert main(["edit", "--run", str(editor), str(zoo), "--index", "5", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out}: the edited network, 2 → 4 → 1 · sine" in said
    assert f"{out.with_suffix('.png')}: what it draws before and after, and what was wanted" in said
    before, after = Zoo(zoo).networks([5]).state_dicts()[0], load_file(out)
    assert after.keys() == before.keys()
    assert all(not torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_file_is_edited_and_the_picture_goes_where_it_is_told(
    editor: Path, zoo: Path, tmp_path: Path, capsys: Capture
) -> None:
    torch.save(
        {name: tensor.clone() for name, tensor in Zoo(zoo).networks([5]).state_dicts()[0].items()}, tmp_path / "n.pt"
    )
    words = ["edit", "--run", str(editor), str(tmp_path / "n.pt"), "--out", str(tmp_path / "file.safetensors")]
    assert main([*words, "--picture", str(tmp_path / "seen" / "picture.png")]) == 0
    assert "what it draws before and after; no target" in capsys.readouterr().out
    assert (tmp_path / "seen" / "picture.png").is_file() and not (tmp_path / "file.png").exists()
    assert (
        main(["edit", "--run", str(editor), str(zoo), "--index", "5", "--out", str(tmp_path / "zoo.safetensors")]) == 0
    )
    ours, theirs = load_file(tmp_path / "file.safetensors"), load_file(tmp_path / "zoo.safetensors")
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name])


def test_wrong_inputs_are_one_line_and_write_nothing(
    editor: Path, run: Path, zoo: Path, tmp_path: Path, capsys: Capture
) -> None:
    save_file({"a": torch.zeros(7, 2), "b": torch.zeros(7)}, tmp_path / "other.safetensors")
    inputs = sorted(tmp_path.iterdir())
    out = ["--out", str(tmp_path / "out.safetensors")]
    for words, said in (
        ([str(editor), str(zoo), *out], f"{zoo} holds 20 networks: choose one by an index from 0 to 19"),
        ([str(editor), str(zoo), "--index", "20", *out], f"{zoo} holds 20 networks"),
        ([str(run), str(zoo), "--index", "0", *out], f"{run} was trained for Classification"),
        ([str(editor), str(tmp_path / "other.safetensors"), *out], "other.safetensors: expected a network 2 → 4 → 1"),
        ([str(editor), str(tmp_path / "gone.pt"), *out], "gone.pt does not exist"),
        ([str(tmp_path), str(zoo), "--index", "0", *out], f"{tmp_path} is not a run"),
    ):
        assert main(["edit", "--run", *words]) == 2
        error = capsys.readouterr().err
        assert said in error and error.startswith("neural-graphs: error: ") and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == inputs


def test_testing_with_views(editor: Path, capsys: Capture) -> None:
    assert main(["test", "--run", str(editor), "--views", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["views"] == 2 and result["networks"] == 4
    assert json.loads((editor / "result-views2.json").read_text(encoding="utf-8")) == result
    assert main(["test", "--run", str(editor), "--views", "2"]) == 0
    said = capsys.readouterr().out
    assert f"MSE {100 * result['mse']:.3f} · 10⁻²" in said and "of the gap closed" in said and "SSIM" in said
    assert main(["validate", "--run", str(editor)]) == 0
    assert "networks of the val split of" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["test", "--run", str(editor), "--views", "0"])
    assert "expected at least 1, got 0" in capsys.readouterr().err


def test_a_report_shows_the_edits(editor: Path, capsys: Capture) -> None:
    assert main(["test", "--run", str(editor)]) == 0
    assert "nowhere is not there: not measured" in capsys.readouterr().out
    assert main(["test", "--run", str(editor), "--views", "2"]) == 0
    assert main(["report", "--run", str(editor)]) == 0
    page = (editor / "report.html").read_text(encoding="utf-8")
    assert "Before and after the edit" in page and "nowhere was not there: not measured" in page
    assert "NGGNNEditor" in page and "digits, mean of 2 views" in page


# -- the task of a configuration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "neural_graphs.tasks.Edit"], "neural_graphs.tasks.Edit is no task; try"),
        (["--task", "nowhere.Editing"], "nowhere.Editing is no task"),
        (["--task=Editing"], "Editing is no task"),
        (["--model.stile.size", "3"], "unknown key model.stile.size; did you mean style?"),
        (["--model.style.class_path", "neural_graphs.zoo.styles.Dilatte"], "did you mean Dilate?"),
        (["--model.style.size", "4"], "size is 4, expected an odd number"),
        (["--model.style.sise", "3"], "did you mean size?"),
        (["--task", "neural_graphs.tasks.Classification"], "unknown key model.style"),
    ],
)
def test_a_wrong_task_or_style_is_refused(
    style: Path, tmp_path: Path, capsys: Capture, words: list[str], said: str
) -> None:
    assert main(["fit", "--config", str(style), "--run", str(tmp_path / "r"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "r" / "checkpoints").exists()


def test_an_editing_run_resumes_without_being_told_its_task(style: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(style), "--run", str(folder)]) == 0
    words = ["fit", "--run", str(folder), "--resume", "--trainer.max_epochs", "2"]
    assert main([*words, "--model.stile", "x"]) == 2
    assert "did you mean style?" in capsys.readouterr().err
    assert main(words) == 0
    assert len((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 3
