"""Fitting stacks of SIRENs on an accelerator: a step is functions of tensors, which compilers fuse, captured once.

Memory is what a step waits for there. As loops over the few inputs and outputs, with sines and cosines written where
they are read, the first and the last layer become part of their neighbours: of two hidden layers a compiler reads and
writes thirteen tensors of activities a step, operators one by one thirty. `siren.py` does the same for the cache of a
processor.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_graphs.layout import Layout
from neural_graphs.nn.run.capture import RECORDERS, WARM, compiled
from neural_graphs.zoo.recipes.presets import OMEGA, Preset
from neural_graphs.zoo.recipes.siren import BETAS, EPSILON, SirenStack, layers_of

Layers = list[tuple[Tensor, Tensor]]
Slope = Callable[[Layers, Tensor, Tensor], tuple[Tensor, Tensor]]  # of layers, points and targets

ASKED = 50  # steps between two questions whether all networks have stopped: each waits for the accelerator


def options() -> dict[str, Any]:
    """Of the compiler: the same bytes in every process; the first layer is computed again where it is read."""
    chosen = {"deterministic": True, "realize_reads_threshold": 8}
    return {name: choice for name, choice in chosen.items() if name in torch._inductor.list_options()}


def error_and_gradient(
    layers: Layers,
    x: Float[Tensor, "inputs points"],
    target: Float[Tensor, "networks outputs points"],
) -> tuple[Float[Tensor, " networks"], Float[Tensor, "networks size"]]:
    """Return the mean squared error of each network, and its gradient in all parameters, given as in `layers_of`."""
    (weight, bias), *inner, (last, last_bias) = layers
    z = OMEGA * (sum(weight[:, :, k, None] * row for k, row in enumerate(x)) + bias)
    below: list[tuple[Tensor, Tensor]] = []  # what each inner layer reads: the sine, and what it is the sine of
    for weight, bias in inner:
        below.append((z.sin(), z))
        z = torch.bmm(OMEGA * weight, below[-1][0]) + OMEGA * bias
    rows = last[..., None].unbind(1)  # per output (networks, width, 1)
    residuals = [(row * z.sin()).sum(1) + last_bias[:, c] - target[:, c] for c, row in enumerate(rows)]
    factor = 2.0 / target[0].numel()
    error = sum(residual.square().sum(1) for residual in residuals) * (factor / 2)
    slopes = [torch.stack([residual.sum(1) for residual in residuals], 1)]  # from the last parameter to the first
    slopes += [torch.stack([(residual[:, None] * z.sin()).sum(2) for residual in residuals], 1)]
    dz = sum(row * residual[:, None] for row, residual in zip(rows, residuals, strict=True)) * z.cos()
    for (weight, _), (sine, z) in zip(reversed(inner), reversed(below), strict=True):
        slopes += [OMEGA * dz.sum(2), OMEGA * torch.bmm(dz, sine.transpose(1, 2))]
        dz = torch.bmm(OMEGA * weight.transpose(1, 2), dz) * z.cos()
    slopes += [OMEGA * dz.sum(2), OMEGA * torch.stack([(dz * row).sum(2) for row in x], 2)]
    return error, factor * torch.cat([slope.flatten(1) for slope in reversed(slopes)], 1)


def descend(
    values: Float[Tensor, "networks size"],
    moments: tuple[Float[Tensor, "networks size"], Float[Tensor, "networks size"]],
    gradient: Float[Tensor, "networks size"],
    active: Float[Tensor, "networks 1"],
    root: Float[Tensor, " 1"],
    rate: Float[Tensor, " 1"],
) -> None:
    """Take a step of Adam in place, as `StackAdam`: `root` is √(1 − β₂ᵗ), `rate` the learning rate over 1 − β₁ᵗ."""
    mean, square = moments
    mean.lerp_(gradient, 1 - BETAS[0])
    square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    values.sub_(mean / (square.sqrt() / root + EPSILON) * active * rate)


class FusedFit:
    """Fits stacks of `networks` SIRENs, one after another, by Adam and the schedule of a preset.

    All that a step reads and writes stays in place, its number and its rates too: on CUDA the step is captured once,
    and replayed. `drawn` are the points of each step, None for all of them.
    """

    def __init__(
        self,
        preset: Preset,
        layout: Layout,
        x: Float[Tensor, "inputs points"],
        networks: int,
        drawn: Int[Tensor, "steps drawn"] | None,
    ) -> None:
        self.x, self.drawn, self.steps, self.enough = x, drawn, preset.steps, preset.enough
        self.values, mean, square = (x.new_zeros(networks, layout.size) for _ in range(3))
        self.moments = mean, square
        self.layers = layers_of(self.values, layout)
        self.goal = x.new_zeros(networks, layout.groups[-1].size, x.shape[1])
        self.active, self.taken = x.new_ones(2, networks, 1)
        self.number = torch.zeros(1, dtype=torch.int64, device=x.device)  # of the next step, from 0
        counts = range(1, self.steps + 1)
        self.rates = x.new_tensor([preset.rate(count - 1) / (1 - BETAS[0] ** count) for count in counts])
        self.roots = x.new_tensor([math.sqrt(1 - BETAS[1] ** count) for count in counts])
        self.slope: Slope = error_and_gradient
        self.descend = descend
        if x.is_cuda:  # without a compiler the operators that `siren.py` calls one by one take fewer passes
            how: dict[str, Any] = {"fullgraph": True, "options": options()}
            self.slope = compiled(error_and_gradient, Unfused(self.values, layout, x), **how)
            self.descend = compiled(descend, **how)
        self.advance = captured(self.step, x.device)

    def __call__(
        self, values: Float[Tensor, "networks size"], goal: Float[Tensor, "networks outputs points"]
    ) -> tuple[Float[Tensor, "networks size"], Float[Tensor, " networks"], Float[Tensor, "networks 1"]]:
        """Return the fitted values, their mean squared errors, and the steps taken; the next call overwrites them."""
        self.values.copy_(values)
        self.goal.copy_(goal)
        self.active.fill_(1)
        for state in (*self.moments, self.taken, self.number):
            state.zero_()
        for step in range(self.steps):
            if self.enough and step % ASKED == 0 and not self.active.any():
                break
            self.advance()
        return self.values, self.slope(self.layers, self.x, self.goal)[0], self.taken

    def step(self) -> None:
        """Take the next step; after the last one comes the first again."""
        x, goal = self.x, self.goal
        if self.drawn is not None:
            points = self.drawn.index_select(0, self.number)[0]
            x, goal = x.index_select(1, points), goal.index_select(2, points)
        error, gradient = self.slope(self.layers, x, goal)
        if self.enough:
            self.active.mul_(error[:, None] > self.enough)
        root, rate = (table.index_select(0, self.number) for table in (self.roots, self.rates))
        self.descend(self.values, self.moments, gradient, self.active, root, rate)
        self.taken.add_(self.active)
        self.number.add_(1).remainder_(self.steps)


class Unfused:
    """`error_and_gradient` of the same values always, operator by operator."""

    def __init__(
        self, values: Float[Tensor, "networks size"], layout: Layout, x: Float[Tensor, "inputs points"]
    ) -> None:
        self.made_of = values, layout, OMEGA, x.shape[1]

    @cached_property
    def stack(self) -> SirenStack:
        """With memory of its own, where it is needed at all."""
        return SirenStack(*self.made_of)

    def __call__(
        self, layers: Layers, x: Float[Tensor, "inputs points"], target: Float[Tensor, "networks outputs points"]
    ) -> tuple[Float[Tensor, " networks"], Float[Tensor, "networks size"]]:
        """Return the mean squared errors, and the gradient in a buffer that the next call overwrites."""
        error = self.stack.residual(x, target).square().mean((1, 2))
        return error, self.stack.backward()


def captured(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return a step that is replayed, where a device can; takes some steps first, so set the state anew afterwards."""
    if device.type not in RECORDERS:
        return step
    with torch.cuda.device_of(torch.empty(0, device=device)):
        for _ in range(WARM):
            step()
        return RECORDERS[device.type]().record(step)[1]
