"""How well an update rule trains, and in which direction it would train better: estimators of the meta-gradient."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.optim.inner import InnerTask, Minibatch, gradients, losses
from neural_graphs.optim.memory import Memory
from neural_graphs.optim.update_rule import UpdateRule

LIMIT = 100.0  # nats; a run beyond has diverged


@dataclass(frozen=True)
class Estimate:
    """A meta-gradient, one tensor per parameter of the rule, and what was seen on the way.

    `loss` is the mean loss, over steps and over the runs that had not diverged by then; `diverged` of `runs` did.
    """

    gradient: list[Tensor]
    loss: float
    diverged: int
    runs: int


class MetaGradient(ABC):
    """Trains fresh networks with a rule and estimates the gradient of their losses with respect to the rule."""

    @abstractmethod
    def __call__(self, rule: UpdateRule, task: InnerTask, generator: torch.Generator) -> Estimate:
        """One estimate. All that is random is drawn from the generator."""

    def state_dict(self) -> dict[str, Any]:
        """What is kept between estimates, as tensors and plain values; nothing by default."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` kept. Raises CheckpointError where that is the state of another estimator."""
        if state:
            raise CheckpointError(f"{type(self).__name__} keeps nothing between estimates, got {sorted(state)}")


@dataclass
class Stepwise(MetaGradient):
    """The loss on the same mini-batch after each step, summed over the steps of a run, the mean over runs.

    What is remembered is detached between steps, so the gradient sees one step ahead (Kofinas et al. 2024). `networks`
    are trained at once, fresh ones for `steps` steps. With `clip` (ours) the gradient of a network's loss after a step
    is cut to that norm, so that the few steps that go wrong do not outweigh all others. Raises ConfigError where
    one of them is 0 or less.
    """

    steps: int = 100
    networks: int = 1
    clip: float | None = None

    def __post_init__(self) -> None:
        if min(self.steps, self.networks) < 1 or (self.clip is not None and self.clip <= 0):
            raise ConfigError(
                f"expected steps and networks of at least 1 and clip above 0 or null (off); got {self.steps} steps, "
                f"{self.networks} networks and clip {self.clip}"
            )

    def __call__(self, rule: UpdateRule, task: InnerTask, generator: torch.Generator) -> Estimate:
        return self.go_on(InnerRun.begun(self.networks, rule, task, generator), rule, task, generator)

    def go_on(self, run: "InnerRun", rule: UpdateRule, task: InnerTask, generator: torch.Generator) -> Estimate:
        """The estimate of the next steps of a run, which is moved along; networks that diverge leave it."""
        runs = len(run.networks)
        parameters = list(rule.parameters())
        total = [torch.zeros_like(parameter) for parameter in parameters]
        seen: list[Tensor] = []
        for _ in range(self.steps):
            ahead = look_ahead(rule, run.networks, run.memory, task.draw(len(run.networks), generator))
            if ahead is None:  # all have diverged
                return Estimate(total, _mean(seen), runs, runs)
            outer = ahead.outer if self.clip is None else clipped(ahead.networks.with_values(ahead.outer), self.clip)
            found = torch.autograd.grad(ahead.change, parameters, outer / runs, allow_unused=True)
            total = [a if b is None else a + b for a, b in zip(total, found, strict=True)]
            seen.append(ahead.loss)
            run.networks, run.memory = ahead.networks, ahead.memory
        return Estimate(total, _mean(seen), runs - len(run.networks), runs)


@dataclass
class InnerRun:
    """Networks in training, and what is remembered of their way."""

    networks: Networks
    memory: Memory

    @classmethod
    def begun(cls, count: int, rule: UpdateRule, task: InnerTask, generator: torch.Generator) -> "InnerRun":
        """Fresh networks where the rule is."""
        return cls(task.start(count, generator).to(_device(rule)), Memory())

    @staticmethod
    def to_state(runs: Sequence["InnerRun"]) -> dict[str, Any]:
        """Runs of the same layouts, as tensors and plain values."""
        return {
            "values": [run.networks.values for run in runs],
            "layouts": [layout.to_json() for layout in runs[0].networks.layouts],
            "memories": [run.memory.state_dict() for run in runs],
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> list["InnerRun"]:
        """The runs of a state."""
        layouts = [Layout.from_json(each) for each in state["layouts"]]
        shared = layouts[0] if state["values"][0].ndim == 2 else layouts
        pairs = zip(state["values"], state["memories"], strict=True)
        return [cls(Networks(values, shared), Memory(**memory)) for values, memory in pairs]


@dataclass
class PersistentStepwise(Stepwise):
    """`Stepwise` on runs that go on from one estimate to another: a rule meets networks late in training, too (ours).

    Each estimate goes on with one of `runs` runs, drawn at random, for `steps` steps. Then the run ends with
    probability `steps / length`, or where networks diverged, and a fresh one takes its place: runs are `length` steps
    long on the average, and those of one time are of any age. Raises ConfigError for runs shorter than `steps`.
    """

    length: int = 300
    runs: int = 10
    pool: dict[int, InnerRun] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < self.steps or self.runs < 1:
            raise ConfigError(
                f"expected a run or more of a mean length of at least the {self.steps} steps of an estimate; got "
                f"{self.runs} of length {self.length}"
            )

    def __call__(self, rule: UpdateRule, task: InnerTask, generator: torch.Generator) -> Estimate:
        place = int(torch.randint(self.runs, (), generator=generator))
        if place not in self.pool:
            self.pool[place] = InnerRun.begun(self.networks, rule, task, generator)
        found = self.go_on(self.pool[place], rule, task, generator)
        if found.diverged or float(torch.rand((), generator=generator)) < self.steps / self.length:
            del self.pool[place]
        return found

    def state_dict(self) -> dict[str, Any]:
        """The runs: they go on after a pause as if there had been none."""
        return {str(place): InnerRun.to_state([run]) for place, run in self.pool.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _require_keys(self, state, {"values", "layouts", "memories"})
        self.pool = {int(place): InnerRun.of_state(kept)[0] for place, kept in state.items()}


@dataclass(frozen=True)
class Ahead:
    """One step of the networks that survive it, and their losses on the same mini-batch afterwards.

    `change` is differentiable in the rule, `outer` the gradient of the losses with respect to it.
    """

    networks: Networks
    memory: Memory
    change: Tensor
    outer: Tensor
    loss: Float[Tensor, " networks"]


def look_ahead(rule: UpdateRule, networks: Networks, memory: Memory, batch: Minibatch) -> Ahead | None:
    """Make a step; runs that diverge by it are left out and the step made again, None where none is left.

    No gradient flows through the change of a run that diverged: it would be 0 · ∞.
    """
    _, gradient = gradients(networks, batch)
    while True:
        own = replace(memory)
        with torch.enable_grad():
            change = own.change(rule, networks, gradient).values
        moved = networks.with_values(networks.values + change.detach())
        loss, outer = gradients(moved, batch)
        sound = is_sound(loss, outer, networks)
        if sound.all():
            return Ahead(moved, own, change, outer, loss)
        living = sound.nonzero()[:, 0].tolist()
        if not living:
            return None
        memory, gradient = memory.of(networks, living), networks.with_values(gradient)[living].values
        networks, batch = networks[living], (batch[0][living], batch[1][living])


def clipped(gradient: Networks, norm: float) -> Tensor:
    """The gradient of every network, no longer than a norm; of the shape of the values."""
    cut = [vector * (norm / vector.norm().clamp(min=norm)) for vector in gradient.vectors()]
    return torch.stack(cut) if gradient.regular else torch.cat(cut)


def is_sound(loss: Tensor, gradient: Tensor, networks: Networks) -> Bool[Tensor, " networks"]:
    """Which runs have not diverged: finite gradients, and a finite loss below `LIMIT`."""
    finite = gradient.isfinite()
    whole = (
        finite.all(1) if networks.regular else torch.stack([x.all() for x in networks.with_values(finite).vectors()])
    )
    return loss.isfinite() & (loss < LIMIT) & whole


def _mean(seen: Sequence[Tensor]) -> float:
    return float(torch.cat(list(seen)).mean()) if seen else float("nan")


def _device(rule: nn.Module) -> torch.device:
    return next(rule.parameters()).device


@dataclass
class Particle:
    """A pair of runs on the same images from the same start, one by a rule moved one way, one moved the other way."""

    runs: list[InnerRun]
    moved: Tensor  # the sum of all perturbations since the start


@dataclass
class PersistentES(MetaGradient):
    """Evolution strategies on pieces of runs, unbiased however short the pieces (Vicol et al. 2021).

    Each of `pairs` pairs of runs goes on for `piece` steps by the rule moved by ±ε, ε from N(0, sigma²), then by
    another one; the gradient is the mean over pairs of `ξ (L⁺ − L⁻) / (2 σ²)`, ξ the sum of a pair's ε since its start.
    After `steps` steps, or when it diverges, a pair starts anew; a diverged piece has the loss `LIMIT`. L is the mean
    loss over the piece. `networks` are in every run. Raises ConfigError where one of these is 0
    or less, and where pieces do not add up.
    """

    steps: int = 100
    piece: int = 10
    pairs: int = 4
    sigma: float = 0.01
    networks: int = 1
    particles: dict[int, Particle] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.steps, self.piece, self.pairs, self.networks) < 1 or self.steps % self.piece or self.sigma <= 0:
            raise ConfigError(
                "expected steps that are whole pieces, a pair and a network or more, and a sigma above 0; got "
                f"{self.steps} steps in pieces of {self.piece}, {self.pairs} pairs, {self.networks} networks and sigma "
                f"{self.sigma}"
            )

    def __call__(self, rule: UpdateRule, task: InnerTask, generator: torch.Generator) -> Estimate:
        centre = nn.utils.parameters_to_vector(rule.parameters()).detach()
        total, seen, diverged = torch.zeros_like(centre), [], 0
        for place in range(self.pairs):
            particle = self._particle(place, rule, task, generator)
            noise = self.sigma * torch.randn(centre.shape, generator=generator, dtype=centre.dtype).to(centre.device)
            particle.moved = particle.moved + noise
            found = self._sides(particle, centre, noise, rule, task, generator)
            total += particle.moved * (found[0] - found[1]) / (2 * self.sigma**2 * self.pairs)
            gone = [loss >= LIMIT for loss in found]
            diverged += sum(gone)
            seen += [loss for loss, bad in zip(found, gone, strict=True) if not bad]
            if any(gone) or particle.runs[0].memory.steps >= self.steps:
                del self.particles[place]
        loss = sum(seen) / len(seen) if seen else float("nan")
        return Estimate(_like(total, rule), loss, diverged * self.networks, 2 * self.pairs * self.networks)

    @torch.no_grad()
    def _sides(
        self, particle: Particle, centre: Tensor, noise: Tensor, rule: UpdateRule, task: InnerTask,
        generator: torch.Generator,
    ) -> list[float]:  # fmt: skip
        """The losses of both runs over the next piece; the rule is as it was afterwards, whatever happens."""
        seed, found = int(torch.randint(2**62, (), generator=generator)), []
        try:
            for side, sign in enumerate((1.0, -1.0)):
                nn.utils.vector_to_parameters(centre + sign * noise, rule.parameters())
                found.append(self._run(rule, task, particle.runs[side], torch.Generator().manual_seed(seed)))
        finally:
            nn.utils.vector_to_parameters(centre, rule.parameters())
        return found

    def _particle(self, place: int, rule: UpdateRule, task: InnerTask, generator: torch.Generator) -> Particle:
        if place not in self.particles:
            one = InnerRun.begun(self.networks, rule, task, generator)
            moved = torch.zeros_like(nn.utils.parameters_to_vector(rule.parameters()))
            self.particles[place] = Particle([one, InnerRun(one.networks, Memory())], moved)
        return self.particles[place]

    def _run(self, rule: UpdateRule, task: InnerTask, run: InnerRun, generator: torch.Generator) -> float:
        """The mean loss over the next piece of a run, which is moved along; `LIMIT` where it diverged."""
        seen: list[Float[Tensor, " networks"]] = []
        for _ in range(self.piece):
            batch = task.draw(len(run.networks), generator)
            _, gradient = gradients(run.networks, batch)
            run.networks = run.networks + run.memory.change(rule, run.networks, gradient)
            seen.append(losses(run.networks, batch))
            if not is_sound(seen[-1], run.networks.values, run.networks).all():
                return LIMIT
        return float(torch.stack(seen).mean())

    def state_dict(self) -> dict[str, Any]:
        """The particles: runs go on after a pause as if there had been none."""
        return {
            str(place): {**InnerRun.to_state(each.runs), "moved": each.moved} for place, each in self.particles.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _require_keys(self, state, {"values", "layouts", "memories", "moved"})
        self.particles = {int(place): Particle(InnerRun.of_state(kept), kept["moved"]) for place, kept in state.items()}


def _require_keys(estimator: MetaGradient, state: dict[str, Any], expected: set[str]) -> None:
    """Raise CheckpointError where a state is that of another estimator."""
    for place, kept in state.items():
        if not isinstance(kept, dict) or set(kept) != expected:
            raise CheckpointError(
                f"this is no state of {type(estimator).__name__}: expected {sorted(expected)} under {place!r}, got"
                f" {sorted(kept) if isinstance(kept, dict) else type(kept).__name__}; go on with the estimator that"
                " the run was begun with"
            )


def _like(vector: Tensor, rule: nn.Module) -> list[Tensor]:
    """A vector cut into tensors of the shapes of a rule's parameters."""
    parameters = list(rule.parameters())
    parts = vector.split([parameter.numel() for parameter in parameters])
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]
