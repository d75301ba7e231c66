"""`Ensemble`: several metanetworks that answer as one (deep ensembles, Lakshminarayanan et al. 2017)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.errors import ConfigError
from neural_graphs.networks import Networks
from neural_graphs.nn.run.microbatch import Reader
from neural_graphs.nn.shareable import Shareable
from neural_graphs.nn.spec import InputSpec


class Ensemble(Shareable, Reader):
    """The mean of what its members answer, of editors the mean of their changes; symmetric wherever they are.

    `tasks.ensemble` joins trained runs. Trained as one, members learn by the error of their mean.

    Args:
        family: the networks that all will read.
        members: metanetworks, or what makes one for the family: in a configuration a list of classes.

    Raises ConfigError for no members, and for one that is no metanetwork of this library's kind (`Shareable`).
    """

    def __init__(self, family: InputSpec, members: Sequence[Callable[[InputSpec], nn.Module]]) -> None:
        super().__init__()
        made = [member if isinstance(member, nn.Module) else member(family) for member in members]
        if strange := [type(member).__name__ for member in made if not isinstance(member, Shareable)]:
            raise ConfigError(f"a {strange[0]} cannot be a member of an ensemble; make it a neural_graphs.nn.Shareable")
        if not made:
            raise ConfigError("an ensemble has at least one member, got none")
        self.members = nn.ModuleList(made)
        self.remember(family, made)  # what was made, not what made it: that can be written down

    def read(self, networks: Networks) -> Any:
        """The mean answer in one go, `(networks, classes)`, or the mean change, as `Networks`.

        Raises ConfigError for readers among editors, and for answers of other shapes.
        """
        answers = [member(networks) for member in self.members]
        changes = [answer.values for answer in answers if isinstance(answer, Networks)]
        if 0 < len(changes) < len(answers):
            raise ConfigError("an ensemble is of readers or of editors; this one has members of both kinds")
        answers = changes or answers
        if len(shapes := dict.fromkeys(tuple(answer.shape) for answer in answers)) > 1:
            raise ConfigError(
                f"members of an ensemble answer alike, got answers of {' and '.join(map(str, shapes))};"
                " give all of them the same classes"
            )
        mean = torch.stack(answers).mean(0)
        return networks.with_values(mean) if changes else mean

    def embed(self, networks: Networks) -> Float[Tensor, "networks features"]:
        """What the members see of each network, side by side."""
        return torch.cat([member.embed(networks) for member in self.members], -1)

    def fit_statistics(self, networks: Networks) -> None:
        """Hand the training networks to the members that standardise by them."""
        for member in self.members:
            if hasattr(member, "fit_statistics"):
                member.fit_statistics(networks)

    def prepare(self, networks: Networks) -> None:
        """What the members need of their layouts."""
        for member in self._readers:
            member.prepare(networks)

    def numbers(self, networks: Networks) -> int:
        """That of the member that needs most."""
        return max((member.numbers(networks) for member in self._readers), default=1)

    @property
    def _readers(self) -> list[Reader]:
        return [member for member in self.members if isinstance(member, Reader)]
