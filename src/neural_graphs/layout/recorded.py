"""`Recorded`: objects that remember what their constructor was given, so that files can say how to make them again."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

Made = TypeVar("Made", bound="Recorded")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Recorded:
    """Remembers the arguments of its constructor; `arguments_of` tells them by name.

    What is written down is `{"kind_of": CLASS, ARGUMENT: VALUE, …}`, see `layout.serialise`: arguments must be plain
    values, dataclasses of ours, or Recorded themselves.
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls: type[Made], *arguments: Any, **named: Any) -> Made:
        made: Made = super().__new__(cls)
        made.remember(*arguments, **named)
        return made

    def remember(self, *arguments: Any, **named: Any) -> None:
        """Take other arguments for those of the constructor, which make an equal object."""
        object.__setattr__(self, "_arguments", (arguments, named))  # past nn.Module, which may not be ready yet


def arguments_of(made: Recorded) -> dict[str, Any]:
    """The arguments an object was made with, defaults included, by name.

    Raises TypeError where some were given without a name to any number of places.
    """
    signature = inspect.signature(type(made).__init__)
    arguments, named = made._arguments
    bound = signature.bind(made, *arguments, **named)
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for parameter, value in zip(
        list(signature.parameters.values())[1:], list(bound.arguments.values())[1:], strict=True
    ):
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            found[parameter.name] = value
        elif value:
            raise TypeError(f"{type(made).__name__} was given {len(value)} arguments without names")
    return found


def call(made: Recorded) -> str:
    """The call that makes an object, such as `Dilate(size=3)`."""
    said = [
        f"{name}={call(each) if isinstance(each, Recorded) else each!r}" for name, each in arguments_of(made).items()
    ]
    return f"{type(made).__name__}({', '.join(said)})"


def constructor_parameters(kind: type) -> Mapping[str, inspect.Parameter]:
    """The parameters of a constructor by name, with those of the classes above that `**options` hand on."""
    found: dict[str, inspect.Parameter] = {}
    for each in inspect.getmro(kind):
        constructor: Any = each.__init__  # type: ignore[misc]  # of this class of the row, not of an instance
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        found |= {one.name: one for one in parameters if one.kind not in VARIADIC and one.name not in found}
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
            break
    return found
