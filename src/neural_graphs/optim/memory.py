"""What a learned optimizer remembers between steps, for a batch of networks or for one."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neural_graphs.networks import Networks
from neural_graphs.optim.signals import DECAYS, accumulate
from neural_graphs.optim.update_rule import UpdateRule


@dataclass
class Memory:
    """Momenta of every number, `(…, momenta)` or None before the first step, the last context, and the steps made."""

    momenta: Tensor | None = None
    context: Tensor | None = None
    steps: int = 0

    def change(
        self, rule: UpdateRule, networks: Networks, gradient: Tensor, every: int = 1, moving: Tensor | None = None
    ) -> Networks:  # fmt: skip
        """The next change of networks with this gradient, of the shape of their values.

        The rule reads the networks each `every`-th step only, its context serves in between. Numbers that are not
        `moving` (default: all do) keep their momenta, and their change is 0; so is that of numbers whose gradient has
        always been 0, such as the rows of words that were never seen.
        """
        before = gradient.new_zeros(*gradient.shape, len(DECAYS)) if self.momenta is None else self.momenta
        momenta = accumulate(before, gradient)
        if moving is not None:
            momenta = torch.where(moving[..., None], momenta, before)
        signals = networks.with_values(torch.cat([torch.stack([networks.values, gradient], -1), momenta], -1))
        if every == 1:
            self.context = None  # made anew by the rule
        elif self.steps % every == 0 or self.context is None:
            found = rule.context(signals)
            self.context = None if found is None else found.values
        context = None if self.context is None else networks.with_values(self.context)
        change = rule(signals, context, self.steps)
        self.momenta, self.steps = momenta.detach(), self.steps + 1
        moved = self.momenta.any(-1) if moving is None else self.momenta.any(-1) & moving
        return change.map(lambda values: torch.where(moved, values, 0.0))

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return {"momenta": self.momenta, "context": self.context, "steps": self.steps}

    def of(self, networks: Networks, chosen: list[int]) -> "Memory":
        """The memory of some of the networks that it is of."""
        momenta, context = (
            None if each is None else networks.with_values(each)[chosen].values for each in (self.momenta, self.context)
        )
        return Memory(momenta, context, self.steps)
