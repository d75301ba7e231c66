"""Growing a zoo on disk, whatever is in it: shard by shard, by one engine or another, resumable."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from neural_graphs.layout import Layout
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.engines import Engine, Job
from neural_graphs.zoo.store import Progress, Zoo
from neural_graphs.zoo.writer import ShardData, ZooWriter, writing

Part = TypeVar("Part")


def silent(done: int, planned: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Growth(Generic[Part]):
    """What a zoo is grown from: what its manifest says, and the `job` that makes the data of a shard from its part.

    The zoo is to have `planned` rows, in shards of `shard_size`, of `networks` networks (which may have several
    checkpoints each). `left` finds the parts that a zoo begun before lacks; `layout` tells the layout of a part.
    """

    facts: dict[str, Any]
    layouts: Sequence[Layout]
    planned: int
    shard_size: int | Sequence[int]
    networks: int
    job: Job[Part, ShardData]
    left: Callable[[ZooWriter], Sequence[Part]]
    layout: Callable[[Part], int]
    canvas: Canvas | None = None


def grow(path: str | Path, growth: Growth[Part], engine: Engine, progress: Progress = silent) -> Zoo:
    """Grow a zoo in a folder, or go on with one, and return it.

    A kill loses the shards in hand. A shard is written while the next one grows, and before anything more is told:
    `progress` receives networks done and in all. Raises `ZooError` where the folder holds a zoo of another recipe, or
    more networks.
    """
    plan, written = growth.planned, Future[None]()
    written.set_result(None)
    with (
        writing(path, growth.facts, growth.layouts, plan, canvas=growth.canvas, shard_size=growth.shard_size) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        left = growth.left(writer)
        done = growth.networks - sum(map(growth.job.count, left))

        def tick(more: int) -> None:
            nonlocal done
            written.result()
            done += more
            progress(done, growth.networks)

        tick(0)
        for part, data in zip(left, engine.run(growth.job, left, tick), strict=True):
            written.result()
            written = pool.submit(writer.write, replace(data, layout=growth.layout(part)))
        written.result()
    return Zoo(path)
