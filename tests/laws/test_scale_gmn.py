"""ScaleGMN: signs and scales of hidden neurons change no answer, edits move along; what has no factor is seen."""

import pytest
import torch

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import MeanNodes, MeanOutputs, Scales, Signs, SignsAndScales
from neural_graphs.nn.backbones.scale_equivariant import Factors
from neural_graphs.nn.spec import InputSpec
from neural_graphs.symmetry import Kind, PositiveScale, SignFlip, sample_symmetry
from neural_graphs.testing import assert_equivariant, assert_invariant, assert_learns, relative_error, symmetry_error
from tests.laws.conftest import Backbone, Case, scale_gmn

KINDS: dict[str, tuple[Kind, ...]] = {
    "Signs": (SignFlip,),
    "Scales": (PositiveScale,),
    "SignsAndScales": (SignFlip, PositiveScale),
}
SYMMETRIES: list[Factors] = [Signs(), Scales(), SignsAndScales()]


@pytest.fixture(params=SYMMETRIES, ids=lambda each: type(each).__name__)
def symmetry(request: pytest.FixtureRequest) -> Factors:
    return request.param


@pytest.fixture(params=[False, True], ids=["forwards", "both ways"])
def made(request: pytest.FixtureRequest, symmetry: Factors) -> Backbone:
    return scale_gmn("ScaleGMN", symmetry, reverse=request.param, depth=3)


def moving(case: Case, symmetry: Factors) -> list[Kind]:
    """The kinds of a symmetry that move something."""
    kinds = KINDS[type(symmetry).__name__]
    return [kind for kind in kinds if any(kind.movable(layout) for layout in case.layouts)]


def test_answers_do_not_change(
    runnable_case, made: Backbone, symmetry: Factors, generator: torch.Generator
) -> None:  # fmt: skip
    networks = runnable_case.networks()
    for pool in (MeanOutputs(), MeanNodes()):
        reader = made.reader(runnable_case.family, pool=pool)
        for kind in moving(runnable_case, symmetry):
            assert_invariant(reader, networks, generator, kind=kind)


def test_edits_move_along(runnable_case, made: Backbone, symmetry: Factors, generator: torch.Generator) -> None:
    editor = made.editor(runnable_case.family, initial=1.0)
    for kind in moving(runnable_case, symmetry):
        assert_equivariant(editor, runnable_case.networks(), generator, kind=kind)


def test_probed_networks_too(inr_case, made: Backbone, symmetry: Factors, generator: torch.Generator) -> None:
    for kind in moving(inr_case, symmetry):
        assert_invariant(made.reader(inr_case.family, probes=5), inr_case.networks(), generator, kind=kind)
        assert_equivariant(made.editor(inr_case.family, probes=5), inr_case.networks(), generator, kind=kind)


WRONG = [
    (Signs(), PositiveScale, "relu"), (Scales(), SignFlip, "tanh"), (Signs(), PositiveScale, "none"),
    (Scales(), SignFlip, "none"),
]  # fmt: skip


@pytest.mark.parametrize(("symmetry", "kind", "activation"), WRONG)
def test_no_other_factor_is_ignored(symmetry: Factors, kind: Kind, activation: str) -> None:
    """Test the test: what was not asked for shows."""
    layout = Layout.mlp((2, 5, 4, 3), activation)
    networks = Networks(0.4 * torch.randn(3, layout.size, dtype=torch.float64), layout)
    made = scale_gmn("ScaleGMN", symmetry)
    with pytest.raises(AssertionError, match=f"moved by a {kind.__name__}"):
        assert_invariant(made.reader(InputSpec.of([layout])), networks, kind=kind)
    with pytest.raises(AssertionError, match="edits do not move along"):
        assert_equivariant(made.editor(InputSpec.of([layout]), initial=1.0), networks, kind=kind)


def test_a_bias_in_a_matrix_breaks_it() -> None:
    """Test the test: Γ must not have one."""
    layout = Layout.mlp((2, 5, 4, 3), "relu")
    networks = Networks(0.4 * torch.randn(3, layout.size, dtype=torch.float64), layout)
    reader = scale_gmn("ScaleGMN", Scales()).reader(InputSpec.of([layout]))
    reader.encoder.biases.bias = torch.nn.Parameter(torch.full((8,), 0.1, dtype=torch.float64))
    with pytest.raises(AssertionError, match="moved by a PositiveScale"):
        assert_invariant(reader, networks, kind=PositiveScale)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_inputs_outputs_and_neurons_without_factors_keep_their_sizes(activation: str, symmetry: Factors) -> None:
    """Networks whose outputs are scaled compute something else, and so do those whose GELUs are."""
    layout = Layout.mlp((2, 5, 4, 3), activation)
    networks = Networks(0.4 * torch.randn(3, layout.size, dtype=torch.float64), layout)
    reader = scale_gmn("ScaleGMN", symmetry).reader(InputSpec.of([layout]))
    for layer in ("layers.2.weight", "layers.2.bias", *(["layers.0.bias"] if activation == "gelu" else [])):
        for factor in (2.0, -1.0):
            other = networks.with_values(networks.values.clone())
            other.tensor(layer).mul_(factor)  # a view
            assert relative_error(reader(other).detach(), reader(networks).detach()) > 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_a_small_scale_is_as_good_as_a_large_one(symmetry: Factors, seed: int) -> None:
    """Nothing explodes where weights are small: the way back along them has no inverse."""
    layout, generator = Layout.mlp((2, 5, 4, 3), "relu"), torch.Generator().manual_seed(seed)
    networks = Networks(torch.randn(3, layout.size, generator=generator, dtype=torch.float64), layout)
    made = scale_gmn("ScaleGMN", symmetry)
    with torch.no_grad():
        for module in (made.reader(InputSpec.of([layout])), made.editor(InputSpec.of([layout]))):
            small, usual = (module(networks.map(lambda values, scale=scale: scale * values)) for scale in (1e-6, 0.3))
            sizes = [float((x.values if isinstance(x, Networks) else x).abs().max()) for x in (small, usual)]
            assert sizes[0] < 10 * sizes[1]


def even_change(networks: Networks) -> Networks:
    """Every neuron's bias and weights times a wave of its bias's square, which no sign changes."""
    change = networks.with_values(networks.values.clone())
    for layer in range(2):
        bias = networks.tensor(f"layers.{layer}.bias")
        wave = torch.cos(2 * bias / bias.square().mean().sqrt())
        change.tensor(f"layers.{layer}.bias").mul_(wave)  # views of change
        change.tensor(f"layers.{layer}.weight").mul_(wave[..., None])
    return change


def test_editors_learn_what_signs_permit() -> None:
    layout = Layout.mlp((2, 4, 3), "sine")
    generator = torch.Generator().manual_seed(1)
    networks = Networks(0.3 * torch.randn(16, layout.size, generator=generator, dtype=torch.float64), layout)
    target = even_change(networks)
    symmetry = sample_symmetry(networks, generator, SignFlip)
    assert not torch.equal(symmetry.act(networks).values, networks.values)
    assert symmetry_error(even_change, networks, symmetry) < 1e-12
    assert_learns(scale_gmn("ScaleGMN", Signs()).editor(InputSpec.of([layout])), networks, target, tolerance=0.25)
