"""What a metanetwork sees of a network beside its numbers; what it does not see shows what seeing it is worth."""

from dataclasses import dataclass, replace

from neural_graphs.graph.constants import constant
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks


@dataclass(frozen=True)
class Ablation:
    """What an encoder tells of a network (paper, appendix on ablations); everything by default.

    `position` tells input neurons, hidden groups and output neurons apart, `activations` says what hidden neurons
    compute, `skips` gives edges to connections without weights. With `scalars_apart` weights of Linear layers have an
    encoder of their own; else they are kernels of one place, centred in the largest (`linear_as_conv` of the paper's
    code).
    """

    position: bool = True
    activations: bool = True
    skips: bool = True
    scalars_apart: bool = False

    def see(self, networks: Networks) -> Networks:
        """The same numbers, in layouts that hold what is seen."""
        if self.skips or not any(_has_skips(layout) for layout in set(networks.layouts)):
            return networks
        if networks.regular:
            return Networks(networks.values, without_skips(networks.layout))
        return Networks(networks.values, [without_skips(layout) for layout in networks.layouts])


def _has_skips(layout: Layout) -> bool:
    return any(block.parameter is None for block in layout.blocks)


@constant()
def without_skips(layout: Layout) -> Layout:
    """The layout with blocks that hold weights only; it is another function, and no longer says how to run it."""
    return replace(layout, blocks=tuple(block for block in layout.blocks if block.parameter is not None))


Sight = Ablation  # its former name
