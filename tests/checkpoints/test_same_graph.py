"""The same network in two formats is the same graph, and computes the same."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.io import read_checkpoint
from neural_graphs.testing import assert_same_function, relative_error
from tests.checkpoints.exported import OLDER, export, same_graph
from tests.tracing.models.everything import EXAMPLES

TIED = {"GPT": {"head.weight": "embedding.weight"}}  # one tensor; the file has it under the name it was met last


def example(name: str) -> tuple[nn.Module, Tensor]:
    inputs = EXAMPLES[name].inputs(torch.float32)
    assert isinstance(inputs, Tensor)
    return EXAMPLES[name].module(torch.float32), inputs


@pytest.mark.parametrize("name", ["MLP", "ResNet-18", "DenseNet", "EfficientNet", "ViT", "GPT"])
def test_a_module_and_its_onnx_file_are_the_same_graph(name: str, tmp_path: Path) -> None:
    module, x = example(name)
    read, _ = read_checkpoint(export(module, (x,), tmp_path / "net.onnx"), example_input=x)
    with torch.no_grad():
        assert relative_error(read(x), module(x)) < 1e-5
    first, second = ng.trace(module, x), ng.trace(read, x)
    tied = TIED.get(name, {})
    assert same_graph(first, second, lambda tensor: tied.get(tensor, tensor))
    assert [atom.size for atom in first.free_atoms] == [atom.size for atom in second.free_atoms]
    own, found = module.state_dict(), read.state_dict()
    assert set(own) - set(found) - set(tied.values()) == {n for n in own if n.endswith("num_batches_tracked")}
    assert all(torch.equal(found[name], own[name]) for name in found)


@pytest.mark.parametrize("name", ["ViT", "ShuffleNet"])
def test_files_of_the_older_exporter_are_the_same_graph(name: str, tmp_path: Path) -> None:
    """It writes attention and GELU as several operators, and works out shapes in the file."""
    module, x = example(name)
    training = torch.onnx.TrainingMode.PRESERVE  # else it folds norms into convolutions
    read, _ = read_checkpoint(export(module, (x,), tmp_path / "net.onnx", **OLDER, training=training), example_input=x)
    with torch.no_grad():
        assert relative_error(read(x), module(x)) < 1e-5
    assert same_graph(ng.trace(module, x), ng.trace(read, x))


def test_a_hugging_face_folder_and_its_onnx_file_are_the_same_graph(tmp_path: Path) -> None:
    class Logits(nn.Module):
        def __init__(self, model: nn.Module):
            super().__init__()
            self.model = model

        def forward(self, image: Tensor) -> Tensor:
            return self.model(image).logits

    EXAMPLES["transformers ViT"].module(torch.float32).save_pretrained(tmp_path / "vit")  # type: ignore[operator]
    folder = read_checkpoint(tmp_path / "vit")
    (image,) = folder.inputs.values()  # type: ignore[union-attr]
    file = read_checkpoint(export(Logits(folder.module), (image,), tmp_path / "vit.onnx"))
    first, second = ng.trace(*folder), ng.trace(*file)
    assert same_graph(first, second, lambda tensor: tensor.removeprefix("model."))
    inputs = tuple(each.double() for each in file.inputs)
    network = file.module.double()
    assert_same_function(network, ng.trace(network, inputs), inputs)


def test_tensors_with_their_module_are_the_same_graph(tmp_path: Path) -> None:
    module, x = example("ShuffleNet")
    save_file(module.state_dict(), tmp_path / "net.safetensors")
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, tmp_path / "net.pt")
    build = EXAMPLES["ShuffleNet"].build
    layouts = [ng.trace(*read_checkpoint(tmp_path / f"net.{end}", build, x)) for end in ("safetensors", "pt")]
    assert layouts == [ng.trace(module, x)] * 2
    exported = read_checkpoint(export(module, (x,), tmp_path / "net.onnx"), example_input=x)
    assert same_graph(layouts[0], ng.trace(*exported))


def test_what_the_exporter_folds_is_another_graph_of_the_same_function(tmp_path: Path) -> None:
    """By default torch folds norms into convolutions: fewer groups, other tensors; the axes stay what they were."""
    module, x = example("ResNet-18")
    folded = export(module, (x,), tmp_path / "net.onnx", dynamo=True)
    read, _ = read_checkpoint(folded, example_input=x)
    with torch.no_grad():
        assert relative_error(read(x), module(x)) < 1e-4
    first, second = ng.trace(module, x), ng.trace(read, x)
    assert not same_graph(first, second)
    assert not [group for group in second.groups if group.kind == "norm"]
    assert [atom.size for atom in first.free_atoms] == [atom.size for atom in second.free_atoms]


def test_the_tester_tells_graphs_apart() -> None:
    """Another width, one skip less, tensors swapped: each is seen."""
    layout = ng.Layout.cnn([1, 4, 4, 4], [3, 3, 3], 2, residual=[-1, 0, 1])
    assert same_graph(layout, ng.Layout.cnn([1, 4, 4, 4], [3, 3, 3], 2, residual=[-1, 0, 1]))
    assert not same_graph(layout, ng.Layout.cnn([1, 4, 4, 5], [3, 3, 3], 2, residual=[-1, 0, 1]))
    assert not same_graph(layout, ng.Layout.cnn([1, 4, 4, 4], [3, 3, 3], 2, residual=[-1, 0, -1]))
    swap = {"conv1.weight": "conv2.weight", "conv2.weight": "conv1.weight"}
    assert not same_graph(layout, layout, lambda tensor: swap.get(tensor, tensor))
