"""`LearnedOptimizer`: an update rule as a `torch.optim.Optimizer`, for the parameters of any module."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from neural_graphs.errors import CheckpointError, ConfigError, GradientError, LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks import Inputs, Networks
from neural_graphs.optim.memory import Memory
from neural_graphs.optim.pretrained import load_rule
from neural_graphs.optim.signals import DECAYS
from neural_graphs.optim.update_rule import UpdateRule
from neural_graphs.tracing import trace

TOO_LARGE = "the step of {} holds NaN or infinite values in the precision of the rule, though all gradients are finite"
MEMORY = "memory"  # the key of what the optimizer remembers in its state


class LearnedOptimizer(Optimizer):
    """Trains a module by an update rule, which reads the module as a graph.

    `layout` is that of the module, from `trace(module, example_input)`. `params` are parameters or parameter groups as
    for any optimizer, by default all that require a gradient; parameters of the module that are not among them are read
    and keep still, and so do those that have no gradient in a step. `lr` multiplies steps, in each group by its own;
    the rule knows how far to go, so it is 1. The rule reads the network each `every`-th step only, and what it said
    serves in between. Momenta are kept in the precision of the rule (float32), whatever that of the parameters.

    Raises LayoutError for a layout that is not the module's, ConfigError for parameters that are not the module's.
    """

    def __init__(
        self, rule: UpdateRule, module: nn.Module, layout: Layout, params: ParamsT | None = None, *, lr: float = 1.0,
        every: int = 1, skip_nonfinite: bool = False,
    ):  # fmt: skip
        if not lr >= 0 or every < 1:
            raise ConfigError(f"expected lr ≥ 0 and every ≥ 1, got lr {lr} and every {every}")
        self._tensors = _tensors_of(module, layout)
        self._names = _names_of(self._tensors)
        self.layout, self.every, self.skip_nonfinite = layout, every, skip_nonfinite
        own = [p for p in module.parameters() if p.requires_grad] if params is None else params
        if params is None and not own:
            raise ConfigError(f"no parameter of this {type(module).__name__} requires a gradient: nothing is to train")
        super().__init__(own, {"lr": lr})
        first = next(iter(self._tensors.values()))
        self.rule = rule.to(first.device).eval()
        self.state[MEMORY] = Memory().state_dict()  # type: ignore[index]  # keys that are no tensors are kept as they are

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, module: nn.Module, example_input: Inputs, params: ParamsT | None = None,
        **options: Any,
    ) -> "LearnedOptimizer":  # fmt: skip
        """An optimizer for a module by a rule of ours (`ng-gnn` or `ff`), or one from a folder of `save_rule`.

        `example_input` is what the module takes, see `trace`; `options` are those of the optimizer.
        """
        return cls(load_rule(name_or_folder), module, trace(module, example_input), params, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if id(parameter) not in self._names:
                self.param_groups.pop()
                raise ConfigError(
                    f"a parameter of shape {tuple(parameter.shape)} is not one of the module that was traced; give "
                    "parameters of that module"
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients there are; `closure`, if given, makes them and returns the loss.

        Raises GradientError naming the tensor whose gradient or step is NaN or infinite (with `skip_nonfinite` the step
        is left out), and leaves parameters and momenta as they were.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = self._with_gradient()
        gradients = {name: parameter.grad for name, (parameter, _) in moving.items() if parameter.grad is not None}
        if not moving or not self._is_finite(gradients, "the gradient of {} holds NaN or infinite values"):
            return loss
        memory = Memory(**self.state[MEMORY])  # type: ignore[index]
        with torch.autocast(next(self.rule.parameters()).device.type, enabled=False):
            steps = self._steps(memory, gradients)
        if not self._is_finite({name: steps[name] for name in moving}, TOO_LARGE):
            return loss
        self.state[MEMORY] = memory.state_dict()  # type: ignore[index]
        for name, (parameter, rate) in moving.items():
            parameter.add_(rate * steps[name])  # added in the larger precision of the two
        return loss

    def _steps(self, memory: Memory, gradients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The change of every tensor, 0 for those without gradient; memory goes on."""
        marks = torch.cat([torch.full((p.size,), p.name in gradients) for p in self.layout.parameters])
        gradient = self._flat({p.name: gradients.get(p.name) for p in self.layout.parameters})
        networks = Networks(self._flat(self._tensors), self.layout)  # in the precision of the rule
        change = memory.change(self.rule, networks, gradient, self.every, marks.to(gradient.device)[None])
        return change.state_dicts()[0]

    def _with_gradient(self) -> dict[str, tuple[Tensor, Any]]:
        """By name, the parameters that have a gradient, each with the learning rate of its group."""
        return {
            self._names[id(parameter)]: (parameter, group["lr"])
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        }

    def _is_finite(self, tensors: Mapping[str, Tensor], otherwise: str) -> bool:
        """Whether all are finite. Raises GradientError, which says `otherwise` of the first that is not, unless such
        steps are to be left out."""
        dense = [tensor.coalesce().values() if tensor.is_sparse else tensor for tensor in tensors.values()]
        finite = torch.stack([norm.isfinite() for norm in torch._foreach_norm(dense, float("inf"))])
        if bool(finite.all()) or self.skip_nonfinite:
            return bool(finite.all())
        name = list(tensors)[finite.tolist().index(False)]
        raise GradientError(
            f"{otherwise.format(name)}; clip gradients, or leave such steps out: "
            "LearnedOptimizer(…, skip_nonfinite=True)"
        )

    def _flat(self, tensors: Mapping[str, Tensor | None]) -> Tensor:
        like = next(self.rule.parameters())
        parts = (tensors[p.name] for p in self.layout.parameters)
        sizes = (p.size for p in self.layout.parameters)
        flat = [
            like.new_zeros(n) if x is None else x.to_dense().reshape(-1).to(like)
            for x, n in zip(parts, sizes, strict=True)
        ]
        return torch.cat(flat)[None]

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles need beside what torch keeps; names go by the tensors of the copy."""
        own = ("rule", "layout", "every", "skip_nonfinite", "_tensors")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in own}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._names = _names_of(self._tensors)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on exactly where the optimizer of this state stood; memory moves to the device of the parameters.

        Raises CheckpointError for a state of another kind of optimizer, of another rule or of another network.
        """
        self._require_own(state_dict.get("state", {}).get(MEMORY))
        super().load_state_dict(deepcopy(state_dict))
        device = next(self.rule.parameters()).device
        memory = self.state[MEMORY]  # type: ignore[index]
        moved = {name: each.to(device) if isinstance(each, Tensor) else each for name, each in memory.items()}
        self.state[MEMORY] = moved  # type: ignore[index]

    def _require_own(self, memory: Mapping[str, Any] | None) -> None:
        """Raise CheckpointError where memory is not that of a network and a rule like these."""
        if memory is None or memory.keys() != Memory().state_dict().keys():
            raise CheckpointError("expected the state of a LearnedOptimizer, with what it remembers; got another one")
        shapes = {
            "momenta": (1, self.layout.size, len(DECAYS)),
            "context": (1, self.layout.size, self.rule.context_width),
        }
        for name, shape in shapes.items():
            if memory[name] is not None and tuple(memory[name].shape) != shape:
                raise CheckpointError(
                    f"the {name} of this state have shape {tuple(memory[name].shape)}, expected {shape}: it is of "
                    "another rule or of another network"
                )


def _names_of(tensors: Mapping[str, Tensor]) -> dict[int, str]:
    return {id(tensor): name for name, tensor in tensors.items()}


def _tensors_of(module: nn.Module, layout: Layout) -> dict[str, Tensor]:
    """The tensors of a module by the names of its layout. Raises LayoutError where they are not those of the layout."""
    held: dict[str, Tensor] = dict(_all_tensors(module))
    for parameter in layout.parameters:
        found = held.get(parameter.name)
        if found is None or tuple(found.shape) != parameter.shape:
            what = "is missing" if found is None else f"has shape {tuple(found.shape)}, expected {parameter.shape}"
            raise LayoutError(f"{layout} is not the layout of {type(module).__name__}: {parameter.name} {what}")
    return {parameter.name: held[parameter.name] for parameter in layout.parameters}


def _all_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Parameters and buffers themselves, every name of each."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
