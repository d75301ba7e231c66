"""Traced networks are networks like any other: both backbones read and edit them, alone and in mixed batches."""

from collections.abc import Callable

import pytest
import torch

from neural_graphs.graph import Looped
from neural_graphs.networks import Networks, Program
from neural_graphs.nn import NGGNN, NGT, Metanetwork, NGGNNEditor, NGTEditor
from neural_graphs.nn.spec import InputSpec
from neural_graphs.testing import assert_batch_independent, assert_equivariant, assert_invariant
from tests.tracing.models.everything import EXAMPLES
from tests.tracing.traced import traced

TINY = {"widths": (8, 6), "attention": 8, "heads": 2, "hidden": (8, 6), "wiring": Looped()}
READERS: dict[str, Callable[[InputSpec], Metanetwork]] = {
    "NG-GNN": lambda family: NGGNN(family, 3, width=8, depth=3),
    "NG-T": lambda family: NGT(family, 3, depth=3, **TINY),
}
EDITORS: dict[str, Callable[[InputSpec], Metanetwork]] = {
    "NG-GNN": lambda family: NGGNNEditor(family, width=8, depth=3),
    "NG-T": lambda family: NGTEditor(family, depth=3, **TINY),
}
BATCHES = {
    "tied weights": ["tied autoencoder"],
    "grouped convolutions": ["grouped convolution"],
    "gates and depthwise": ["MobileNet"],
    "concatenations": ["DenseNet"],
    "heads": ["ViT"],
    "gates in time": ["LSTM"],
    "a decoder": ["GPT"],
    "transformers' own": ["transformers Swin"],
    "volumes, waves and maps": ["3-D convolutions", "1-D convolutions", "U-Net"],
    "one of each": ["ResNet-18", "ViT", "MLP"],
}


def modules(name: str, count: int = 2) -> list[torch.nn.Module]:
    """Networks of one architecture and other numbers."""
    return [EXAMPLES[name].module(seed=seed) for seed in range(count)]


def networks(names: list[str]) -> Networks:
    """Two networks of each name."""
    layouts = [traced(name).layout for name in names for _ in range(2)]
    return Networks.from_modules([module for name in names for module in modules(name)], layouts)


def built(make: Callable[[InputSpec], Metanetwork], batch: Networks) -> Metanetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(InputSpec.of(batch.layouts)).double()


@pytest.mark.parametrize("backbone", READERS)
@pytest.mark.parametrize("names", BATCHES.values(), ids=BATCHES)
def test_answers_are_invariant(names: list[str], backbone: str) -> None:
    batch = networks(names)
    assert_invariant(built(READERS[backbone], batch), batch, tolerance=1e-10)


@pytest.mark.parametrize("backbone", EDITORS)
@pytest.mark.parametrize("names", BATCHES.values(), ids=BATCHES)
def test_edits_are_equivariant(names: list[str], backbone: str) -> None:
    batch = networks(names)
    assert_equivariant(built(EDITORS[backbone], batch), batch, tolerance=1e-10)


@pytest.mark.parametrize("backbone", READERS)
def test_company_does_not_matter(backbone: str) -> None:
    """A vision transformer is read alike alone and between a residual network and a perceptron."""
    batch, strangers = networks(["ViT"])[0], networks(["ShuffleNet", "MLP"])[1:3]
    family = Networks.cat([batch, strangers])
    assert_batch_independent(built(READERS[backbone], family), batch, strangers)
    assert_batch_independent(built(EDITORS[backbone], family), batch, strangers)


@pytest.mark.parametrize("backbone", EDITORS)
@pytest.mark.parametrize("name", ["MLP", "ViT", "LSTM", "ShuffleNet", "GPT"])
def test_every_tensor_is_read_and_written(name: str, backbone: str) -> None:
    """Biases, norms, running statistics, class tokens and position tables: each has a say in its own edit."""
    layout, one = traced(name).layout, traced(name).networks
    named = [p.name for p in layout.parameters if not p.dtype]
    values = one.values.repeat(len(named), 1)
    for row, key in zip(values, named, strict=True):
        row[layout.slices[key]] *= 1.5  # one tensor of one network
    changed = one.with_values(values)
    editor = built(EDITORS[backbone], changed)
    with torch.no_grad():
        edits, before = editor(changed).values, editor(one).values[0]
    for edit, key in zip(edits, named, strict=True):
        assert bool(before[layout.slices[key]].abs().max() > 0), key
        assert not torch.allclose(edit[layout.slices[key]], before[layout.slices[key]], rtol=1e-9, atol=0), key


@pytest.mark.parametrize("name", ["ResNet-18", "GPT", "tied autoencoder"])
def test_edited_networks_run(name: str) -> None:
    """An edit touches no counters and no index tables, keeps tied tensors tied, and the result still computes."""
    batch = networks([name])
    with torch.no_grad():
        edited = batch + built(EDITORS["NG-GNN"], batch)(batch)
    one = traced(name)
    for state, before in zip(edited.state_dicts(), batch.state_dicts(), strict=True):
        for key, tensor in before.items():
            assert tensor.is_floating_point() or torch.equal(state[key], tensor), key
        (output,) = Program(one.module).outputs(state, one.inputs)
        assert bool(torch.isfinite(output).all())


@pytest.mark.parametrize("name", ["ResNet-18", "ViT", "GPT"])
def test_networks_run_as_their_modules_do(name: str) -> None:
    """`Networks.run` evaluates traced networks by the module they come from."""
    inputs = traced(name).inputs
    for module, output in zip(modules(name), networks([name]).run(inputs), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(output, module(inputs), rtol=1e-12, atol=1e-12)
