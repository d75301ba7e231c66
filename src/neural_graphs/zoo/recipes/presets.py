"""How an INR is fitted: initial values, targets, optimiser and schedule, as values that a manifest can hold."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neural_graphs.errors import ConfigError
from neural_graphs.layout import Layout


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
    With `same_start` all networks start from the same values, and neuron i does much the same in each of them.
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
    same_start: bool = False

    def __post_init__(self) -> None:
        if self.axes not in ("xy", "ij"):
            raise ConfigError(f'preset {self.name}: axes is "{self.axes}", expected "xy" or "ij"')
        if self.steps < 1 or self.lr <= 0:
            raise ConfigError(f"preset {self.name}: steps is {self.steps} and lr {self.lr}, expected both above 0")
        if self.low >= 1:
            raise ConfigError(
                f"preset {self.name}: low is {self.low}, expected below 1: it is where black is mapped to"
            )
        if not 0 < self.pixels <= 1:
            raise ConfigError(f"preset {self.name}: pixels is {self.pixels}, expected a part in (0, 1]")
        if self.stop_psnr is not None and self.pixels < 1:
            raise ConfigError(f"preset {self.name}: stop_psnr needs every pixel at every step; set pixels to 1")

    @property
    def peak(self) -> float:
        """What turns squared errors into those of an image in [0, 1]."""
        return (1.0 - self.low) ** 2

    @property
    def enough(self) -> float:
        """The mean squared error that ends a fit; 0 where none does."""
        return 0.0 if self.stop_psnr is None else self.peak * 10 ** (-self.stop_psnr / 10)

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
        Preset(  # Zhou et al. 2023; learning rate and number of steps are not certain; one network and ten copies
            "nfn2023",
            Initialisation(),
            offset=0.0,
            low=-1.0,
            lr=5e-5,
            last_lr=5e-5,
            steps=5000,
            axes="ij",
            copies=11,
        ),
        Preset(  # Sitzmann et al. 2020; the number of steps is ours
            "siren2020", Initialisation(), offset=0.0, low=-1.0, lr=1e-4, last_lr=1e-4, steps=2000, axes="ij"
        ),
        Preset(  # ours: the first layer of Sitzmann et al., a short cosine schedule, a quarter of the work per step
            "fast", Initialisation(), offset=0.5, low=0.0, lr=4e-3, last_lr=0.0, steps=500, pixels=0.25
        ),
        Preset(  # ours, for images of 8 × 8: networks as smooth as those allow, close to where all of them start
            "same-start",
            Initialisation(first=Uniform(0.4, 1.0)),
            offset=0.5,
            low=0.0,
            lr=4e-3,
            last_lr=0.0,
            steps=200,
            same_start=True,
        ),
    )
}


def preset(name: str) -> Preset:
    """Return the preset of that name; ConfigError lists the known ones."""
    if name not in PRESETS:
        raise ConfigError(f'no INR preset is called "{name}"; known: {", ".join(PRESETS)}')
    return PRESETS[name]
