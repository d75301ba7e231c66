"""Our models give the outputs of the paper's released ones, with their parameters."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from neural_graphs.errors import CheckpointError
from neural_graphs.nn.released import load_released

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/config.json"))


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    """The benchmark script as a module."""
    path = HERE.parents[1] / "benchmarks" / "parity.py"
    spec = importlib.util.spec_from_file_location("parity", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_same_outputs(folder: Path, parity: ModuleType) -> None:
    ours, stored = parity.case_outputs(folder)
    for name, tensor in stored.items():
        assert parity.relative_error(ours[name], tensor) <= 1e-10, name


def test_the_script_fails_on_other_parameters(
    parity: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damaged(path: Path) -> dict[str, torch.Tensor]:
        tensors = load_file(path)
        return {k: v * (1 + 1e-6) for k, v in tensors.items()} if path.name == "outputs.safetensors" else tensors

    monkeypatch.setattr(sys, "argv", ["parity.py", str(CASES[0])])
    assert parity.main() == 0
    monkeypatch.setattr(parity, "load_file", damaged)
    assert parity.main() == 1
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_parameters_of_another_model_are_refused_by_name(change: str) -> None:
    folder = HERE / "editing_gnn_reverse"
    config, state = json.loads((folder / "config.json").read_text()), load_file(folder / "state.safetensors")
    name = "gnn.edge_update.1.lin1.weight"
    if change == "missing":
        del state[name]
    elif change == "surplus":
        state["surplus.weight"] = torch.zeros(1)
    else:
        state[name] = state[name][:3]
    with pytest.raises(CheckpointError, match="surplus.weight" if change == "surplus" else name):
        load_released(config, state)
