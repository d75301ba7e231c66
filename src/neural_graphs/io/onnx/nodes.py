"""`Node`: one operator of an ONNX file."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Node:
    """One operator: what it reads ("" where an input is left out) and makes, and its attributes; `proto`: as stored."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    proto: Any = None

    def __str__(self) -> str:
        return f"{self.operator} → {self.outputs[0] if self.outputs else 'nothing'}"
