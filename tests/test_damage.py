"""Damaged files: every mutation is either seen and named, or changes nothing; a crash is neither."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import neural_graphs as ng
from neural_graphs.commands.cli import main
from neural_graphs.errors import CheckpointError, NeuralGraphsError
from neural_graphs.io import read_checkpoint
from neural_graphs.io.network_files import read_unambiguous
from neural_graphs.tasks import fit, load_task
from neural_graphs.zoo import check_zoo, grow_inrs, info, preset
from tests.former.modules import Residual, inputs

FORMER = Path(__file__).parent / "former"
EACH = 24  # mutations per file
Mutation = Callable[[bytes, random.Random], bytes]


def bit(data: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def hole(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data))
    return data[:start] + data[start + dice.randint(1, 40) :]


def zeros(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data))
    return data[:start] + bytes(min(16, len(data) - start)) + data[start + 16 :]


def digit(data: bytes, dice: random.Random) -> bytes:
    """Another digit, so that JSON and YAML stay what they are."""
    places = [place for place, each in enumerate(data) if chr(each).isdigit()]
    place = dice.choice(places or [0])
    return data[:place] + str((data[place] - 47) % 10).encode() + data[place + 1 :]


def letter(data: bytes, dice: random.Random) -> bytes:
    """Another letter: a misspelt key or word."""
    places = [place for place, each in enumerate(data) if chr(each).isalpha() and each < 128]
    place = dice.choice(places or [0])
    return data[:place] + b"q" + data[place + 1 :]


def line(data: bytes, dice: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[dice.randrange(len(lines))]
    return b"".join(lines)


MUTATIONS: list[Mutation] = [bit, cut, hole, zeros, digit, letter, line]


def tried(file: Path, use: Callable[[], Any], each: int = EACH) -> list[str]:
    """What `use` says of mutations of a file, one after another; nothing of those it does not see. It may not crash."""
    whole, said = file.read_bytes(), []
    dice = random.Random(file.name)
    for number in range(each):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        file.write_bytes(mutation(whole, dice))
        try:
            use()
            said.append(f"unseen: {mutation.__name__}" if _content(file.read_bytes()) != _content(whole) else "")
        except (NeuralGraphsError, OSError) as error:
            assert "weights_only" not in str(error)
            said.append(str(error))
        except Exception as error:
            raise AssertionError(f"{file.name}, mutation {number} ({mutation.__name__}): {error!r}") from error
    file.write_bytes(whole)
    return said


def _content(data: bytes) -> Any:
    """The values of a JSON file; bytes of others."""
    try:
        return json.loads(data)
    except ValueError:
        return data


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "zoo"
    grow_inrs(folder, "digits", replace(preset("fast"), steps=2), count=12, hidden=(4,), shares=(4, 1, 1), workers=1)
    return folder


@pytest.mark.parametrize("name", ["manifest.json", "layouts.json", "shard-00000.safetensors", "shard-00000.parquet"])
def test_every_damage_to_a_zoo_is_seen_and_its_file_named(zoo: Path, name: str) -> None:
    said = tried(zoo / name, lambda: check_zoo(zoo))
    assert all(name in each or not each for each in said), [each for each in said if each and name not in each]
    check_zoo(zoo)


@pytest.mark.parametrize("name", ["digits", "park", "own"])
def test_damage_to_a_former_zoo_ends_in_an_error_or_in_nothing(tmp_path: Path, name: str) -> None:
    shutil.copytree(FORMER / "zoos" / name, tmp_path / name)
    for file in ("manifest.json", "layouts.json", "shard-00000.safetensors", "shard-00000.parquet"):
        tried(tmp_path / name / file, lambda: (check_zoo(tmp_path / name), info(ng.Zoo(tmp_path / name))))


def test_a_misspelt_key_is_named_with_what_is_known(tmp_path: Path) -> None:
    shutil.copytree(FORMER / "zoos/digits", tmp_path / "zoo")
    file = tmp_path / "zoo/manifest.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"height"', '"heigth"'), encoding="utf-8")
    with pytest.raises(NeuralGraphsError, match=r"manifest.json is damaged \(Canvas has no 'heigth'.*'height'\?"):
        ng.Zoo(tmp_path / "zoo")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run and its zoo, in a folder of their own, which is the working directory."""
    shutil.copytree(FORMER / "runs/classification", tmp_path / "runs/classification")
    shutil.copytree(FORMER / "zoos/digits", tmp_path / "zoos/digits")
    monkeypatch.chdir(tmp_path)
    return Path("runs/classification")


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "checkpoints/best.ckpt"])
def test_damage_to_a_run_ends_in_an_error(run: Path, name: str) -> None:
    said = tried(run / name, lambda: load_task(run))
    if name.endswith("ckpt"):  # what does not matter in a zip file: dates, padding
        assert sum(each.startswith("unseen") for each in said) < EACH // 4


def test_a_flipped_bit_in_weights_is_seen(run: Path) -> None:
    file = run / "checkpoints/best.ckpt"
    state = torch.load(file, weights_only=True)["state_dict"]
    data = file.read_bytes()
    tensors = [tensor.contiguous().numpy().tobytes() for tensor in state.values() if tensor.numel() > 16]
    for number, tensor in enumerate(tensors):
        place = data.index(tensor) + number % len(tensor)
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CheckpointError, match=r"best.ckpt is damaged: its part .* checksum"):
            ng.load_run(run)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": torch.nn.Linear(2, 2).state_dict()}, "holds no state_dict"),
        ({"state_dict": {}}, "lacks epoch, global_step"),
        (b"no checkpoint at all", "cannot be read as a PyTorch file"),
        ("another", "is of another network: metanetwork"),
    ],
)
def test_training_does_not_go_on_from_a_foreign_checkpoint(run: Path, content: Any, said: str) -> None:
    last = run / "checkpoints/last.ckpt"
    if content == "another":
        content = torch.load(last, weights_only=True)
        content["state_dict"] = {name: tensor[None] for name, tensor in content["state_dict"].items()}
    last.unlink()
    last.write_bytes(content) if isinstance(content, bytes) else torch.save(content, last)
    with pytest.raises(CheckpointError, match=f"last.ckpt {said}"):
        fit([], run, resume=True)


def test_a_configuration_that_is_no_text_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (run / "config.yaml").read_bytes()
    without = b"".join(each for each in whole.splitlines(keepends=True) if b"batch_size" not in each)
    for content, said in ((b"\xff" + whole, "config.yaml is damaged"), (without, "lacks the key data.batch_size")):
        (run / "config.yaml").write_bytes(content)
        for words in (["validate", "--run", str(run)], ["fit", "--run", str(run), "--resume"]):
            assert main(words) == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["residual.pt", "residual.safetensors", "digit.safetensors"])
def test_damage_to_networks_in_files_of_their_own_ends_in_an_error(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    shutil.copy(FORMER / "networks" / name, file)
    if name.startswith("digit"):
        tried(file, lambda: read_unambiguous(file, []))
    else:
        tried(file, lambda: read_checkpoint(file, Residual, inputs((2, 1, 8, 8))))


def test_damage_to_onnx_files_ends_in_an_error(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    weight = numpy_helper.from_array(torch.ones(3, 2).numpy(), "weight")
    node = helper.make_node("Gemm", ["x", "weight"], ["y"], transB=1)
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4, n]) for name, n in (("x", 2), ("y", 3))]
    graph = helper.make_graph([node], "net", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    tried(tmp_path / "net.onnx", lambda: read_checkpoint(tmp_path / "net.onnx"))
    graph.initializer[0].raw_data = graph.initializer[0].raw_data[:-4]
    onnx.save(helper.make_model(graph), tmp_path / "short.onnx")
    with pytest.raises(CheckpointError, match=r"short.onnx: the tensor weight cannot be read"):
        read_checkpoint(tmp_path / "short.onnx")
