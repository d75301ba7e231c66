"""Growing INRs: the recipe that goes into a zoo's manifest, and `grow`, which fits one SIREN to each image."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from threading import Semaphore
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from neural_graphs.errors import ConfigError, ImageError
from neural_graphs.layout import Layout
from neural_graphs.zoo.recipes.fused import ASKED, FusedFit
from neural_graphs.zoo.recipes.hyper import generator_of
from neural_graphs.zoo.recipes.presets import OMEGA, PRESETS, Initialisation, Preset, Uniform, preset
from neural_graphs.zoo.recipes.siren import SirenStack, StackAdam

__all__ = ["PRESETS", "STACK", "Grown", "Preset", "Recipe", "grow", "preset"]

# Networks per tensor program. A network's place in its stack is its number modulo this, so it always meets the same
# code: its bytes may depend on the stack's size, never on its neighbours or on how a zoo is cut into calls.
STACK = {"cpu": 16, "cuda": 1024}


@dataclass(frozen=True)
class Recipe:
    """All that decides the parameters of network number i, given its image; the zoo's manifest keeps it."""

    preset: Preset
    image: tuple[int, int, int]  # height, width, channels
    hidden: tuple[int, ...] = (32, 32)
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.image) != 3 or min(self.image) < 1:
            raise ConfigError(f"image is {self.image}, expected (height, width, channels), each at least 1")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden is {self.hidden}, expected the width of at least one sine layer")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}, expected 0 or more")

    @cached_property
    def layout(self) -> Layout:
        """The layout of every network: 2 → hidden → channels."""
        widths = (2, *self.hidden, self.image[2])
        return Layout.mlp(widths, activation="sine", names="layers.{}", scale=OMEGA, offset=self.preset.offset)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain lists and dictionaries."""
        preset = asdict(self.preset)
        if not preset["same_start"]:
            del preset["same_start"]  # as in the zoos grown before there was a choice
        return {
            "kind": "inr",
            "preset": preset,
            "image": list(self.image),
            "hidden": list(self.hidden),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Recipe":
        """Return the recipe that `to_json` wrote."""
        fields = dict(data["preset"])
        laws = {name: Uniform(**law) for name, law in fields.pop("initialisation").items()}
        height, width, channels = data["image"]
        return cls(
            Preset(initialisation=Initialisation(**laws), **fields),
            (height, width, channels),
            tuple(data["hidden"]),
            data["seed"],
        )

    def coordinates(self) -> Float[Tensor, "2 points"]:
        """Return the pixels' places on the regular grid over [-1, 1]², row by row; a lone row or column sits at -1."""
        height, width, _ = self.image
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        first, second = (columns, rows) if self.preset.axes == "xy" else (rows, columns)
        return torch.stack((first.flatten(), second.flatten()))

    def initial(self, number: int) -> Float[Tensor, " size"]:
        """Return the parameters that network `number` starts from."""
        number = 0 if self.preset.same_start else number
        uniform = torch.rand(self.layout.size, generator=generator_of(self.seed, number))
        return (2 * uniform - 1) * self.preset.initialisation.bounds(self.layout)

    def drawn(self) -> Int[Tensor, "steps drawn"] | None:
        """Return the pixels drawn at each step, the same for all networks; None where each step takes all of them."""
        if self.preset.pixels == 1:
            return None
        points = self.image[0] * self.image[1]
        drawn = max(1, round(points * self.preset.pixels))
        generator = torch.Generator().manual_seed(self.seed)
        return torch.stack([torch.randperm(points, generator=generator)[:drawn] for _ in range(self.preset.steps)])


@dataclass(frozen=True)
class Grown:
    """Fitted networks.

    `values` are flat vectors in the state-dict order of the recipe's layout. `psnr` is 10 log10(1 / MSE) in dB, the MSE
    taken over all pixels and channels between the image in [0, 1] and the unclamped render in the same units. `steps`
    counts the Adam updates.
    """

    values: Float[Tensor, "networks size"]
    psnr: Float[Tensor, " networks"]
    steps: Int[Tensor, " networks"]


def grow(
    images: Shaped[np.ndarray, "networks *image"] | Shaped[Tensor, "networks *image"],
    recipe: Recipe,
    *,
    first: int = 0,
    device: str | torch.device = "cpu",
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
) -> Grown:
    """Fit one SIREN to each image (networks, height, width[, channels]), uint8 or float in [0, 1].

    The networks are numbered from `first`. On one kind of device a network's bytes depend on the recipe, its number and
    its image, not on how a zoo is cut into calls nor on `workers` (threads on the CPU); calls that start and end at
    multiples of `STACK` waste nothing. `progress` receives how many networks are done since its last call. Returns
    tensors on the CPU. ImageError on another shape than the recipe's, on NaN and outside [0, 1]; ConfigError on
    another kind of device.
    """
    device = torch.device(device)
    if device.type not in STACK:
        raise ConfigError(f'INRs cannot be grown on device "{device}"; expected one of: {", ".join(STACK)}')
    targets = _targets(images, recipe)
    count, size = len(targets), STACK[device.type]
    grown = Grown(torch.empty(count, recipe.layout.size), torch.empty(count), torch.empty(count, dtype=torch.int64))
    on_cpu = device.type == "cpu"
    fit_stack = _in_cache(recipe) if on_cpu else _on_device(recipe, size, device)
    turns = Semaphore(workers if on_cpu else 1)  # an accelerator fits one stack while others are prepared and fetched

    def fit(start: int) -> int:
        if on_cpu:
            torch.set_num_threads(1)  # of this thread: the workers share the cores
        here = slice(max(start - first, 0), min(start + size - first, count))  # in the call
        there = slice(here.start + first - start, here.stop + first - start)  # in the stack
        goal = torch.zeros(size, *targets.shape[1:])  # a stack is always full: black images fill it up
        goal[there] = targets[here]
        values = torch.stack([recipe.initial(start + place) for place in range(size)])
        with turns:
            stack = fit_stack(values, goal - recipe.preset.offset)
        for whole, part in zip(vars(grown).values(), vars(stack).values(), strict=True):
            whole[here] = part[there]
        return here.stop - here.start

    starts = range(first - first % size, first + count, size)
    with _threads(workers if on_cpu else 2) as pool:
        for future in as_completed([pool.submit(fit, start) for start in starts]):
            done = future.result()
            if progress is not None:
                progress(done)
    return grown


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Lend threads; on an error drop what has not begun, and in any case restore torch's own number of threads."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


FitStack = Callable[[Tensor, Tensor], Grown]  # of initial values (networks, size), goals (networks, channels, points)


def _on_device(recipe: Recipe, networks: int, device: torch.device) -> FitStack:
    """What fits stacks of so many networks on an accelerator, one after another."""
    drawn, x = recipe.drawn(), recipe.coordinates().to(device)
    fused = FusedFit(recipe.preset, recipe.layout, x, networks, None if drawn is None else drawn.to(device))

    def fit(values: Tensor, goal: Tensor) -> Grown:
        return _grown(recipe.preset, *fused(values, goal))

    return fit


def _in_cache(recipe: Recipe) -> FitStack:
    """What fits stacks on a processor; its memory is that of one stack, several can be fitted at a time."""
    preset, drawn, x = recipe.preset, recipe.drawn(), recipe.coordinates()

    def fit(values: Tensor, goal: Tensor) -> Grown:
        sirens, adam = SirenStack(values, recipe.layout, OMEGA, x.shape[1]), StackAdam(values)
        active = values.new_ones(len(values), 1)
        steps = torch.zeros_like(active)
        for step in range(preset.steps):
            if drawn is None:
                residual = sirens.residual(x, goal)
            else:
                residual = sirens.residual(x[:, drawn[step]], goal[:, :, drawn[step]])
            if preset.enough:
                active *= residual.square().mean((1, 2))[:, None] > preset.enough
                if step % ASKED == 0 and not active.any():
                    break
            adam.step(values, sirens.backward(), preset.rate(step), active)
            steps += active
        return _grown(preset, values, sirens.residual(x, goal).square().mean((1, 2)), steps)

    return fit


def _grown(preset: Preset, values: Tensor, error: Tensor, steps: Tensor) -> Grown:
    """Fitted networks, given their mean squared errors (networks,), and steps (networks, 1), on the CPU."""
    return Grown(values.cpu(), -10 * (error / preset.peak).log10().cpu(), steps[:, 0].long().cpu())


def _targets(images: np.ndarray | Tensor, recipe: Recipe) -> Float[Tensor, "networks channels points"]:
    """Return images as rows of pixels in the preset's range, after checking them."""
    pixels = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images.cpu()
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if tuple(pixels.shape[1:]) != recipe.image:
        raise ImageError(
            f"images have shape {tuple(images.shape)}, expected (networks, height, width, channels) with height, width "
            f"and channels {recipe.image} as in the recipe"
        )
    pixels = pixels / 255 if pixels.dtype == torch.uint8 else pixels.to(torch.float32)
    bad = ~((pixels >= 0) & (pixels <= 1)).flatten(1).all(1)
    if bad.any():
        number = int(bad.nonzero()[0, 0])
        raise ImageError(f"image {number} holds NaN or values outside [0, 1]; give uint8, or floats in [0, 1]")
    low = recipe.preset.low
    return (low + (1 - low) * pixels).flatten(1, 2).transpose(1, 2).contiguous()
