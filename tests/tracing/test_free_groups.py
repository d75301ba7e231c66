"""Which neurons may be permuted, written down by hand from what the networks compute, and found exactly."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.symmetry import NeuronPermutation
from neural_graphs.testing import assert_same_function
from tests.tracing.broken import changed, freed
from tests.tracing.models.everything import EXAMPLES
from tests.tracing.traced import traced


@dataclass(frozen=True)
class Free:
    """`size` neurons that may be permuted; `within` are the sizes of what they are nested in; they move `modules`."""

    size: int
    modules: frozenset[str]
    within: tuple[int, ...] = ()


def free(size: int, modules: str, within: tuple[int, ...] = (), under: str = "") -> Free:
    """Modules as words, below `under`."""
    return Free(size, frozenset(under + module for module in modules.split()), within)


def found(layout: Layout) -> list[Free]:
    """What the free atoms of more than one place do, each moved on its own."""
    places = Networks(torch.arange(layout.size, dtype=torch.float64)[None], layout)
    sizes = {atom.name: atom.size for group in layout.groups for atom in group.axis.atoms()}
    groups = []
    for atom in layout.free_atoms:
        within = tuple(sizes[name] for name in atom.within)
        order = np.broadcast_to(np.roll(np.arange(atom.size), 1), (*within, atom.size))
        moved = NeuronPermutation(layout, {atom.name: order}).act(places)
        pairs = zip(places.state_dicts()[0].items(), moved.state_dicts()[0].values(), strict=True)
        names = frozenset(
            key.removesuffix(".weight").removesuffix(".bias").removesuffix(".running_mean").removesuffix(".running_var")
            for (key, before), after in pairs
            if not torch.equal(before, after)
        )
        if atom.size > 1:
            groups.append(Free(atom.size, names, tuple(size for size in within if size > 1)))
    return groups


def same(layout: Layout, expected: list[Free]) -> None:
    """The same groups, each as often."""

    def text(groups: list[Free]) -> list[str]:
        return sorted(f"{g.size} within {g.within}: {' '.join(sorted(g.modules))}" for g in groups)

    assert text(found(layout)) == text(expected)


def test_mlp() -> None:
    """Every hidden layer is free; inputs and outputs are what they are."""
    same(traced("MLP").layout, [free(7, "0 2"), free(5, "2 4")])


def test_tied_autoencoder() -> None:
    """One matrix reads and writes, so the two uses move together; the middle bias belongs to the first code."""
    same(traced("tied autoencoder").layout, [free(6, "first second inner"), free(3, "second")])


def test_groups_of_a_norm_that_end_inside_the_parts_of_a_concatenation() -> None:
    """Eight and twelve channels, tens of them normed together: the first ten have two of the twelve."""
    expected = [free(8, "up norm out"), free(2, "down up norm out"), free(10, "down up norm out"), free(5, "out fc")]
    same(traced("GroupNorm across a concatenation").layout, expected)
    fives = [free(3, "up norm out"), free(2, "down up norm out"), free(5, "out fc")]
    fives += [free(5, "up norm out"), *[free(5, "down up norm out")] * 2]
    same(traced("GroupNorm in fives across a concatenation").layout, fives)


def test_bags_and_bilinear_layers() -> None:
    """What a bag makes of its words it makes of each feature by itself; a product has the neurons of both factors."""
    same(traced("EmbeddingBag").layout, [free(6, "words hidden"), free(5, "hidden out")])
    same(traced("bilinear").layout, [free(6, "left both"), free(5, "right both"), free(7, "both out")])


def test_a_layer_used_thrice() -> None:
    """The stream goes through one layer again and again: its inputs and outputs are the same neurons."""
    same(traced("a layer used thrice").layout, [free(7, "enter again norm leave")])


def test_resnet() -> None:
    """A skip adds stage by stage, so a stage is one stream; the inside of every block is free on its own.

    Where width or stride changes the projection cuts the stream, so the four stages are not tied to each other.
    """
    expected = [
        free(4 * 2**stage, f"{block}.conv1 {block}.bn1 {block}.conv2")
        for stage in range(4)
        for block in (f"layer{stage + 1}.0", f"layer{stage + 1}.1")
    ]
    for stage in range(1, 5):
        start = "0.downsample.0 0.downsample.1" if stage > 1 else "0.conv1"
        ours = free(0, f"{start} 0.conv2 0.bn2 1.conv1 1.conv2 1.bn2", under=f"layer{stage}.").modules
        after = {"fc"} if stage == 4 else {f"layer{stage + 1}.0.conv1", f"layer{stage + 1}.0.downsample.0"}
        before = {"conv1", "bn1"} if stage == 1 else set()
        expected.append(Free(2 * 2**stage, ours | after | before))
    same(traced("ResNet-18").layout, expected)


def test_densenet() -> None:
    """Concatenation ties nothing: what each layer adds is a group of its own, read by all that follow."""
    first, second = "block1.0.norm1 block1.0.conv1", "block1.1.norm1 block1.1.conv1"
    expected = [
        free(4, f"conv0 norm0 {first} {second} norm conv"),
        free(3, f"block1.0.conv2 {second} norm conv"),
        free(3, "block1.1.conv2 norm conv"),
        free(5, "conv block2.0.norm1 block2.0.conv1 block2.1.norm1 block2.1.conv1 norm5 classifier"),
        free(3, "block2.0.conv2 block2.1.norm1 block2.1.conv1 norm5 classifier"),
        free(3, "block2.1.conv2 norm5 classifier"),
    ]
    for size, block in ((5, "block1"), (6, "block2")):
        expected += [free(size, "conv1 norm2 conv2", under=f"{block}.{layer}.") for layer in range(2)]
    same(traced("DenseNet").layout, expected)


def test_depthwise_and_squeeze_excite() -> None:
    """A depthwise filter and a gate keep each channel to itself, so a channel is one neuron from expansion to
    projection; the squeezed neurons are free on their own."""
    stream = "features.0.0 features.0.1 features.1.block.0.0 features.1.block.0.1 features.1.block.1.fc1"
    stream += " features.1.block.1.fc2 features.1.block.2.0 features.1.block.2.1 features.2.block.0.0"
    inside = "0.0 0.1 1.0 1.1 2.fc1 2.fc2 3.0"
    expected = [
        free(4, stream),  # the first block has no expansion: its channels are the stem's, and a skip goes around it
        free(2, "fc1 fc2", under="features.1.block.1."),
        free(10, inside, under="features.2.block."),
        free(2, "fc1 fc2", under="features.2.block.2."),
        free(6, "2.block.3.0 2.block.3.1 3.block.0.0 3.block.3.0 3.block.3.1 4.0", under="features."),
        free(14, inside, under="features.3.block."),
        free(3, "fc1 fc2", under="features.3.block.2."),
        free(12, "features.4.0 features.4.1 classifier.0"),
        free(9, "classifier.0 classifier.3"),
    ]
    same(traced("MobileNet").layout, expected)


def test_shuffle() -> None:
    """Halves are interleaved and split again, so two channels are alike only where both end in the same halves.

    With a and b the halves after the first unit, c and d what the next two add: the second unit reads a₂ b₂ a₃ b₃ and
    keeps a₀ b₀ a₁ b₁; the third keeps a₀ c₀ b₀ c₁ and reads a₁ c₂ b₁ c₃. So a₂ a₃ may change places, b₂ b₃, c₀ c₁ and
    c₂ c₃ too, but a₀ and a₁ go different ways.
    """
    expected = [
        free(6, "conv1.0 conv1.1 stage2.0.branch1.0 stage2.0.branch1.1 stage2.0.branch1.2 stage2.0.branch2.0"),
        free(2, "stage2.0.branch1.2 stage2.0.branch1.3 stage2.1.branch2.0"),
        free(2, "stage2.0.branch2.5 stage2.0.branch2.6 stage2.1.branch2.0"),
        free(2, "stage2.1.branch2.5 stage2.1.branch2.6 conv5.0"),
        free(2, "stage2.1.branch2.5 stage2.1.branch2.6 stage2.2.branch2.0"),
        free(4, "stage2.2.branch2.5 stage2.2.branch2.6 conv5.0"),
        free(10, "conv5.0 conv5.1 fc"),
    ]
    expected += [free(4, "0 1 3 4 5", under=f"stage2.{place}.branch2.") for place in range(3)]
    same(traced("ShuffleNet").layout, expected)


def test_grouped_convolution() -> None:
    """The four groups change places as wholes, with what they read and what they write; inside a group, its two
    inputs are free, and so are its three outputs, in every group in another way."""
    expected = [
        free(4, "first grouped last"),
        free(2, "first grouped", within=(4,)),
        free(3, "grouped last", within=(4,)),
        free(5, "last head"),
    ]
    same(traced("grouped convolution").layout, expected)


def test_vit() -> None:
    """The stream is one group, because every block adds to it. Heads change places as wholes; inside a head, queries
    and keys are multiplied with each other and move together, values go on to the projection and move apart."""
    block = "norm1 attn.qkv attn.proj ls1 norm2 ls2 mlp.0 mlp.2"
    stream = " ".join(f"blocks.{place}.{name}" for place in range(2) for name in block.split())
    expected = [free(12, f"patch_embed cls_token pos_embed norm head {stream}")]
    for place in range(2):
        expected += [
            free(3, "qkv proj", under=f"blocks.{place}.attn."),
            free(4, "qkv", within=(3,), under=f"blocks.{place}.attn."),
            free(4, "qkv proj", within=(3,), under=f"blocks.{place}.attn."),
            free(20, "mlp.0 mlp.2", under=f"blocks.{place}."),
        ]
    same(traced("ViT").layout, [_scales(group) for group in expected])


def _scales(group: Free) -> Free:
    """Layer scales are parameters of their own name."""
    return Free(group.size, frozenset(m + ".gamma" if m[-3:-1] == "ls" else m for m in group.modules), group.within)


def test_normed_queries_are_tied_across_heads() -> None:
    """One norm serves the queries of all heads, another the keys, so no head may order its dimensions alone."""
    attn = "blocks.0.attn."
    expected = [
        free(3, "qkv proj", under=attn),
        free(4, "qkv q_norm k_norm", under=attn),
        free(4, "qkv proj", within=(3,), under=attn),
        free(20, "blocks.0.mlp.0 blocks.0.mlp.2"),
    ]
    block = "norm1 attn.qkv attn.proj ls1.gamma norm2 ls2.gamma mlp.0 mlp.2"
    stream = " ".join(f"blocks.0.{name}" for name in block.split())
    expected.append(free(12, f"patch_embed cls_token pos_embed norm head {stream}"))
    same(traced("ViT with normed queries").layout, expected)


def test_lstm() -> None:
    """The four gates of a cell and its state are one neuron: they move together, in both matrices and both biases."""
    cell = "core.weight_ih_l{0} core.weight_hh_l{0} core.bias_ih_l{0} core.bias_hh_l{0}"
    expected = [
        free(4, "embedding core.weight_ih_l0"),
        free(6, f"{cell.format(0)} core.weight_ih_l1"),
        free(6, f"{cell.format(1)} head"),
    ]
    same(traced("LSTM").layout, expected)


def test_gpt() -> None:
    """Two pairs of keys and values change places as wholes, each with its two queries; these are free inside their
    pair. Rotary positions turn every dimension of queries and keys at a speed of its own, so those are fixed; the
    dimensions of values are free for each pair, alike for its two queries. Gate and up projection meet in products.
    The vocabulary is fixed, and the head is the embedding."""
    layers, parts = ["layers.0.", "layers.1."], "norm1 norm2 q k v o gate up down"
    every = " ".join(f"{layer}{name}" for layer in layers for name in parts.split())
    expected = [free(16, f"embedding head norm {every}")]
    for layer in layers:
        expected += [
            free(2, "q k v o", under=layer),
            free(2, "q o", within=(2,), under=layer),
            free(4, "v o", within=(2,), under=layer),
            free(24, "gate up down", under=layer),
        ]
    same(traced("GPT").layout, expected)


def test_experts() -> None:
    """Experts change places as wholes, with their row of the gate; the hidden neurons of each are its own."""
    expected = [free(5, "enter gate w1"), free(3, "gate w1 b1 w2"), free(7, "w1 b1 w2", within=(3,))]
    same(traced("mixture of experts").layout, expected)


def test_experts_that_are_chosen() -> None:
    """What is chosen among may change places, with all that hangs on it; which one was chosen is no number then."""
    expected = [
        free(5, "enter router leave w1 w2"),
        free(3, "router w1 b1 w2"),
        free(6, "w1 b1 w2", within=(3,)),
    ]
    same(traced("experts for every point").layout, expected)
    expected = [
        free(5, "enter router leave w1 w2"),
        free(3, "router bias w1 b1 w2"),
        free(2, "router bias w1 b1 w2", within=(3,)),
        free(6, "w1 b1 w2", within=(3, 2)),
    ]
    same(traced("experts in groups").layout, expected)


def test_experts_in_a_list() -> None:
    """Their hidden neurons are free; the experts themselves stay, for each has tensors of its own."""
    stream = " ".join(f"experts.{place}.0 experts.{place}.2" for place in range(3))
    expected = [free(5, f"enter router leave {stream}")]
    expected += [free(4, "0 2", under=f"experts.{place}.") for place in range(3)]
    same(traced("experts in a list").layout, expected)


def test_a_code_book() -> None:
    """Its entries may change places: the nearest one stays what it was."""
    same(traced("code book").layout, [free(6, "enter book leave"), free(7, "book")])
    same(traced("ranked").layout, [free(6, "enter pool"), free(4, "pool")])


def test_experts_do_not_change_places_without_their_scores() -> None:
    """The tester tested: the rows of the router stay, what they choose among moves."""
    one = traced("experts for every point")
    (experts,) = (atom for atom in one.layout.free_atoms if atom.size == 3)
    scores = tuple(group.name for group in one.layout.groups if group.name == "router")
    assert scores
    with pytest.raises((AssertionError, LayoutError), match=r"changes the function|contradict|reorders"):
        alone = changed(one.layout, {experts: replace(experts, name="scores")}, scores)
        assert_same_function(one.module, alone, one.inputs, draws=9)


def test_a_layer_scale_and_channels_that_come_last() -> None:
    """The stream is one axis through both arrangements; only the inside of the two linear layers is free beside it."""
    expected = [free(6, "stem norm filter inner up down scale head"), free(10, "up down")]
    same(traced("ConvNeXt block").layout, expected)


def test_shifted_windows() -> None:
    """Windows, shifts and merged corners move places alone; heads have their columns of the table of positions."""
    stream = "embed norms.0 norms.1 qkv.0 qkv.1 proj.0 proj.1 merge_norm merge"
    expected = [free(8, stream), free(10, "merge head")]
    for place in range(2):
        heads = f"qkv.{place} proj.{place}"
        expected += [free(2, f"{heads} table.{place}"), free(4, f"qkv.{place}", (2,)), free(4, heads, (2,))]
    same(traced("shifted windows").layout, expected)


def test_splines_on_edges() -> None:
    """Bumps may stand in another order if both layers read them so."""
    same(traced("splines on edges").layout, [free(5, "first last"), free(4, "grid first last")])


def test_sums_and_windows() -> None:
    """Whatever is added up along places by constants, the neurons stay what they were."""
    same(traced("graph convolution").layout, [free(6, "first second"), free(5, "second last")])
    expected = [
        free(4, "filter patches"),
        free(5, "patches one"),
        free(4, "one two"),
        free(6, "two memory mix"),
        free(7, "mix head"),
    ]
    same(traced("windows and sums").layout, expected)


def test_learned_queries() -> None:
    """The mean over the queries does not know their order; values of the input are a group of their own."""
    q, k, v, bias = (
        f"attention.{name}" for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias")
    )
    expected = [
        free(5, "queries"),
        free(12, f"queries norm {q} attention.out_proj head"),
        free(10, f"enter {k} {v}"),
        free(3, f"{q} {k} {v} {bias} attention.out_proj"),
        free(4, f"{q} {k} {bias}", within=(3,)),
        free(4, f"{v} {bias} attention.out_proj", within=(3,)),
    ]
    same(traced("learned queries").layout, expected)


def test_two_streams_that_read_one_packed_matrix() -> None:
    """Its first rows read the queries, the others the memory: they have columns of their own, and tie nothing."""
    own, cross = "layer.self_attn", "layer.multihead_attn"
    expected = [
        free(6, f"memory {cross}.in_proj_weight"),
        free(6, f"queries head {own}.in_proj_weight {own}.out_proj {cross}.in_proj_weight {cross}.out_proj"
                " layer.norm1 layer.norm2 layer.norm3 layer.linear1 layer.linear2"),
        free(5, "linear1 linear2", under="layer."),
    ]  # fmt: skip
    for attention in (own, cross):
        weight, bias, out = (f"{attention}.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj"))
        expected += [free(2, f"{weight} {bias} {out}"), free(3, f"{weight} {bias}", within=(2,))]
        expected.append(free(3, f"{weight} {bias} {out}", within=(2,)))
    same(traced("nn.TransformerDecoderLayer").layout, expected)


def test_rows_of_one_matrix() -> None:
    """Cut off one after another, and each read by a stream of its own."""
    expected = [free(4, f"enter.{place} packed") for place in range(3)]
    expected += [free(3, "packed head"), free(4, "packed"), free(5, "packed")]
    same(traced("rows of one matrix").layout, expected)


@pytest.mark.parametrize("name", ["transformers Llama", "transformers GPT-2", "transformers BERT"])
def test_the_same_in_other_peoples_code(name: str) -> None:
    """Sizes and nesting as the configuration has them: streams, heads, dimensions within heads, hidden neurons."""
    layers = {
        "transformers Llama": [(2, ()), (2, (2,)), (4, (2,)), (20, ())],
        "transformers GPT-2": [(3, ()), (4, (3,)), (4, (3,)), (48, ())],
        "transformers BERT": [(3, ()), (4, (3,)), (4, (3,)), (20, ())],
    }[name]
    around = {"transformers Llama": [(16, ())], "transformers GPT-2": [(12, ())], "transformers BERT": [(12, ())] * 2}
    expected = sorted([*around[name], *layers, *layers])
    assert sorted((group.size, group.within) for group in found(traced(name).layout)) == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_fixed_must_be(name: str) -> None:
    """Vocabularies, places and rotary dimensions are fixed for a reason: set free, they change the function."""
    one = traced(name)
    ends = {atom for group in one.layout.groups if group.role != "hidden" for atom in group.axis.atoms()}
    atoms = dict.fromkeys(atom for group in one.layout.groups for atom in group.axis.atoms())
    for atom in atoms:
        if not atom.free and atom.size > 1 and atom not in ends:
            with pytest.raises((AssertionError, LayoutError), match=r"changes the function|contradict|reorders"):
                assert_same_function(one.module, freed(one.layout, atom), one.inputs, EXAMPLES[name].tolerance, draws=9)
