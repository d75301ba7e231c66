"""Probing: what networks do, not what they are (Kahana et al. 2024, Deep Linear Probe Generators for Weight Space).

Learned inputs are run through every network, and the answers, in order, are read. Whatever leaves the function of a
network alone leaves what is read alone: permutations, signs, scales, and symmetries that nobody has named.
"""

from collections.abc import Sequence
from math import prod

from jaxtyping import Float
from torch import Tensor

from neural_graphs.networks import Networks
from neural_graphs.nn.perceptron import perceptron
from neural_graphs.nn.probe_generators import ImageProbes, LinearProbes, generator
from neural_graphs.nn.run.microbatch import Reader, widest_group
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import InputSpec


class ProbeGen(Shareable, Reader):
    """An MLP on the answers of a network to probes that a deep linear generator makes; no weight is seen.

    Reads every network that runs: networks of one batch may differ in all but the shapes of inputs and outputs.

    Args:
        family: the networks it will read.
        classes: the answers per network.
        probes: how many inputs are asked.
        shape: of one input, such as `(2,)` for coordinates or `(1, 28, 28)` for images; default: all inputs as one row.
        hidden: widths of the hidden layers of the MLP.
        dropout: probability of dropping a hidden feature in training.
    """

    def __init__(
        self, family: InputSpec, classes: int, probes: int = 128, shape: Sequence[int] | None = None,
        hidden: Sequence[int] = (512, 512), dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.probes: LinearProbes | ImageProbes = generator(probes, (family.inputs,) if shape is None else shape)
        self.mlp = perceptron((probes * family.outputs, *hidden, classes), dropout)

    def embed(self, networks: Networks) -> Float[Tensor, "networks features"]:
        """The answers to all probes, in order."""
        return networks.run(self.probes()).flatten(1)

    def read(self, networks: Networks) -> Float[Tensor, "networks classes"]:
        """The answers in one go."""
        return self.mlp(self.embed(networks))

    def numbers(self, networks: Networks) -> int:
        """How many numbers the widest group of the largest network holds for all probes, about."""
        places = prod(self.probes.size) if isinstance(self.probes, ImageProbes) else 1
        return len(self.probes.codes) * widest_group(networks) * places
