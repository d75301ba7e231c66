"""Not more symmetric than it should be, nothing idle, and what a weight needs reaches it."""

import torch

from neural_graphs.family import Family
from neural_graphs.layout import Layout
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


def test_editors_learn_to_return_what_they_read(backbone) -> None:
    layout = Layout.mlp((2, 4, 3), activation="sine")
    values = torch.randn(16, layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    editor = backbone.editor(Family.of([layout]), sigma=0.5)
    assert_learns_identity(editor, Networks(0.3 * values, layout))
