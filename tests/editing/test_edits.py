"""Editing single networks: from a zoo or a file, into a file of the same form, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.tasks import Run, edit, fit, load_run, read_network, write_network
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.styles import Dilate
from neural_graphs.zoo.writer import ShardData, writing

State = dict[str, Tensor]


@pytest.fixture
def state(zoo: Zoo) -> State:
    """The tensors of one network."""
    return {name: tensor.clone() for name, tensor in zoo.networks([5]).state_dicts()[0].items()}


def shown(picture, row: int) -> np.ndarray:
    """The picture in a row of a gallery of one network."""
    return picture.axes[row].images[0].get_array()


def test_a_network_of_a_zoo_is_changed_as_the_run_says(run: Run, zoo: Zoo, tmp_path: Path) -> None:
    found = edit(run.folder, zoo.path, 5)
    editor, _ = load_run(run.folder)
    before = zoo.networks([5])
    with torch.no_grad():
        after = before + editor(before)
    assert torch.equal(found.before.values, before.values)
    torch.testing.assert_close(found.after.values, after.values)
    assert float((after.values - before.values).abs().max()) > 1e-3
    wanted = Dilate()(zoo.images([5]).astype(np.float32) / np.float32(255))[0, ..., 0]
    rows = [zoo.canvas.render(before)[0].clip(0, 1), wanted, zoo.canvas.render(after)[0].clip(0, 1)]
    assert len(found.picture.axes) == 4
    for row, expected in enumerate(rows):
        np.testing.assert_allclose(shown(found.picture, row), expected, atol=1e-6)
    found.write(tmp_path / "deeper" / "edited.safetensors")
    assert torch.equal(read_network(tmp_path / "deeper" / "edited.safetensors", run.layouts).values, found.after.values)
    assert torch.equal(edit(run.folder, zoo.path, -85).after.values, found.after.values)  # from the end, of ninety


def test_a_zoo_without_images_is_drawn_as_the_run_draws_and_has_no_target(run: Run, zoo: Zoo, tmp_path: Path) -> None:
    networks = zoo.networks([3, 5])
    with writing(tmp_path / "bare", {}, [networks.layout], 2) as writer:
        writer.write(ShardData(networks.values.numpy(), {"split": ["test"] * 2, "label": np.zeros(2, int)}))
    found, judged = edit(run.folder, tmp_path / "bare", 1), edit(run.folder, zoo.path, 5)
    assert torch.equal(found.after.values, judged.after.values)
    assert judged.target and len(judged.picture.axes) == 4
    assert not found.target and len(found.picture.axes) == 3
    np.testing.assert_array_equal(shown(found.picture, 1), shown(judged.picture, 2))


@pytest.mark.parametrize("end", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("names", ["layers.{}.{}", "net.{}.linear.{}"], ids=["ours", "theirs"])
def test_a_file_comes_back_in_its_own_form(
    run: Run, zoo: Zoo, state: State, tmp_path: Path, end: str, dtype: torch.dtype, names: str
) -> None:
    own = {names.format(*name.split(".")[1:]): tensor.to(dtype) for name, tensor in state.items()}
    (save_file if end == ".safetensors" else torch.save)(own, tmp_path / f"network{end}")
    found = edit(run.folder, tmp_path / f"network{end}")
    found.write(tmp_path / "edited.safetensors")
    written = load_file(tmp_path / "edited.safetensors")
    assert {name: tensor.shape for name, tensor in written.items()} == {name: t.shape for name, t in own.items()}
    assert {tensor.dtype for tensor in written.values()} == {dtype}
    again = read_network(tmp_path / "edited.safetensors", run.layouts)
    rounding = 1e-2 if dtype == torch.float16 else 1e-6
    np.testing.assert_allclose(zoo.canvas.render(again), zoo.canvas.render(found.after), atol=rounding)
    from_zoo = edit(run.folder, zoo.path, 5).after
    np.testing.assert_allclose(zoo.canvas.render(again), zoo.canvas.render(from_zoo), atol=10 * rounding)
    assert len(found.picture.axes) == 3  # before, after, difference: what was wanted nobody knows


def test_names_in_any_order_are_told_apart_by_name(run: Run, zoo: Zoo, state: State, tmp_path: Path) -> None:
    torch.save(dict(reversed(state.items())), tmp_path / "reversed.pt")
    found = edit(run.folder, tmp_path / "reversed.pt")
    assert torch.equal(found.before.values, zoo.networks([5]).values)
    found.write(tmp_path / "edited.safetensors")
    written = load_file(tmp_path / "edited.safetensors")
    assert all(torch.equal(written[name], found.after.tensor(name)[0]) for name in state)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_run_of_another_task_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    mlp = {"class_path": "neural_graphs.nn.baselines.FlatMLP", "init_args": {"classes": 10, "hidden": [4]}}
    content = {"model": {"metanetwork": mlp}, "data": {"zoo": str(zoo.path)}}
    content["trainer"] = {"max_epochs": 1, "enable_progress_bar": False, "accelerator": "cpu"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    classifier = fit(["--config", str(tmp_path / "config.yaml")], tmp_path / "classifier")
    with pytest.raises(ConfigError, match=r"classifier was trained for Classification; an edit needs .* Editing"):
        edit(classifier.folder, zoo.path, 0)
    with pytest.raises(ConfigError, match="nothing is not a run"):
        edit(tmp_path / "nothing", zoo.path, 0)


@pytest.mark.parametrize("index", [None, 90, -91])
def test_a_zoo_needs_an_index_that_it_has(run: Run, zoo: Zoo, index: int | None) -> None:
    with pytest.raises(ConfigError, match=r"digits holds 90 networks: choose one by an index from 0 to 89"):
        edit(run.folder, zoo.path, index)


def broken(state: State, path: Path) -> dict[str, str]:
    """Files that hold no network of the run, and what is said of each."""
    save_file(state, path / "cut.safetensors")
    (path / "cut.safetensors").write_bytes((path / "cut.safetensors").read_bytes()[:-40])
    torch.save(state, path / "cut.pt")
    (path / "cut.pt").write_bytes((path / "cut.pt").read_bytes()[:200])
    save_file(state | {"layers.1.bias": torch.tensor([math.nan])}, path / "nan.safetensors")
    torch.save({"a": torch.zeros(9, 2), "b": torch.zeros(9)}, path / "other.pt")
    torch.save([torch.zeros(3)], path / "list.pt")
    return {
        "cut.safetensors": "cannot be read",
        "cut.pt": "cannot be read",
        "nan.safetensors": "layers.1.bias holds NaN",
        "other.pt": r"expected a network 2 → 8 → 1 · sine; got tensors a \(9, 2\), b \(9,\)",
        "list.pt": "holds a list; expected a state dict",
        "gone.pt": "does not exist",
    }


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt", "nan.safetensors", "other.pt", "list.pt", "gone.pt"])
def test_a_file_without_a_network_is_named(run: Run, state: State, tmp_path: Path, name: str) -> None:
    said = broken(state, tmp_path)[name]
    with pytest.raises(CheckpointError, match=rf"{name}:? {said}"):
        edit(run.folder, tmp_path / name)


def test_a_file_has_no_index(run: Run, state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "network.safetensors")
    with pytest.raises(ConfigError, match=r"network.safetensors is no folder"):
        edit(run.folder, tmp_path / "network.safetensors", 3)


def test_pickles_are_not_written(run: Run, zoo: Zoo, tmp_path: Path) -> None:
    found = edit(run.folder, zoo.path, 0)
    with pytest.raises(CheckpointError, match=r"edited\.pt should end in \.safetensors"):
        found.write(tmp_path / "edited.pt")
    assert not list(tmp_path.iterdir())


def test_networks_with_tied_weights_are_written_whole(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    module[2].weight = module[0].weight
    networks = Networks.from_modules([module], example_input=torch.rand(2, 4))
    write_network(networks, tmp_path / "tied.safetensors")
    written = load_file(tmp_path / "tied.safetensors")
    assert written.keys() == module.state_dict().keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in module.state_dict().items())


def test_a_run_on_several_layouts_takes_the_one_that_fits(tmp_path: Path) -> None:
    layouts = [Layout.mlp((2, hidden, 1), "sine") for hidden in (3, 5)]
    network = Networks(torch.randn(1, layouts[1].size, generator=torch.Generator().manual_seed(0)), layouts[1])
    write_network(network, tmp_path / "network.safetensors")
    assert read_network(tmp_path / "network.safetensors", layouts).layout == layouts[1]
