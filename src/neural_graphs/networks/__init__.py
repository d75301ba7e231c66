"""The parameters of a batch of networks, and how networks are run."""

from neural_graphs.networks.networks import Networks, StateDict
from neural_graphs.networks.program import Inputs, Program

__all__ = ["Inputs", "Networks", "Program", "StateDict"]
