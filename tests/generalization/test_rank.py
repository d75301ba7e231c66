"""``neural-graphs rank``: best first, intervals, what is unlike the zoo, and files that are left out with a reason."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from neural_graphs.commands.cli import main
from neural_graphs.errors import CheckpointError, ConfigError, ZooError
from neural_graphs.io.network_files import read_unambiguous, with_activation, written_layout
from neural_graphs.layout import Layout
from neural_graphs.tasks import Run, fit, load_task, rank, read_network, write_network
from neural_graphs.zoo import Zoo
from tests.generalization.conftest import NGGNN
from tests.generalization.random_zoos import PARK, SMALL


@pytest.fixture(scope="module")
def files(run, small, tmp_path_factory) -> Path:
    """Eight networks of the test split, and one forty times as large."""
    folder, zoo = tmp_path_factory.mktemp("files"), Zoo(small).split("test")
    for place in range(8):
        write_network(zoo[place].network, folder / "deep" / f"{place}.safetensors")
    write_network(zoo[0].network * 40.0, folder / "large.safetensors")
    return folder


@pytest.fixture
def copy(run, tmp_path) -> Run:
    """The run in a folder of its own, not calibrated."""
    shutil.copytree(run.folder, tmp_path / "copy")
    (tmp_path / "copy" / "calibration.safetensors").unlink(missing_ok=True)
    return Run(tmp_path / "copy")


def test_networks_come_best_first_with_the_predictions_of_the_task(run, small, files) -> None:
    found = rank(run.folder, sorted(files.rglob("*.safetensors")))
    assert len(found.rows) == 9 and not found.skipped
    accuracies = [row.accuracy for row in found.rows]
    assert accuracies == sorted(accuracies, reverse=True)
    task, _ = load_task(run.folder)
    predicted = task.predict(Zoo(small).split("test"))
    by_name = {Path(row.file).stem: row for row in found.rows}
    for place in range(8):
        row = by_name[str(place)]
        assert row.accuracy == pytest.approx(predicted[place], abs=1e-6)
        assert 0 <= row.low <= row.accuracy <= row.high <= 1
    assert by_name["large"].unlike and by_name["large"].embedding > 2 and by_name["large"].weights > 2
    assert sum(row.unlike for row in found.rows) <= 2


def test_the_command_prints_tables_json_and_csv(run, files, capsys) -> None:
    pattern = str(files / "**" / "*.safetensors")
    assert main(["rank", "--run", str(run.folder), pattern]) == 0
    printed = capsys.readouterr().out
    assert printed.count(".safetensors") == 9 and "unlike anything seen" in printed and "90 % interval" in printed
    assert main(["rank", "--run", str(run.folder), pattern, "--json"]) == 0
    ranked = json.loads(capsys.readouterr().out)["ranked"]
    assert list(ranked[0]) == ["file", "accuracy", "low", "high", "embedding", "weights", "unlike", "measured"]
    assert main(["rank", "--run", str(run.folder), str(files / "deep" / "*"), "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9


def test_measured_accuracies_stand_beside_predicted_ones(run, small, files, tmp_path, capsys) -> None:
    true = Zoo(small).split("test").column("test_accuracy")
    table = tmp_path / "measured.csv"
    lines = [f"deep/{place}.safetensors,{true[place]}" for place in range(7)]
    table.write_text("\n".join(["file,measured", *lines]))
    found = rank(run.folder, sorted(files.rglob("*.safetensors")), table, "measured")
    assert {Path(row.file).stem for row in found.rows if row.measured is None} == {"7", "large"}
    inside = [row.low <= row.measured <= row.high for row in found.rows if row.measured is not None]
    assert found.agreement() == {"networks": 7, "tau": pytest.approx(1, abs=0.7), "inside": sum(inside) / 7}
    words = ["rank", "--run", str(run.folder), str(files / "**" / "*"), "--table", str(table), "--column"]
    assert main([*words, "measured"]) == 0
    printed = capsys.readouterr().out
    assert f"{true[0]:.1%}" in printed and "7 of them measured: Kendall's τ" in printed
    assert main([*words, "accuracy"]) == 2
    assert "has no column 'accuracy'; it has file, measured" in capsys.readouterr().err
    table.write_text("\n".join(["file,measured", "large.safetensors,97.5"]))
    with pytest.raises(ZooError, match=r"shares in \[0, 1\], that of .*large.safetensors is 97.5"):
        rank(run.folder, [files / "large.safetensors"], table, "measured")


def test_an_activation_tells_apart_what_shapes_do_not(run, small, tmp_path) -> None:
    (state,) = Zoo(small)[0].network.state_dicts()
    torch.save(dict(state), tmp_path / "mute.pt")
    assert (
        rank(run.folder, [tmp_path / "mute.pt"], activation="relu").rows
        == rank(run.folder, [tmp_path / "mute.pt"]).rows
    )
    with pytest.raises(ConfigError, match="no layout has only tanh in it; there are some with only relu"):
        rank(run.folder, [tmp_path / "mute.pt"], activation="tanh")
    gelu = Layout.cnn((1, 4, 6), kernels=(3, 5), classes=3, activations="gelu")
    assert with_activation([*PARK, gelu], "gelu") == [PARK[1], gelu]


def test_every_file_is_counted(run, files) -> None:
    told: list[tuple[int, int]] = []
    rank(run.folder, sorted((files / "deep").glob("*")), progress=lambda done, planned: told.append((done, planned)))
    assert told == [(done, 8) for done in range(1, 9)]


def test_files_that_cannot_be_judged_are_named_and_the_others_ranked(run, files, tmp_path, capsys) -> None:
    (tmp_path / "text.safetensors").write_text("not tensors")
    save_file(
        {name: torch.full(shape, torch.nan) for name, shape in SMALL.shapes.items()}, tmp_path / "nan.safetensors"
    )
    save_file({"w": torch.zeros(2, 3)}, tmp_path / "other.safetensors")
    good = files / "large.safetensors"
    assert main(["rank", "--run", str(run.folder), str(good), str(tmp_path / "*.safetensors")]) == 1
    told = capsys.readouterr()
    assert str(good) in told.out and "text" not in told.out
    for name, reason in (("text", "cannot be read"), ("nan", "holds NaN"), ("other", "expected a network")):
        assert any(name in line and reason in line for line in told.err.splitlines())


def test_a_calibration_is_kept_for_its_checkpoint_and_made_again_for_another(copy, small, files, tmp_path) -> None:
    file, networks = copy.folder / "calibration.safetensors", [files / "large.safetensors"]
    first = rank(copy.folder, networks)
    config = copy.config
    config["data"]["zoo"] = str(tmp_path / "moved")
    copy.config_file.write_text(yaml.safe_dump(config))
    assert rank(copy.folder, networks) == first  # without its zoo
    kept = file.read_bytes()
    file.write_bytes(kept.replace(b"format 2", b"format 1"))
    with pytest.raises(ConfigError, match="not calibrated yet"):
        rank(copy.folder, networks)
    file.write_bytes(kept)
    shutil.copy(copy.last, copy.best)
    copy.best.write_bytes(copy.best.read_bytes() + b" ")
    with pytest.raises(ConfigError, match=r"not calibrated yet, and its zoo .*moved is not there"):
        rank(copy.folder, networks)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(CheckpointError, match=r"calibration.safetensors is damaged .* delete it"):
        rank(copy.folder, networks)


def test_layouts_travel_in_files_since_shapes_do_not_tell_activations(tmp_path) -> None:
    twins = [PARK[0], Layout.cnn((1, 4, 6), kernels=(3, 5), classes=3, activations="gelu")]
    from neural_graphs.networks import Networks

    network = Networks(torch.randn(1, twins[1].size), twins[1])
    write_network(network, tmp_path / "told.safetensors")
    assert written_layout(tmp_path / "told.safetensors") == twins[1]
    assert read_unambiguous(tmp_path / "told.safetensors", twins).layout == twins[1]
    assert read_network(tmp_path / "told.safetensors", twins[1:]).layout == twins[1]
    (state,) = network.state_dicts()
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "mute.safetensors")
    assert read_unambiguous(tmp_path / "mute.safetensors", twins[:1]).layout == twins[0]
    with pytest.raises(CheckpointError, match=r"mute.safetensors: its tensors fit 2 layouts, such as .*write_network"):
        read_unambiguous(tmp_path / "mute.safetensors", twins)
    save_file({"w": torch.zeros(1)}, tmp_path / "bad.safetensors", {"layout": '{"kind_of": "Trap"}'})
    with pytest.raises(CheckpointError, match="the layout written into it cannot be read"):
        written_layout(tmp_path / "bad.safetensors")


def test_networks_larger_than_the_family_are_left_out(park, configure, tmp_path) -> None:
    run = fit(configure(park, NGGNN, 1), tmp_path / "run")
    deep = Layout.cnn((1, 4, 4, 4, 4), kernels=(3, 3, 3, 3), classes=3)
    from neural_graphs.networks import Networks

    for name, layout in (("deep", deep), ("new", replace(PARK[0]))):
        write_network(Networks(torch.randn(1, layout.size), layout), tmp_path / f"{name}.safetensors")
    found = rank(run.folder, [tmp_path / "deep.safetensors", tmp_path / "new.safetensors"])
    assert [Path(row.file).stem for row in found.rows] == ["new"]
    ((file, reason),) = found.skipped
    assert "deep" in file and "hidden groups" in reason


def test_patterns_that_match_nothing_and_other_tasks_are_refused(run, tmp_path, capsys) -> None:
    assert main(["rank", "--run", str(run.folder), str(tmp_path / "*.pt")]) == 2
    assert "matches no file" in capsys.readouterr().err
    assert main(["rank", "--run", str(tmp_path), str(run.config_file)]) == 2
    assert "is not a run" in capsys.readouterr().err
