"""Contractions: Linear layers, convolutions, attention, anything that multiplies and sums along dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from neural_graphs.tracing.builder import Draft
from neural_graphs.tracing.dims import Term, unify
from neural_graphs.tracing.lower import all_stored, enter, grown, project, read, unite
from neural_graphs.tracing.sources import Raw
from neural_graphs.tracing.tape import Event, Tape
from neural_graphs.tracing.values import Value
from neural_graphs.tracing.views import Leg, Piece, Pieces, flattened, frame, joined, meet

Labels = Sequence[str]


@dataclass(eq=False)
class Contract(Event):
    """`out[o] = Σ x[i] · w[j]`, dimensions paired by label as in an einsum; labels of `w` alone that are not in the
    output are its kernel (the window of a convolution)."""

    x_labels: tuple[str, ...]
    w_labels: tuple[str, ...]
    out_labels: tuple[str, ...]
    kind: str

    @property
    def space(self) -> list[str]:
        """All labels, those of the output first."""
        return list(dict.fromkeys([*self.out_labels, *self.x_labels, *self.w_labels]))

    def emit(self, draft: Draft) -> Pieces:
        x, w = (draft.pieces(value) for value in self.inputs)
        if all_stored(w):
            x = [grown(draft, piece, "constant") for piece in x] if all_stored(x) else x
            return self._read(draft, x, w)
        if all_stored(x) and set(self.x_labels) <= {*self.w_labels, *self.out_labels}:
            turned = replace(self, inputs=self.inputs[::-1], x_labels=self.w_labels, w_labels=self.x_labels)
            return turned._read(draft, w, x)  # every number of `x` is read by one weight
        return self._multiply(draft, x, w)

    # -- by a stored tensor ------------------------------------------------------------------------------------------

    def _read(self, draft: Draft, x: Pieces, w: Pieces) -> Pieces:
        """Blocks for all parts of `x` and `w` that meet, into a group for every part of the output."""
        rest = [dim for dim, label in enumerate(self.x_labels) if label not in self.w_labels]  # what `w` does not mix
        if any(not isinstance(piece.source, Raw) and leg.dim in rest for piece in x for leg in piece.legs):
            return self._read_shared(draft, x, w, rest)
        x = flattened(x, self.inputs[0].shape, rest) if all(isinstance(p.source, Raw) for p in x) else x
        paired = [(self.x_labels.index(a), self.w_labels.index(a)) for a in self.w_labels if a in self.x_labels]
        found: dict[tuple[int, ...], Piece] = {}
        for weight in w:
            for piece in x:
                if meet(piece, weight, paired):
                    self._block(draft, piece, weight, found)
        return list(found.values())

    def _block(self, draft: Draft, piece: Piece, weight: Piece, found: dict[tuple[int, ...], Piece]) -> None:
        """Weights from one piece; `found` are the groups so far, by where they start in the output."""
        space, rank = self.space, len(self.out_labels)
        weight, piece = placed(weight, self.w_labels, space), placed(piece, self.x_labels, space)
        level = partial(_first, rank=rank)
        starts = frame([level(weight), level(piece)])[0]
        if starts not in found:
            found[starts] = draft.group(
                [leg for leg in weight.legs if leg.dim < rank], self.kind, *map(level, (weight, piece))
            )
        target = replace(found[starts], starts=(*starts, *(0,) * (len(space) - rank)))
        if isinstance(piece.source, Raw):
            shared = [leg for leg in weight.legs if space[leg.dim] in self.x_labels]
            piece = enter(draft, piece, shared)
        read(draft, grown(draft, piece, "constant"), weight, target, self.kind)

    def _read_shared(self, draft: Draft, x: Pieces, w: Pieces, rest: Sequence[int]) -> Pieces:
        """One matrix for many neurons that it does not mix (heads, or the channels of a token mixer).

        The matrix acts on their sum, and its result is tied to each of them.
        """
        inner = self._read(draft, project(draft, x, rest, "pool"), w)
        over = [dim for dim in range(len(self.x_labels)) if dim not in rest]
        outer = project(draft, x, over, "pool")
        space = list(self.out_labels)
        own = [label if dim in rest else "" for dim, label in enumerate(self.x_labels)]
        kept = [placed(piece, own, space) for piece in outer]
        return [unite(draft, combo, self.kind) for combo in joined([inner, kept])]

    # -- by something computed ---------------------------------------------------------------------------------------

    def _multiply(self, draft: Draft, x: Pieces, w: Pieces) -> Pieces:
        """Product neurons along all dimensions, projected on those of the output."""
        space, rank = self.space, len(self.out_labels)
        one = [placed(piece, self.x_labels, space) for piece in x]
        other = [placed(piece, self.w_labels, space) for piece in w]
        product = [unite(draft, combo, "product") for combo in joined([one, other])]
        return [_first(piece, rank) for piece in project(draft, product, range(rank, len(space)), "product")]


def _first(piece: Piece, rank: int) -> Piece:
    """A piece in its first dimensions alone."""
    legs = tuple(leg for leg in piece.legs if leg.dim < rank)
    return replace(piece, starts=piece.starts[:rank], legs=legs, cut=frozenset(d for d in piece.cut if d < rank))


def placed(piece: Piece, labels: Labels, space: Labels) -> Piece:
    """A piece among the dimensions of a larger space, by label."""
    starts = [0] * len(space)
    for dim, label in enumerate(labels):
        if label in space:
            starts[space.index(label)] = piece.starts[dim]
    legs = tuple(Leg(space.index(labels[leg.dim]), leg.var, leg.step, leg.stride) for leg in piece.legs
                 if labels[leg.dim] in space)  # fmt: skip
    cut = frozenset(space.index(labels[dim]) for dim in piece.cut if labels[dim] in space)
    return replace(piece, starts=tuple(starts), legs=legs, cut=cut)


def contract(
    tape: Tape, x: Value, w: Value, equation: tuple[Labels, Labels, Labels], kind: str,
    extra: dict[str, Term] | None = None,
) -> Value:  # fmt: skip
    """`x` times `w`, with the labels of `x`, `w` and the output; `extra` are dimensions that only the output has."""
    x_labels, w_labels, out_labels = (tuple(labels) for labels in equation)
    found: dict[str, Term] = dict(extra or {})
    for labels, value in ((x_labels, x), (w_labels, w)):
        for label, dim in zip(labels, value.dims, strict=True):
            if label in found and label not in (extra or {}):
                unify(found[label], dim)
            else:
                found.setdefault(label, dim)
    return tape.put(Contract, (x, w), [found[label] for label in out_labels], x_labels, w_labels, out_labels, kind)
