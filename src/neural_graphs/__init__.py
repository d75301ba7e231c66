"""Metanetworks: networks that read other networks as graphs, and respect their symmetries by construction.

The public names are loaded on first use, so that ``neural-graphs --help`` does not wait for torch. To add a name, add
it to both lists below (type checkers and editors read the first, Python the second; a test compares them).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural_graphs.errors import NeuralGraphsError as NeuralGraphsError

_HOME = {
    "NeuralGraphsError": "errors",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'neural_graphs' has no attribute {name!r}")
    return getattr(import_module(f"neural_graphs.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
