"""What one accelerator does with this library, in minutes: laws, the table of steps, growth, `fit`; all into one JSON.

    python benchmarks/device.py --images fashion-mnist --out device.json
    python benchmarks/device.py --images digits --device cpu --count 200 --steps 8 --batch 8 --only table grow fit

A step is forward, loss, backward, clipping and AdamW with AMSGrad, on networks 2 → 32 → 32 → 1 in float32; a captured
one is the same as a CUDA graph, and is checked against plain steps from the same start. A part that fails is written
down with its error, and the next one runs.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from step import INR, INR_FIGURES, MODELS  # type: ignore[import-not-found]  # the script beside this one

from neural_graphs import InputSpec, Networks
from neural_graphs.nn import Metanetwork

ROOT = Path(__file__).parents[1]
WARM = 5  # steps before anything is timed or captured: an optimizer that begins inside a capture starts anew every time


class Training:
    """One metanetwork, one batch, and the step that trains it."""

    def __init__(self, make: Callable[[InputSpec], Metanetwork], batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.metanetwork = make(InputSpec.of([INR], INR_FIGURES)).to(device)
        self.networks = Networks((0.05 * torch.randn(batch, INR.size)).to(device), INR)
        self.targets = torch.randint(0, 10, (batch,)).to(device)
        capturable = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(self.metanetwork.parameters(), 1e-3, amsgrad=True, capturable=capturable)

    def step(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.metanetwork(self.networks), self.targets).backward()
        torch.nn.utils.clip_grad_norm_(self.metanetwork.parameters(), 10.0)
        self.optimizer.step()

    @torch.no_grad()
    def infer(self) -> None:
        self.metanetwork(self.networks)

    def captured(self) -> Callable[[], None]:
        """The step as one CUDA graph; takes `WARM` steps first."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay


def median(run: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Milliseconds, after a warm-up; the device is waited for."""
    times = []
    for number in range(WARM + repeats):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times += [time.perf_counter() - start] * (number >= WARM)
    return round(1e3 * statistics.median(times), 3)


def row(name: str, batch: int, repeats: int, device: torch.device) -> dict[str, float]:
    """The figures of one metanetwork."""
    training = Training(MODELS[name].make, batch, device)
    found = {"step ms": median(training.step, repeats, device), "inference ms": median(training.infer, repeats, device)}
    if device.type == "cuda":
        found["peak GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        del training
        found |= captured_row(name, batch, repeats, device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return found


def captured_row(name: str, batch: int, repeats: int, device: torch.device) -> dict[str, float]:
    """A captured step's time, and how far from plain ones twenty of them end, relative to the way that those went."""
    plain, training = (Training(MODELS[name].make, batch, device) for _ in range(2))
    before = torch.nn.utils.parameters_to_vector(plain.metanetwork.parameters()).detach().clone()
    replay = training.captured()
    for _ in range(20):
        replay()
    for _ in range(WARM + 20):
        plain.step()
    ends = [torch.nn.utils.parameters_to_vector(each.metanetwork.parameters()).detach() for each in (plain, training)]
    error = float((ends[0] - ends[1]).norm() / (ends[0] - before).norm())
    return {"captured ms": median(replay, repeats, device), "captured error": error}


def table(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every metanetwork of `step.py`, printed as it is measured."""
    found: dict[str, Any] = {}
    for name in MODELS:
        found[name] = attempt(lambda name=name: row(name, arguments.batch, arguments.steps, arguments.device))  # type: ignore[misc]
        print(f"{name:12s} {found[name]}", flush=True)
    return found


def laws(arguments: argparse.Namespace) -> dict[str, Any]:
    """The laws that need a CUDA device, and the outputs of the released models computed there, both in float64."""
    words = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:benchmark",
        "-o",
        "addopts=",
        "tests/laws/test_devices.py",
    ]
    parity = ["benchmarks/parity.py", "tests/parity", "--device", str(arguments.device)]
    found = {"parity": attempt(lambda: {"cases": last_line(parity)})}
    return found | {"laws": attempt(lambda: {"tests": last_line(words)})}


def last_line(words: list[str]) -> str:
    """Of what a Python command prints."""
    return command(words)[0].strip().splitlines()[-1]


def grow(arguments: argparse.Namespace) -> dict[str, Any]:
    """Networks a second of `zoo grow inr`, the images' decoding and the shards' writing included."""
    words = ["zoo", "grow", "inr", "--images", arguments.images, "--count", str(arguments.count)]
    words += ["--out", str(arguments.work / "zoo"), "--device", str(arguments.device)]
    seconds = command(["-m", "neural_graphs", *words])[1]
    return {
        "networks": arguments.count,
        "seconds": round(seconds, 1),
        "per second": round(arguments.count / seconds, 1),
    }


def fit(arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a step of `fit` as published, from two runs; every hundred steps a validation."""
    seconds = [fit_for(arguments, epochs) for epochs in (1, 4)]
    return {"ms a step": round(1e3 * (seconds[1] - seconds[0]) / (3 * per_epoch(arguments)), 2)}


def per_epoch(arguments: argparse.Namespace) -> int:
    return min(100, max(1, arguments.steps // 3))


def fit_for(arguments: argparse.Namespace, epochs: int) -> float:
    """Seconds of a run of so many short epochs."""
    config = ROOT / "experiments" / "inr_classification" / "fmnist_nggnn.yaml"
    words = ["-m", "neural_graphs", "fit", "--config", str(config), "--run", str(arguments.work / f"run-{epochs}")]
    words += ["--data.zoo", str(arguments.work / "zoo"), "--data.batch_size", str(arguments.batch)]
    words += ["--trainer.limit_train_batches", str(per_epoch(arguments)), "--trainer.max_epochs", str(epochs)]
    return command([*words, "--trainer.accelerator", arguments.device.type])[1]


def command(words: list[str]) -> tuple[str, float]:
    """What a Python command printed, and its seconds; its errors are raised."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:4])}: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout, time.perf_counter() - start


def attempt(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a part found, or its error: the rest of a lent machine's minutes is not lost."""
    try:
        return part()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:2000]}


def machine(device: torch.device) -> dict[str, str]:
    """What the figures were taken on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    versions = {"torch": torch.__version__, "cuda": str(torch.version.cuda), "python": platform.python_version()}
    return {"device": name, "date": time.strftime("%Y-%m-%d"), **versions}


PARTS = {"laws": laws, "table": table, "grow": grow, "fit": fit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="fashion-mnist", help="as for `zoo grow inr`")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--batch", type=int, default=128, help="networks per step (default %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="steps that are timed (default %(default)s)")
    parser.add_argument("--count", type=int, default=20_000, help="networks that are grown (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--out", type=Path, default=Path("device.json"))
    arguments = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(arguments.device)}
    with tempfile.TemporaryDirectory() as folder:
        arguments.work = Path(folder)
        for name in arguments.only:
            found[name] = attempt(lambda name=name: PARTS[name](arguments))  # type: ignore[misc]
            print(f"{name}: {json.dumps(found[name])}", flush=True)
            arguments.out.write_text(json.dumps(found, indent=2))  # after every part: a lent machine may stop


if __name__ == "__main__":
    main()
