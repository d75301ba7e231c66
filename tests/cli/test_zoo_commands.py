"""``neural-graphs zoo …``: what each command says, writes and refuses."""

import json
from pathlib import Path

import pytest
import torch

from neural_graphs.commands.cli import main
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks


def test_growing_again_changes_nothing(zoo: Path, small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in zoo.iterdir()}
    assert main(["zoo", "grow", "inr", *small, "--out", str(zoo)]) == 0
    assert {path.name: path.read_bytes() for path in zoo.iterdir()} == before
    assert "20 networks" in capsys.readouterr().out


def test_another_recipe_in_the_same_folder_is_refused(
    zoo: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "grow", "inr", *small[:-1], "4", "--out", str(zoo)]) == 2
    assert "seed is 3 there, 4 asked for" in capsys.readouterr().err


def test_an_unknown_preset_lists_the_known(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["zoo", "grow", "inr", "--images", "digits", "--preset", "fst", "--out", str(tmp_path / "z")]
    assert main(words) == 2
    assert "dws2023" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["zoo", "grow", "inr", "--images", "digits", "--device", "cuda:77", "--out", str(tmp_path / "z")]
    assert main(words) == 2
    assert "--device cuda:77 cannot be used" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["zoo", "grow", "inr", "--images", "digits", "--out", str(tmp_path / "file" / "zoo")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_info_says_what_is_there(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "info", str(zoo)]) == 0
    said = capsys.readouterr().out
    assert "20 networks" in said and "2 → 4 → 1 · sine" in said and "preset: fast" in said and "PSNR" in said


def test_info_in_json(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "info", str(zoo), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["networks"] == 20 and sum(facts["splits"].values()) == 20


def test_check_finds_a_changed_byte(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "check", str(zoo)]) == 0
    shard = next(zoo.glob("*.safetensors"))
    content = shard.read_bytes()
    try:
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert main(["zoo", "check", str(zoo)]) == 2
        assert shard.name in capsys.readouterr().err
    finally:
        shard.write_bytes(content)


def test_show_draws_a_sheet(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["zoo", "show", str(zoo), "--out", str(sheet), "--count", "5", "--where", "psnr > 0"]) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "5 of 20 networks" in capsys.readouterr().out


def test_show_of_nothing_says_so(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "show", str(zoo), "--where", "label == 77"]) == 2
    assert "label == 77" in capsys.readouterr().err


def test_import_converts_and_says_what_it_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout.mlp((2, 32, 32, 1), activation="sine", names="seq.{}", scale=30.0, offset=0.5)
    values = torch.randn(12, layout.size, generator=torch.Generator().manual_seed(0)) / 30
    for number, state in enumerate(Networks(values, layout).state_dicts()):
        split = "training" if number < 8 else "testing"
        file = tmp_path / "published" / f"mnist_png_{split}_{number % 3}_{number}" / "checkpoints" / "model_final.pth"
        file.parent.mkdir(parents=True)
        torch.save({name: tensor.clone() for name, tensor in state.items()}, file)
    file.write_bytes(b"not a checkpoint")
    out = tmp_path / "zoo"
    assert main(["zoo", "import", "navon", str(tmp_path / "published"), str(out)]) == 0
    assert "files skipped: 1;" in capsys.readouterr().out
    assert main(["zoo", "info", str(out)]) == 0
    said = capsys.readouterr().out
    assert "11 networks," in said and "skipped    mnist_png_testing_2_11" in said
    assert main(["zoo", "show", str(out), "--count", "3"]) == 0
    assert (tmp_path / "zoo-sheet.png").is_file()
