"""Growing INR zoos: presets, the recipe that goes into the manifest, and `grow`, which fits one SIREN to each image."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from neural_graphs.errors import ConfigError, ImageError
from neural_graphs.layout import Layout
from neural_graphs.zoo.siren import SirenStack, StackAdam

# Networks per tensor program. Part of the recipe of the bytes: a network's place in its stack is its index modulo this.
STACK = {"cpu": 16, "cuda": 2048}


@dataclass(frozen=True)
class Uniform:
    """Initial values from U(-b, b) with b = gain / fan_in ** power."""

    gain: float
    power: float

    def bound(self, fan_in: int) -> float:
        """Return b for a neuron with `fan_in` inputs."""
        return self.gain / fan_in**self.power


OMEGA = 30.0  # SIREN, Sitzmann et al. 2020, section 3.2
TORCH_LINEAR = Uniform(1.0, 0.5)  # PyTorch's default for weights and biases of a Linear layer
SIREN_FIRST = Uniform(1.0, 1.0)
SIREN_HIDDEN = Uniform(math.sqrt(6) / OMEGA, 0.5)
ZERO = Uniform(0.0, 0.0)


@dataclass(frozen=True)
class Initialisation:
    """How a SIREN starts, layer by layer; `first` and `hidden` are the weights of the sine layers."""

    first: Uniform = SIREN_FIRST
    hidden: Uniform = SIREN_HIDDEN
    last: Uniform = SIREN_HIDDEN
    bias: Uniform = TORCH_LINEAR
    last_bias: Uniform = TORCH_LINEAR

    def bounds(self, layout: Layout) -> Float[Tensor, " size"]:
        """Return the bound b of every parameter of `layout`."""
        weights = [parameter.shape for parameter in layout.parameters if len(parameter.shape) == 2]
        depth = len(weights)
        laws = [(self.first if i == 0 else self.last if i == depth - 1 else self.hidden) for i in range(depth)]
        biases = [self.bias] * (depth - 1) + [self.last_bias]
        pieces = []
        for (rows, columns), law, bias in zip(weights, laws, biases, strict=True):
            pieces.append(torch.full((rows * columns,), law.bound(columns)))
            pieces.append(torch.full((rows,), bias.bound(columns)))
        return torch.cat(pieces)


@dataclass(frozen=True)
class Preset:
    """How one SIREN is fitted to one image with Adam on the mean squared error.

    `offset` is added to the output, pixels in [0, 1] are mapped to [low, 1], `pixels` is the part of the pixels drawn
    at each step, `stop_psnr` (dB) ends a fit early, the learning rate goes from `lr` to `last_lr` along a cosine.
    `axes` names the first input: "xy" the column, "ij" the row. `copies` is the number of networks per training image.
    """

    name: str
    initialisation: Initialisation
    offset: float
    low: float
    lr: float
    last_lr: float
    steps: int
    stop_psnr: float | None = None
    pixels: float = 1.0
    axes: str = "xy"
    copies: int = 1

    def __post_init__(self) -> None:
        if self.axes not in ("xy", "ij"):
            raise ConfigError(f'preset {self.name}: axes is "{self.axes}", expected "xy" or "ij"')
        if not 0 < self.pixels <= 1:
            raise ConfigError(f"preset {self.name}: pixels is {self.pixels}, expected a part in (0, 1]")
        if self.stop_psnr is not None and self.pixels < 1:
            raise ConfigError(f"preset {self.name}: stop_psnr needs every pixel at every step; set pixels to 1")

    def rate(self, step: int) -> float:
        """Return the learning rate of step 0 … steps - 1."""
        return self.last_lr + (self.lr - self.last_lr) * (1 + math.cos(math.pi * step / self.steps)) / 2


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(  # Navon et al. 2023; sine layers all start like hidden ones, as in the released script
            "dws2023",
            Initialisation(first=SIREN_HIDDEN, last=TORCH_LINEAR, bias=ZERO),
            offset=0.5,
            low=0.0,
            lr=5e-4,
            last_lr=5e-4,
            steps=1000,
            stop_psnr=40.0,
        ),
        Preset(  # Zhou et al. 2023; the paper's learning rate and steps are not certain
            "nfn2023",
            Initialisation(),
            offset=0.0,
            low=-1.0,
            lr=5e-5,
            last_lr=5e-5,
            steps=5000,
            axes="ij",
            copies=10,
        ),
        Preset(  # Sitzmann et al. 2020; the number of steps is ours
            "siren2020", Initialisation(), offset=0.0, low=-1.0, lr=1e-4, last_lr=1e-4, steps=2000, axes="ij"
        ),
        Preset("fast", Initialisation(), offset=0.5, low=0.0, lr=2e-3, last_lr=0.0, steps=1000, pixels=0.25),
    )
}


def preset(name: str) -> Preset:
    """Return the preset of that name; ConfigError lists the known ones."""
    if name not in PRESETS:
        raise ConfigError(f'no INR preset is called "{name}"; known: {", ".join(PRESETS)}')
    return PRESETS[name]


@dataclass(frozen=True)
class Recipe:
    """All that decides the parameters of network number i, given its image: written to the zoo's manifest."""

    preset: Preset
    image: tuple[int, int, int]  # height, width, channels
    hidden: tuple[int, ...] = (32, 32)
    seed: int = 0
    layout: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        layout = Layout.mlp(
            (2, *self.hidden, self.image[2]),
            activation="sine",
            names="layers.{}",
            scale=OMEGA,
            offset=self.preset.offset,
        )
        object.__setattr__(self, "layout", layout)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain lists and dictionaries."""
        return {
            "kind": "inr",
            "preset": asdict(self.preset),
            "image": list(self.image),
            "hidden": list(self.hidden),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Recipe":
        """Return the recipe that `to_json` wrote."""
        fields = dict(data["preset"])
        laws = {name: Uniform(**law) for name, law in fields.pop("initialisation").items()}
        return cls(
            Preset(initialisation=Initialisation(**laws), **fields),
            image=tuple(data["image"]),
            hidden=tuple(data["hidden"]),
            seed=data["seed"],
        )

    def coordinates(self) -> Float[Tensor, "2 points"]:
        """Return the pixels' places on the regular grid over [-1, 1]², row by row; one pixel alone sits at -1."""
        height, width, _ = self.image
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        first, second = (columns, rows) if self.preset.axes == "xy" else (rows, columns)
        return torch.stack((first.flatten(), second.flatten()))

    def initial(self, index: int) -> Float[Tensor, " size"]:
        """Return the parameters that network number `index` starts from."""
        state = np.random.SeedSequence((self.seed, index)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        uniform = torch.rand(self.layout.size, generator=generator)
        return (2 * uniform - 1) * self.preset.initialisation.bounds(self.layout)

    def subsets(self) -> Int[Tensor, "steps drawn"] | None:
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

    `values` are flat vectors in state-dict order of `recipe.layout`. `psnr` is 10 log10(1 / MSE) in dB, the mean over
    all pixels and channels of the unclamped render in [0, 1] units. `steps` counts the Adam updates.
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
    """Fit one SIREN to each image; the networks are numbered `first`, `first` + 1, ….

    Images (networks, height, width[, channels]) are uint8, or float in [0, 1]. A network's bytes depend on the recipe,
    its number, its image and the kind of device, not on how a zoo is cut into calls or on `workers` (threads on the
    CPU). Calls that start and end at multiples of `STACK[device]` waste nothing. `progress` receives the
    number of networks done since its last call. ImageError on a wrong shape, on NaN or on values outside [0, 1].
    """
    targets = _targets(images, recipe)
    device = torch.device(device)
    size = STACK[device.type]
    count = len(targets)
    grown = Grown(torch.empty(count, recipe.layout.size), torch.empty(count), torch.empty(count, dtype=torch.int64))
    subsets = recipe.subsets()

    def fit(start: int) -> tuple[slice, Grown]:
        if device.type == "cpu":
            torch.set_num_threads(1)  # of this thread: the workers share the cores
        low, high = max(start - first, 0), min(start + size - first, count)
        target = torch.zeros(size, *targets.shape[1:])  # a stack is always full: black images fill it up
        target[low + first - start : high + first - start] = targets[low:high]
        stack = _fit(recipe, range(start, start + size), target.to(device), subsets)
        place = slice(low + first - start, high + first - start)
        return slice(low, high), Grown(stack.values[place], stack.psnr[place], stack.steps[place])

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers if device.type == "cpu" else 1)
    try:
        for done in as_completed(
            [pool.submit(fit, start) for start in range(first - first % size, first + count, size)]
        ):
            place, part = done.result()
            grown.values[place], grown.psnr[place], grown.steps[place] = part.values, part.psnr, part.steps
            if progress is not None:
                progress(len(part.values))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return grown


def _fit(recipe: Recipe, indices: range, target: Tensor, subsets: Tensor | None) -> Grown:
    """Fit one full stack; the targets (networks, channels, points) are in the preset's range."""
    preset = recipe.preset
    x = recipe.coordinates().to(target)
    values = torch.stack([recipe.initial(index) for index in indices]).to(target)
    points = x.shape[1]
    stack = SirenStack(values, recipe.layout, OMEGA, points)
    adam = StackAdam(values)
    goal = target - preset.offset
    peak = (1.0 - preset.low) ** 2  # squared width of the targets' range: errors in [0, 1] units
    enough = None if preset.stop_psnr is None else peak * 10 ** (-preset.stop_psnr / 10)
    active = values.new_ones(len(values), 1)
    steps = torch.zeros_like(active)
    subsets = None if subsets is None else subsets.to(target.device)
    for step in range(preset.steps):
        if subsets is None:
            residual = stack.residual(x, goal)
        else:
            residual = stack.residual(x[:, subsets[step]], goal[:, :, subsets[step]])
        if enough is not None:
            active *= residual.square().mean((1, 2))[:, None] > enough
            if step % 50 == 0 and not active.any():  # asking costs a wait on a GPU
                break
        adam.step(values, stack.backward(), preset.rate(step), active)
        steps += active
    error = stack.residual(x, goal).square().mean((1, 2)) / peak
    return Grown(values.cpu(), -10 * error.log10().cpu(), steps[:, 0].long().cpu())


def _targets(images: np.ndarray | Tensor, recipe: Recipe) -> Float[Tensor, "networks channels points"]:
    """Return images as rows of pixels in the preset's range, after checking them."""
    pixels = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if tuple(pixels.shape[1:]) != recipe.image:
        raise ImageError(
            f"images have shape {tuple(pixels.shape)}, expected (networks, height, width, channels) "
            f"with {recipe.image} from the recipe"
        )
    pixels = pixels / 255 if pixels.dtype == torch.uint8 else pixels.to(torch.float32)
    bad = ~((pixels >= 0) & (pixels <= 1)).flatten(1).all(1)
    if bad.any():
        raise ImageError(
            f"image {int(bad.nonzero()[0])} holds NaN or values outside [0, 1]; give uint8, or floats in [0, 1]"
        )
    return (recipe.preset.low + (1 - recipe.preset.low) * pixels).flatten(1, 2).transpose(1, 2).contiguous()
