"""`vmap` for operators on batches of networks: a further axis is one more of networks."""

from collections.abc import Callable
from typing import Any

from torch.library import register_vmap

from neural_graphs.errors import LayoutError


def over_networks(name: str, operator: Callable[..., Any], batched: int) -> None:
    """Register what an operator is over a further axis.

    Its first `batched` tensors have networks along axis 0, and so have all answers; other tensors are shared by them.
    """

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        shared = [dim for dim in in_dims[batched:] if isinstance(dim, int)]  # of lists there are lists
        if shared:
            raise LayoutError(f"{name} has no vmap over what all networks share: weights, degrees")
        count = info.batch_size
        pairs = zip(arguments[:batched], in_dims[:batched], strict=True)
        folded = [x.expand(count, *x.shape) if dim is None else x.movedim(dim, 0) for x, dim in pairs]
        networks = folded[0].shape[1]
        found = operator(*(x.flatten(0, 1) for x in folded), *arguments[batched:])
        several = isinstance(found, tuple | list)
        parts = [part.unflatten(0, (count, networks)) for part in (found if several else [found])]
        return (tuple(parts), (0,) * len(parts)) if several else (parts[0], 0)

    register_vmap(name, rule)
