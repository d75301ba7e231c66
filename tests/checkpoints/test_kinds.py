"""What people have: checkpoints of all suffixes, wrapped and prefixed by training scripts, are read as state dicts."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError
from neural_graphs.io import bare, read_checkpoint, read_tensors
from neural_graphs.io.network_files import names_in, read_network
from neural_graphs.io.tensors import KINDS, PICKLED, PREFIXES, WRAPPINGS, without_kind
from neural_graphs.layout import Layout
from neural_graphs.zoo import Zoo, convert_state_dicts, info

X = torch.randn(2, 3)
LAYOUT = Layout.mlp((3, 4, 2))


class Wrapped(nn.Module):
    """A module whose own names have a prefix of those that are taken off."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize("suffix", PICKLED)
@pytest.mark.parametrize("wrapping", ["", *WRAPPINGS])
@pytest.mark.parametrize("prefix", ["", *PREFIXES, "_orig_mod.module.", "model.net."])
def test_every_suffix_wrapping_and_prefix_is_read(tmp_path: Path, suffix: str, wrapping: str, prefix: str) -> None:
    module, file = net(), tmp_path / f"net{suffix}"
    state = prefixed(module.state_dict(), prefix)
    torch.save({wrapping: state, "epoch": 3, "lr": 0.1} if wrapping else state, file)
    found, _ = read_checkpoint(file, net, X)
    assert torch.equal(found(X), module(X))
    assert list(read_tensors(file)) == list(state)  # as they are in the file, for writing them back
    assert torch.equal(read_network(file, [LAYOUT]).run(X)[0], module(X))


def test_what_lightning_and_a_loop_within_a_loop_wrap(tmp_path: Path) -> None:
    module = net()
    content = {"model": {"state_dict": prefixed(module.state_dict(), "model."), "name": "mlp"}, "optimizer": {}}
    torch.save(content, tmp_path / "last.ckpt")
    assert torch.equal(read_checkpoint(tmp_path / "last.ckpt", net, X).module(X), module(X))


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_prefixes_that_are_the_modules_own_stay(tmp_path: Path, prefix: str) -> None:
    module = Wrapped().eval()
    torch.save(prefixed(module.state_dict(), prefix), tmp_path / "net.pt")
    assert torch.equal(read_checkpoint(tmp_path / "net.pt", Wrapped, X).module(X), module(X))


def test_a_prefix_of_some_names_only_is_no_prefix() -> None:
    state = {"net.weight": X, "head.weight": X}
    assert list(bare(state)) == list(state) and list(bare({})) == []
    named = {f"module.{name}": torch.zeros(shape) for name, shape in LAYOUT.shapes.items()}
    assert names_in(named, LAYOUT) == {name: f"module.{name}" for name in LAYOUT.shapes}


@pytest.mark.parametrize("suffix", KINDS)
def test_suffixes_are_taken_off_whole(suffix: str) -> None:
    assert without_kind(f"runs/v1.2/net{suffix}") == "runs/v1.2/net"


@pytest.mark.parametrize("content", [net(), {"state_dict": {"w": X}, "args": argparse.Namespace(lr=1)}])
def test_what_would_run_code_is_refused_without_bad_advice(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(
        CheckpointError, match=r"net.pt cannot be read .*it holds [\w.]+, an object made by code"
    ) as said:
        read_tensors(tmp_path / "net.pt")
    assert "weights_only" not in str(said.value) and "\n" not in str(said.value)


def test_a_zoo_is_made_of_all_of_them(tmp_path: Path) -> None:
    rows = ["file,test_accuracy,split"]
    splits = ("train", "val", "test")
    for number, suffix in enumerate((*PICKLED, ".npz")):
        torch.save({"state_dict": prefixed(net(number).state_dict(), "module.")}, tmp_path / f"net{number}{suffix}")
        rows.append(f"net{number}{suffix if number % 2 else ''},0.{number + 1},{splits[number % 3]}")
    (tmp_path / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    zoo = convert_state_dicts(str(tmp_path / "net*"), tmp_path / "table.csv", tmp_path / "zoo")
    assert len(zoo) == len(PICKLED) and len(Zoo(tmp_path / "zoo").layouts) == 1
    assert torch.equal(zoo.networks([2]).run(X)[0], net(2)(X))
    ((name, reason),) = info(zoo)["skipped"]
    assert name.endswith(".npz") and reason.startswith("it is of none of the kinds that are read: .safetensors, .pt")
