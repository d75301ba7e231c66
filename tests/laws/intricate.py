"""Layouts by hand that use all a layout can say: windows, tied dimensions, nested atoms, shared and carried tensors."""

from neural_graphs.layout import Atom, Block, Group, Layout, Parameter, Product
from neural_graphs.layout.strides import Table, Window

ALONG_HEADS = Table((2, 2), source=(2, 1), target=(1, 0))  # (head, dimension) → head
FROM_HEADS = Table((2, 2), source=(1, 0), target=(2, 1))  # head → (head, dimension)


def rows(first: int, count: int, columns: int) -> Window:
    """Some rows of a matrix."""
    return Window(first * columns, (count, columns), (columns, 1))


def attention() -> Layout:
    """Two heads of two dimensions around a residual stream: query, key and value packed into one tensor."""
    heads, stream = Atom("heads", 2, free=True), Atom("stream", 4, free=True)
    angles, features = (Atom(name, 2, free=True, within=("heads",)) for name in ("angles", "features"))
    by_angle, by_feature = Product((heads, angles)), Product((heads, features))
    packed = [Window(4 * part, (4,), (1,)) for part in range(3)]
    groups = (
        Group("input", Atom("input", 3), "input"),
        Group("embed", stream, bias="embed.bias"),
        Group("query", by_angle, bias="in.bias", window=packed[0]),
        Group("key", by_angle, bias="in.bias", window=packed[1]),
        Group("value", by_feature, bias="in.bias", window=packed[2]),
        Group("products", by_angle, kind="multiply"),
        Group("scores", heads, kind="sum"),
        Group("mixed", by_feature, kind="multiply"),
        Group("sum", stream, bias="out.bias"),
        Group("output", Atom("output", 3), "output", "head.bias"),
    )
    one_to_one = Table.one_to_one(4)
    blocks = (
        Block(0, 1, "embed.weight"),
        *(Block(1, 2 + part, "in.weight", window=rows(4 * part, 4, 4)) for part in range(3)),
        Block(2, 5, None, joins=one_to_one, kind="multiply"),
        Block(3, 5, None, joins=one_to_one, kind="multiply"),
        Block(5, 6, None, joins=ALONG_HEADS, kind="sum"),
        Block(4, 7, None, joins=one_to_one, kind="multiply"),
        Block(6, 7, None, joins=FROM_HEADS, kind="multiply"),
        Block(7, 8, "out.weight"),
        Block(1, 8, None, joins=one_to_one, kind="add"),
        Block(8, 9, "head.weight"),
    )
    shapes = {
        "embed.weight": (4, 3), "embed.bias": (4,), "in.weight": (12, 4), "in.bias": (12,), "out.weight": (4, 4),
        "out.bias": (4,), "head.weight": (3, 4), "head.bias": (3,),
    }  # fmt: skip
    return Layout(groups, blocks, tuple(Parameter(name, shape) for name, shape in shapes.items()))


def convolutions() -> Layout:
    """A depthwise convolution beside a grouped one with a batch norm, both read by a linear head."""
    parts = Atom("parts", 2, free=True)
    first = Product((parts, Atom("first", 2, free=True, within=("parts",))))
    second = Product((parts, Atom("second", 3, free=True, within=("parts",))))
    groups = (
        Group("input", Atom("input", 3), "input"),
        Group("conv", first, bias="conv.bias"),
        Group("depthwise", first, bias="depthwise.bias"),
        Group("grouped", second),
        Group("norm", second, bias="norm.bias", kind="norm"),
        Group("output", Atom("output", 3), "output", "head.bias"),
    )
    channels, grouped = Table.one_to_one(6), Table((2, 3, 2), source=(2, 0, 1), target=(3, 1, 0))
    blocks = (
        Block(0, 1, "conv.weight", (3, 3)),
        Block(1, 2, "depthwise.weight", (3, 3), joins=Table.one_to_one(4)),
        Block(1, 3, "grouped.weight", (3, 3), joins=grouped),
        Block(3, 4, "norm.weight", joins=channels, kind="norm"),
        Block(3, 4, "norm.running_mean", joins=channels, kind="mean"),
        Block(3, 4, "norm.running_var", joins=channels, kind="variance"),
        Block(2, 5, "head.weight", window=Window(0, (3, 4), (10, 1))),
        Block(4, 5, "head.weight", window=Window(4, (3, 6), (10, 1))),
    )
    parameters = (
        Parameter("conv.weight", (4, 3, 3, 3)), Parameter("conv.bias", (4,)), Parameter("grouped.weight", (6, 2, 3, 3)),
        Parameter("norm.weight", (6,)), Parameter("norm.bias", (6,)),
        Parameter("norm.running_mean", (6,), buffer=True), Parameter("norm.running_var", (6,), buffer=True),
        Parameter("norm.num_batches_tracked", (), buffer=True, dtype="int64"),
        Parameter("depthwise.weight", (4, 1, 3, 3)), Parameter("depthwise.bias", (4,)),
        Parameter("head.weight", (3, 10)), Parameter("head.bias", (3,)),
    )  # fmt: skip
    return Layout(groups, blocks, parameters)


def recurrence() -> Layout:
    """A vocabulary of two embedded and read out by one matrix, and the packed gates of a recurrent cell between.

    The network writes on output neurons of two groups that do not follow one another.
    """
    words, features, state = Atom("words", 2), Atom("features", 3, free=True), Atom("state", 2, free=True)
    gates = range(3)
    groups = (
        Group("input", words, "input"),
        Group("embedding", features),
        Group("constant", Atom("constant", 1), kind="constant"),
        Group("before", state, bias="before.bias"),
        *(Group(f"gate {i}", state, bias="ih.bias", window=Window(2 * i, (2,), (1,)), kind="gate") for i in gates),
        Group("flag", Atom("flag", 1), "output", "flag.bias"),
        Group("after", state, kind="multiply"),
        Group("features", features, bias="project.bias"),
        Group("output", words, "output"),
    )
    blocks = (
        Block(0, 1, "embedding.weight", window=Window(0, (3, 2), (1, 3))),  # (words, features), transposed
        Block(1, 3, "before.weight"),
        *(Block(1, 4 + i, "ih.weight", window=rows(2 * i, 2, 3)) for i in gates),
        *(Block(3, 4 + i, "hh.weight", window=rows(2 * i, 2, 2), kind="recurrent") for i in gates),
        *(Block(2, 4 + i, "hh.bias", window=rows(2 * i, 2, 1), kind="bias") for i in gates),
        Block(4, 7, "flag.weight"),
        *(Block(4 + i, 8, None, joins=Table.one_to_one(2), kind="multiply") for i in gates),
        Block(8, 9, "project.weight"),
        Block(9, 10, "embedding.weight", shared=True),
    )
    shapes = {
        "before.weight": (2, 3), "before.bias": (2,), "ih.weight": (6, 3), "hh.weight": (6, 2), "ih.bias": (6,),
        "hh.bias": (6,), "flag.weight": (1, 2), "flag.bias": (1,), "project.weight": (3, 2), "project.bias": (3,),
    }  # fmt: skip
    tied = Parameter("embedding.weight", (2, 3), also=("head.weight",))
    positions = Parameter("positions", (1, 4), buffer=True, dtype="int64")
    return Layout(groups, blocks, (tied, positions, *(Parameter(name, shape) for name, shape in shapes.items())))


INTRICATE = {"attention": attention(), "grouped convolutions": convolutions(), "tied recurrence": recurrence()}
