"""Products by oneDNN are asked for only where they are exact, and torch's setting is as before afterwards."""

import threading
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import NGGNN, mean_loss
from neural_graphs.nn.run import microbatch, products
from neural_graphs.nn.spec import InputSpec


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    products.is_exact.cache_clear()
    before = products.SETTING.fp32_precision
    yield
    assert before == products.SETTING.fp32_precision and products._open == 0
    products.is_exact.cache_clear()


def exact(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr(products, "is_exact", lambda: answer)


def test_where_it_says_exact_products_are_exact() -> None:
    a, b = torch.randn(300, 200), torch.randn(200, 100)
    with products.by_onednn(a):
        error = (a @ b).double() - a.double() @ b.double()
    assert float(error.norm() / (a.double() @ b.double()).norm()) < 2e-6


def test_a_processor_that_rounds_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.Tensor.__matmul__

    def rounded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return real(a.bfloat16(), b.bfloat16()).float() if a.dtype == torch.float32 else real(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not products.is_exact()


@pytest.mark.parametrize("values", [torch.zeros(1, dtype=torch.float64), torch.zeros(1, device="meta")])
def test_other_numbers_and_devices_change_nothing(values: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    exact(monkeypatch, True)
    with products.by_onednn(values):
        assert products._open == 0


def test_whoever_chose_a_precision_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert not products.is_exact()
    finally:
        torch.set_float32_matmul_precision(before)
        products.SETTING.fp32_precision = "none"


def test_even_one_chosen_after_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    exact(monkeypatch, True)
    monkeypatch.setattr(products, "_setting", lambda: "tf32")
    with products.by_onednn(torch.zeros(1)):
        assert products._open == 0


def test_the_last_to_leave_restores_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    exact(monkeypatch, True)
    values, inside, leave = torch.zeros(1), threading.Event(), threading.Event()

    def other() -> None:
        with products.by_onednn(values):
            inside.set()
            leave.wait(10)

    before, thread = products.SETTING.fp32_precision, threading.Thread(target=other)
    with pytest.raises(ZeroDivisionError), products.by_onednn(values):
        thread.start()
        assert inside.wait(10) and products._open == 2
        raise ZeroDivisionError
    assert products.SETTING.fp32_precision == "bf16"
    leave.set()
    thread.join()
    assert before == products.SETTING.fp32_precision


def test_batches_in_pieces_are_multiplied_so(monkeypatch: pytest.MonkeyPatch) -> None:
    exact(monkeypatch, True)
    seen = []
    real = microbatch.by_onednn
    monkeypatch.setattr(microbatch, "by_onednn", lambda values: seen.append(values.shape) or real(values))
    layout = Layout.mlp((2, 5, 3))
    networks, reader = Networks(torch.randn(6, layout.size), layout), NGGNN(InputSpec.of([layout]), 3, 8)
    whole = F.cross_entropy(reader.read(networks), torch.zeros(6, dtype=torch.long))
    monkeypatch.setitem(microbatch.BUDGET, "cpu", 1)
    loss, _ = mean_loss(reader, networks, torch.zeros(6, dtype=torch.long), F.cross_entropy)
    torch.testing.assert_close(loss, whole)
    reader(networks).sum().backward()
    with torch.no_grad():
        reader(networks)
    assert seen == [networks.values.shape] * 2
