"""The next batch is drawn, moved and prepared while the current one is used."""

from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from neural_graphs.networks import Networks
from neural_graphs.nn.run.microbatch import Reader, prepare


class Ahead:
    """The batches of a loader on a device, each made in a thread of its own while the one before is used.

    The thread draws a batch, moves it, and makes the index tensors that a reader needs of its layouts: work that an
    accelerator else waits for at every batch of layouts it has not seen. Batches and their order are the loader's; one
    is held beside the one in use. What goes wrong in the thread is raised where the batch is asked for.

    Args:
        batches: networks with their targets; a `DataLoader`, say.
        reader: what will read them; None: batches are moved only.
        device: where they will be read.
    """

    def __init__(
        self, batches: Iterable[tuple[Networks, Tensor]], reader: Reader | None, device: torch.device
    ) -> None:  # fmt: skip
        self.batches, self.reader, self.device = batches, reader, device
        self.sampler: Any = getattr(batches, "sampler", None)  # which Lightning tells the epoch,
        self.batch_sampler = None  # and asks for this one before it does

    def __len__(self) -> int:
        if not isinstance(self.batches, Sized):
            raise TypeError(f"{type(self.batches).__name__} does not say how many batches it has")
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Networks, Tensor]]:
        with ThreadPoolExecutor(1, "ahead", initializer=self._enter) as thread:
            source = iter(self.batches)
            coming = thread.submit(self._next, source)
            while (batch := coming.result()) is not None:
                coming = thread.submit(self._next, source)
                yield batch

    def _enter(self) -> None:
        """Threads choose their accelerator each by itself."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)

    def _next(self, source: Iterator[tuple[Networks, Tensor]]) -> tuple[Networks, Tensor] | None:
        """The next batch, ready; None after the last."""
        batch = next(source, None)
        if batch is None:
            return None
        networks, targets = batch[0].map(self._move), self._move(batch[1])
        if self.reader is not None:
            prepare(self.reader, networks)
        return networks, targets

    def _move(self, tensor: Tensor) -> Tensor:
        """A copy that the host does not wait for."""
        pinned = tensor.pin_memory() if self.device.type == "cuda" and tensor.device.type == "cpu" else tensor
        return pinned.to(self.device, non_blocking=True)
