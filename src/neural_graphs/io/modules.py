"""Modules for checkpoints that hold tensors only: made by the user's code, filled with the tensors of a file."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, reason
from neural_graphs.io.tensors import bare, check_finite

Source: TypeAlias = nn.Module | Callable[[], nn.Module] | str
COUNTER = "num_batches_tracked"  # older checkpoints have none, and no output depends on it


def make(source: Source) -> nn.Module:
    """The module itself, what a function without arguments returns, or what the function `package.module:name` does.

    Such a name is imported from `sys.path` and the working directory. Raises CheckpointError naming what failed.
    """
    if isinstance(source, nn.Module):
        return source
    name = source if isinstance(source, str) else getattr(source, "__qualname__", repr(source))
    factory = _find(source) if isinstance(source, str) else source
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise CheckpointError(f"{name} is a {type(factory).__name__}; expected a function that returns a module")
    try:
        made = factory()
    except Exception as error:  # it is the user's code
        raise CheckpointError(f"{name}() failed: {type(error).__name__}: {reason(error)}") from error
    if not isinstance(made, nn.Module):
        raise CheckpointError(f"{name}() returned a {type(made).__name__}; expected a torch.nn.Module")
    return made


def _find(name: str) -> Any:
    """The object `package.module:name`."""
    package, colon, attribute = name.partition(":")
    if not (package and colon and attribute):
        raise CheckpointError(f"{name!r} names no module factory; expected package.module:function")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(package)
    except Exception as error:  # it is the user's code
        raise CheckpointError(f"{package} cannot be imported: {type(error).__name__}: {reason(error)}") from error
    finally:
        if added:
            sys.path.remove(here)
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = sorted(each for each in vars(found) if callable(getattr(found, each)) and each[0] != "_")
            raise CheckpointError(f"{package} has no {part}; it has {', '.join(known[:12]) or 'no functions'}")
        found = getattr(found, part)
    return found


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The module in evaluation mode, with the tensors of a file in the precision of the module.

    Raises CheckpointError naming the file and the tensors that are missing, unexpected, misshaped or not finite.
    """
    own = module.state_dict(keep_vars=True)
    tensors = bare(tensors, own)
    present = {id(own[name]) for name in tensors if name in own}  # tied tensors are stored under one of their names
    missing = [n for n in own if n not in tensors and id(own[n]) not in present and not n.endswith(COUNTER)]
    surplus = [name for name in tensors if name not in own]
    if missing or surplus:
        raise CheckpointError(
            f"{path} does not fit {type(module).__name__}: missing {_some(missing)}, unexpected {_some(surplus)}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            expected = f"expected {tuple(own[name].shape)} for {type(module).__name__}"
            raise CheckpointError(f"{path}: {name} has shape {tuple(tensor.shape)}, {expected}")
    check_finite(tensors, path)
    module.load_state_dict(dict(tensors), strict=False)
    return module.eval()


def register(module: nn.Module, name: str, values: Tensor, *, persistent: bool = True) -> str:
    """Hang a parameter, or another tensor as a buffer, into a module under its dotted name; returns its name.

    It has underscores where torch cannot have that name (two that differ by a dot at the end of a shared prefix, say).
    """
    *path, last = name.split(".")
    at = module
    for part in path:
        child = at._modules.get(part)
        if child is None and (not part or hasattr(at, part)):
            return register(module, name.replace(".", "_"), values, persistent=persistent)
        if child is None:
            child = nn.Module()
            at.register_module(part, child)
        at = child
    if not last or hasattr(at, last):
        return register(module, f"{name}_".replace(".", "_"), values, persistent=persistent)
    if isinstance(values, nn.Parameter):
        at.register_parameter(last, values)
    else:
        at.register_buffer(last, values, persistent=persistent)
    return name


def _some(names: list[str]) -> str:
    """Up to four names."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "nothing"
