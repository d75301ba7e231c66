"""Layouts of modules that were traced before, so that networks built alike need not be traced again."""

from torch import nn

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.layouts import from_shapes
from neural_graphs.program import Inputs

Build = tuple[type, str, tuple[tuple[str, tuple[int, ...]], ...]]
_KNOWN: dict[Build, Layout] = {}


def build_of(module: nn.Module) -> Build:
    """How a module is built: its class, how it prints, and the names and shapes of its tensors."""
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in module.state_dict().items())
    return type(module), str(module), shapes


def remember(module: nn.Module, layout: Layout) -> None:
    """Keep the layout of a module, all of what it returns being its answer, for others that are built alike."""
    _KNOWN[build_of(module)] = layout


def layout_of(module: nn.Module, example_input: Inputs | None) -> Layout:
    """The layout of a module built like one that was traced before, traced now, or read off its tensor shapes.

    Raises LayoutError for a module whose layout its shapes do not tell.
    """
    from neural_graphs.tracing.walk import trace

    known = _KNOWN.get(build_of(module))
    if known is not None:
        return known
    if example_input is not None:
        return trace(module, example_input)
    try:
        return from_shapes({name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})
    except LayoutError as error:
        raise LayoutError(
            f"the layout of {type(module).__name__} cannot be read off its tensor shapes ({error}); trace it: "
            "Networks.from_modules(modules, example_input=x)"
        ) from error
