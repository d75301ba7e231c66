"""Captured once, replayed ever after: a step on an accelerator without Python between its kernels.

A metanetwork of some ten thousand parameters starts hundreds of small kernels, and the card waits for Python between
them. A CUDA graph remembers the kernels of one step and starts them all at once, on the same memory.
"""

import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_graphs.graph.constants import holding
from neural_graphs.graph.ops.direct import eager
from neural_graphs.networks import Networks
from neural_graphs.nn.run.checkpointing import is_large
from neural_graphs.nn.run.microbatch import Loss, Reader, detached, known_gradients, mean_loss, pieces

Given = ParamSpec("Given")
Found = TypeVar("Found")
Tensors = tuple[Tensor | None, ...]
WARM = 3  # plain calls before a capture: they make index tables, and let libraries choose their algorithms
MOST = 8  # kinds of batches that are captured, each with memory of its own; further ones run as they are


class Recorder(ABC):
    """Remembers what a function does on a device."""

    @abstractmethod
    def record(self, function: Callable[[], Found]) -> tuple[Found, Callable[[], None]]:
        """What the function returned, whose tensors hold nothing yet, and a call that does all of it into them."""


class CUDAGraphs(Recorder):
    """CUDA graphs that share one pool of memory: what one of them made is read before another is replayed."""

    def __init__(self) -> None:
        self.pool: Any = None

    def record(self, function: Callable[[], Found]) -> tuple[Found, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            found = function()
        self.pool = graph.pool()
        return found, graph.replay


RECORDERS: dict[str, Callable[[], Recorder]] = {"cuda": CUDAGraphs}


@dataclass
class Recording:
    """A function that was recorded: the tensors it reads, those it writes, and what they depend on."""

    inputs: list[Tensor]
    outputs: Tensors
    replay: Callable[[], None]
    held: list[Any]  # index tables it reads: caches may drop them, their memory must stay

    def __call__(self, *inputs: Tensor) -> Tensors:
        with torch.no_grad():
            for own, given in zip(self.inputs, inputs, strict=True):
                own.copy_(given)
        self.replay()
        return self.outputs


class Captured:
    """A function of networks and further tensors that reads a module, recorded for every kind of batch.

    A kind is a layout, shapes, precision, and whether the module trains. The first `WARM` batches of a kind are
    computed plainly. Some cannot be recorded: mixed batches, graphs so large that they are recomputed, devices without
    a `Recorder`. What it returns is overwritten by the next call.

    Args:
        function: of `Networks` and tensors, to a tuple of tensors.
        module: whose parameters the function reads.
    """

    def __init__(self, function: Callable[..., Tensors], module: nn.Module) -> None:
        self.function, self.module = function, module
        self.recordings: dict[Hashable, Recording] = {}
        self._seen: Counter[Hashable] = Counter()
        self._recorders: dict[str, Recorder] = {}
        self._state: list[tuple[int, bool]] = []

    def __call__(self, networks: Networks, *others: Tensor) -> Tensors:
        """What the function returns for these, where it is `possible` to record them."""
        self._forget_if_moved()
        tensors = (networks.values, *others)
        kind = (networks.layout, self.module.training, *((t.shape, t.dtype, t.device) for t in tensors))
        recording = self.recordings.get(kind)
        if recording is None:
            self._seen[kind] += 1
            if self._seen[kind] <= WARM or len(self.recordings) >= MOST:
                return self.function(networks, *others)
            recording = self.recordings[kind] = self._record(networks, others)
        return recording(*tensors)

    def possible(self, networks: Networks) -> bool:
        """Whether such a batch can be recorded."""
        if networks.values.device.type not in RECORDERS or not networks.regular or networks.values.requires_grad:
            return False
        return eager(networks.values) and not is_large(self._numbers(networks), networks.values.device)

    def _numbers(self, networks: Networks) -> int:
        return len(networks) * self.module.numbers(networks) if isinstance(self.module, Reader) else 0

    def _record(self, networks: Networks, others: tuple[Tensor, ...]) -> Recording:
        device, gradients = networks.values.device.type, torch.is_grad_enabled()
        recorder = self._recorders.setdefault(device, RECORDERS[device]())
        # Outside inference mode: what is recorded there could not be written to elsewhere.
        with holding() as held, torch.inference_mode(False), torch.set_grad_enabled(gradients):
            inputs = [tensor.detach().clone() for tensor in (networks.values, *others)]
            outputs, replay = recorder.record(lambda: self.function(networks.with_values(inputs[0]), *inputs[1:]))
        return Recording(inputs, outputs, replay, held)

    def _forget_if_moved(self) -> None:
        """A recording reads parameters and buffers where they lay, and makes gradients of those that wanted some."""
        every = (*self.module.parameters(), *self.module.buffers())
        state = [(tensor.data_ptr(), tensor.requires_grad) for tensor in every]
        if state != self._state:
            self.recordings.clear()
            self._seen.clear()
            self._state = state


class CapturedLoss:
    """`mean_loss` of one metanetwork and one loss; on an accelerator replayed from a capture, with equal results.

    The fast training step of a plain loop, on any device::

        step = CapturedLoss(metanetwork, torch.nn.functional.cross_entropy)
        for networks, labels in batches:
            loss, scores = step(networks, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    Gradient accumulation, clipping, schedules, several processes and any optimizer work as they do without: `backward`
    hands gradients out. Dropout draws new numbers at every replay, those that a plain step would draw.

    Args:
        reader: the metanetwork, or whatever reads networks piece by piece.
        loss: of answers and targets, a mean over networks.
        compile: fuse what is captured by `torch.compile`, which takes about a minute per kind of batch; equal results
            up to rounding. Where no compiler works it says so once and goes on without.
    """

    def __init__(self, reader: Reader, loss: Loss, *, compile: bool = False) -> None:
        self.reader, self.loss, self.compile = reader, loss, compile
        self.captured = Captured(self._gradients, reader)
        self._read: Callable[[Networks], Any] = compiled(reader.read) if compile else reader.read

    def __call__(self, networks: Networks, targets: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
        """The mean loss over a batch, ready for `backward`, and the detached answers `(networks, …)`.

        Raises as `Reader.checked`.
        """
        captured, networks = self.captured, self.reader.checked(networks)
        if not captured.possible(networks) or len(pieces(self.reader, networks)) > 1:
            return mean_loss(self.reader, networks, targets, self.loss)
        value, answers, *grads = captured(networks, targets)
        assert value is not None and answers is not None
        return known_gradients(value, grads, self._parameters()), answers.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> "CapturedLoss":
        """That of the copied reader, which has nothing captured yet."""
        return CapturedLoss(deepcopy(self.reader, memo), deepcopy(self.loss, memo), compile=self.compile)

    def _parameters(self) -> list[nn.Parameter]:
        return [p for p in self.reader.parameters() if p.requires_grad]

    def _gradients(self, networks: Networks, targets: Tensor) -> Tensors:
        """Loss, answers, and the gradient of every parameter."""
        with torch.enable_grad():
            answers = self._read(networks)
            value = self.loss(answers, targets)
            grads = torch.autograd.grad(value, self._parameters(), allow_unused=True)
        return value.detach(), detached(answers), *grads


def compiled(
    function: Callable[Given, Found], plain: Callable[Given, Found] | None = None, **how: Any
) -> Callable[Given, Found]:
    """A function fused by `torch.compile`, given `how`; where compiling fails the `plain` one, default: as it is."""
    fused, instead = torch.compile(function, dynamic=False, **how), plain or function
    failed = False

    def attempt(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        nonlocal failed
        if failed:
            return instead(*args, **kwargs)
        try:
            return fused(*args, **kwargs)
        except RuntimeError as error:  # of dynamo and inductor; what is wrong with the inputs is said again below
            reason = " ".join(str(error).split())[:200]
        found = instead(*args, **kwargs)
        failed = True
        warnings.warn(f"torch.compile failed ({reason}): going on without", RuntimeWarning, stacklevel=2)
        return found

    return attempt


class CapturedAnswers:
    """What a metanetwork answers without gradients; on an accelerator replayed from a capture, with equal results.

    Args:
        module: reads `Networks`, and answers with a tensor.
        answer: what is made of the module's answers; default: they themselves.
    """

    def __init__(self, module: nn.Module, answer: Callable[[Networks], Tensor] | None = None) -> None:
        self.module, self.answer = module, answer
        self.captured = Captured(self._answers, module)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CapturedAnswers":
        """Those of the copied module, which has nothing captured yet."""
        return CapturedAnswers(deepcopy(self.module, memo), deepcopy(self.answer, memo))

    def _plain(self, networks: Networks) -> Tensor:
        found: Tensor = (self.answer or self.module)(networks)
        return found

    def _answers(self, networks: Networks) -> Tensors:
        return (self._plain(networks),)

    @torch.no_grad()
    def __call__(self, networks: Networks) -> Tensor:
        """The answers for a batch, `(networks, …)`."""
        if not self.captured.possible(networks):
            return self._plain(networks)
        (answers,) = self.captured(networks)
        assert answers is not None
        return answers.clone()
