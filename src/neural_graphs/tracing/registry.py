"""The registry of rules, and what a rule is told about the operator it stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from neural_graphs.tracing.tape import Tape


@dataclass(frozen=True)
class OpCall:
    """One use of an operator: the tape to write on, the operator's name, and the shapes it makes."""

    tape: Tape
    operator: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its only output."""
        return self.shapes[0]

    @property
    def short(self) -> str:
        """The operator's name without its namespace and overload."""
        return short(self.operator)


def short(operator: str) -> str:
    """`relu` of `aten.relu_.default`, and names without a namespace as they are."""
    return operator.split(".")[min(1, operator.count("."))].rstrip("_")


Rule: TypeAlias = Callable[..., Any]
RULES: dict[str, Rule] = {}
PLACES: set[str] = set()  # operators whose rules know what numbers mean that name places


def rule(*operators: str, places: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for operators, named as in `str(node.target)`: `@rule("aten.relu.default")`.

    It is called with an `OpCall` and the operator's own arguments, tensors as `TracedTensor`s, and returns a
    `TracedTensor`, or a list of them where the operator has several outputs. A name without an overload stands for all
    of them. Numbers that say which neurons were chosen fix these, unless the rule knows what to do with `places`.
    """

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        PLACES.update(operators if places else ())
        return function

    return register


def find(operator: str) -> Rule | None:
    """The rule for an operator: under its full name, or without the overload."""
    return RULES.get(operator) or RULES.get(operator.rpartition(".")[0])


def knows_places(operator: str) -> bool:
    """Whether the rule for an operator knows what numbers mean that name places."""
    return operator in PLACES or operator.rpartition(".")[0] in PLACES
