"""Every example traced once for all tests."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

import neural_graphs as ng
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from tests.tracing.models.everything import EXAMPLES
from tests.tracing.models.example import Inputs


@dataclass(frozen=True)
class Traced:
    """A module, what it is run on, and its layout."""

    module: nn.Module
    inputs: Inputs
    layout: Layout

    @property
    def networks(self) -> Networks:
        """A batch of the one network."""
        return Networks.from_modules([self.module], self.layout)


@cache
def traced(name: str, dtype: torch.dtype = torch.float64) -> Traced:
    """The example of that name."""
    module, inputs = EXAMPLES[name].module(dtype), EXAMPLES[name].inputs(dtype)
    return Traced(module, inputs, ng.trace(module, inputs))
