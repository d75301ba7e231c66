"""Metanetworks of linear layers as modules: channels, pieces, configurations, numbers of parameters, refusals."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from neural_graphs import InputSpec, Layout, Networks, assert_equivariant, assert_invariant
from neural_graphs.errors import ConfigError, LayoutError, MemoryNeeded
from neural_graphs.layout.equivariant_maps import EquivariantMap
from neural_graphs.layout.grids import Grid, grids
from neural_graphs.nn import NFN, NFT, UNF, DWSNet, DWSNetEditor, EquivariantLinear, NFTEditor, Standardise
from neural_graphs.nn.linear import Maps, Neighbours
from neural_graphs.nn.linear.layer import diagonal, filled
from neural_graphs.nn.run import memory
from neural_graphs.nn.run.microbatch import BUDGET, mean_loss, pieces
from neural_graphs.tasks.runs import build
from tests.laws.intricate import INTRICATE
from tests.linear.models import EDITORS, READERS, built

LAYOUT = Layout.mlp((2, 6, 5, 3), "tanh")
INR = Layout.mlp((2, 32, 32, 1), "sine")


def draw(layout: Layout = LAYOUT, count: int = 4, channels: int | None = None) -> Networks:
    shape = (count, layout.size) if channels is None else (count, layout.size, channels)
    return Networks(torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64), layout)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("reader", READERS)
def test_three_channels_are_read(reader: str) -> None:
    networks = draw(channels=3)
    module = built(READERS[reader], InputSpec.of([LAYOUT], channels=3))
    assert_invariant(module, networks)
    with pytest.raises(LayoutError, match="have 1 channels per number, this metanetwork reads 3"):
        module(draw())


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("editor", EDITORS)
def test_editors_return_as_many_channels_as_asked(editor: str, channels: int) -> None:
    networks = draw(channels=3)
    module = built(EDITORS[editor], InputSpec.of([LAYOUT], channels=3), channels=channels)
    assert module(networks).values.shape == (networks.values.shape[:2] if channels == 1 else (4, LAYOUT.size, 2))
    assert_equivariant(module, networks)


def test_standardised_numbers_are_those_of_standardise() -> None:
    networks = draw()
    module = built(READERS["DWSNet"], InputSpec.of([LAYOUT], Standardise.measure(networks)))
    values = module.encoder.cut.join(module.encoder(networks), LAYOUT, 1)[..., 0]
    for name in LAYOUT.slices:
        own = networks.tensor(name)
        expected = ((own - own.mean()) / own.std()).flatten(1)
        torch.testing.assert_close(values[:, LAYOUT.slices[name]], expected, rtol=1e-6, atol=1e-6)  # float32 figures
    assert_invariant(module, networks)


def test_numbers_that_nothing_reads_stay_unchanged() -> None:
    layout = INTRICATE["tied recurrence"]
    edit = built(EDITORS["UNF"], InputSpec.of([layout]))(draw(layout))
    assert (edit.tensor("positions") == 0).all()
    changed = {name for name in layout.slices if (edit.tensor(name) != 0).all()}
    assert changed == {*layout.slices} - {"positions"}


def test_pieces_have_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    module, networks, labels = built(READERS["DWSNet"], InputSpec.of([LAYOUT])), draw(count=6), torch.arange(6) % 3
    whole = torch.autograd.grad(F.cross_entropy(module.read(networks), labels), list(module.parameters()))
    monkeypatch.setitem(BUDGET, "cpu", module.numbers(networks))
    assert len(pieces(module, networks)) == 6
    loss, _ = mean_loss(module, networks, labels, F.cross_entropy)
    for one, other in zip(whole, torch.autograd.grad(loss, list(module.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)


def test_wide_layers_are_run_on_few_pieces() -> None:
    networks = Networks(torch.zeros(128, INR.size), INR)
    assert len(pieces(NFN(InputSpec.of([INR]), 10), networks)) <= 4
    assert len(pieces(DWSNet(InputSpec.of([INR]), 10), networks)) >= 4


@pytest.mark.parametrize("name", ["reader", "editor"])
def test_second_derivatives_of_attention(name: str) -> None:
    torch.manual_seed(0)  # differences that step over a corner of a ReLU are no derivatives
    family, networks = InputSpec.of([LAYOUT]), draw(count=1)
    module = NFT(family, 3, 4, 1, 2) if name == "reader" else NFTEditor(family, 4, 1, 2)

    def loss(values: Tensor) -> Tensor:
        found = module.double()(networks.with_values(values))
        return (found.values if isinstance(found, Networks) else found).square().sum()

    def slope(at: Tensor) -> Tensor:
        return torch.autograd.grad(loss(at), at, create_graph=True)[0]

    values, way = networks.values.clone().requires_grad_(), torch.randn_like(networks.values)
    with sdpa_kernel(SDPBackend.MATH):
        (found,) = torch.autograd.grad(slope(values), values, way)
        ends = [slope((values + step * way).detach().requires_grad_()).detach() for step in (1e-5, -1e-5)]
    largest = float(found.abs().max())
    assert largest > 0
    torch.testing.assert_close(found, (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-5 * largest)


def test_a_network_has_an_embedding_and_an_edit_has_none() -> None:
    module = built(READERS["UNF"], InputSpec.of([LAYOUT]))
    assert module.embed(draw()).shape == (4, 5 * sum(grid.features for grid in grids(LAYOUT)))
    assert_invariant(module.embed, draw())
    with pytest.raises(ConfigError, match="has no embedding"):
        built(EDITORS["UNF"], InputSpec.of([LAYOUT])).embed(draw())


def test_configurations_name_them() -> None:
    init = {"classes": 3, "width": 4, "depth": 2, "maps": {"class_path": "neural_graphs.nn.linear.Neighbours"}}
    module = build({"class_path": "neural_graphs.nn.UNF", "init_args": init}, InputSpec.of([LAYOUT]))
    assert isinstance(module, UNF) and module.double()(draw()).shape == (4, 3)
    with pytest.raises(ConfigError, match="depth 0"):
        DWSNet(InputSpec.of([LAYOUT]), 3, depth=0)
    with pytest.raises(ConfigError, match="at least one number"):
        DWSNetEditor(InputSpec.of([LAYOUT]), channels=0)


def test_specifications_tell_a_layout_and_earlier_ones_do_not() -> None:
    spec = InputSpec.of([Layout.mlp((2, 4, 1)), LAYOUT])
    assert spec.layout == LAYOUT and InputSpec.from_json(spec.to_json()) == spec
    former = replace(spec, layout=None)
    assert "layout" not in former.to_json() and InputSpec.from_json(former.to_json()) == former
    with pytest.raises(LayoutError, match=r"make it by InputSpec.of\(layouts\)"):
        DWSNet(former, 3)


def test_vocabularies_are_too_many_features() -> None:
    words = Layout.mlp((3000, 8, 3000))
    with pytest.raises(LayoutError, match=r"more than 300,000,000; permute fixed places, too"):
        DWSNet(InputSpec.of([words]), 2, width=8)
    assert parameters(NFN(InputSpec.of([words]), 2, width=8, hidden=())) < 100_000


def test_numbers_of_parameters() -> None:
    """For 2 → 32 → 32 → 1: an output of one place makes 5 of the 62 maps of NP coincide with others."""
    layers = [EquivariantLinear(grids(INR, ends), 1, 1) for ends in (False, True)]
    assert [sum(w.numel() for into in layer.into for w in into.weights) for layer in layers] == [75, 57]
    assert parameters(EquivariantLinear(grids(INR), 1, 1, Neighbours())) < parameters(layers[0])
    assert parameters(DWSNet(InputSpec.of([INR]), 10)) == 241_226
    assert parameters(NFN(InputSpec.of([INR]), 10)) == 41_473_322


class Nothing(Maps):
    """No map at all."""

    def keeps(self, source: Grid, target: Grid, each: EquivariantMap) -> bool:
        return False


def test_a_layer_without_maps_writes_constants() -> None:
    layer = EquivariantLinear(grids(LAYOUT), 1, 2, Nothing())
    assert not [weight for into in layer.into for weight in into.weights]
    values = [torch.randn(3, *grid.places.shape) for grid in grids(LAYOUT)]
    for found, into, grid in zip(layer(values), layer.into, grids(LAYOUT), strict=True):
        assert torch.equal(found, into.biases[0].expand(3, *grid.sizes, 2 * grid.features))
    with pytest.raises(TypeError, match="abstract"):
        EquivariantLinear(grids(LAYOUT), 1, 2, Maps())


def test_filling_a_diagonal_is_the_transpose_of_reading_it() -> None:
    for classes, shape in {
        (0, 0): (3, 3),
        (0, 1, 0): (3, 2, 3),
        (0, 1, 0, 1): (3, 2, 3, 2),
        (0, 0, 1, 0): (2, 2, 3, 2),
    }.items():
        x = torch.randn(2, *shape, 4, dtype=torch.float64)
        read = diagonal(x, classes)
        written = torch.randn(read.shape, dtype=torch.float64)
        torch.testing.assert_close((read * written).sum(), (x * filled(written, classes)).sum(), rtol=1e-12, atol=1e-12)


def test_what_cannot_fit_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    words = Layout.mlp((2, 50_000, 768, 1))  # 38 million weights
    module = UNF(InputSpec.of([words]), 3)
    monkeypatch.setattr(memory, "available", lambda device: 8_000_000_000)
    monkeypatch.setattr(module, "encode", lambda batch: pytest.fail("it began to read"))
    networks = Networks(torch.zeros(1, 1).expand(1, words.size), words)
    with pytest.raises(
        MemoryNeeded, match=r"38,500,768 weights in all needs about \d\d\.\d GB .* smaller width, reading"
    ):
        module(networks)


@pytest.mark.parametrize("name", ["DWSNet with norms", "NFN-NP", "NFT", "UNF"])
def test_the_estimate_of_memory_is_near_what_is_kept(name: str) -> None:
    """Between what waits for the backward pass and three times as much."""
    layout = Layout.mlp((2, 40, 40, 1))
    module, networks = (
        built(READERS[name], InputSpec.of([layout])),
        Networks(torch.rand(8, layout.size).double(), layout),
    )
    waiting: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        waiting[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        answer = module(networks)  # noqa: F841  # its graph holds what is counted
    kept = sum(waiting.values()) - sum(p.nbytes for p in module.parameters())
    assert kept < module.bytes_needed(networks) < 3 * kept
