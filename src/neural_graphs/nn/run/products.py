"""Float32 matrix products by oneDNN on processors where that is as exact as torch's choice, and up to twice as fast."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

import torch
from torch import Tensor

SETTING = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # missing in the stubs
ROUNDING = 1e-5  # relative; float32 stays below 1e-6 here, bfloat16 makes 2e-3

_lock = Lock()
_open, _before = 0, "none"


@contextmanager
def by_onednn(values: Tensor) -> Iterator[None]:
    """Let oneDNN multiply inside, if values like these gain and lose nothing by it; any threads may be inside at once.

    Torch multiplies float32 by MKL, which uses half the width of some processors (AVX2 where there is AVX-512), and
    hands products to oneDNN only where fewer bits would do. Where there are no products of fewer bits oneDNN makes
    exact ones all the same, at full width. Whether it does is tried once (`is_exact`). A small product takes 10 µs
    longer, so this is for large ones. Whoever has set torch's precision already is left alone.
    """
    asked = values.dtype == torch.float32 and values.device.type == "cpu" and is_exact() and (_open or _unchosen())
    if asked:
        _enter()
    try:
        yield
    finally:
        if asked:
            _leave()


@cache
def is_exact() -> bool:
    """Whether oneDNN multiplies float32 here without rounding to fewer bits, and nobody has chosen otherwise."""
    if not torch.backends.mkldnn.is_available() or not _unchosen():
        return False
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    _enter()
    try:
        error = (a @ b).double() - a.double() @ b.double()
    finally:
        _leave()
    return float(error.norm()) < ROUNDING * 256**1.5


def _unchosen() -> bool:
    return _setting() in ("none", "ieee")


def _setting() -> str:
    found: str = SETTING.fp32_precision
    return found


def _enter() -> None:
    global _open, _before
    with _lock:
        if not _open:
            _before = _setting()
            SETTING.fp32_precision = "bf16"
        _open += 1


def _leave() -> None:
    global _open
    with _lock:
        _open -= 1
        if not _open:
            SETTING.fp32_precision = _before
