"""What float32 products by oneDNN bring: a training step and an inference of every reader, with them and without.

Both ways take turns in one process, `repeats` times; the best of each counts. Where oneDNN would round to fewer bits it
is not used (`nn/run/products.py`), and the script says so.

    python benchmarks/products.py [--models nggnn propagator nfn-np …] [--repeats 3]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from linear import MODELS as LINEAR  # type: ignore[import-not-found]  # the scripts beside this one
from step import MODELS, ZOO, Case, inrs  # type: ignore[import-not-found]

from neural_graphs.nn.run import products
from neural_graphs.nn.run.microbatch import mean_loss

CASES = MODELS | {name: Case(make, inrs) for name, make in LINEAR.items()} | ZOO


def runs(name: str) -> dict[str, Callable[[], Any]]:
    """A training step and an inference of one model."""
    metanetwork, networks, targets, loss = CASES[name].prepared()
    optimizer = torch.optim.AdamW(metanetwork.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        mean_loss(metanetwork, networks, targets, loss)[0].backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad():
            metanetwork(networks)

    return {"step": step, "inference": infer}


def measure(name: str, repeats: int) -> str:
    """One line of result."""
    told, exact = [], products.is_exact
    for what, run in runs(name).items():
        times: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(repeats + 1):
            for used in times:
                products.is_exact = exact if used else _never  # type: ignore[assignment]
                start = time.perf_counter()
                run()
                if turn:  # the first warms up
                    times[used].append(time.perf_counter() - start)
        products.is_exact = exact
        with_it, without = (min(times[used]) for used in (True, False))
        told.append(f"{what} {without * 1e3:6.0f} → {with_it * 1e3:6.0f} ms, {without / with_it:4.2f} times as fast")
    return f"{name:14s} " + "   ".join(told)


def _never() -> bool:
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many counts (default %(default)s)")
    arguments = parser.parse_args()
    used = "exact here" if products.is_exact() else "NOT used here: it would round, or a precision was chosen"
    print(f"{torch.get_num_threads()} threads   products by oneDNN are {used}", flush=True)
    for name in arguments.models:
        print(measure(name, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
