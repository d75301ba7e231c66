"""Programs of torch.export, and TorchScript archives: data, with the graph of the module; their code never runs."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.commands.cli import main
from neural_graphs.errors import CheckpointError
from neural_graphs.io import read_checkpoint, read_tensors
from neural_graphs.networks import Program
from neural_graphs.networks.program import as_arguments
from neural_graphs.testing import assert_same_function
from tests.checkpoints.exported import same_graph
from tests.tracing.models.everything import EXAMPLES

NAMES = ["MLP", "VGG with flatten", "tied autoencoder", "GPT", "two inputs, three outputs", "experts in groups"]
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that is as it should be."""
    file = tmp_path_factory.mktemp("saved") / "net.pt2"
    torch.export.save(torch.export.export(net(), (X,)), file)
    return file


# -- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_the_graph_of_its_module(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    module, inputs = example.module(), example.inputs()
    torch.export.save(torch.export.export(module, *as_arguments(inputs), strict=False), tmp_path / "net.pt2")
    found, given = read_checkpoint(tmp_path / "net.pt2")
    expected = Program(module).outputs(module.state_dict(), inputs)
    for one, other in zip(Program(found).outputs(found.state_dict(), given), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert {n: t.shape for n, t in found.state_dict().items()} == {n: t.shape for n, t in module.state_dict().items()}
    assert same_graph(ng.trace(found, given), ng.trace(module, inputs))


class Odd(nn.Module):
    """Sizes that are open, a region without gradients, constants, keywords, containers, a table that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)
        self.register_buffer("scale", torch.tensor([0.5, 2.0, 1.0]), persistent=False)

    def forward(self, x: Tensor, *, more: dict[str, Tensor], flip: bool = False) -> dict[str, Tensor]:
        with torch.no_grad():
            x = (x + more["shift"]) * self.scale * torch.tensor([1.0, -1.0, 1.0])
        x = F.silu(self.first(x)).reshape(x.shape[0], 2, -1).masked_fill(torch.ones(2, 3).tril() == 0, 0)
        return {"answer": self.last(x.flatten(1)), "sum": x.sum((1, 2))}


def test_what_programs_hold_beside_layers(tmp_path: Path) -> None:
    module, inputs = Odd().eval(), {"more": {"shift": torch.ones(4, 3)}}
    batch = torch.export.Dim("batch", min=2, max=64)
    open_ = {"x": {0: batch}, "more": {"shift": {0: batch}}}
    exported = torch.export.export(module, (X,), inputs, dynamic_shapes=open_)
    torch.export.save(exported, tmp_path / "odd.pt2")
    found, given = read_checkpoint(tmp_path / "odd.pt2")
    for one, other in zip(found(*given), module(X, **inputs).values(), strict=True):
        assert torch.equal(one, other)
    more = [torch.cat([each, each]) for each in given]
    assert [len(each) for each in found(*more)] == [8, 8]
    assert_same_function(found.double(), ng.trace(found, tuple(each.double() for each in given)), tuple(
        each.double() for each in given))  # fmt: skip
    with pytest.raises(CheckpointError, match=r"odd.pt2 takes 2 inputs .* got 1"):
        found(given[0])


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net().half(), (X.half(),)), tmp_path / "half.pt2")
    found, given = read_checkpoint(tmp_path / "half.pt2")
    torch.testing.assert_close(found(*given), net()(X), rtol=2e-2, atol=2e-2)
    assert found.get_parameter("0.weight").dtype == given[0].dtype == torch.float32


def test_the_command_reads_them_and_proves_them(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", str(saved), "--check"]) == 0
    said = capsys.readouterr().out
    assert "1 free axis" in said and "3 random symmetries" in said
    assert main(["graph", str(saved), "--input", "4x4"]) == 2
    assert "net.pt2" in capsys.readouterr().err


# -- what is refused --------------------------------------------------------------------------------------------------


class Evil:
    """An object that leaves a trace where it is unpickled by the ordinary means."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def changed(saved: Path, file: Path, parts: dict[str, bytes | None], compression: int = ZIP_STORED) -> Path:
    """A program with other parts; None leaves one out."""
    with ZipFile(saved) as old, ZipFile(file, "w", compression) as new:
        own = {part: old.read(part) for part in old.namelist()}
        for part, content in (own | {f"net/{name}": content for name, content in parts.items()}).items():
            if content is not None:
                new.writestr(part, content)
    return file


def part(saved: Path, name: str) -> Any:
    """A part of a program, as JSON."""
    with ZipFile(saved) as archive:
        return json.loads(archive.read(f"net/{name}"))


def test_pickles_in_programs_are_not_run(saved: Path, tmp_path: Path) -> None:
    """Neither example inputs nor tensors; the same pickle, read the ordinary way, does leave its trace."""
    mark, content = tmp_path / "mark", tmp_path / "content.pt"
    torch.save(Evil(mark), content)
    torch.load(content, weights_only=False)
    assert mark.exists()
    mark.unlink()
    file = changed(saved, tmp_path / "inputs.pt2", {"data/sample_inputs/model.pt": content.read_bytes()})
    with pytest.raises(
        CheckpointError, match=r"inputs.pt2 does not say what it reads: give an example input, 1 tensor"
    ):
        read_checkpoint(file)
    assert torch.equal(read_checkpoint(file, example_input=(X,)).module(X), net()(X))
    config = part(saved, "data/weights/model_weights_config.json")
    config["config"]["0.bias"]["use_pickle"] = True
    parts: dict[str, bytes | None] = {
        "data/weights/model_weights_config.json": json.dumps(config).encode(),
        f"data/weights/{config['config']['0.bias']['path_name']}": content.read_bytes(),
    }
    with pytest.raises(CheckpointError, match=r"weights.pt2: the tensor 0.bias cannot be read"):
        read_checkpoint(changed(saved, tmp_path / "weights.pt2", parts))
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.from_file.default", "torch.ops.aten._print.default", "torch.ops.aten.__class__.mro", "os.system",
     "torch.ops.mine.relu.default", "_operator.attrgetter", "torch.ops.higher_order.cond"],
)  # fmt: skip
def test_operators_of_other_kinds_are_not_called(target: str, saved: Path, tmp_path: Path) -> None:
    said = part(saved, "models/model.json")
    said["graph_module"]["graph"]["nodes"][0]["target"] = target
    file = changed(saved, tmp_path / "ops.pt2", {"models/model.json": json.dumps(said).encode()})
    with pytest.raises(CheckpointError, match=rf"ops.pt2: the operator {target.removeprefix('torch.ops.')} is not run"):
        read_checkpoint(file)


def other(saved: Path, **changes: Any) -> bytes:
    """The program with other entries at the top."""
    return json.dumps(part(saved, "models/model.json") | changes).encode()


def test_what_is_no_such_program_is_refused_by_name(saved: Path, tmp_path: Path) -> None:
    """Each with its reason, and what to do."""
    cases: dict[str, tuple[dict[str, bytes | None], str]] = {
        "code": ({"data/aotinductor/model/net.so": b""}, "compiled code"),
        "former": ({"models/model.json": None, "serialized_exported_program.json": b"{}"}, "before 2.7"),
        "none": ({"models/model.json": None}, "0 programs"),
        "two": ({"models/more.json": b"{}"}, "2 programs"),
        "words": ({"models/model.json": b"[" * 99999}, "no program of"),
        "version": ({"models/model.json": other(saved, schema_version={"major": 9, "minor": 0})}, "version 9"),
        "empty": ({"models/model.json": other(saved, graph_module={})}, "it has no 'signature'"),
        "short": ({"data/weights/weight_0": b"\0" * 8}, "the tensor 0.weight cannot be read"),
        "lost": ({"data/weights/weight_0": None}, "the tensor 0.weight cannot be read"),
        "nan": ({"data/weights/weight_1": b"\xff" * 20}, "0.bias holds NaN"),
    }
    for name, (parts, reason) in cases.items():
        with pytest.raises(CheckpointError, match=rf"{name}.pt2.*{reason}"):
            read_checkpoint(changed(saved, tmp_path / f"{name}.pt2", parts))
    with pytest.raises(CheckpointError, match="compressed"):
        read_checkpoint(changed(saved, tmp_path / "small.pt2", {}, ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="leave the module out"):
        read_checkpoint(saved, net)


@settings(max_examples=40, deadline=None)  # the first call imports
@given(st.data())
def test_damaged_programs_are_refused_or_right(saved: Path, data: st.DataObject) -> None:
    """Cut off anywhere, or with another byte: never an error of another kind, never other numbers."""
    content = bytearray(saved.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    file = saved.with_name("damaged.pt2")
    file.write_bytes(content)
    try:
        found, given = read_checkpoint(file)
    except CheckpointError as error:
        assert "damaged.pt2" in str(error)
        return
    assert torch.equal(found(*given), net()(X))


# -- TorchScript ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [torch.jit.script, lambda module: torch.jit.trace(module, X)])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*is not supported")
def test_tensors_of_torchscript_are_read(how: Callable[[nn.Module], Any], tmp_path: Path) -> None:
    module = net()
    module[3].weight = nn.Parameter(torch.randn(5, 2).t())
    how(module).save(tmp_path / "script.pt")
    found = read_tensors(tmp_path / "script.pt")
    assert list(found) == list(module.state_dict())
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in found.items())
    with pytest.raises(CheckpointError, match="holds tensors and no network: give its module"):
        read_checkpoint(tmp_path / "script.pt")
    torch.testing.assert_close(read_checkpoint(tmp_path / "script.pt", net, X).module(X), module(X))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*is not supported")
def test_code_of_torchscript_is_refused(tmp_path: Path) -> None:
    file, mark = tmp_path / "script.pt", tmp_path / "mark"
    torch.jit.freeze(torch.jit.script(net())).save(file)
    with pytest.raises(CheckpointError, match=r"script.pt is a TorchScript archive whose numbers are in its code"):
        read_tensors(file)
    for content, reason in (
        (pickle.dumps(Evil(mark)), "made by code"),
        (b"\x80\x02", "cannot be read as a TorchScript"),
    ):
        with ZipFile(file, "w") as archive:
            archive.writestr("script/data.pkl", content)
            archive.writestr("script/constants.pkl", b"")
        with pytest.raises(CheckpointError, match=rf"script.pt .*{reason}"):
            read_tensors(file)
    assert not mark.exists()
    shutil.copy(file, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes(file.read_bytes()[:50])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        read_tensors(tmp_path / "cut.pt")
