"""Layouts written by hand that look like traced ones: residual CNN, attention, dense connections, U-Net."""

from math import prod

from neural_graphs.layout import Activation, Block, Group, Layout, Parameter
from neural_graphs.layout.axes import Atom, Axis, Product
from neural_graphs.layout.strides import Table


class Hand:
    """Groups, blocks and tensors as they are written down, in the order of computation."""

    def __init__(self, inputs: int) -> None:
        self.groups = [Group("input", Atom("input", inputs), "input", kind="input")]
        self.blocks: list[Block] = []
        self.parameters: list[Parameter] = []

    def add(self, name: str, axis: Axis, kind: str, bias: bool = False, activation: str = "none", **more) -> int:
        tensor = f"{name}.bias" if bias else None
        if tensor:
            self.parameters.append(Parameter(tensor, (axis.size,)))
        self.groups.append(Group(name, axis, bias=tensor, activation=Activation(activation), kind=kind, **more))
        return len(self.groups) - 1

    def join(self, source: int, target: int, table: Table, tensor: str = "", kind: str = "", kernel=(), buffer=False):
        if tensor:
            self.parameters.append(Parameter(tensor, (*table.sizes, *kernel), buffer))
        self.blocks.append(Block(source, target, tensor or None, kernel, joins=table, kind=kind))

    def dense(self, source: int, name: str, axis: Axis, kind="linear", kernel=(), bias=True, activation="none", **more):
        target = self.add(name, axis, kind, bias, activation, **more)
        table = Table.dense(axis.size, self.groups[source].size)
        self.join(source, target, table, f"{name}.weight", kind, kernel)
        return target

    def norm(self, source: int, name: str, activation: str = "none", running: bool = True) -> int:
        axis = self.groups[source].axis
        target = self.add(name, axis, "norm", True, activation)
        self.join(source, target, Table.one_to_one(axis.size), f"{name}.weight", "norm")
        for kind in ("mean", "variance") if running else ():
            self.join(source, target, Table.one_to_one(axis.size), f"{name}.{kind}", kind, buffer=True)
        return target

    def merge(self, sources: list[int], name: str, kind: str = "add", activation: str = "none") -> int:
        axis = self.groups[sources[0]].axis
        target = self.add(name, axis, kind, activation=activation)
        for source in sources:
            self.join(source, target, Table.one_to_one(axis.size))
        return target

    def done(self) -> Layout:
        return Layout(tuple(self.groups), tuple(self.blocks), tuple(self.parameters))


def free(name: str, size: int) -> Atom:
    return Atom(name, size, free=True)


def resnet(widths=(64, 128, 256, 512), depths=(2, 2, 2, 2), classes: int = 1000, stem: int = 7) -> Layout:
    """A residual network of basic blocks with norms, as a trace of ResNet-18 gives it."""
    hand = Hand(3)
    stream = hand.norm(hand.dense(0, "conv1", free("stage0", widths[0]), "conv", (stem, stem), False), "bn1", "relu")
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            inner = hand.dense(stream, f"{name}.conv1", free(f"{name}.inner", width), "conv", (3, 3), False)
            inner = hand.norm(inner, f"{name}.bn1", "relu")
            new = stage > 0 and block == 0
            axis = free(f"stage{stage}", width) if new else hand.groups[stream].axis
            out = hand.norm(hand.dense(inner, f"{name}.conv2", axis, "conv", (3, 3), False), f"{name}.bn2")
            if new:
                short = hand.dense(stream, f"{name}.downsample.0", axis, "conv", (1, 1), False)
                stream = hand.norm(short, f"{name}.downsample.1")
            stream = hand.merge([out, stream], name, activation="relu")
    hand.dense(stream, "fc", Atom("classes", classes), role="output")
    return hand.done()


def decoder(depth=2, width=32, heads=4, each=8, vocabulary=100, context=16) -> Layout:
    """A decoder of pre-norm blocks with tied embeddings: heads permute, and dimensions within each head."""
    hand = Hand(vocabulary)
    tokens, axis = free("tokens", vocabulary), free("stream", width)
    places = hand.add("positions", Atom("positions", context), "positions")
    stream = hand.dense(0, "wte", axis, "embedding", bias=False)
    hand.join(places, stream, Table.dense(width, context), "wpe.weight", "position")
    for index in range(depth):
        name = f"h.{index}"
        inner = hand.norm(stream, f"{name}.ln_1", running=False)
        h = free(f"{name}.h", heads)
        key, value = (Product((h, Atom(f"{name}.{d}", each, True, (h.name,)))) for d in "kv")
        q, k = (hand.dense(inner, f"{name}.attn.{part}", key) for part in "qk")
        v = hand.dense(inner, f"{name}.attn.v", value)
        product = hand.merge([q, k], f"{name}.attn", "product")
        scores = hand.add(f"{name}.attn", h, "heads")
        hand.join(product, scores, Table((heads, each), (each, 1), (1, 0)))
        mixed = hand.merge([v], f"{name}.attn", "product")
        hand.join(scores, mixed, Table((heads, each), (1, 0), (each, 1)))
        out = hand.dense(mixed, f"{name}.attn.c_proj", axis)
        stream = hand.merge([out, stream], name)
        inner = hand.norm(stream, f"{name}.ln_2", running=False)
        inner = hand.dense(inner, f"{name}.mlp.c_fc", free(f"{name}.mlp", 4 * width), activation="gelu")
        out = hand.dense(inner, f"{name}.mlp.c_proj", axis)
        stream = hand.merge([out, stream], name)
    stream = hand.norm(stream, "ln_f", running=False)
    head = hand.add("lm_head", Atom("vocabulary", vocabulary), "linear", role="output")
    hand.blocks.append(
        Block(stream, head, "wte.weight", joins=Table.dense(vocabulary, width), kind="linear", shared=True)
    )
    del tokens
    return hand.done()


def densely(layers=(3, 3), growth=8, stem=16, classes=10) -> Layout:
    """Every layer of a stage reads the outputs of all layers before it; a 1×1 convolution between stages."""
    hand = Hand(3)
    known = [hand.dense(0, "conv0", free("conv0", stem), "conv", (3, 3), False)]
    for stage, depth in enumerate(layers):
        for layer in range(depth):
            name = f"stage{stage}.layer{layer}"
            normed = [hand.norm(piece, f"{name}.norm{place}", "relu") for place, piece in enumerate(known)]
            axis = free(name, growth)
            target = hand.add(f"{name}.conv", axis, "conv")
            for piece, source in enumerate(normed):
                table = Table.dense(growth, hand.groups[source].size)
                hand.join(source, target, table, f"{name}.conv.weight{piece}", "conv", (3, 3))
            known.append(target)
        axis = free(f"transition{stage}", growth)
        target = hand.add(f"transition{stage}", axis, "conv")
        for piece, source in enumerate(known):
            table = Table.dense(growth, hand.groups[source].size)
            hand.join(source, target, table, f"transition{stage}.weight{piece}", "conv", (1, 1))
        known = [target]
    hand.dense(known[0], "classifier", Atom("classes", classes), role="output")
    return hand.done()


def unet(widths=(16, 32, 64, 128)) -> Layout:
    """Down and up again, with a skip at every height."""
    hand = Hand(1)
    stream, skips = 0, []
    for level, width in enumerate(widths):
        for part in "ab":
            name = f"down{level}.{part}"
            stream = hand.norm(hand.dense(stream, name, free(name, width), "conv", (3, 3), False), f"{name}n", "relu")
        skips.append(stream)
    for level in reversed(range(len(widths) - 1)):
        name = f"up{level}"
        stream = hand.dense(stream, f"{name}.up", free(f"{name}.up", widths[level]), "conv", (2, 2))
        target = hand.dense(stream, f"{name}.a", free(f"{name}.a", widths[level]), "conv", (3, 3), True, "relu")
        skip = skips[level]
        table = Table.dense(widths[level], hand.groups[skip].size)
        hand.join(skip, target, table, f"{name}.a.skip", "conv", (3, 3))
        stream = hand.dense(target, f"{name}.b", free(f"{name}.b", widths[level]), "conv", (3, 3), True, "relu")
    hand.dense(stream, "head", Atom("classes", 2), "conv", (1, 1), role="output")
    return hand.done()


def numbers(layout: Layout) -> int:
    """What the tensors of a layout hold."""
    return sum(prod(parameter.shape) for parameter in layout.parameters)
