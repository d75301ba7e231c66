"""`Shareable`: a metanetwork that is saved into a folder or onto the Hub, and made again from there."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from neural_graphs.errors import ConfigError, LayoutError
from neural_graphs.layout.forwarding import forwarded
from neural_graphs.layout.recorded import Recorded, arguments_of
from neural_graphs.nn.spec import InputSpec

Kind = TypeVar("Kind", bound="Shareable")


class Shareable(Recorded, nn.Module):
    """A module that knows how it was made, in three calls as Hugging Face's libraries have them.

    What is written: `config.json` (how it was made, for which networks), `model.safetensors` (its numbers) and
    `README.md` (the model card).
    """

    def remember(self, *arguments: Any, **named: Any) -> None:
        """As of everything `Recorded`.

        Raises LayoutError for a `family` that is no InputSpec, ConfigError for less than one of the `classes`.
        """
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        given = dict(zip(names, arguments, strict=False)) | named
        family, classes = given.get("family"), given.get("classes")
        if "family" in given and not isinstance(family, InputSpec):
            raise LayoutError(
                f"{type(self).__name__} is made for an InputSpec, the bounds of all networks it will read, got a "
                f"{type(family).__name__}; make one of their layouts: InputSpec.of([layout])"
            )
        if isinstance(classes, int) and classes < 1:
            raise ConfigError(f"classes is {classes}: {type(self).__name__} gives at least one answer per network")
        super().remember(*arguments, **named)

    def save_pretrained(
        self, folder: str | Path, *, licence: str = "mit", figures: Mapping[str, Any] | None = None
    ) -> None:  # fmt: skip
        """Write it into a folder, with what was measured of it as named `figures`.

        Raises ConfigError where it was made of parts that cannot be written down.
        """
        forwarded("tasks.sharing.share.save")(self, folder, licence, figures or {})

    @classmethod
    def from_pretrained(cls: type[Kind], place: str | Path) -> Kind:
        """The metanetwork of a folder, of the Hub (`owner/name`) or of this package (`mnist-inr`), ready to answer.

        Only classes of this library, and the one it is called on, are made; code is never loaded. Raises ConfigError
        where there is none, CheckpointError naming the file that is damaged, or where it is of another class.
        """
        return forwarded("tasks.sharing.pretrained.metanetwork_of")(place, cls)

    def push_to_hub(
        self, name: str, *, licence: str = "mit", figures: Mapping[str, Any] | None = None, private: bool = False
    ) -> str:  # fmt: skip
        """Save it as `owner/name` on the Hub, and return the address. Raises as `save_pretrained`, and HubError."""
        return forwarded("tasks.sharing.share.push")(self, name, licence, figures or {}, private)


def family_of(made: Recorded) -> InputSpec | None:
    """The family that an object was made for, if it was made for one."""
    return next((value for value in arguments_of(made).values() if isinstance(value, InputSpec)), None)
