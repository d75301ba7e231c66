"""Checkpoints of every format: what is read, and what is refused, by the name of the file or the tensor."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError
from neural_graphs.io import read_checkpoint, read_tensors

X = torch.zeros(1, 3)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    return module


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return net().state_dict()


# -- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["safetensors", "pt", "pth"])
def test_state_dicts(end: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    (save_file if end == "safetensors" else torch.save)(state, tmp_path / f"net.{end}")
    found = read_checkpoint(tmp_path / f"net.{end}", net, X)
    assert not found.module.training and found.inputs is X
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.module.state_dict().items())


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_one_wrapping_is_taken_off(key: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({key: state, "epoch": 3}, tmp_path / "net.pt")
    assert read_tensors(tmp_path / "net.pt").keys() == state.keys()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_prefixes_of_wrapped_modules_are_taken_off(prefix: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "net.safetensors")
    found = read_checkpoint(tmp_path / "net.safetensors", net(), X)
    assert torch.equal(found.module.get_parameter("2.weight"), state["2.weight"])


def test_tied_tensors_may_be_stored_once_and_counters_not_at_all(state: dict[str, Tensor], tmp_path: Path) -> None:
    own = {name: tensor for name, tensor in tied().state_dict().items() if name != "1.weight"}
    save_file(own, tmp_path / "tied.safetensors")
    module = read_checkpoint(tmp_path / "tied.safetensors", tied, X).module
    assert torch.equal(module.get_parameter("1.weight"), own["0.weight"])
    save_file({n: t for n, t in state.items() if n != "1.num_batches_tracked"}, tmp_path / "old.safetensors")
    assert read_checkpoint(tmp_path / "old.safetensors", net, X)


def test_shards_are_joined(state: dict[str, Tensor], tmp_path: Path) -> None:
    names = list(state)
    files = {"a.safetensors": names[:3], "b.safetensors": names[3:]}
    for file, part in files.items():
        save_file({name: state[name] for name in part}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, part in files.items() for name in part}}))
    assert read_checkpoint(index, net, X)
    index.write_text(json.dumps({"weight_map": {"elsewhere": "a.safetensors"}}))
    with pytest.raises(CheckpointError, match="hold no elsewhere"):
        read_tensors(index)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="no index of shards"):
        read_tensors(index)


def test_a_factory_is_imported_from_the_working_directory(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_nets.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))\n"
        "def fail(): raise ValueError('no luck')\ndef word(): return 'net'\nnumber = 3\n"
    )
    (tmp_path / "broken_nets.py").write_text("import nothing_of_that_name\n")
    save_file(state, tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    assert read_checkpoint("net.safetensors", "our_nets:make", X).module(X).shape == (1, 2)
    for name, said in {
        "our_nets": "expected package.module:function",
        "our_nets:mke": "our_nets has no mke; it has fail, make, word",
        "our_nets:fail": r"our_nets:fail\(\) failed: ValueError: no luck",
        "our_nets:word": r"our_nets:word\(\) returned a str",
        "our_nets:number": "is a int; expected a function",
        "broken_nets:make": "broken_nets cannot be imported: ModuleNotFoundError",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            read_checkpoint("net.safetensors", name, X)


# -- what is refused --------------------------------------------------------------------------------------------------


class Stranger:
    """Of a class that a checkpoint must not bring along."""


def spoiled(**changes: Any) -> Callable[[dict[str, Tensor], Path], None]:
    def write(state: dict[str, Tensor], path: Path) -> None:
        changed = {**state, **{name.replace("_", "."): tensor for name, tensor in changes.items()}}
        torch.save({name: tensor for name, tensor in changed.items() if tensor is not None}, path)

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (spoiled(**{"0_weight": torch.zeros(4, 5)}), r"0.weight has shape \(4, 5\), expected \(4, 3\) for Sequential"),
        (spoiled(**{"2_bias": torch.tensor([1.0, torch.nan])}), "2.bias holds NaN"),
        (spoiled(**{"2_bias": None}), "does not fit Sequential: missing 2.bias, unexpected nothing"),
        (spoiled(more=torch.zeros(1)), "missing nothing, unexpected more"),
        (lambda state, path: torch.save(Stranger(), path), "cannot be read as a PyTorch file"),
        (lambda state, path: torch.save([torch.zeros(1)], path), "holds a list; expected a state dict"),
        (lambda state, path: torch.save({**state, "epoch": 3}, path), "holds a dict with other entries than tensors"),
        (lambda state, path: path.write_bytes(b"PK nothing"), "cannot be read as a PyTorch file"),
        (lambda state, path: path.write_bytes(b""), "is empty, 0 bytes"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    write: Callable[[dict[str, Tensor], Path], None], said: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    write(state, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=said) as error:
        read_checkpoint(tmp_path / "net.pt", net, X)
    assert str(tmp_path / "net.pt") in str(error.value)


def test_a_truncated_file_is_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").write_bytes((tmp_path / "net.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"net.safetensors cannot be read as a safetensors file"):
        read_checkpoint(tmp_path / "net.safetensors", net, X)
    for content in (b"", b"no protobuf at all"):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"net.onnx (cannot be read as|holds no network)"):
            read_checkpoint(tmp_path / "net.onnx")


def test_what_is_missing_is_asked_for(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "net.safetensors")
    (tmp_path / "net.npz").write_bytes(b"")
    for path, more, said in (
        ("gone.onnx", (), "gone.onnx does not exist"),
        (
            "net.npz",
            (),
            r"net.npz is of no known format: .onnx file; .pt2 file .torch.export.save.; Hugging Face folder",
        ),
        ("net.safetensors", (), "holds tensors and no network: give its module too"),
        ("net.safetensors", (net,), "does not say what Sequential reads: give an example input"),
    ):
        with pytest.raises(CheckpointError, match=said):
            read_checkpoint(tmp_path / path, *more)


# -- Hugging Face folders ---------------------------------------------------------------------------------------------

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def bert() -> transformers.PreTrainedModel:
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=6, **SMALL)
    return transformers.BertForSequenceClassification(config).eval()


@pytest.mark.parametrize("shards", ["1GB", "1KB"])
def test_a_folder_of_transformers(shards: str, tmp_path: Path) -> None:
    model = bert()
    model.save_pretrained(tmp_path, max_shard_size=shards)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shards == "1KB")
    found = read_checkpoint(tmp_path)
    assert {name: tuple(tensor.shape) for name, tensor in found.inputs.items()} == {"input_ids": (1, 6)}  # type: ignore
    answers = (each(**found.inputs).logits for each in (found.module, model))  # type: ignore[arg-type]
    torch.testing.assert_close(*answers)


def test_images_have_the_size_of_the_config(tmp_path: Path) -> None:
    config = transformers.ViTConfig(image_size=(8, 12), patch_size=4, num_channels=1, **SMALL)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    assert read_checkpoint(tmp_path).inputs["pixel_values"].shape == (1, 1, 8, 12)  # type: ignore[index, call-overload]


def test_folders_that_are_refused(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def refused(said: str, **changes: Any) -> None:
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(CheckpointError, match=said) as error:
            read_checkpoint(tmp_path)
        assert str(tmp_path) in str(error.value)

    refused("names no architectures", architectures=None)
    refused("names Evil, which transformers .* does not have", architectures=["Evil"], auto_map={"AutoModel": "e.Evil"})
    refused("names logging, which transformers", architectures=["logging"])
    refused(r"intermediate\.dense\.bias has shape \(8,\), expected \(4,\)", intermediate_size=4)
    refused("lacks the tensors", num_hidden_layers=2)
    with pytest.raises(CheckpointError, match="brings the class along"):
        read_checkpoint(tmp_path, net)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    refused("cannot be read as a BertForSequenceClassification")
    (tmp_path / "model.safetensors").unlink()
    refused(r"holds no model\.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "config.json")) + " cannot be read as JSON"):
        read_checkpoint(tmp_path)
