"""`Networks`: the parameters of a batch of networks, one flat vector each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, LayoutError
from neural_graphs.layout import Layout, Parameter
from neural_graphs.layout.forwarding import forwarded
from neural_graphs.networks.program import Inputs, Program

StateDict = Mapping[str, Tensor]


class Networks:
    """The parameters of a batch of networks with their layouts: a vector space over the same layouts.

    `values` is `(networks, size)` where all networks share one `Layout` (regular), else one long vector `(total,)` with
    the networks one after another (mixed); `size` numbers each, in `state_dict` order. A trailing axis of channels
    (parameter, gradient, momentum, …) is optional: `(networks, size, channels)` or `(total, channels)`.
    Raises LayoutError where values and layouts do not fit.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> from torch import nn
        >>> modules = [nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)) for _ in range(5)]
        >>> networks = ng.Networks.from_modules(modules)
        >>> networks.values.shape, networks.run(torch.rand(7, 2)).shape
        (torch.Size([5, 33]), torch.Size([5, 7, 1]))
        >>> list((networks[:3] + 0.5 * networks[2:]).state_dicts()[0])
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, values: Tensor, layouts: Layout | Sequence[Layout]):
        self.values = values
        self._shared = layouts if isinstance(layouts, Layout) else None
        self._layouts = None if isinstance(layouts, Layout) else tuple(layouts)
        expected = layouts.size if isinstance(layouts, Layout) else sum(layout.size for layout in self.layouts)
        axis = 1 if self.regular else 0
        if values.ndim not in (axis + 1, axis + 2) or values.shape[axis] != expected:
            kind = f"(networks, {expected})" if self.regular else f"({expected},)"
            raise LayoutError(f"values of these networks must be {kind} with channels last, got {tuple(values.shape)}")

    # -- making them -------------------------------------------------------------------------------------------------

    @classmethod
    def from_state_dicts(
        cls, state_dicts: Iterable[StateDict], layouts: Layout | Sequence[Layout], names: Sequence[str] = ()
    ) -> Networks:
        """Pack state dicts, bit for bit; `names` (file names, say) are used in errors.

        Raises CheckpointError naming the network and the tensor that is missing, unexpected, misshaped or not finite.
        """
        state_dicts = list(state_dicts)
        each = [layouts] * len(state_dicts) if isinstance(layouts, Layout) else list(layouts)
        if not state_dicts or len(each) != len(state_dicts):
            raise LayoutError(f"{len(state_dicts)} state dicts cannot be packed with {len(each)} layouts")
        labels = list(names) or [f"network {i}" for i in range(len(state_dicts))]
        vectors = [_flatten(*item) for item in zip(state_dicts, each, labels, strict=True)]
        shared = isinstance(layouts, Layout) or len(set(each)) == 1
        return cls(torch.stack(vectors), each[0]) if shared else cls(torch.cat(vectors), each)

    @classmethod
    def from_modules(
        cls, modules: Iterable[nn.Module], layouts: Layout | Sequence[Layout] | None = None, *,
        example_input: Inputs | None = None,
    ) -> Networks:  # fmt: skip
        """Pack the parameters of modules. Their layouts are given, or traced with an example input.

        Without either, a module has the layout of one that was traced before and is built alike (prints alike, tensors
        of the same names and shapes, attributes that are alike); others are read off their tensor shapes (ReLU
        networks). Raises LayoutError where neither tells the layout.
        """
        modules = list(modules)
        layout_of = forwarded("tracing.tracer.layout_of")
        found = [layout_of(module, example_input) for module in modules] if layouts is None else layouts
        return cls.from_state_dicts([module.state_dict() for module in modules], found)

    @classmethod
    def cat(cls, parts: Sequence[Networks]) -> Networks:
        """The networks of all parts in one batch, regular where they share a layout. Raises LayoutError for no part."""
        if not parts:
            raise LayoutError("there are no networks to put into one batch; give one part at least")
        layouts = [layout for part in parts for layout in part.layouts]
        if len(set(layouts)) == 1:
            return cls(torch.cat([part.values.unflatten(0, (-1, layouts[0].size)) if not part.regular else part.values
                                  for part in parts]), layouts[0])  # fmt: skip
        return cls(
            torch.cat([part.values if not part.regular else part.values.flatten(0, 1) for part in parts]), layouts
        )

    def with_values(self, values: Tensor) -> Networks:
        """Networks of the same layouts with other values."""
        return Networks(values, self._shared or self.layouts)

    def with_module(self, module: nn.Module) -> Networks:
        """The same networks, run by a module: for traced layouts that come from a file, which keeps no code.

        The module is one that was built as the one that was traced; its own parameters do not matter. Raises
        LayoutError for one whose tensors have other names or shapes.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        for layout in set(self.layouts):
            expected = {name: p.shape for p in layout.parameters for name in (p.name, *p.also)}
            if shapes != expected:
                odd = sorted(name for name in {*shapes, *expected} if shapes.get(name) != expected.get(name))
                raise LayoutError(
                    f"{type(module).__name__} does not run {layout}: {odd[0]} is {shapes.get(odd[0], 'missing')} "
                    f"there, expected {expected.get(odd[0], 'no such tensor')}"
                )
        program = Program(module)
        every = [replace(layout, program=program) for layout in self.layouts]
        return Networks(self.values, every[0] if self.regular else every)

    # -- reading them ------------------------------------------------------------------------------------------------

    @property
    def regular(self) -> bool:
        """Whether all networks share one layout and `values` has a batch axis."""
        return self._shared is not None

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layout of every network."""
        return (self._shared,) * self.values.shape[0] if self._shared else self._layouts or ()

    @property
    def layout(self) -> Layout:
        """The one layout all networks share. Raises LayoutError for a mixed batch."""
        if self._shared is None:
            raise LayoutError(f"a mixed batch of {len(self)} networks has no single layout; see `.layouts`")
        return self._shared

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((layout.size for layout in self.layouts), initial=0))

    def vectors(self) -> list[Tensor]:
        """The flat vector of every network, `(size,)` or `(size, channels)`; views, no copies."""
        if self.regular:
            return list(self.values.unbind(0))
        return [self.values[a:b] for a, b in zip(self._starts, self._starts[1:], strict=False)]

    def state_dicts(self) -> list[dict[str, Tensor]]:
        """One state dict per network: views in the tensors' own shapes, in order; tied names share one tensor.

        Tensors of whole numbers that were carried along are copies in their own type.
        """
        return [named_tensors(*each) for each in zip(self.vectors(), self.layouts, strict=True)]

    def tensor(self, name: str) -> Tensor:
        """One named tensor of all networks, `(networks, *shape)`; a view. Regular batches only."""
        return self.values[:, self.layout.slices[name]].unflatten(1, self.layout.shapes[name])

    def by_layout(self) -> list[tuple[list[int], Networks]]:
        """Regular parts of the batch, each with the places of its networks in it."""
        if self.regular:
            return [(list(range(len(self))), self)]
        places: dict[Layout, list[int]] = {}
        for place, layout in enumerate(self.layouts):
            places.setdefault(layout, []).append(place)
        vectors = self.vectors()
        return [(p, Networks(torch.stack([vectors[i] for i in p]), layout)) for layout, p in places.items()]

    def map_by_layout(self, function: Callable[[Networks, list[int]], Iterable[Tensor]]) -> list[Tensor]:
        """What a function of the parts and places of `by_layout` answers for every network, in their order."""
        found: dict[int, Tensor] = {}
        for places, part in self.by_layout():
            found.update(zip(places, function(part, places), strict=True))
        return [found[place] for place in range(len(self))]

    def stack_by_layout(self, function: Callable[[Networks], Tensor]) -> Tensor:
        """What a function of networks of one layout says of each of them, `(networks, …)`, for any batch."""
        if self.regular:
            return function(self)
        return torch.stack(self.map_by_layout(lambda part, _: function(part)))

    def cat_by_layout(self, function: Callable[[Networks], Tensor]) -> Tensor:
        """The same for a function that says `(networks, n, …)`, of numbers or neurons: one after the other, `(total,
        …)`, where layouts are mixed."""
        if self.regular:
            return function(self)
        return torch.cat(self.map_by_layout(lambda part, _: function(part)))

    def __len__(self) -> int:
        return self.values.shape[0] if self._shared else len(self.layouts)

    def __getitem__(self, index: SupportsIndex | slice | Sequence[int] | Tensor) -> Networks:
        """The chosen networks, always a batch (a number gives a batch of one); neighbours, by a slice, as a view."""
        if isinstance(index, slice) and index.step in (None, 1):
            return self._between(*index.indices(len(self))[:2])
        index = index.cpu() if isinstance(index, Tensor) else index
        places = torch.arange(len(self))[index].reshape(-1).tolist()
        if not places:
            return self._between(0, 0)
        if self._shared:
            return Networks(self.values[places], self._shared)
        vectors = self.vectors()
        layouts = [self.layouts[i] for i in places]
        return Networks.cat([Networks(vectors[i][None], layout) for i, layout in zip(places, layouts, strict=True)])

    def _between(self, start: int, stop: int) -> Networks:
        """Networks that lie next to each other."""
        stop = max(start, stop)
        if self._shared:
            return Networks(self.values[start:stop], self._shared)
        layouts, values = self.layouts[start:stop], self.values[self._starts[start] : self._starts[stop]]
        if len(set(layouts)) == 1:
            return Networks(values.unflatten(0, (-1, layouts[0].size)), layouts[0])
        return Networks(values, layouts)

    # -- a vector space ----------------------------------------------------------------------------------------------

    def __add__(self, other: Networks) -> Networks:
        if self.layouts != other.layouts:
            raise LayoutError("networks can only be added to networks of the same layouts")
        return self.with_values(self.values + other.values)

    def __sub__(self, other: Networks) -> Networks:
        return self + other * -1.0

    def __mul__(self, factor: float | Tensor) -> Networks:
        return self.with_values(self.values * factor)

    __rmul__ = __mul__

    def to(self, target: torch.device | torch.dtype | str) -> Networks:
        """The same networks on another device or in another precision, as `Tensor.to`."""
        return self.with_values(self.values.to(target))

    def map(self, function: Callable[[Tensor], Tensor]) -> Networks:
        """Apply an element-wise or shape-preserving function to the values."""
        return self.with_values(function(self.values))

    def run(self, x: Inputs) -> Float[Tensor, "networks *points outputs"]:
        """Evaluate every network: coordinates or images in, outputs out, see `neural_graphs.networks.execution.run`."""
        return forwarded("networks.execution.run")(self, x)

    def to_pyg(self, layouts: Iterable[Layout] | None = None) -> Any:
        """The networks as one batch of `torch_geometric` graphs, see `neural_graphs.io.graphs.to_pyg`.

        `layouts` are those of all batches that one model will read, so that kernels and kinds are numbered alike.
        """
        return forwarded("io.graphs.to_pyg")(self, layouts)

    def __repr__(self) -> str:
        shown = " | ".join(map(format, dict.fromkeys(self.layouts))) if len(set(self.layouts)) < 3 else "many layouts"
        return f"Networks({len(self)} × [{shown}], {self.values.dtype}, {self.values.device})"


def _flatten(state_dict: StateDict, layout: Layout, label: str) -> Tensor:
    names = [name for p in layout.parameters for name in (p.name, *p.also)]
    missing = [name for name in names if name not in state_dict]
    surplus = [name for name in state_dict if name not in set(names)]
    if missing or surplus:
        raise CheckpointError(f"{label}: not a network {layout}: missing tensors {missing}, unexpected {surplus}")
    tensors = {p: state_dict[p.name] for p in layout.parameters}
    precision = next((t.dtype for p, t in tensors.items() if not p.dtype), torch.get_default_dtype())
    return torch.cat([_checked(p, tensors[p], state_dict, layout, label).to(precision) for p in layout.parameters])


def _checked(parameter: Parameter, tensor: Tensor, state_dict: StateDict, layout: Layout, label: str) -> Tensor:
    """One tensor flattened. Raises CheckpointError for anything that does not fit its parameter."""
    name = parameter.name
    if tuple(tensor.shape) != parameter.shape:
        raise CheckpointError(
            f"{label}: {name} has shape {tuple(tensor.shape)}, expected {parameter.shape} for {layout}"
        )
    if (not parameter.dtype and not tensor.is_floating_point()) or not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"{label}: {name} holds NaN, infinite or non-float values; drop or repair the network")
    for other in parameter.also:
        if not torch.equal(state_dict[other], tensor):
            raise CheckpointError(f"{label}: {name} and {other} are one tensor in {layout}, but their values differ")
    return tensor.reshape(-1)


def named_tensors(values: Tensor, layout: Layout, dim: int = 0) -> dict[str, Tensor]:
    """Tensors by name, cut from the numbers that lie along a dimension; tied names share one.

    Those of whole numbers are copies in their own type, all others views.
    """
    found: dict[str, Tensor] = {}
    for p in layout.parameters:
        flat = values.narrow(dim, layout.slices[p.name].start, p.size)
        tensor = flat.unflatten(dim, p.shape) if p.shape else flat.squeeze(dim)
        kind = getattr(torch, p.dtype or "float")
        tensor = tensor if kind.is_floating_point else tensor.to(kind)
        found |= dict.fromkeys((p.name, *p.also), tensor)
    return found
