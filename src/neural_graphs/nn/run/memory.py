"""How much memory a metanetwork needs to read a batch, estimated before anything is made."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from neural_graphs.errors import MemoryNeeded
from neural_graphs.graph import Wiring
from neural_graphs.graph.constants import constant
from neural_graphs.graph.memory import available
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn.run.checkpointing import is_large

WORTH_ASKING = 1 << 29  # bytes; below, the system is not asked
INDEX_BYTES = 100  # per edge: ends, places, reversed edges
SCATTERED = 1.5  # what mixed batches need for gathered ends and scattered sums


@dataclass(frozen=True)
class EdgeMemory:
    """What a backbone keeps per edge, in numbers, about.

    `state` is what passes from layer to layer, `largest` the widest tensor a layer makes, `work` all it makes; `layers`
    of them make new edges.
    """

    state: int
    largest: int
    work: int
    layers: int

    def numbers(self, gradients: bool, recomputed: bool) -> int:
        """Numbers per edge alive at the worst moment of reading, or of reading and the backward pass."""
        if not gradients:
            return 2 * self.state + self.work
        if recomputed:  # the states, one layer, and the gradients of most of what it makes
            return self.layers * self.state + self.work * 8 // 5
        return self.layers * (self.state + self.work) + self.work


@constant()
def edge_count(layout: Layout, wiring: Wiring) -> int:
    """The edges of one network."""
    return sum(block.size for block in wiring.edge_blocks(layout))


@constant(64)
def _edges_of(layouts: tuple[Layout, ...], wiring: Wiring) -> int:
    return sum(edge_count(layout, wiring) for layout in layouts)


def edges_of(networks: Networks, wiring: Wiring) -> int:
    """The edges of all networks of a batch."""
    if networks.regular:
        return len(networks) * edge_count(networks.layout, wiring)
    return _edges_of(networks.layouts, wiring)


def bytes_needed(networks: Networks, wiring: Wiring, memory: EdgeMemory) -> int:
    """For reading these networks in one go, with their gradients where torch records them."""
    edges = edges_of(networks, wiring)
    gradients = torch.is_grad_enabled()
    recomputed = gradients and is_large(edges * memory.largest, networks.values.device)
    raw = networks.values.numel() * (1 if wiring.copies == 1 else 8)  # kernels read backwards carry zeros
    per_edge = memory.numbers(gradients, recomputed) * (1.0 if networks.regular else SCATTERED)
    return int(edges * per_edge + raw) * networks.values.element_size() + edges * INDEX_BYTES


def require_memory(networks: Networks, wiring: Wiring, memory: EdgeMemory) -> None:
    """Raise MemoryNeeded where a batch cannot be read in the memory there is."""
    ways = ["forward edges only (reverse=False)"] if wiring.copies > 1 else []
    require_bytes(bytes_needed(networks, wiring, memory), networks, ways)


def require_bytes(needed: int, networks: Networks, ways: Sequence[str] = ()) -> None:
    """Raise MemoryNeeded where so many bytes are not free on the device of a batch; `ways` are those to need less."""
    if needed < WORTH_ASKING:
        return
    device = networks.values.device
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return  # was asked when the same batch was read plainly
    free = available(device)
    if free is None or needed <= free:
        return
    weights = sum(layout.weights for layout in networks.layouts)
    advice = ["fewer networks at once"] if len(networks) > 1 else []
    advice += [*ways, "a smaller width"]
    if torch.is_grad_enabled():
        advice.append("reading without gradients (torch.no_grad)")
    raise MemoryNeeded(
        f"reading {len(networks)} network{'s' if len(networks) > 1 else ''} of {weights:,} weights in all needs about "
        f"{needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free on {device}; what helps: {', '.join(advice)}"
    )
