"""Defects of the released code, each kept out by a test of its own.

Norms over the mini-batch and attention to padding are in test_company.py, shifted bias edits in
test_symmetries_respected.py and test_the_tester.py; noise and schedules are tested beside the code that makes them.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from neural_graphs.errors import LayoutError
from neural_graphs.graph import Bidirectional, Forward, Topology
from neural_graphs.layout import Layout, Parameter
from neural_graphs.networks import Networks
from neural_graphs.nn import ConcatOutputs, GraphReadout, MessagePassing, Metanetwork, Probes
from neural_graphs.nn.models import encoder
from neural_graphs.nn.spec import InputSpec
from neural_graphs.symmetry import sample_symmetry
from neural_graphs.testing import assert_batch_independent, assert_invariant, relative_error
from tests.laws.conftest import NAMED, REGULAR


def test_what_is_read_can_be_written_back(case) -> None:
    """Weights and biases are laid out one way only: writing what was read gives the same bits, inputs skipped."""
    networks = case.networks()
    topology = Topology.of(networks, Forward())
    kernels = [kernels.values for kernels in topology.kernels(networks)]
    biases, _ = topology.biases(networks)
    assert torch.equal(topology.fill(networks, kernels, biases, 1).values, networks.values)


def test_a_neuron_reads_its_own_bias(case) -> None:
    """Input neurons have none: the first bias belongs to the first hidden neuron."""
    for networks in (case.networks()[place] for place in range(len(case.networks()))):
        biases, mask = Topology.of(networks, Forward()).biases(networks)
        layout, state_dict = networks.layout, networks.state_dicts()[0]
        for group, place in zip(layout.groups, layout.neuron_slices, strict=True):
            assert bool((mask[place] == bool(group.bias)).all())
            expected = state_dict[group.bias] if group.bias else torch.zeros(group.size, dtype=torch.float64)
            first = 0 if group.window is None else group.window.offset
            assert torch.equal(biases[0, place, 0], expected[first : first + group.size])


def test_a_weight_of_zero_is_still_a_weight(inr, backbone) -> None:
    """Edges come from the layout: a pruned weight counts like the small one it was."""
    reader = backbone.reader(inr.family)
    pruned = inr.networks()
    pruned = pruned.with_values(torch.where(pruned.values.abs() < 0.2, 0.0, pruned.values))
    small = pruned.with_values(torch.where(pruned.values == 0, 1e-12, pruned.values))
    with torch.no_grad():
        assert 0 < relative_error(reader(pruned), reader(small)) < 1e-8


def test_networks_of_zeros_are_read(case, backbone) -> None:
    networks = case.networks() * 0.0
    answer = backbone.reader(case.family)(networks)
    assert bool(torch.isfinite(answer).all())


def non_square(kernel: tuple[int, int]) -> Layout:
    """A CNN of one convolution with that kernel."""
    square = Layout.cnn((2, 3), kernels=(3,), classes=3)
    weight = Parameter("conv0.weight", (3, 2, *kernel))
    blocks = (replace(square.blocks[0], kernel=kernel), *square.blocks[1:])
    return replace(square, blocks=blocks, parameters=(weight, *square.parameters[1:]))


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (1, 1), (2, 3), (3, 3)])
def test_a_small_kernel_is_read_as_if_padded_with_zeros(backbone, kernel: tuple[int, int]) -> None:
    """Height is height and width is width, and the middle of a kernel is its middle."""
    layout, full = non_square(kernel), Layout.cnn((2, 3), kernels=(3,), classes=3)
    values = torch.randn(2, layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    networks = Networks(values, layout)
    rows, columns = 3 - kernel[0], 3 - kernel[1]
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    padded = [{**s, "conv0.weight": F.pad(s["conv0.weight"], sides)} for s in networks.state_dicts()]
    told_apart = {"statistics": False} if backbone.name == "Propagator" else {}  # those of more numbers are others
    reader = backbone.reader(InputSpec.of([full]), **told_apart)
    with torch.no_grad():
        assert relative_error(reader(networks), reader(Networks.from_state_dicts(padded, full))) < 1e-12


def probed(shape: tuple[int, ...], family: InputSpec) -> Metanetwork:
    """NG-GNN with probes of a shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = encoder(family, Bidirectional(), 8, 8, probes=4, probe_shape=shape)
        return Metanetwork(start, MessagePassing(8, 2), GraphReadout(8, 3, ConcatOutputs(3))).double()


@pytest.mark.parametrize("name", REGULAR)
def test_probes_of_cnns_are_used(name: str, generator: torch.Generator) -> None:
    """Images run through CNNs: answers change with the probes, and gradients reach them."""
    case = NAMED[name]
    networks = case.networks()
    metanetwork = probed(tuple(case.inputs(0).shape[1:]), case.family)
    probes = metanetwork.encoder.probes
    assert isinstance(probes, Probes)
    answer = metanetwork(networks)
    (gradient,) = torch.autograd.grad(answer.square().sum(), probes.inputs)
    assert float(gradient.abs().max()) > 0
    with torch.no_grad():
        probes.inputs.mul_(-0.5)
        assert relative_error(metanetwork(networks), answer) > 1e-6
    assert_invariant(metanetwork, networks, generator)
    assert_batch_independent(metanetwork, networks)


def test_probes_that_do_not_fit_are_refused(backbone) -> None:
    layout = Layout.cnn((3, 4), kernels=(3,), classes=3)
    networks = Networks(torch.zeros(2, layout.size, dtype=torch.float64), layout)
    with pytest.raises(LayoutError, match="reads 3 inputs, got a tensor"):
        backbone.reader(InputSpec.of([layout]), probes=4)(networks)


def test_probes_see_the_function_and_not_the_order(inr, generator: torch.Generator) -> None:
    """A neuron's probe features move with it, bit for bit."""
    networks = inr.networks()
    symmetry = sample_symmetry(networks, generator)
    probes = probed((2,), inr.family).encoder.probes
    assert isinstance(probes, Probes)
    with torch.no_grad():
        before, after = probes(networks), probes(symmetry.act(networks))
    for place, element in enumerate(symmetry.elements):
        for order, neurons in zip(element.group_orders, networks.layout.neuron_slices, strict=True):
            torch.testing.assert_close(after[place, neurons], before[place, neurons][order], rtol=1e-9, atol=1e-12)
