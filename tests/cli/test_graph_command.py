"""``neural-graphs graph``: any network as a graph, from the shell."""

import json
import re
from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file

from neural_graphs.commands.cli import main
from neural_graphs.layout import Layout
from tests.cli.test_words import refused

MODULE = "from torch import nn\ndef make(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mlp() -> str:
    """A SIREN of 2 → 5 → 1; safetensors stores biases before weights."""
    torch.manual_seed(0)
    shapes = {"net.0.weight": (5, 2), "net.0.bias": (5,), "net.1.weight": (1, 5), "net.1.bias": (1,)}
    save_file({name: torch.randn(shape) for name, shape in shapes.items()}, "inr.safetensors")
    return "inr.safetensors"


def cnn() -> str:
    """A CNN whose head reads 5 × 5 places."""
    torch.manual_seed(0)
    shapes = {"0.weight": (4, 1, 3, 3), "0.bias": (4,), "1.weight": (2, 100), "1.bias": (2,)}
    save_file({name: torch.randn(shape) for name, shape in shapes.items()}, "cnn.safetensors")
    return "cnn.safetensors"


def gemms() -> str:
    """An ONNX file of 3 → 4 → 2, without torch."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (4, 3), "a.bias": (4,), "b.weight": (2, 4), "b.bias": (2,)}
    weights = {name: torch.randn(shape, generator=generator).numpy() for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Gemm", ["x", "a.weight", "a.bias"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "b.weight", "b.bias"], ["y"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3])]
    initial = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "mlp", inputs, [helper.make_empty_tensor_value_info("y")], initial)
    onnx.save(helper.make_model(graph), "mlp.onnx")
    return "mlp.onnx"


def conv() -> list[str]:
    torch.manual_seed(0)
    Path("shell_nets.py").write_text(MODULE, encoding="utf-8")
    shapes = {"0.weight": (4, 3, 3, 3), "0.bias": (4,), "2.weight": (2, 4, 3, 3), "2.bias": (2,)}
    torch.save({name: torch.randn(shape) for name, shape in shapes.items()}, "net.pt")
    return ["net.pt", "--module", "shell_nets:make", "--input", "1x3x8x8"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["graph", *words]) == 0
    return capsys.readouterr().out


def test_shapes_tell_an_mlp(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, mlp(), "--check", "--draws", "2")
    assert "2 → 5 → 1" in out and "S_5" in out and "21 of 21 parameters" in out
    change = re.search(r"2 random symmetries: the outputs change by at most (\S+) of the largest one", out)
    assert change and float(change[1]) < 1e-12


def test_shapes_tell_a_cnn(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, cnn(), "--check", "--input", "1x1x5x5")
    assert "S_4" in out and "242 of 242 parameters" in out and "the outputs change by at most" in out


def test_an_onnx_file(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, gemms(), "--check")
    assert "mlp.onnx: OnnxModule, traced" in out and "3 → 4 → 2" in out and "26 of 26 parameters" in out
    assert re.search(r"3 random symmetries: the outputs change by at most \d", out)


def test_a_state_dict_with_its_module_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, *conv(), "--check", "--json"))
    assert found["coverage"] == "186 of 186 parameters" and found["numbers"] == 186
    assert found["check"]["same"] and found["check"]["largest_change"] < 1e-12
    assert [group.size for group in Layout.from_json(found["layout"]).groups] == [3, 4, 2]


def test_a_zoo(capsys: pytest.CaptureFixture[str], zoo: Path) -> None:
    out = said(capsys, str(zoo), "--check")
    assert "the first of a zoo's 20 networks" in out and "2 → 4 → 1 · sine" in out
    assert "random symmetries: the outputs change by at most" in out


def test_its_picture(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, gemms(), "--out", "pictures/graph.png")
    assert "pictures/graph.png: its picture" in out and Path("pictures/graph.png").stat().st_size > 1000


def test_a_symmetry_that_is_none_is_the_answer_no(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neural_graphs.networks.Networks.run", lambda networks, x: networks.values)
    assert main(["graph", mlp(), "--check"]) == 1
    assert "3 random symmetries: the outputs change by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["graph"], "required: CHECKPOINT"),
        (["graph", "a.onnx", "--chek"], "did you mean --check?"),
        (["graph", "a.onnx", "--input", "1,3"], "expected sizes such as 1x3x224x224"),
        (["graph", "a.onnx", "--input", "1x0"], "expected sizes such as 1x3x224x224"),
        (["graph", "a.onnx", "--module", "nets"], "expected package.module:function"),
    ],
)
def test_mistyped_words(capsys: pytest.CaptureFixture[str], words: list[str], hint: str) -> None:
    assert hint in refused(capsys, *words)


def test_what_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"a.weight": torch.zeros(3, 2), "b.weight": torch.zeros(3, 5)}, "odd.safetensors")
    words, _, _, _, _ = conv()
    for line, expected in {
        "gone.onnx": "gone.onnx does not exist",
        f"{mlp()} --out a.gif": "--out a.gif should end in one of .png, .pdf, .svg",
        "odd.safetensors": "their shapes do not tell",
        f"{words} --module shell_nets:make": "does not say what Sequential reads",
        f"{words} --module shell_nets:make --input 1x5": "cannot be traced",
        f"{mlp()} --check --input 1x5": "reads 2 inputs, got a tensor (1, 5)",
        f"{cnn()} --check": "does not take inputs of sizes 1x1x28x28; give --input",
    }.items():
        assert main(["graph", *line.split()]) == 2, line
        told = capsys.readouterr().err
        assert expected in told and told.count("\n") == 1, (line, told)
