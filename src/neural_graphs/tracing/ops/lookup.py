"""Look-ups: rows of a table, chosen by inputs or constants."""

from dataclasses import dataclass, replace

from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.dims import freeze
from neural_graphs.tracing.lower import read, tie
from neural_graphs.tracing.sources import GroupBuilder
from neural_graphs.tracing.tape import Op, Tape
from neural_graphs.tracing.values import TracedTensor
from neural_graphs.tracing.views import StridedView, ViewAxis, Views


@dataclass(eq=False)
class LookupOp(Op):
    """Rows of a table: inputs are the table and what chooses among its rows, dimension 0."""

    def lower(self, builder: LayoutBuilder) -> Views:
        table, index = self.inputs
        lead = len(index.dims)
        found = []
        for view in builder.views(table):
            rows = [axis for axis in view.axes if axis.dim == 0]
            rest = [replace(axis, dim=axis.dim + lead - 1) for axis in view.axes if axis.dim]
            place = StridedView(view.source, (*(0,) * lead, *view.starts[1:]), tuple(rest), view.offset,
                          frozenset(dim + lead - 1 for dim in view.cut if dim))  # fmt: skip
            if isinstance(view.source, GroupBuilder):
                target = builder.group(rest, "lookup", place)
                own = StridedView(
                    view.source, place.starts, (*rest, *(replace(axis, dim=-1) for axis in rows)), view.offset
                )
                tie(builder, own, target)
            else:
                constant, strides = builder.fixture(rows, index.given, "vocabulary" if index.given else "")
                source = StridedView(
                    constant, place.starts, tuple(ViewAxis(-1, axis.var, axis.step, strides[axis]) for axis in rows)
                )
                target = builder.group(rest, "embedding", place)
                numbers = replace(place, axes=(*rest, *(replace(axis, dim=-1) for axis in rows)))
                read(builder, source, numbers, target, "embedding")
            found.append(target)
        return found


def lookup(tape: Tape, table: TracedTensor, index: TracedTensor) -> TracedTensor:
    """Rows of a table, whose order is fixed by that."""
    freeze(table.dims[0])
    return tape.put(LookupOp, (table, index), (*index.dims, *table.dims[1:]))
