"""Tensors from files of other projects: read without running code from them, and put in order by their names."""

import re
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.io.tensors import read_tensors


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, see `read_tensors`; errors do not name it: the list of skipped files does."""
    try:
        return read_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"it {str(error).removeprefix(f'{path} ')}") from error


def place(layer: str) -> tuple[bool, list[int]]:
    """Where a layer or a tensor comes by the numbers in its name, as a key to sort by; those without one come last."""
    numbers = [int(number) for number in re.findall(r"\d+", layer)]
    return not numbers, numbers


def in_order(names: Iterable[str]) -> list[str]:
    """Tensors layer by layer by the numbers in their names, weights before biases (safetensors keeps no order).

    They stay as they are where a name has no number.
    """
    names = list(names)
    if not all(re.search(r"\d", name) for name in names):
        return names
    return sorted(names, key=lambda name: (place(name), not name.endswith("weight")))
