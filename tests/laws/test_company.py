"""Companions and two roads: neither the other networks of a batch nor the way it is stored changes an answer."""

import numpy as np
import torch

from neural_graphs.graph import Forward, Topology
from neural_graphs.networks import Networks
from neural_graphs.nn import MeanNodes
from neural_graphs.nn.spec import InputSpec
from neural_graphs.testing import assert_batch_independent


def test_the_same_alone_among_equals_and_among_strangers(case, strangers, backbone) -> None:
    family = InputSpec.of([*case.layouts, *strangers.layouts])
    assert_batch_independent(backbone.reader(family), case.networks(), strangers.networks(1))
    assert_batch_independent(backbone.editor(family), case.networks(), strangers.networks(1))


def test_also_where_all_neurons_are_pooled(case, strangers, backbone) -> None:
    family = InputSpec.of([*case.layouts, *strangers.layouts])
    reader = backbone.reader(family, pool=MeanNodes())
    assert_batch_independent(reader, case.networks(), strangers.networks(1))


def test_probed_networks_too(inr_case, backbone) -> None:
    assert_batch_independent(backbone.reader(inr_case.family, probes=5), inr_case.networks())
    assert_batch_independent(backbone.editor(inr_case.family, probes=5), inr_case.networks())


def test_regular_and_ragged_agree_in_values_and_gradients(regular_case, backbone) -> None:
    for make in (backbone.reader, backbone.editor):
        metanetwork, networks = make(regular_case.family), regular_case.networks()
        regular = answer_and_gradients(metanetwork, networks)
        ragged = answer_and_gradients(metanetwork, Networks(networks.values.flatten(), networks.layouts))
        for name in regular:
            one, other = regular[name], ragged[name].reshape(regular[name].shape)
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11 * float(one.abs().max()), msg=name)


def test_probed_networks_agree_too(inr, backbone) -> None:
    for make in (backbone.reader, backbone.editor):
        metanetwork, networks = make(inr.family, probes=5), inr.networks()
        regular = answer_and_gradients(metanetwork, networks)
        ragged = answer_and_gradients(metanetwork, Networks(networks.values.flatten(), networks.layouts))
        for name in regular:
            torch.testing.assert_close(regular[name], ragged[name].reshape(regular[name].shape), rtol=1e-9, atol=1e-9)


def test_numbers_of_weights_are_parted_as_their_kernels(case) -> None:
    networks = case.networks()
    topology = Topology.of(networks, Forward())
    found = topology.weight_index(lambda layout: np.arange(layout.weights))
    layouts = networks.layouts[:1] if networks.regular else networks.layouts
    every = torch.cat([torch.arange(layout.weights) for layout in layouts])[:, None]
    parts = topology.by_kernel(every[None] if networks.regular else every)
    for index, part, kernels in zip(found, parts, topology.kernels(networks), strict=True):
        assert torch.equal(index, part.reshape(-1)) and len(index) == kernels.values.shape[-2]


def answer_and_gradients(metanetwork: torch.nn.Module, networks: Networks) -> dict[str, torch.Tensor]:
    """The answer, and the gradients of a fixed function of it in every parameter and in the networks read."""
    values = networks.values.detach().clone().requires_grad_()
    output = metanetwork(networks.with_values(values))
    answer = output.values if isinstance(output, Networks) else output
    weight = torch.randn(answer.numel(), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    named = {"networks": values, **dict(metanetwork.named_parameters())}
    gradients = torch.autograd.grad((answer.flatten() * weight).sum(), list(named.values()))
    return {"answer": answer.detach(), **dict(zip(named, gradients, strict=True))}
