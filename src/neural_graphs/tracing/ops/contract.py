"""Contractions: Linear layers, convolutions, attention, anything that multiplies and sums along dimensions.

Dimensions are paired by label, as in an einsum. A Linear layer is `n i, o i -> n o`: `i` unifies what comes in with the
columns of the weight, and lowering reads one block of it, from the neurons along `i` to new ones along `o`; `n`, on
which no neuron lies, is a place. In a convolution labels of the weight alone, its window, become the block's kernel.

Example:
    >>> from neural_graphs.tracing.sources import ParamRef
    >>> from neural_graphs.tracing.values import fresh
    >>> from neural_graphs.tracing.views import views_of
    >>> tape, weight = Tape(name="fc"), TracedTensor(fresh((3, 2)))
    >>> points = tape.constant((8, 2), given=True)
    >>> hidden = contract(tape, points, weight, (("n", "i"), ("o", "i"), ("n", "o")), "linear")
    >>> hidden.shape, hidden.dims[1] == weight.dims[0]  # the rows of the weight are the neurons that come out
    ((8, 3), True)
    >>> builder = LayoutBuilder(known={weight: views_of(ParamRef("fc.weight", (3, 2), buffer=False), weight.dims)})
    >>> (view,) = tape.ops[0].lower(builder)
    >>> [(group.name, group.vars) for group in builder.groups]  # inputs have an order: 2 is fixed
    [('', (3,)), ('input', (2!,))]
    >>> (block,) = builder.blocks
    >>> block.source.name, block.target is view.source, block.stored.name, block.joins.sizes
    ('input', True, 'fc.weight', (3, 2))
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from neural_graphs.layout import Conv
from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import Dim, unify
from neural_graphs.tracing.lower import all_params, enter, grown, project, read, unite
from neural_graphs.tracing.sources import Raw
from neural_graphs.tracing.tape import Op, Tape
from neural_graphs.tracing.values import TracedTensor
from neural_graphs.tracing.views import StridedView, ViewAxis, Views, flattened, frame, joined, meet

Labels = Sequence[str]


@dataclass(eq=False)
class ContractOp(Op):
    """`out[o] = Σ x[i] · w[j]`, dimensions paired by label as in an einsum; labels of `w` alone that are not in the
    output are its kernel (the window of a convolution)."""

    x_labels: tuple[str, ...]
    w_labels: tuple[str, ...]
    out_labels: tuple[str, ...]
    kind: str
    operator: Conv | None = None  # where a layout can tell it

    @property
    def space(self) -> list[str]:
        """All labels, those of the output first."""
        return list(dict.fromkeys([*self.out_labels, *self.x_labels, *self.w_labels]))

    def lower(self, builder: LayoutBuilder) -> Views:
        x, w = (builder.views(value) for value in self.inputs)
        if all_params(w):
            x = [grown(builder, view, "constant") for view in x] if all_params(x) else x
            return self._read(builder, x, w)
        if all_params(x) and set(self.x_labels) <= {*self.w_labels, *self.out_labels}:
            turned = replace(self, inputs=self.inputs[::-1], x_labels=self.w_labels, w_labels=self.x_labels)
            return turned._read(builder, w, x)  # every number of `x` is read by one weight
        return self._multiply(builder, x, w)

    # -- by a stored tensor ------------------------------------------------------------------------------------------

    def _read(self, builder: LayoutBuilder, x: Views, w: Views) -> Views:
        """Blocks for all parts of `x` and `w` that meet, into a group for every part of the output."""
        varied = {self.w_labels[axis.dim] for view in w for axis in view.axes}
        varied |= {self.w_labels[dim] for view in w for dim in view.cut}
        rest = [dim for dim, label in enumerate(self.x_labels) if label not in varied]  # what `w` does not mix
        if any(not isinstance(view.source, Raw) and axis.dim in rest for view in x for axis in view.axes):
            return self._read_shared(builder, x, w, rest)
        x = flattened(x, self.inputs[0].shape, rest) if all(isinstance(p.source, Raw) for p in x) else x
        paired = [(self.x_labels.index(a), self.w_labels.index(a)) for a in self.w_labels if a in self.x_labels]
        found: dict[tuple[int, ...], StridedView] = {}
        for weight in w:
            for view in x:
                if meet(view, weight, paired):
                    self._block(builder, view, weight, found)
        return list(found.values())

    def _block(
        self, builder: LayoutBuilder, view: StridedView, weight: StridedView, found: dict[tuple[int, ...], StridedView]
    ) -> None:
        """Weights from one view; `found` are the groups so far, by where they start in the output."""
        space, rank = self.space, len(self.out_labels)
        weight, view = placed(weight, self.w_labels, space), placed(view, self.x_labels, space)
        level = partial(_first, rank=rank)
        starts = frame([level(weight), level(view)])[0]
        if starts not in found:
            found[starts] = builder.group(
                [axis for axis in weight.axes if axis.dim < rank], self.kind, *map(level, (weight, view))
            )
        target = replace(found[starts], starts=(*starts, *(0,) * (len(space) - rank)))
        if isinstance(view.source, Raw):
            shared = [axis for axis in weight.axes if space[axis.dim] in self.x_labels]
            view = enter(builder, view, shared)
        read(builder, grown(builder, view, "constant"), weight, target, self.kind, self.operator)

    def _read_shared(self, builder: LayoutBuilder, x: Views, w: Views, rest: Sequence[int]) -> Views:
        """One matrix for many neurons that it does not mix (heads, or the channels of a token mixer).

        The matrix acts on their sum, and its result is tied to each of them.
        """
        inner = self._read(builder, project(builder, x, rest, "pool"), w)
        over = [dim for dim in range(len(self.x_labels)) if dim not in rest]
        outer = project(builder, x, over, "pool")
        space = list(self.out_labels)
        own = [label if dim in rest else "" for dim, label in enumerate(self.x_labels)]
        kept = [placed(view, own, space) for view in outer]
        return [unite(builder, combo, self.kind) for combo in joined([inner, kept])]

    # -- by something computed ---------------------------------------------------------------------------------------

    def _multiply(self, builder: LayoutBuilder, x: Views, w: Views) -> Views:
        """Product neurons along all dimensions, projected on those of the output."""
        space, rank = self.space, len(self.out_labels)
        one = [placed(view, self.x_labels, space) for view in x]
        other = [placed(view, self.w_labels, space) for view in w]
        product = [unite(builder, combo, "product") for combo in joined([one, other])]
        return [_first(view, rank) for view in project(builder, product, range(rank, len(space)), "product")]


def _first(view: StridedView, rank: int) -> StridedView:
    """A view in its first dimensions alone."""
    axes = tuple(axis for axis in view.axes if axis.dim < rank)
    return replace(view, starts=view.starts[:rank], axes=axes, cut=frozenset(d for d in view.cut if d < rank))


def placed(view: StridedView, labels: Labels, space: Labels) -> StridedView:
    """A view among the dimensions of a larger space, by label."""
    starts = [0] * len(space)
    for dim, label in enumerate(labels):
        if label in space:
            starts[space.index(label)] = view.starts[dim]
    axes = tuple(ViewAxis(space.index(labels[axis.dim]), axis.var, axis.step, axis.stride) for axis in view.axes
                 if labels[axis.dim] in space)  # fmt: skip
    cut = frozenset(space.index(labels[dim]) for dim in view.cut if labels[dim] in space)
    return replace(view, starts=tuple(starts), axes=axes, cut=cut)


def contract(
    tape: Tape, x: TracedTensor, w: TracedTensor, equation: tuple[Labels, Labels, Labels], kind: str,
    extra: dict[str, Dim] | None = None, operator: Conv | None = None,
) -> TracedTensor:  # fmt: skip
    """`x` times `w`, with the labels of `x`, `w` and the output; `extra` are dimensions that only the output has.

    `operator` tells what a convolution does to places, if a layout can.
    """
    x_labels, w_labels, out_labels = (tuple(labels) for labels in equation)
    found: dict[str, Dim] = dict(extra or {})
    for labels, value in ((x_labels, x), (w_labels, w)):
        for label, dim in zip(labels, value.dims, strict=True):
            if label in found and label not in (extra or {}):
                unify(found[label], dim)
            else:
                found.setdefault(label, dim)
    dims = [found[label] for label in out_labels]
    return tape.put(ContractOp, (x, w), dims, x_labels, w_labels, out_labels, kind, operator)
