"""Index tensors of mixed batches: the neurons and numbers they stand for, what is kept, what a step copies."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_graphs import InputSpec, Layout, Networks
from neural_graphs.errors import LayoutError
from neural_graphs.graph import AllPairs, Bidirectional, Forward, Looped, Topology, Wiring, batch_index
from neural_graphs.graph.batch_index import BatchIndex
from neural_graphs.graph.bounded import Bounded
from neural_graphs.graph.index import bias_indices, output_indices
from neural_graphs.layout.strides import End
from neural_graphs.nn import NGGNN, NGT, CanonicalSigns, Metanetwork, NGGNNEditor, NGTEditor
from neural_graphs.nn.run import microbatch
from tests.laws.intricate import INTRICATE
from tests.test_constants import SMALL, WAITS, Operators, step

CPU = torch.device("cpu")
LAYOUTS = [
    Layout.mlp((2, 5, 3, 1), "sine"),
    Layout.cnn((1, 3, 4), (3, 5), 2, places=(2, 2)),
    Layout.cnn((2, 4, 4), (3, 1), 3, residual=(-1, 0)),
    *INTRICATE.values(),
]
WIRINGS = [Forward(), Bidirectional(), Looped(), AllPairs(), AllPairs(2)]
MANY = [Layout.mlp((2, a, b, 2), "tanh") for a in (3, 4, 5) for b in (3, 6)]
MANY += [Layout.cnn((2, a, 4), (3, b), 2, activations="tanh", residual=(-1, -1)) for a in (3, 5) for b in (1, 3)]
MODULES: dict[str, Callable[[InputSpec], Metanetwork]] = {
    "NG-GNN": lambda spec: NGGNN(spec, 3, width=8, signs=True),
    "NG-GNN both ways": lambda spec: NGGNN(spec, 3, width=8, reverse=True),
    "NG-T": lambda spec: NGT(spec, 3, **SMALL),  # type: ignore[arg-type]
    "NG-T all pairs": lambda spec: NGT(spec, 3, wiring=AllPairs(2), **SMALL),  # type: ignore[arg-type]
    "NG-GNN editor": lambda spec: NGGNNEditor(spec, width=8),
    "NG-T editor": lambda spec: NGTEditor(spec, **SMALL),  # type: ignore[arg-type]
}


def draw(layouts: list[Layout]) -> Networks:
    return Networks.cat([Networks(torch.randn(1, layout.size, dtype=torch.float64), layout) for layout in layouts])


def fresh(layouts: tuple[Layout, ...], wiring: Wiring, device: torch.device = CPU) -> BatchIndex:
    """An index that nothing kept."""
    made: BatchIndex = batch_index.batch_index.__wrapped__(layouts, wiring, device)  # type: ignore[attr-defined]
    return made


# -- what the indices say ---------------------------------------------------------------------------------------------


def assert_chosen(index: BatchIndex, end: End, edges: slice, expected: np.ndarray) -> None:
    """Of these edges those with an output at that end are chosen, with their neurons."""
    every, chosen, some = index.edges, index.chosen[end], index.at_outputs[end]
    assert torch.equal(some.source, every.source[chosen]) and torch.equal(some.target, every.target[chosen])
    assert torch.equal(some.in_degree[:, 0], torch.bincount(some.target, minlength=len(index.network)).double())
    here = (chosen >= edges.start) & (chosen < edges.stop)
    assert (chosen[here].numpy() == edges.start + np.flatnonzero(expected)).all()
    assert here.sum() == expected.sum()


def assert_stands_for(index: BatchIndex, layouts: tuple[Layout, ...], wiring: Wiring) -> None:
    """Every network alone, moved to its place, says the same as the batch."""
    neuron = edge = weight = number = 0
    outputs = []
    for place, layout in enumerate(layouts):
        alone = Topology.of(Networks(torch.zeros(1, layout.size), layout), wiring)
        count, edges = layout.neurons, sum(block.size for block in wiring.edge_blocks(layout))
        here, at = slice(neuron, neuron + count), slice(edge, edge + edges)
        source, target = (
            np.concatenate(each) for each in zip(*(b.ends for b in wiring.edge_blocks(layout)), strict=True)
        )
        assert (index.network[here] == place).all() and index.sizes[place] == count
        assert (index.edges.source[at].numpy() == source + neuron).all()
        assert (index.edges.target[at].numpy() == target + neuron).all()
        assert torch.equal(index.edges.in_degree[here], alone.in_degree)
        assert torch.equal(index.is_output[here], alone.is_output())
        outputs.append(torch.from_numpy(output_indices(layout)) + neuron)
        if index.reverse is not None:
            assert torch.equal(index.reverse[at], alone.reverse_index() + edge)
        first = torch.from_numpy(wiring.weight_indices(layout)[: layout.weights])
        assert torch.equal(index.weight_edges[weight : weight + layout.weights], first + edge)
        biases = torch.from_numpy(bias_indices(layout))
        assert torch.equal(index.has_bias[here, 0], biases >= 0)
        assert torch.equal(index.biases[here], torch.where(biases >= 0, biases + number, 0))
        both: dict[End, np.ndarray] = {"source": source, "target": target}
        for end, ends in both.items():
            assert_chosen(index, end, at, np.isin(ends, output_indices(layout)))
        neuron, edge, weight, number = neuron + count, edge + edges, weight + layout.weights, number + layout.size
    assert torch.equal(index.outputs, torch.cat(outputs))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=5), st.sampled_from(WIRINGS))
def test_the_index_of_a_batch_is_that_of_each_network_moved(layouts: list[Layout], wiring: Wiring) -> None:
    assert_stands_for(fresh(tuple(layouts), wiring), tuple(layouts), wiring)


def test_an_index_that_forgets_to_move_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = tuple(LAYOUTS[:2])
    monkeypatch.setattr(batch_index.LongAxis, "join", lambda self, parts, networks=None: np.concatenate(parts))
    with pytest.raises(AssertionError):
        assert_stands_for(fresh(layouts, Looped()), layouts, Looped())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LAYOUTS), min_size=2, max_size=5, unique=True), st.sampled_from(WIRINGS))
def test_kernels_and_edges_of_a_batch_are_those_of_each_network(layouts: list[Layout], wiring: Wiring) -> None:
    networks = draw(layouts)
    topology, marks = Topology.of(networks, wiring), torch.rand(sum(layout.weights for layout in layouts), 1).double()
    loop, absent = torch.rand(2, 1).double()
    kernels, by_kernel = topology.kernels(networks), topology.by_kernel(marks)
    edges = topology.arrange([mark + copy for copy in range(wiring.copies) for mark in by_kernel], loop, absent)
    used, edge, weight = {each.shape: 0 for each in kernels}, 0, 0
    for vector, layout in zip(networks.vectors(), layouts, strict=True):
        one = Networks(vector[None], layout)
        alone, own = Topology.of(one, wiring), marks[None, weight : weight + layout.weights]
        for piece, mark in zip(alone.kernels(one), alone.by_kernel(own), strict=True):
            place = next(place for place, each in enumerate(kernels) if each.shape == piece.shape)
            here = slice(used[piece.shape], used[piece.shape] + len(piece.groups))
            assert torch.equal(kernels[place].values[here], piece.values[0])
            assert torch.equal(kernels[place].groups[here], piece.groups)
            assert torch.equal(by_kernel[place][here], mark[0])
            used[piece.shape] = here.stop
        pieces = [mark + copy for copy in range(wiring.copies) for mark in alone.by_kernel(own)]
        found = alone.arrange(pieces, loop, absent)
        assert torch.equal(edges[edge : edge + found.shape[1]], found[0])
        assert torch.equal(topology.weights(edges)[weight : weight + layout.weights], alone.weights(found)[0])
        edge, weight = edge + found.shape[1], weight + layout.weights
    assert used == {each.shape: len(each.groups) for each in kernels} and edge == len(edges)


# -- what is kept -----------------------------------------------------------------------------------------------------


class Lump:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_what_comes_again_is_kept_apart_from_what_is_drawn_at_random() -> None:
    made: list[int] = []

    def make(number: int) -> Lump:
        made.append(number)
        return Lump(10)

    kept = Bounded(make, room=30)
    for epoch in range(5):
        for number in (1, 2):  # a val split
            kept(number)
            kept(number)  # within a step
        for number in range(100 * epoch + 10, 100 * epoch + 60):  # batches drawn at random
            kept(number)
        assert kept.first.taken <= 30 and kept.second.taken <= 30
    assert made.count(1) == made.count(2) == 2  # once, and once more when they came back
    assert all(made.count(number) == 1 for number in made if number > 9)


def test_the_last_result_stays_however_large() -> None:
    kept = Bounded(lambda size: Lump(size), room=30)
    assert kept(50) is kept(50)
    assert kept(60) is kept(60) and kept.first.taken == 60


def test_threads_that_ask_at_once_get_equal_results_and_memory_is_counted_once() -> None:
    gate = threading.Barrier(4)

    def make(number: int) -> Lump:
        gate.wait()  # all four are making it
        return Lump(10)

    kept, found = Bounded(make, room=100), []
    threads = [threading.Thread(target=lambda: found.append(kept(1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and kept.first.taken == 10 and kept(1) in found


# -- what a step does -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_further_steps_on_a_mixed_batch_upload_nothing_and_wait_for_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, networks = MODULES[name](InputSpec.of(MANY)).double(), draw(MANY)
    step(module, networks)

    def upload(*_: object, **__: object) -> None:
        raise AssertionError("an index table was made again")

    for maker in ("from_numpy", "tensor", "as_tensor"):
        monkeypatch.setattr(torch, maker, upload)
    monkeypatch.setattr(batch_index, "upload", upload)
    with Operators() as operators:
        step(module, networks)
    assert not WAITS & operators.seen.keys()


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A pretended device, to which copies can be counted."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know such a device
    return torch.device("meta")


def uploads(run: Callable[[], Any]) -> int:
    """How many copies to a device there are."""
    with Operators() as operators:
        run()
    return operators.seen["_to_copy(device)"]


@pytest.mark.parametrize("name", MODULES)
def test_a_fresh_batch_is_uploaded_in_as_few_copies_whatever_its_size(name: str, meta: torch.device) -> None:
    module = MODULES[name](InputSpec.of(MANY)).double().to(meta)
    step(module, draw(MANY).to(meta))  # which makes what depends on the metanetwork alone
    few, many = draw([MANY[0], MANY[-1]]).to(meta), draw([*reversed(MANY), *MANY, *MANY]).to(meta)
    found = [uploads(lambda batch=batch: step(module, batch)) for batch in (few, many)]
    assert 0 < found[0] == found[1] <= 8
    assert uploads(lambda: step(module, many)) == 0


@pytest.mark.parametrize("name", MODULES)
def test_a_batch_prepared_in_another_thread_is_read_without_copies(
    name: str, meta: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = MODULES[name](InputSpec.of(MANY)).double().to(meta)
    module.read(draw(MANY).to(meta))
    batch = draw([*MANY[2:], *MANY]).to(meta)
    monkeypatch.setattr(microbatch, "BUDGET", {"meta": 5 * module.numbers(batch)})
    assert {cut.stop - cut.start for cut in microbatch.pieces(module, batch)} > {1}  # regular and mixed pieces
    thread = threading.Thread(target=lambda: microbatch.prepare(module, batch))
    thread.start()
    thread.join()
    with torch.no_grad():
        assert uploads(lambda: module(batch)) == 0
        assert uploads(lambda: module(draw([*MANY, *MANY[2:]]).to(meta))) > 1  # one that nobody prepared


def test_layouts_a_metanetwork_has_no_room_for_are_refused_ahead_of_time() -> None:
    module = NGGNN(InputSpec.of(MANY[:2]), 3, width=8)
    with pytest.raises(LayoutError, match="positions for"):
        microbatch.prepare(module, draw([Layout.mlp((3, 4, 2), "tanh"), Layout.mlp((3, 5, 2), "tanh")]))


def test_signs_of_a_mixed_batch_are_those_of_each_network() -> None:
    layouts = [*LAYOUTS[:3], *MANY]
    batch, signs = draw(layouts), CanonicalSigns(missing_ok=True)
    for found, vector, layout in zip(signs(batch).vectors(), batch.vectors(), layouts, strict=True):
        assert torch.equal(found, signs(Networks(vector[None], layout)).values[0])
