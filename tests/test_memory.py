"""Large graphs: the same values and gradients in less memory, and an error where even that is too much."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import MemoryNeeded, NeuralGraphsError
from neural_graphs.graph import memory
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import (
    NGGNN,
    NGT,
    MeanOutputs,
    Metanetwork,
    NGGNNEditor,
    NGTEditor,
    Propagator,
    PropagatorEditor,
    ScaleGMN,
    ScaleGMNEditor,
    Scales,
    SharedUNF,
)
from neural_graphs.nn.run import checkpointing as checkpointing
from neural_graphs.nn.run import memory as memory_estimate
from neural_graphs.nn.run import microbatch
from neural_graphs.nn.spec import InputSpec

CPU = torch.device("cpu")
LAYOUTS = [
    Layout.cnn((3, 4, 6, 5), kernels=(5, 3, 1), classes=3, residual=(-1, -1, 0)),
    Layout.cnn((3, 4, 4), kernels=(3, 5), classes=3),
]
FAMILY = InputSpec.of(LAYOUTS)
MODELS: dict[str, Callable[[], Metanetwork]] = {
    "NG-GNN": lambda: NGGNN(FAMILY, 3, width=8, depth=3, reverse=False, dropout=0.3),
    "NG-GNN both ways": lambda: NGGNN(FAMILY, 3, width=8, depth=3, dropout=0.3),
    "NG-T": lambda: NGT(FAMILY, 3, widths=(8, 6), attention=8, heads=2, hidden=(8, 6), depth=4, dropout=0.3),
    "Propagator": lambda: Propagator(FAMILY, 3, width=8, depth=3, heads=2, dropout=0.3),
    "SharedUNF": lambda: SharedUNF(FAMILY, 3, width=8, depth=3, dropout=0.3),
    "editing Propagator": lambda: PropagatorEditor(FAMILY, width=8, depth=3, heads=2),
    "ScaleGMN": lambda: ScaleGMN(FAMILY, 3, Scales(), width=8, depth=3, dropout=0.3),
    "editing ScaleGMN": lambda: ScaleGMNEditor(FAMILY, Scales(), width=8, depth=3),
    "editing NG-GNN": lambda: NGGNNEditor(FAMILY, width=8, depth=3),
    "editing NG-T": lambda: NGTEditor(FAMILY, widths=(8, 6), attention=8, heads=2, hidden=(8, 6), depth=3),
}


def networks(layouts: list[Layout]) -> Networks:
    generator = torch.Generator().manual_seed(0)
    values = [0.3 * torch.randn(1, layout.size, generator=generator, dtype=torch.float64) for layout in layouts]
    return Networks.cat([Networks(value, layout) for value, layout in zip(values, layouts, strict=True)])


BATCHES = {"regular": networks([LAYOUTS[0]] * 2), "mixed": networks(LAYOUTS)}


def saved(module: Metanetwork, batch: Networks) -> tuple[Tensor, dict[str, Tensor], int]:
    """The answer, all gradients (of the networks, too), and the bytes that wait for the backward pass."""
    waiting: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        waiting[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(5)  # of dropout
    values = batch.values.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        found = module(batch.with_values(values))
    answer = found.values if isinstance(found, Networks) else found
    module.zero_grad()
    answer.square().sum().backward()
    grads = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return answer.detach(), {"networks": values.grad, **grads}, sum(waiting.values())


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_recomputed_layers_give_the_same_and_keep_less(
    make: Callable[[], Metanetwork], batch: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module = make().double().train()
    answer, grads, bytes_kept = saved(module, batch)
    monkeypatch.setattr(checkpointing, "LARGE", {"cpu": 0})
    again, grads_again, fewer = saved(module, batch)
    assert torch.equal(again, answer)
    assert grads.keys() == grads_again.keys()
    for name, grad in grads.items():  # the same summands, in another order
        torch.testing.assert_close(grads_again[name], grad, rtol=1e-12, atol=1e-14 * float(grad.abs().max()), msg=name)
    assert fewer < 0.6 * bytes_kept


def test_recomputed_dropout_draws_the_numbers_of_its_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module, batch, labels = MODELS["NG-T"]().double().train(), BATCHES["regular"], torch.tensor([0, 2])

    def gradients() -> list[Tensor]:
        torch.manual_seed(3)
        module.zero_grad()
        microbatch.mean_loss(module, batch, labels, F.cross_entropy)[0].backward()
        return [p.grad.clone() for p in module.parameters() if p.grad is not None]

    monkeypatch.setattr(microbatch, "BUDGET", {"cpu": 1})  # a piece, and a generator, per network
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    expected = gradients()
    monkeypatch.setattr(checkpointing, "LARGE", {"cpu": 0})
    for found, grad in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(found, grad, rtol=1e-12, atol=1e-14 * float(grad.abs().max()))


def test_large_networks_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    module, used = MODELS["NG-GNN"]().double().eval(), []
    monkeypatch.setattr(microbatch, "BUDGET", {"cpu": 1})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(microbatch, "_pool", lambda workers: pytest.fail("a second network in memory"))
    monkeypatch.setattr(checkpointing, "LARGE", {"cpu": 0})
    with torch.no_grad():
        used.append(module(BATCHES["regular"]))
        torch.testing.assert_close(used[0], module.read(BATCHES["regular"]), rtol=1e-10, atol=1e-13)


# -- too large ---------------------------------------------------------------------------------------------------------

WORDS = Layout.mlp((2, 50_000, 768, 1))  # 38 million weights


def test_what_cannot_fit_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "available", lambda device: 8_000_000_000)
    module = NGGNN(InputSpec(2, 2, 1), 3)
    words = Networks(torch.zeros(1, 1).expand(1, WORDS.size), WORDS)
    monkeypatch.setattr(module, "embed", lambda batch: pytest.fail("it began to read"))
    message = r"1 network of 38,500,768 weights in all needs about \d{3}\.\d GB of memory and 8.0 GB are free on cpu"
    with pytest.raises(MemoryNeeded, match=message) as error:
        module(words)
    assert isinstance(error.value, NeuralGraphsError)
    assert "forward edges only" in str(error.value) and "smaller width" in str(error.value)
    assert "torch.no_grad" in str(error.value)
    with torch.no_grad(), pytest.raises(MemoryNeeded) as error:
        module(words)
    assert "torch.no_grad" not in str(error.value)


def test_small_batches_do_not_ask_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "available", lambda device: pytest.fail("asked"))
    MODELS["NG-GNN"]().double()(BATCHES["mixed"])


@pytest.mark.parametrize("free", [None, 10**15], ids=["unknown", "plenty"])
def test_enough_memory_lets_it_pass(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    monkeypatch.setattr(memory_estimate, "available", lambda device: free)
    monkeypatch.setattr(memory_estimate, "WORTH_ASKING", 0)
    assert MODELS["NG-GNN"]().double()(BATCHES["mixed"]).shape == (2, 3)


def test_the_estimate_knows_edges_gradients_and_recomputing(monkeypatch: pytest.MonkeyPatch) -> None:
    one, batch = networks(LAYOUTS[:1]), BATCHES["mixed"]
    forward = NGGNN(FAMILY, 3, reverse=False, pool=MeanOutputs())
    both = NGGNN(FAMILY, 3, pool=MeanOutputs())

    def needs(module: Metanetwork, given: Networks) -> int:
        return memory_estimate.bytes_needed(given, module.encoder.wiring, module.backbone.memory)

    assert 1.9 < needs(both, one) / needs(forward, one) < 2.1
    assert needs(both, networks(LAYOUTS[:1] * 2)) == 2 * needs(both, one)
    assert needs(both, batch) > needs(both, one) + needs(both, networks(LAYOUTS[1:]))  # ends and sums cost more
    kept = needs(both, batch)
    with torch.no_grad():
        assert needs(both, batch) < kept / 2
    monkeypatch.setattr(checkpointing, "LARGE", {"cpu": 0})
    assert needs(both, batch) < 0.7 * kept


# -- what there is -----------------------------------------------------------------------------------------------------


def test_this_machine_has_memory() -> None:
    free = memory.available(CPU)
    assert free is None or 1e7 < free < 1e14


def test_the_smallest_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_held", lambda: 7)
    monkeypatch.setattr(memory, "_machine", lambda: 1000)
    monkeypatch.setattr(memory, "_control_groups", lambda: iter([600, 800]))
    assert memory.available(CPU) == 607
    monkeypatch.setattr(memory, "_machine", lambda: None)
    monkeypatch.setattr(memory, "_control_groups", lambda: iter(()))
    assert memory.available(CPU) is None


@pytest.mark.parametrize("version", [1, 2])
def test_control_groups_above_this_process_are_read(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, texts = Path("/proc/self/cgroup"), {}
    root = tmp_path if version == 2 else tmp_path / "memory"
    limit, usage = (
        ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    cached = "inactive_file" if version == 2 else "total_inactive_file"
    texts[own] = "0::/outer/inner\n" if version == 2 else "4:cpu,memory:/outer/inner\n2:cpuset:/\n"
    texts |= {root / "outer" / limit: "1000\n", root / "outer" / usage: "900\n"}
    texts |= {root / "outer" / "memory.stat": f"anon 5\n{cached} 300\n"}
    texts |= {root / "outer" / "inner" / limit: "max\n", root / "outer" / "inner" / usage: "800\n"}
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_text", lambda path: texts.get(path, ""))
    assert list(memory._control_groups()) == [400]


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs the kernel to say how much is held")
def test_memory_that_nothing_uses_is_given_back() -> None:
    def pages() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])

    if not memory.keep_memory():
        pytest.skip("the C library keeps no memory")
    held = [torch.ones(25_000) for _ in range(1_000)]  # 100 MB in pieces, every tenth of which stays
    held = held[::10]
    before = pages()
    assert memory.give_back()
    assert 4096 * (before - pages()) > 50e6 and all(piece.sum() == 25_000 for piece in held)
