"""What a metanetwork cannot read, or cannot be made for, is refused in one line that says what to do."""

from collections.abc import Callable
from functools import partial

import jaxtyping
import pytest
import torch
from torch.nn.functional import cross_entropy

from neural_graphs import InputSpec, Layout, Networks, nn
from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.nn import baselines
from neural_graphs.nn.backbones.message_passing import MessagePassing
from neural_graphs.nn.backbones.scale_equivariant import ScaleEquivariant
from neural_graphs.nn.backbones.transformer import RelationalTransformer
from neural_graphs.nn.linear import GridPool
from neural_graphs.nn.run import capture
from tests.recorder import Recorder

LAYOUT = Layout.mlp((2, 6, 5, 1), "sine")
DEEPER = Layout.mlp((2, 6, 5, 5, 1), "sine")
READERS = [nn.NGGNN, nn.NGT, nn.Propagator, nn.SharedUNF, nn.ScaleGMN, nn.DWSNet, nn.UNF]
OTHERS = [nn.ProbeGen, baselines.SetNN, baselines.FlatMLP, baselines.StatNN, baselines.Inr2Vec]
EDITORS = [nn.NGGNNEditor, nn.NGTEditor, nn.PropagatorEditor, nn.SharedUNFEditor, nn.ScaleGMNEditor, nn.NFNEditor]
BACKBONES = [partial(MessagePassing, 8), RelationalTransformer, partial(ScaleEquivariant, nn.Signs(), 8)]
Kind = Callable[..., torch.nn.Module]


def made(kind: Kind, family: InputSpec, **options: int) -> torch.nn.Module:
    own = {"symmetry": nn.Signs()} if kind.__name__.startswith("ScaleGMN") else {}
    return kind(family, **own, **({} if kind in EDITORS else {"classes": 3}), **options)


def some(layout: Layout) -> Networks:
    return Networks(torch.randn(4, layout.size, generator=torch.Generator().manual_seed(0)), layout)


@pytest.fixture(autouse=True)
def as_users_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checks of annotations, which are there in tests only."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("kind", [*READERS, *OTHERS])
def test_tensors_and_networks_of_another_precision_are_refused(kind: Kind) -> None:
    reader, networks = made(kind, InputSpec.of([LAYOUT])).double(), some(LAYOUT)
    with pytest.raises(
        LayoutError, match=rf"^{kind.__name__} reads Networks, got a Tensor of shape \(4, {LAYOUT.size}"
    ):
        reader(networks.values)
    with pytest.raises(LayoutError, match=f"^{kind.__name__} reads Networks, got a list; make them"):
        reader([networks])
    exact = reader(networks.to(torch.float64))
    assert exact.shape == (4, 3) and torch.equal(reader(networks), exact)  # nothing is lost by more precision
    with pytest.raises(LayoutError, match=r"is of torch\.float32, these networks .* networks\.to\(torch\.float32\)"):
        reader.float()(networks.to(torch.float64))


@pytest.mark.parametrize("kind", [*READERS, *EDITORS])
def test_no_layers_are_refused(kind: Kind) -> None:
    with pytest.raises(ConfigError, match="depth 0; a metanetwork has at least one layer of one channel"):
        made(kind, InputSpec.of([LAYOUT]), depth=0)


@pytest.mark.parametrize(("kind", "heads"), [(nn.NGT, 0), (nn.NGT, 5), (nn.Propagator, 5)])
def test_heads_that_do_not_divide_are_refused(kind: Kind, heads: int) -> None:
    with pytest.raises(ConfigError, match=f"no(t a)? multiple of {heads} heads"):
        made(kind, InputSpec.of([LAYOUT]), heads=heads)


@pytest.mark.parametrize("kind", BACKBONES)
def test_edges_that_no_layer_has_are_refused(kind: Kind) -> None:
    with pytest.raises(ConfigError, match="choose one"):
        kind(outputs_only=True, update_edges=True)


@pytest.mark.parametrize("kind", [nn.Pool, GridPool])
def test_a_pool_that_does_not_say_how_it_pools_is_not_made(kind: type) -> None:
    with pytest.raises(TypeError, match=f"abstract class {kind.__name__}"):
        kind()


def by_hand(reader: nn.Metanetwork, networks: Networks, labels: torch.Tensor) -> torch.Tensor:
    return nn.mean_loss(reader, networks, labels, cross_entropy)[0]


def captured(reader: nn.Metanetwork, networks: Networks, labels: torch.Tensor) -> torch.Tensor:
    return nn.CapturedLoss(reader, cross_entropy)(networks, labels)[0]


@pytest.mark.parametrize("loss", [by_hand, captured])
@pytest.mark.parametrize("recorded", [False, True])
def test_losses_read_and_refuse_what_their_reader_does(
    loss: Callable[..., torch.Tensor], recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if recorded:
        monkeypatch.setitem(capture.RECORDERS, "cpu", Recorder)
    reader, networks, labels = nn.NGGNN(InputSpec.of([LAYOUT]), 3, width=8, depth=2), some(LAYOUT), torch.arange(4) % 3
    brief = networks.to(torch.bfloat16)
    assert torch.equal(loss(reader, brief, labels), loss(reader, brief.to(torch.float32), labels))
    with pytest.raises(LayoutError, match=r"these networks .* networks\.to\(torch\.float32\)"):
        loss(reader, networks.to(torch.float64), labels)
    with pytest.raises(LayoutError, match=r"reads Networks, got a Tensor"):
        loss(reader, networks.values, labels)
    with pytest.raises(ConfigError, match="at least one"):
        loss(reader, networks[:0], labels[:0])


@pytest.mark.parametrize("kind", [*READERS, *OTHERS, *EDITORS])
def test_what_is_no_family_is_refused(kind: Kind) -> None:
    for given in (LAYOUT, [LAYOUT]):
        with pytest.raises(
            LayoutError, match=rf"{kind.__name__} is made for an InputSpec.*got a {type(given).__name__};"
        ):
            made(kind, given)
    with pytest.raises(LayoutError, match="got a Layout"):
        kind(family=LAYOUT)


@pytest.mark.parametrize("kind", [*READERS, *OTHERS])
@pytest.mark.parametrize("classes", [0, -1])
def test_no_classes_are_refused(kind: Kind, classes: int) -> None:
    with pytest.raises(ConfigError, match=f"classes is {classes}: {kind.__name__} gives at least one answer"):
        kind(InputSpec.of([LAYOUT]), classes)


@pytest.mark.parametrize("kind", [*READERS, *EDITORS])
def test_deeper_networks_than_the_statistics_are_of_are_refused(kind: Kind) -> None:
    networks = some(LAYOUT)
    family = InputSpec.of([LAYOUT], nn.Standardise.measure(networks))
    reader = made(kind, family)
    reader(networks)
    with pytest.raises(
        LayoutError, match=r"2 → 6 → 5 → 5 → 1 · sine has 4 groups .* statistics of 3: train one for such"
    ):
        reader(some(DEEPER))
