"""Einstein sums of any number of factors: one after another, each summed over what no later factor and no output has.

Example:
    >>> spelled("b...i", 4), spelled("...j", 1)
    (['b', '1', '0', 'i'], ['j'])
"""

from collections.abc import Collection
from typing import Any

from neural_graphs.errors import LayoutError
from neural_graphs.tracing.ops.reduce import reduce
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.rules.linear import times
from neural_graphs.tracing.tape import Tape
from neural_graphs.tracing.values import TracedTensor


@rule("aten.einsum")
def einsum(call: OpCall, equation: str, tensors: list[TracedTensor], **_: Any) -> TracedTensor:
    inputs, arrow, out = equation.replace(" ", "").partition("->")
    labels = [spelled(each, len(value.dims)) for each, value in zip(inputs.split(","), tensors, strict=True)]
    wanted = spelled(out, len(call.shape))
    if not arrow or any(len(set(each)) < len(each) for each in labels):
        raise LayoutError(f"einsum {equation!r} has no rule: write its output, and take diagonals by themselves")
    found, own = tensors[0], labels[0]
    for place, (value, theirs) in enumerate(zip(tensors[1:], labels[1:], strict=True), start=1):
        later = {*wanted, *(label for each in labels[place + 1 :] for label in each)}
        found, own = _summed(call.tape, found, own, {*later, *theirs})
        value, theirs = _summed(call.tape, value, theirs, {*later, *own})
        last = place == len(tensors) - 1
        kept = wanted if last else [label for label in dict.fromkeys([*own, *theirs]) if label in later]
        found, own = times(call.tape, found, value, own, theirs, kept, "linear"), kept
    found, own = _summed(call.tape, found, own, wanted)
    return call.tape.permute(found, [own.index(label) for label in wanted])


def spelled(word: str, rank: int) -> list[str]:
    """A label per dimension; those that dots stand for are counted from the last one."""
    before, dots, after = word.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return [*before, *map(str, reversed(range(hidden))), *after]


def _summed(
    tape: Tape, x: TracedTensor, labels: list[str], wanted: Collection[str]
) -> tuple[TracedTensor, list[str]]:  # fmt: skip
    """Summed over what nothing else has."""
    over = [dim for dim, label in enumerate(labels) if label not in wanted]
    kept = [label for label in labels if label in wanted]
    return (reduce(tape, x, over, keep=False) if over else x), kept
