"""Gradient descent on many networks at once, each with an optimiser, a learning rate and a penalty of its own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """How an optimiser turns gradients g into a step: lr · mean(g) / (√mean(g²) + ε), or lr · g without `square`.

    `mean` and `square` are the decays of the two running means (0: the newest value only). Only with `unbiased` are
    they divided by 1 − decay^steps.
    """

    mean: float
    square: float | None
    epsilon: float
    unbiased: bool = False


RULES = {  # with the defaults of Keras, in which the published zoo was trained
    "adam": Rule(0.9, 0.999, 1e-7, unbiased=True),  # Kingma and Ba 2015
    "rmsprop": Rule(0.0, 0.9, 1e-7),  # Tieleman and Hinton 2012
    "sgd": Rule(0.0, None, 0.0),
}


class Descent:
    """Moves `values` (networks, size) in place, every network by its own rule and learning rate."""

    def __init__(self, rules: list[Rule], learning_rates: list[float], values: Float[Tensor, "networks size"]) -> None:
        self.values = values
        self.mean, self.square = torch.zeros_like(values), torch.zeros_like(values)

        def column(numbers: list[float] | list[bool]) -> Float[Tensor, "networks 1"]:
            return torch.tensor(numbers, dtype=values.dtype)[:, None]

        self.rates = column(learning_rates)
        self.mean_decay = column([rule.mean for rule in rules])
        self.square_decay = column([rule.square or 0.0 for rule in rules])
        self.adaptive = column([rule.square is not None for rule in rules])
        self.unbiased = column([rule.unbiased for rule in rules])
        self.epsilon = column([rule.epsilon if rule.square is not None else 1.0 for rule in rules])
        self.steps = 0

    def step(self, gradient: Float[Tensor, "networks size"]) -> None:
        """Make one step against the gradient, which is overwritten."""
        self.steps += 1
        self.mean.mul_(self.mean_decay).addcmul_(gradient, 1 - self.mean_decay)
        self.square.mul_(self.square_decay).addcmul_(gradient.square_(), 1 - self.square_decay)
        mean_bias = 1 - self.unbiased * self.mean_decay**self.steps
        square_bias = 1 - self.unbiased * self.square_decay**self.steps
        size = torch.sqrt(self.square, out=gradient)  # the denominator is 1 for plain descent, which divides by nothing
        size.mul_(self.adaptive / square_bias.sqrt()).add_(self.epsilon)
        self.values.sub_((self.mean / size).mul_(self.rates / mean_bias))
