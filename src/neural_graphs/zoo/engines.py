"""Where the shards of a zoo are grown: in this process, in others on this machine, or on a Ray cluster."""

import os
import signal
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, Generic, TypeVar

import torch

from neural_graphs.errors import ConfigError, ZooError
from neural_graphs.graph.memory import keep_memory

Part = TypeVar("Part")
Made = TypeVar("Made")
AHEAD = 8  # parts sent per worker before the first is back; with 2, sixteen workers take 1.6 times as long for a park


Tick = Callable[[int], None]  # receives how many networks are done since its last call


def nobody(_: int) -> None:
    """Tell nobody."""


class Job(ABC, Generic[Part, Made]):
    """What is done with every part; it travels to each worker once, the parts one by one."""

    @abstractmethod
    def count(self, part: Part) -> int:
        """Return how many networks a part has."""

    @abstractmethod
    def __call__(self, part: Part, tick: Tick = nobody) -> Made:
        """Return what is made of a part; `tick` receives its networks, some at a time."""


class Engine(ABC):
    """Runs a job on many parts."""

    @abstractmethod
    def run(self, job: Job[Part, Made], parts: Sequence[Part], tick: Tick = nobody) -> Iterator[Made]:
        """Yield what the job makes of each part, in the order of the parts; `tick` receives networks done."""


class Here(Engine):
    """This process, with whatever threads the job has of its own: networks are told as they are done."""

    def run(self, job: Job[Part, Made], parts: Sequence[Part], tick: Tick = nobody) -> Iterator[Made]:
        """Yield what the job makes of each part."""
        for part in parts:
            yield job(part, tick)


class Processes(Engine):
    """Worker processes on this machine, each on one core; one worker is this process itself."""

    def __init__(self, workers: int = 2) -> None:
        if workers < 1:
            raise ConfigError(f"workers is {workers}, expected at least 1")
        self.workers = workers

    def run(self, job: Job[Part, Made], parts: Sequence[Part], tick: Tick = nobody) -> Iterator[Made]:
        """Yield what the job makes of each part; a worker that dies is a `ZooError`, what was yielded is kept."""
        for part, made in zip(parts, self._made(job, parts), strict=True):
            yield made
            tick(job.count(part))  # after the caller has put it on disk

    def _made(self, job: Job[Part, Made], parts: Sequence[Part]) -> Iterator[Made]:
        workers = min(self.workers, len(parts))
        if workers < 2:
            for part in parts:
                with _one_thread():
                    made = job(part)
                yield made
            return
        context = get_context("spawn")
        end, lifeline = context.Pipe(duplex=False)  # closed, or lost with this process, it ends the workers at once
        try:
            with ProcessPoolExecutor(workers, context, _begin, (job, end)) as pool, lifeline:
                yield from _in_order(parts, lambda part: pool.submit(_work, part), Future.result, workers)
        except BrokenProcessPool as error:
            raise ZooError(
                "a worker process ended unasked (was it killed, or out of memory?); whole shards are kept, and the same"
                " command goes on from there"
            ) from error


class Ray(Engine):
    """A Ray cluster: the one that `RAY_ADDRESS` names, else this machine. A part lost with its worker is done again."""

    def __init__(self, workers: int = 2) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError("--engine ray needs the extra ray: pip install 'neural-graphs[ray]'") from error
        self.ray, self.workers = ray, workers

    def run(self, job: Job[Part, Made], parts: Sequence[Part], tick: Tick = nobody) -> Iterator[Made]:
        """Yield what the job makes of each part; a cluster found running has AHEAD · `workers` at a time."""
        for part, made in zip(parts, self._made(job, parts), strict=True):
            yield made
            tick(job.count(part))

    def _made(self, job: Job[Part, Made], parts: Sequence[Part]) -> Iterator[Made]:
        if not parts:
            return
        started = not self.ray.is_initialized()
        if started:
            os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's own, 15, any other program starves its workers
            here = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "num_cpus": self.workers}
            self.ray.init(**here, include_dashboard=False, log_to_driver=False)
        try:
            shared = self.ray.put(job)
            task = self.ray.remote(num_cpus=1, max_retries=-1)(_work_on)
            yield from _in_order(parts, lambda part: task.remote(shared, part), self._fetch, self.workers)
        finally:
            if started:
                self.ray.shutdown()

    def _fetch(self, promise: Any) -> Any:
        try:
            return self.ray.get(promise)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None  # the error of the job itself, as the other engine tells it


ENGINES: dict[str, type[Processes] | type[Ray]] = {"process": Processes, "ray": Ray}


def _in_order(
    parts: Sequence[Part], send: Callable[[Part], Any], fetch: Callable[[Any], Made], workers: int
) -> Iterator[Made]:
    """Yield results in order; parts are sent ahead, so that no worker waits for the slowest."""
    sent: deque[Any] = deque()
    for part in parts:
        sent.append(send(part))
        if len(sent) > AHEAD * workers:
            yield fetch(sent.popleft())
    while sent:
        yield fetch(sent.popleft())


_JOB: list[Job[Any, Any]] = []  # the job of a worker process


def _begin(job: Job[Any, Any], lifeline: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that holds the other end
    Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    keep_memory()
    torch.set_num_threads(1)
    _JOB[:] = [job]


def _end_with(lifeline: Connection) -> None:
    lifeline.poll(None)  # nothing is ever sent: this returns when the other end is gone
    os._exit(1)


def _work(part: Any) -> Any:
    return _JOB[0](part)


def _work_on(job: Job[Part, Made], part: Part) -> Made:
    """A task of a Ray worker, which may be new."""
    keep_memory()
    torch.set_num_threads(1)
    return job(part)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
