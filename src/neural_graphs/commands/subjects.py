"""What ``neural-graphs graph`` looks at: a network that was traced, or one that its tensors tell all about."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from neural_graphs.errors import CheckpointError, LayoutError
from neural_graphs.io import bare, read_checkpoint, read_tensors
from neural_graphs.io.foreign import in_order
from neural_graphs.io.formats import Tensors
from neural_graphs.layout import Conv, Layout
from neural_graphs.layout.builders import from_shapes
from neural_graphs.networks import Inputs, Networks
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.testing import assert_same_function, relative_error
from neural_graphs.tracing import trace
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.manifest import MANIFEST

Sizes = Sequence[tuple[tuple[int, ...], str]]
SIDE = 28  # of the images a CNN is run on, where nothing is said


class Subject(ABC):
    """A network with its layout, and a sentence that says where the layout comes from."""

    layout: Layout
    said: str

    @abstractmethod
    def prove(self, draws: int) -> float:
        """The largest relative change of an output under random symmetries.

        Raises AssertionError where it is more than rounding.
        """


def read(path: Path, module: str | None, sizes: Sizes | None, *, double: bool) -> Subject:
    """The network of a zoo, of a file with tensors only, or of any other checkpoint. Raises as `read_checkpoint`."""
    if (path / MANIFEST).is_file():
        zoo = Zoo(path)
        return Known(zoo.networks([0]), sizes, f"the first of a zoo's {len(zoo):,} networks, all of one layout")
    if module is None and Tensors().recognises(path):
        return Known(_by_shapes(path), sizes, "an MLP or plain CNN, read off its tensors' shapes as a ReLU network")
    found, inputs = read_checkpoint(path, module, None if sizes is None else example_inputs(sizes))
    return Traced(found.double() if double else found, _double(inputs) if double else inputs)


class Traced(Subject):
    """A module, traced."""

    def __init__(self, module: nn.Module, inputs: Inputs):
        self.module, self.inputs = module, inputs
        self.layout = trace(module, inputs)
        self.said = f"{type(module).__name__}, traced"

    def prove(self, draws: int) -> float:
        assert_same_function(self.module, self.layout, self.inputs, draws=draws)
        return _largest_change(Networks.from_modules([self.module], self.layout), self._run, draws=1)

    def _run(self, networks: Networks) -> list[Tensor]:
        assert self.layout.program is not None
        return self.layout.program.outputs(networks.state_dicts()[0], self.inputs)


class Known(Subject):
    """A network of a known kind, that runs without a module."""

    def __init__(self, networks: Networks, sizes: Sizes | None, said: str):
        self.networks, self.layout, self.said = networks.to(torch.float64), networks.layout, said
        given = None if sizes is None else example_inputs(sizes)[0].double()
        self.inputs = _example(self.layout) if given is None else given

    def prove(self, draws: int) -> float:
        change = _largest_change(self.networks, self._run, draws)
        assert change < 1e-10, f"the outputs change by {change:.1e} of the largest one"
        return change

    def _run(self, networks: Networks) -> list[Tensor]:
        try:
            return [networks.run(self.inputs)]
        except RuntimeError as error:  # of torch: shapes that do not fit
            sizes = "x".join(map(str, self.inputs.shape))
            raise CheckpointError(f"{self.layout} does not take inputs of sizes {sizes}; give --input") from error


def _largest_change(networks: Networks, run: Callable[[Networks], list[Tensor]], draws: int) -> float:
    """The largest change of an output under random symmetries, relative to its largest value."""
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    with torch.no_grad():
        before = run(networks)
        for _ in range(draws):
            after = run(NeuronPermutation.sample(networks.layout, generator, missing_ok=True).act(networks))
            worst = max(worst, *(relative_error(a.double(), b.double()) for a, b in zip(after, before, strict=True)))
    return worst


def _by_shapes(path: Path) -> Networks:
    """The network of a file with tensors only, layer by layer by the numbers in their names."""
    tensors = bare(read_tensors(path))
    shapes = {name: tuple(tensors[name].shape) for name in in_order(tensors)}
    try:
        layout = from_shapes(shapes)
    except LayoutError as error:
        raise CheckpointError(
            f"{path} holds tensors of a network that their shapes do not tell ({error}); give its --module and --input"
        ) from error
    return Networks.from_state_dicts([tensors], layout, [str(path)])


def example_inputs(sizes: Sizes) -> tuple[Tensor, ...]:
    """Random numbers of these sizes, or 0, 1, 2, … for whole numbers."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(shape, generator=generator) if kind == "float32" else torch.arange(prod(shape)).reshape(shape)
        for shape, kind in sizes
    )


def _example(layout: Layout) -> Tensor:
    """Random points for an MLP, or a random image for a CNN, in double precision."""
    inputs = layout.groups[0].size
    image = any(isinstance(block.operator, Conv) for block in layout.blocks)
    return example_inputs([((1, inputs, SIDE, SIDE) if image else (8, inputs), "float32")])[0].double()


def _double(inputs: Inputs) -> Inputs:
    """The same inputs with their floating-point tensors in double precision."""
    return pytree.tree_map(
        lambda each: each.double() if isinstance(each, Tensor) and each.is_floating_point() else each, inputs
    )
