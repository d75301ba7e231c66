"""What depends on layouts and wirings alone: made once, kept, and a constant to compilers."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Made = TypeVar("Made")


def constant(size: int = 4096) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Keep the last `size` results of a function of hashable values; `torch.compile` does not look inside.

    Tensors among them are made outside inference mode: what is made while predicting is read by training later on.
    """

    def decorate(function: Callable[Given, Made]) -> Callable[Given, Made]:
        kept = lru_cache(maxsize=size)(torch.inference_mode(False)(function))

        @wraps(function)
        def remembered(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            return kept(*args, **kwargs)  # type: ignore[arg-type]  # all are hashable

        marked: Callable[Given, Made] = torch.compiler.assume_constant_result(remembered)
        return marked

    return decorate
