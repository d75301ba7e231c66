"""`UpdateRule`: from the channels of every parameter to a change of it; a learned optimizer is one class of these."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.layout.recorded import Recorded
from neural_graphs.networks import Networks
from neural_graphs.nn.spec import InputSpec, require_channels
from neural_graphs.optim.signals import CHANNELS, DECAYS, SIGNALS, log_and_sign, tensor_rms

PIECE = 1 << 18  # numbers whose changes are made at a time where no gradient is asked for
MEAN = 0.9  # decay of the momentum that a nominal step goes along
MOMENTUM = 2 + DECAYS.index(MEAN)


@dataclass(frozen=True)
class Decay:
    """Steps become smaller as training goes on (ours): by `(1 + t / time)^(−power)`, learned from these values on.

    Raises ConfigError where one is not above 0.
    """

    time: float = 100.0
    power: float = 0.1

    def __post_init__(self) -> None:
        if self.time <= 0 or self.power <= 0:
            raise ConfigError(f"a decay needs a time and a power above 0, got {self.time} and {self.power}")


@dataclass(frozen=True)
class Refinements:
    """What is ours in an update rule; as it is by default, steps are those of the paper.

    With `scaled_inputs` signals are counted in the root mean square of their tensor, with `scaled_steps` so are steps
    (of the parameter's own, at least `floor`), so that one optimizer fits tensors of any scale. `gain` is the size of
    steps, `decay` makes them smaller in time.

    `nominal` is the first size, learned on, of a step that is made besides: along the mean m of past gradients
    (β = 0.9), in the larger of the root mean squares of m and of the gradient in their tensor. An untrained rule then
    descends, and training improves on that (after Harrison et al. 2022). With a `saturation` s no number moves further
    than the others by much: steps are u / √(1 + u²) of u = s · m, which are signs where s is large (as in Lion, Chen et
    al. 2023), and networks of all kinds survive their first steps.
    """

    scaled_inputs: bool = False
    scaled_steps: bool = False
    floor: float = 0.01
    gain: float = 0.01
    nominal: float = 0.0
    saturation: float = 0.0
    decay: Decay | None = None

    def __post_init__(self) -> None:
        if self.saturation < 0:
            raise ConfigError(
                f"nominal steps are saturated at a size above 0, or not at all (0), got {self.saturation}"
            )


class LearnedDecay(nn.Module):
    """The factor of a decay, its time and power learned."""

    def __init__(self, decay: Decay):
        super().__init__()
        self.log_time, self.log_power = (nn.Parameter(torch.tensor(x).log()) for x in (decay.time, decay.power))

    def forward(self, step: int) -> Tensor:
        """The factor of a step, counted from 0."""
        return (1 + step * (-self.log_time).exp()) ** -self.log_power.exp()


class UpdateRule(Recorded, nn.Module, ABC):
    """A learned optimizer: `θ ← θ + 0.01 · d · exp(0.01 · a)` with `(d, a) = MLP([x; u])` for every parameter.

    Of every parameter the channels x are read (`signals.CHANNELS` of them, see `log_and_sign`), and its context u,
    `context` numbers wide, which a subclass makes of the channels of all parameters of its network (`read`; None where
    there is none). `hidden` are the widths of the MLP, `refinements` what is ours. Kofinas et al. 2024, section 4.4.
    Raises ConfigError for a family of networks without those channels.

    Its class is found by name (`KNOWN`), so that it can be saved.
    """

    KNOWN: ClassVar[dict[str, type["UpdateRule"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        UpdateRule.KNOWN[cls.__name__] = cls

    def __init__(
        self, family: InputSpec, context: int, hidden: tuple[int, ...], refinements: Refinements | None = None
    ):  # fmt: skip
        super().__init__()
        if family.channels != CHANNELS:
            raise ConfigError(
                f"an update rule reads {CHANNELS} channels of every parameter, and the family has {family.channels}; "
                f"make it so: InputSpec.of(layouts, channels={CHANNELS})"
            )
        self.family, self.refinements = family, refinements or Refinements()
        decay = self.refinements.decay
        self.decay = None if decay is None else LearnedDecay(decay)
        nominal = torch.tensor(self.refinements.nominal)
        self.log_nominal = nn.Parameter(nominal.log()) if nominal > 0 else None
        sizes = [CHANNELS + context, *hidden, 2]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.context_width = context
        if self.log_nominal is not None:  # nothing but the nominal step at first
            for parameter in self.layers[-1].parameters():
                nn.init.zeros_(parameter)

    @abstractmethod
    def read(self, channels: Networks) -> Networks | None:
        """The context u of every parameter, from the channels of all."""

    def context(self, signals: Networks) -> Networks | None:
        """The context of every parameter, that several steps may use; None for rules without."""
        return self.read(signals.with_values(log_and_sign(self._counted(signals)))) if self.context_width else None

    def _counted(self, signals: Networks) -> Tensor:
        """Signals `(…, SIGNALS)` in the unit that they are read in. Raises LayoutError for others."""
        require_channels(signals, SIGNALS)
        values = signals.values
        return values / tensor_rms(values, signals) if self.refinements.scaled_inputs else values

    def forward(self, signals: Networks, context: Networks | None = None, step: int = 0) -> Networks:
        """The change of every parameter, as `Networks` of one channel; `step` counts from 0.

        `signals` are value, gradient and momenta of every parameter; `context` is made of them where none is given.
        """
        context = self.context(signals) if context is None else context
        change = self.refinements.gain * self._by_pieces(
            self._counted(signals), None if context is None else context.values
        )
        if self.log_nominal is not None:
            change = change - self.log_nominal.exp() * self._along(signals)
        if self.refinements.scaled_steps:
            own = signals.values[..., :1]
            change = change * tensor_rms(own, signals)[..., 0].clamp(min=self.refinements.floor)
        return signals.with_values(change if self.decay is None else change * self.decay(step))

    def _along(self, signals: Networks) -> Tensor:
        """The mean of past gradients, in the larger of its root mean square and that of the gradient; saturated."""
        mean = (1 - MEAN) * signals.values[..., MOMENTUM]
        sizes = tensor_rms(torch.stack([mean, signals.values[..., 1]], -1), signals).amax(-1)
        along = mean / sizes
        if self.refinements.saturation:
            along = self.refinements.saturation * along
            along = along / (1 + along.square()).sqrt()
        return along

    def _by_pieces(self, values: Tensor, u: Tensor | None) -> Tensor:
        """`d · exp(0.01 · a)` of every number; without gradients some numbers at a time, whatever their number."""
        if torch.is_grad_enabled() or values.shape[:-1].numel() <= PIECE:
            return self._direction(log_and_sign(values), u)
        rows = values.reshape(-1, values.shape[-1]).split(PIECE)
        contexts = [None] * len(rows) if u is None else u.reshape(-1, u.shape[-1]).split(PIECE)
        pieces = [self._direction(log_and_sign(row), own) for row, own in zip(rows, contexts, strict=True)]
        return torch.cat(pieces).reshape(values.shape[:-1])

    def _direction(self, x: Tensor, u: Tensor | None) -> Tensor:
        features = x if u is None else torch.cat([x, u], -1)
        first, *rest = self.layers
        features = first(features)
        for layer in rest:
            features = layer(F.relu(features))
        d, a = features.unbind(-1)
        return d * (0.01 * a).exp()
