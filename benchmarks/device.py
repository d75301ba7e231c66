"""What one accelerator does with this library, in minutes: laws, the table of steps, growth, `fit`; all into one JSON.

    python benchmarks/device.py --images fashion-mnist --out device.json
    python benchmarks/device.py --images digits --device cpu --count 200 --steps 8 --batch 8 --only table grow fit

A step is forward, loss, backward, clipping and fused AdamW with AMSGrad in float32, as a plain loop takes it: with
`mean_loss`, and with `CapturedLoss`, captured and compiled too. A captured step is checked against plain ones from the
same start. A part that fails is written down with its error, and the next one runs.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import step  # type: ignore[import-not-found]  # the script beside this one
import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs import InputSpec, Networks
from neural_graphs.nn import CapturedAnswers, CapturedLoss, NGGNNEditor, mean_loss
from neural_graphs.nn.run.microbatch import Loss, Reader
from neural_graphs.tasks.editing import Drawing
from neural_graphs.tasks.runs import device_name
from neural_graphs.zoo.canvas import Canvas

ROOT = Path(__file__).parents[1]
WARM = 5  # steps before anything is timed or captured: an optimizer that begins inside a capture starts anew every time


@dataclass(frozen=True)
class Work:
    """A reader in training, and one batch for it."""

    reader: Reader
    networks: Networks
    targets: Tensor
    loss: Loss


def classify(name: str, batch: int) -> Work:
    """An INR classifier of the published size."""
    reader = step.MODELS[name].make(InputSpec.of([step.INR], step.INR_FIGURES))
    return Work(reader, inrs(batch), torch.randint(0, 10, (batch,)), F.cross_entropy)


def edit(batch: int) -> Work:
    """NG-GNN as published for editing, 128 wide, with the pictures it is trained through."""
    editor = NGGNNEditor(InputSpec.of([step.INR], step.INR_FIGURES), width=128)
    return Work(Drawing(editor, Canvas(28, 28, 1)), inrs(batch), torch.rand(batch, 784, 1), F.mse_loss)


def predict(name: str, batch: int) -> Work:
    """A predictor of accuracy of the published size; of the CNN Wild Park the batch is mixed."""
    case = step.ZOO[name]
    layouts = case.layouts(batch)
    networks = Networks.cat([Networks(0.05 * torch.randn(1, layout.size), layout) for layout in layouts])
    targets = torch.rand(batch)
    return Work(case.make(case.family(layouts)), networks, targets, lambda y, t: F.mse_loss(y[:, 0].sigmoid(), t))


def inrs(batch: int) -> Networks:
    return Networks(0.05 * torch.randn(batch, step.INR.size), step.INR)


WORKS: dict[str, Callable[[int], Work]] = {
    **{name: partial(classify, name) for name in step.MODELS},
    "edit-nggnn": edit,
    "small-nggnn": partial(predict, "small-nggnn"),
    "park-nggnn": partial(predict, "park-nggnn"),
}


class Training:
    """A plain training loop on one batch, its loss by `mean_loss`, captured, or captured and compiled."""

    def __init__(self, name: str, arguments: argparse.Namespace, how: str) -> None:
        torch.manual_seed(0)
        work, device = WORKS[name](arguments.batch), arguments.device
        self.reader = work.reader.to(device)
        self.networks, self.targets = work.networks.to(device), work.targets.to(device)
        self.parameters = list(self.reader.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, 1e-3, amsgrad=True, fused=True)
        plain = partial(mean_loss, self.reader, loss=work.loss)
        self.loss = plain if how == "plain" else CapturedLoss(self.reader, work.loss, compile=how == "compiled")
        self.answers = self.reader if how == "plain" else CapturedAnswers(self.reader)

    def step(self) -> None:
        loss, _ = self.loss(networks=self.networks, targets=self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 10.0)
        self.optimizer.step()

    @torch.no_grad()
    def infer(self) -> None:
        self.answers(self.networks)

    def vector(self) -> Tensor:
        """All parameters."""
        return torch.nn.utils.parameters_to_vector(self.parameters).detach().clone()


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


def row(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """The figures of one metanetwork: every way to train it, and how far from plain steps twenty of another lead."""
    found: dict[str, float] = {}
    ends: dict[str, Tensor] = {}
    for how in ("plain", "captured", "compiled") if arguments.device.type == "cuda" else ("plain",):
        if arguments.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        training = Training(name, arguments, how)
        before = training.vector()
        for _ in range(20):
            training.step()
        ends[how] = training.vector()
        if how != "plain":
            found[f"{how} error"] = float((ends[how] - ends["plain"]).norm() / (ends["plain"] - before).norm())
        found[f"{how} step ms"] = median(training.step, arguments.steps, arguments.device)
        if how != "compiled":
            found[f"{how} inference ms"] = median(training.infer, arguments.steps, arguments.device)
        if arguments.device.type == "cuda":
            found[f"{how} peak GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    return found


def table(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every metanetwork of `step.py`, printed as it is measured."""
    found: dict[str, Any] = {}
    for name in arguments.models:
        found[name] = attempt(lambda name=name: row(name, arguments))  # type: ignore[misc]
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
    versions = {"torch": torch.__version__, "cuda": str(torch.version.cuda), "python": platform.python_version()}
    return {"device": device_name(device), "date": time.strftime("%Y-%m-%d"), **versions}


PARTS = {"laws": laws, "table": table, "grow": grow, "fit": fit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="fashion-mnist", help="as for `zoo grow inr`")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--batch", type=int, default=128, help="networks per step (default %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="steps that are timed (default %(default)s)")
    parser.add_argument("--models", nargs="+", choices=WORKS, default=list(WORKS), help="of the table; default: all")
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
