"""`forwarded`: how a class offers a method whose body lives in a file that imports the class.

No file imports, at its top or inside a function, one that imports it back. A few methods that people look for on the
class itself (`layout.to_networkx()`, `networks.run(x)`) still belong above it; they name their function here, which is
found when it is first called. Every such name is listed in `tests/test_floors.py`; add one there when you add one.
"""

from importlib import import_module
from typing import Any

_FOUND: dict[str, Any] = {}  # a plain dictionary: compilers see through it


def forwarded(name: str) -> Any:
    """The function of that name, below `neural_graphs`: `forwarded("io.graphs.to_pyg")`."""
    if name not in _FOUND:
        file, _, function = name.rpartition(".")
        _FOUND[name] = getattr(import_module(f"neural_graphs.{file}"), function)
    return _FOUND[name]
