"""Not more symmetric than it should be, nothing idle, and what a weight needs reaches it."""

from neural_graphs.networks import Networks
from neural_graphs.testing import assert_learns_identity, assert_not_too_symmetric, assert_nothing_idle


def test_inputs_and_outputs_have_an_order(case, backbone) -> None:
    assert_not_too_symmetric(backbone.reader(case.family), case.networks())
    assert_not_too_symmetric(backbone.editor(case.family), case.networks())


def test_every_parameter_matters(case, backbone) -> None:
    assert_nothing_idle(backbone.reader(case.family), case.networks())
    assert_nothing_idle(backbone.editor(case.family), case.networks())


def test_every_parameter_of_a_probed_reader_matters(inr_case, backbone) -> None:
    assert_nothing_idle(backbone.reader(inr_case.family, probes=5), inr_case.networks())


def test_editors_learn_to_return_what_they_read(inr, backbone) -> None:
    networks = Networks.cat([inr.networks(seed) for seed in range(6)])[:16]
    assert_learns_identity(backbone.editor(inr.family, sigma=0.5), networks, steps=120)
