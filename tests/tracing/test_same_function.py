"""The proof: traced networks compute the same when their neurons are moved, and nothing of them is left out."""

import pytest
import torch
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.networks import Networks, Program
from neural_graphs.testing import assert_same_function
from tests.tracing.models.everything import EXAMPLES
from tests.tracing.models.resnets import resnet18
from tests.tracing.traced import traced

# Numbers that no function of the network depends on: they vanish in a norm or in a softmax; or that only choose.
IDLE = (
    "experts in groups bias",
    ".k_proj.bias",
    ".key.bias",
    " key.bias",
    ".k_norm.bias",
    ".mlp_tokens.2.bias",
    "InstanceNorm conv1.bias",
)
FAST = [
    "VGG with flatten",
    "ResNet-18",
    "MobileNet",
    "ViT",
    "nn.TransformerEncoder",
    "LSTM",
    "GPT",
    "transformers Swin",
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_random_symmetries_leave_the_function_unchanged(name: str) -> None:
    """Every parameter is covered, and moving the neurons changes no output, in float64."""
    one = traced(name)
    assert_same_function(one.module, one.layout, one.inputs, EXAMPLES[name].tolerance, draws=2)
    assert one.layout.free_atoms


@pytest.mark.parametrize("name", FAST)
def test_in_single_precision_too(name: str) -> None:
    one = traced(name, torch.float32)
    assert_same_function(one.module, one.layout, one.inputs)
    assert one.layout == traced(name).layout


@pytest.mark.parametrize("name", EXAMPLES)
def test_state_dicts_come_back_bit_for_bit(name: str) -> None:
    """Tied tensors under all their names, counters and index tables in their own type."""
    one = traced(name)
    expected, found = one.module.state_dict(), one.networks.state_dicts()[0]
    assert set(found) == set(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype, key
        assert torch.equal(found[key], tensor), key


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_carried_float_keeps_its_precision(dtype: torch.dtype) -> None:
    """What nothing reads and nothing may move comes back bit for bit, and both precisions have one layout."""

    class Annealed(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
            self.register_buffer("temperature", torch.tensor(1 / 3, dtype=dtype))

    module, x = Annealed().to(dtype), torch.randn(6, 3)
    layout = ng.trace(module, x.to(dtype))
    found = Networks.from_modules([module], layout).state_dicts()[0]["temperature"]
    assert next(p.dtype for p in layout.parameters if p.name == "temperature"), "it is read by neurons"
    assert found.dtype == dtype and torch.equal(found, torch.tensor(1 / 3, dtype=dtype))
    assert layout == ng.trace(Annealed().float(), x)


@pytest.mark.parametrize("name", EXAMPLES)
def test_parameters_and_buffers_are_told_apart(name: str) -> None:
    one = traced(name)
    trained = {key for key, _ in one.module.named_parameters()}
    assert {p.name for p in one.layout.parameters if not p.buffer} == trained
    count = sum(p.numel() for p in one.module.parameters())
    assert sum(p.size for p in one.layout.parameters if not p.buffer) == count


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_depend_on_every_parameter(name: str) -> None:
    """Else the proof would be empty: a ReLU that is dead hides whatever happens behind it."""
    one = traced(name)
    module = EXAMPLES[name].module()
    program = Program(module)
    parameters = {key: p.detach().requires_grad_() for key, p in module.named_parameters(remove_duplicate=False)}
    outputs = program.outputs({**module.state_dict(), **parameters}, one.inputs)
    generator = torch.Generator().manual_seed(0)
    total = sum((torch.randn(o.shape, generator=generator, dtype=o.dtype) * o).sum() for o in outputs)
    assert isinstance(total, Tensor)
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    idle = [k for k, g in zip(parameters, gradients, strict=True) if g is None or float(g.abs().max()) < 1e-9]
    assert [key for key in idle if not f"{name} {key}".endswith(IDLE)] == []


def test_resnet18_is_covered_to_the_last_parameter() -> None:
    """The published size, and the number in the coverage line."""
    module = resnet18().eval()
    layout = ng.trace(module, torch.randn(1, 3, 64, 64))
    assert sum(p.size for p in layout.parameters if not p.buffer) == 11_689_512
    assert [atom.size for atom in layout.free_atoms].count(64) == 3  # a stream and two insides
