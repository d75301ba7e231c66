"""How pieces become groups and links: what every event of a trace is made of."""

from collections.abc import Sequence
from dataclasses import replace

from neural_graphs.errors import LayoutError
from neural_graphs.layout.strides import Window
from neural_graphs.tracing.builder import Draft, Strand
from neural_graphs.tracing.sources import Neurons, Raw, Stored
from neural_graphs.tracing.views import Leg, Piece, Pieces, Spot, slowest_first


def spots(piece: Piece) -> dict[Spot, Leg]:
    """The legs of a piece by where they lie."""
    return {leg.spot: leg for leg in piece.legs}


def lies_on(leg: Leg, piece: Piece) -> bool:
    """Whether a piece has a leg where this one lies."""
    return leg.spot in spots(piece)


def covers(piece: Piece, legs: Sequence[Leg]) -> bool:
    """Whether a piece varies along all of these legs."""
    own = spots(piece)
    return all(leg.spot in own and own[leg.spot].size == leg.size for leg in legs)


def all_stored(pieces: Pieces) -> bool:
    """Whether a value is parts of tensors of the state dict, and nothing else."""
    return all(isinstance(piece.source, Stored) for piece in pieces)


def complete(piece: Piece) -> bool:
    """Whether a piece is all neurons of its group."""
    return isinstance(piece.source, Neurons) and piece.offset == 0 and len(piece.legs) == len(piece.source.vars)


def strands(source: Piece, target: Piece, stored: Piece | None = None) -> list[Strand]:
    """The dimensions of a link between pieces that lie on each other, and on a tensor where it reads one."""
    ours, theirs, numbers = spots(source), spots(target), spots(stored) if stored is not None else {}
    return [
        Strand(leg.size, *(legs[leg.spot].stride if leg.spot in legs else 0 for legs in (ours, theirs, numbers)))
        for leg in slowest_first((ours | theirs).values())
    ]


def tie(draft: Draft, source: Piece, target: Piece, kind: str = "") -> None:
    """A structural link: every target neuron reads the source neurons that lie where it lies."""
    if isinstance(source.source, Neurons) and isinstance(target.source, Neurons):
        draft.connect(source.source, target.source, strands(source, target), kind, start=source.offset)


def enter(draft: Draft, piece: Piece, legs: Sequence[Leg]) -> Piece:
    """The neurons of an input or a constant along some of its legs."""
    raw = piece.source
    own = spots(piece)
    kept = [own[leg.spot] for leg in legs if leg.spot in own]
    neurons, strides = draft.fixture(kept, isinstance(raw, Raw) and raw.given)
    legs = tuple(replace(leg, stride=strides[leg]) for leg in kept)
    return Piece(neurons, piece.starts, legs, 0, piece.cut)


def read(draft: Draft, source: Piece, stored: Piece, target: Piece, kind: str) -> None:
    """Weights from source to target neurons, read from the part of a tensor that lies on both.

    Legs of the tensor that neither has are its kernel.
    """
    joined = spots(source) | spots(target)
    if not joined.keys() <= spots(stored).keys():
        raise LayoutError(f"{_name(stored)} does not vary along all neurons it should be read for")
    rest = slowest_first(leg for leg in stored.legs if leg.spot not in joined)
    kernel = [Strand(leg.size, number=leg.stride) for leg in rest]
    if isinstance(source.source, Neurons) and isinstance(target.source, Neurons):
        lines = strands(source, target, stored)
        draft.connect(source.source, target.source, lines, kind, stored, kernel, source.offset)


def settle(draft: Draft, stored: Piece, target: Piece, kind: str) -> None:
    """Add a stored piece to neurons: as their bias if it is one number each, else as weights from constant neurons."""
    if not covers(stored, target.legs):
        tie(draft, plant(draft, stored, [leg for leg in stored.legs if lies_on(leg, target)], kind), target)
        return
    rest = [leg for leg in stored.legs if not lies_on(leg, target)]
    neurons, tensor = target.source, stored.source
    one_each = kind == "bias" and not rest and complete(target)
    if one_each and isinstance(neurons, Neurons) and neurons.bias is None and isinstance(tensor, Stored):
        _bias(stored, tensor, target, neurons)
        return
    kind = "position" if rest and kind == "bias" else kind
    constant, strides = draft.fixture(rest, given=False)
    source = Piece(constant, stored.starts, tuple(replace(leg, stride=strides[leg]) for leg in rest))
    read(draft, source, stored, target, kind)


def _bias(stored: Piece, tensor: Stored, target: Piece, neurons: Neurons) -> None:
    numbers = spots(stored)
    ordered = sorted(target.legs, key=lambda leg: -leg.stride)
    found = [numbers[leg.spot].stride for leg in ordered]
    window = Window(stored.offset, tuple(leg.size for leg in ordered), tuple(found))
    neurons.bias = (tensor, window, not tensor.own(window))


def plant(draft: Draft, stored: Piece, legs: Sequence[Leg], kind: str) -> Piece:
    """Neurons whose values are a stored piece, along some of its legs."""
    kept = {leg.spot for leg in legs}
    target = draft.group([leg for leg in stored.legs if leg.spot in kept], kind, stored)
    settle(draft, stored, target, kind)
    return target


def grown(draft: Draft, piece: Piece, kind: str) -> Piece:
    """A piece as neurons: a stored one is planted along its free variables, others stay as they are."""
    if not isinstance(piece.source, Stored):
        return piece
    return plant(draft, piece, [leg for leg in piece.legs if not leg.var.fixed], kind)


def unite(draft: Draft, combo: Sequence[Piece], kind: str) -> Piece:
    """New neurons where pieces lie on each other, tied to all of them."""
    combo = [grown(draft, piece, "constant") for piece in combo]
    wanted: dict[Spot, Leg] = {}
    for piece in combo:
        if isinstance(piece.source, Neurons):
            wanted |= spots(piece)
    target = draft.group(wanted.values(), kind, *combo)
    for piece in dict.fromkeys(combo):
        if isinstance(piece.source, Raw) and piece.source.given and any(lies_on(leg, target) for leg in piece.legs):
            piece = enter(draft, piece, target.legs)
        tie(draft, piece, target)
    return target


def project(draft: Draft, pieces: Pieces, dims: Sequence[int], kind: str) -> Pieces:
    """Without the neurons' variables along some dimensions: groups without them, tied to what they sum over."""
    found: dict[tuple[int, ...], Piece] = {}
    out = []
    for piece in pieces:
        starts = tuple(0 if dim in dims else start for dim, start in enumerate(piece.starts))
        kept = tuple(leg for leg in piece.legs if leg.dim not in dims)
        level = replace(piece, starts=starts, legs=kept, cut=piece.cut - set(dims))
        if isinstance(piece.source, Raw) or (len(kept) == len(piece.legs) and not piece.cut & set(dims)):
            out.append(level)
            continue
        if starts not in found:
            found[starts] = draft.group([leg for leg in kept if _lasting(piece, leg)], kind, level)
            out.append(found[starts])
        tie(draft, grown(draft, piece, "constant"), found[starts])
    return out


def _lasting(piece: Piece, leg: Leg) -> bool:
    return isinstance(piece.source, Neurons) or not leg.var.fixed


def _name(piece: Piece) -> str:
    return piece.source.name if isinstance(piece.source, Neurons | Stored) else "a constant"
