"""Layouts of modules that were traced before, so that networks built alike need not be traced again."""

from types import FunctionType
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks.program import Inputs, Program

ROOM = 1 << 26  # numbers in all the modules that are kept with their layouts
EVERY = set(vars(nn.Module()))  # the attributes that all modules have

Look = tuple[type, str, tuple[tuple[str, tuple[int, ...]], ...]]
Attributes = frozenset[tuple[str, Any]]
_KNOWN: dict[tuple[Look, Attributes], Layout] = {}  # in the order in which they were traced


def look_of(module: nn.Module) -> Look:
    """What one sees of a module: its class, how it prints, and the names and shapes of its tensors."""
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in module.state_dict().items())
    return type(module), str(module), shapes


def attributes_of(module: nn.Module) -> Attributes:
    """Functions, flags and whatever else a module and those in it hold beside tensors, by name."""
    return frozenset(
        (f"{prefix}.{name}".removeprefix("."), tuple(map(_said, pytree.tree_leaves(value))))
        for prefix, each in module.named_modules()
        for name, value in vars(each).items()
        if name not in EVERY
    )


def _said(value: object) -> Any:
    """What is equal for values that are alike: of a function its code and what that holds, of tensors nothing."""
    if isinstance(value, Tensor | ReferenceType):
        return None
    if isinstance(value, FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        return value.__code__, repr((value.__defaults__, value.__kwdefaults__, held))
    return repr(value)


def remember(module: nn.Module, layout: Layout) -> None:
    """Keep the layout of a module, all of what it returns being its answer, for others that are built alike."""
    key = look_of(module), attributes_of(module)
    _KNOWN.pop(key, None)
    _KNOWN[key] = layout
    while len(_KNOWN) > 1 and sum(kept.size for kept in _KNOWN.values()) > ROOM:
        del _KNOWN[next(iter(_KNOWN))]


def recall(module: nn.Module, example_input: Inputs | None) -> Layout | None:
    """The layout of a module that was traced before and is built alike; None where there was none.

    With an example input, that module must also give the same answer with the same tensors. Raises LayoutError where
    there is no example, and what was traced looks alike but has other attributes.
    """
    look, attributes = look_of(module), attributes_of(module)
    known = _KNOWN.get((look, attributes))
    if example_input is not None:
        return known if known is not None and answer_alike(known.program, module, example_input) else None
    others = [held for seen, held in _KNOWN if seen == look]
    if known is None and others:
        odd = sorted({name for name, _ in attributes ^ others[-1]})
        raise LayoutError(
            f"{type(module).__name__} looks like a module that was traced, but {', '.join(odd)} differs; trace it as "
            "well: Networks.from_modules(modules, example_input=x)"
        )
    return known


@torch.no_grad()
def answer_alike(program: Program, module: nn.Module, example_input: Inputs) -> bool:
    """Whether a program and a module give equal answers, number by number, with the tensors of the module."""
    state = module.state_dict()
    try:
        ours, theirs = (each.outputs(state, example_input) for each in (program, Program(module)))
        return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))
    except Exception:  # whatever the module raises: tracing says what is wrong with it
        return False
