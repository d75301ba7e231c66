"""Running a metanetwork piece by piece: no operation crosses networks, so memory and caches need not hold a batch.

On the CPU every piece is small enough for the cache of a core, and as many pieces run at once as torch has threads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from neural_graphs.errors import ConfigError
from neural_graphs.graph.constants import PerMethod
from neural_graphs.graph.memory import keep_memory
from neural_graphs.networks import Networks
from neural_graphs.nn.run.checkpointing import is_large
from neural_graphs.nn.run.dropout import dropout_generator
from neural_graphs.nn.run.products import by_onednn
from neural_graphs.nn.spec import networks_for

Loss = Callable[[Any, Tensor], Tensor]  # outputs and targets of some networks to their mean loss
BUDGET = {"cpu": 1_200_000}  # numbers of the largest edge tensor of a piece
LARGE_BUDGET = 400_000_000  # on an accelerator
_CUTS = PerMethod(64)


class Reader(nn.Module, ABC):
    """A module that answers about networks, each by itself, so that a batch may be read in pieces.

    `reader(networks)` is `read(networks)` with gradients, and read piece by piece without.
    """

    def forward(self, networks: Networks) -> Any:
        """The answers for a batch of any size. Raises as `checked`."""
        networks = self.checked(networks)
        return self.read(networks) if torch.is_grad_enabled() else read(self, networks)

    def checked(self, networks: Networks) -> Networks:
        """The networks, in the precision of this module.

        Raises ConfigError for none, LayoutError for what is no Networks, or of more precision than this module.
        """
        networks = networks_for(self, networks)
        if not len(networks):
            raise ConfigError("got no networks to read; a batch has at least one")
        return networks

    @abstractmethod
    def read(self, networks: Networks) -> Any:
        """The answers in one go: a tensor `(networks, …)`, or `Networks`."""

    def prepare(self, networks: Networks) -> None:
        """Make ahead of time what reading these networks in one go needs of their layouts; nothing by default."""

    @abstractmethod
    def numbers(self, networks: Networks) -> int:
        """How many numbers the largest tensor on the way holds for the largest of these networks, about."""


def pieces(reader: Reader, networks: Networks) -> list[slice]:
    """Cut a batch so that no piece of several networks exceeds the budget of its device, and pieces are even work."""
    budget = _budget(networks)
    if not networks.regular:
        return _CUTS.get(reader.numbers, (networks.layouts, budget), lambda: _mixed_pieces(reader, networks, budget))
    size = max(1, budget // max(1, reader.numbers(networks)))
    return [slice(start, start + size) for start in range(0, len(networks), size)]


def _budget(networks: Networks) -> int:
    return BUDGET.get(networks.values.device.type, LARGE_BUDGET)


def widest_group(networks: Networks) -> int:
    """The neurons of the largest group of any of these networks: what running them holds at once, per input."""
    return max(group.size for layout in set(networks.layouts) for group in layout.groups)


def _mixed_pieces(reader: Reader, networks: Networks, budget: int) -> list[slice]:
    numbers = {}
    for layout in dict.fromkeys(networks.layouts):
        vector = networks.values[: layout.size]  # any network of that layout will do
        numbers[layout] = reader.numbers(Networks(vector[None], layout))
    return _even([numbers[layout] for layout in networks.layouts], budget)


def _even(numbers: Sequence[int], budget: int) -> list[slice]:
    """Cut a row of networks of so many numbers each, where the next one would exceed an even share of the work."""
    share = sum(numbers) / max(1, -(-sum(numbers) // budget))
    starts, used = [0], 0
    for place, size in enumerate(numbers):
        if used and used + size > share:
            starts, used = [*starts, place], 0
        used += size
    return [slice(a, b) for a, b in pairwise([*starts, len(numbers)])]


def prepare(reader: Reader, networks: Networks) -> None:
    """Make ahead of time what a batch needs of its layouts, piece by piece: index tensors, on the device it lies on.

    Any thread may do so while others read; `reader(networks)` and `mean_loss` then find it made.
    """
    for cut in pieces(reader, networks):
        reader.prepare(networks[cut])


def read(reader: Reader, networks: Networks) -> Any:
    """The answer for all networks, without gradients: `(networks, classes)`, or `Networks`."""
    cuts = pieces(reader, networks)
    if len(cuts) == 1 and reader.numbers(networks) <= _budget(networks):
        return reader.read(networks)

    def answer(cut: slice) -> Any:
        with torch.no_grad():
            return reader.read(networks[cut])

    with by_onednn(networks.values):
        shares = _share(cuts, lambda mine: [answer(cut) for cut in mine], _workers(reader, networks))
    answers = [shares[i % len(shares)][i // len(shares)] for i in range(len(cuts))]
    return Networks.cat(answers) if isinstance(answers[0], Networks) else torch.cat(answers)


def mean_loss(reader: Reader, networks: Networks, targets: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The mean loss over a batch, ready for `backward`, and the detached outputs `(networks, …)`.

    `loss(outputs, targets)` must be a mean over networks. Gradients of the parameters, and of the networks where these
    require them, are computed here, piece by piece, and handed out by `backward`: the same values as in one go up to
    rounding, in a fraction of the memory. They have no gradients themselves, and say so; of small batches they have.
    Dropout is seeded per piece from torch's global generator, so that a run can be repeated. Raises as
    `Reader.checked`.
    """
    networks = reader.checked(networks)
    cuts = pieces(reader, networks)
    if len(cuts) == 1 and reader.numbers(networks) <= _budget(networks):
        outputs = reader.read(networks)
        return loss(outputs, targets), detached(outputs)
    parameters = [p for p in reader.parameters() if p.requires_grad]
    inner = networks.values.requires_grad
    seeds = torch.randint(2**62, (len(cuts),)).tolist()
    work = list(zip(cuts, seeds, strict=True))

    def run(mine: Sequence[tuple[slice, int]]) -> Found:
        return _accumulate(reader, networks, targets, loss, parameters, mine)

    with by_onednn(networks.values):
        shares = _share(work, run, _workers(reader, networks))
    workers = len(shares)
    losses = [shares[i % workers][1][i // workers] for i in range(len(cuts))]
    outputs = [shares[i % workers][2][i // workers] for i in range(len(cuts))]
    grads = [_add([share[0][i] for share in shares]) for i in range(len(parameters))]
    if inner:
        every = [shares[i % workers][3][i // workers] for i in range(len(cuts))]
        grads.append(torch.cat([each.reshape(-1, *networks.values.shape[1:]) for each in every]))
    known = [*parameters, *([networks.values] if inner else [])]
    return known_gradients(torch.stack(losses).sum(), grads, known), torch.cat(outputs)


def known_gradients(value: Tensor, grads: Sequence[Tensor | None], known: Sequence[Tensor]) -> Tensor:
    """A value that hands the gradients out when it goes `backward`, one for each of the tensors `known`."""
    total: Tensor = _Separable.apply(value, grads, *known)  # type: ignore[no-untyped-call]
    return total


Found = tuple[list[Tensor | None], list[Tensor], list[Tensor], list[Tensor]]


def _accumulate(
    reader: Reader, networks: Networks, targets: Tensor, loss: Loss, parameters: list[nn.Parameter],
    work: Sequence[tuple[slice, int]],
) -> Found:  # fmt: skip
    """Of some pieces: summed gradients, losses weighted by their share of the batch, outputs, gradients of networks."""
    total: list[Tensor | None] = [None] * len(parameters)
    losses, outputs, inner = [], [], []
    for cut, seed in work:
        generator = torch.Generator(networks.values.device).manual_seed(seed)
        with torch.enable_grad(), dropout_generator(generator):
            part = networks[cut]
            found = reader.read(part)
            value = loss(found, targets[cut]) * (len(part) / len(networks))
            wanted = [*parameters, *([part.values] if part.values.requires_grad else [])]
            grads = torch.autograd.grad(value, wanted, allow_unused=True)
        total = [_add([a, b]) for a, b in zip(total, grads[: len(parameters)], strict=True)]
        inner += [_of(each, part) for each in grads[len(parameters) :]]
        losses.append(value.detach())
        outputs.append(detached(found))
    return total, losses, outputs, inner


def _of(grad: Tensor | None, part: Networks) -> Tensor:
    """The gradient of the networks of a piece, network after network."""
    return torch.zeros_like(part.values) if grad is None else grad


def _add(parts: Sequence[Tensor | None]) -> Tensor | None:
    found = [part for part in parts if part is not None]
    return None if not found else found[0] if len(found) == 1 else torch.stack(found).sum(0)


def detached(outputs: Tensor | Networks) -> Tensor:
    """Answers, or the values of edits, without their gradients."""
    return (outputs.values if isinstance(outputs, Networks) else outputs).detach()


class _Separable(Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, grads: Sequence[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.grads = grads
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        there = [grad for grad in ctx.grads if grad is not None]
        scaled = iter(torch._foreach_mul(there, grads[0]) if there else ())  # in few kernels, into memory of its own
        return None, None, *(None if grad is None else next(scaled) for grad in ctx.grads)


def _workers(reader: Reader, networks: Networks) -> int:
    """Pieces that are read at once: as many as there are threads, but one where a single network fills the memory."""
    device = networks.values.device
    alone = device.type != "cpu" or is_large(reader.numbers(networks), device)
    return 1 if alone else torch.get_num_threads()


def _share(work: Sequence[Any], run: Callable[[Sequence[Any]], Any], workers: int) -> list[Any]:
    """Deal work to the threads like cards, always the same way, and collect what each makes of its share."""
    workers = min(workers, len(work))
    if workers == 1:
        return [run(work)]
    keep_memory()
    return list(_pool(workers).map(run, [work[i::workers] for i in range(workers)]))


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads in which torch itself runs on one thread."""
    return ThreadPoolExecutor(workers, "metanetwork", initializer=lambda: torch.set_num_threads(1))
