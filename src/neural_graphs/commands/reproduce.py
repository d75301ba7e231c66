"""``neural-graphs reproduce``: an experiment file from the growing of its zoo to the figure on the test split."""

import shlex
import statistics
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from neural_graphs.commands import show
from neural_graphs.commands.parser import same_command
from neural_graphs.errors import ConfigError

DESCRIPTION = """\
Runs the commands that the head of an experiment file lists: grows or imports the zoo, trains, and measures the test
split, into zoos/ and runs/ of the working directory. Whatever is there already is kept: after a kill the same command
goes on. On a machine with a CUDA card networks are grown and trained there.

  neural-graphs reproduce experiments/inr_classification/fmnist_nggnn.yaml --seeds 0 1 2
  neural-graphs reproduce experiments/inr_classification/fmnist_*.yaml --small     tries all of it, in minutes
"""
MARK = "# neural-graphs "
SMALL_COUNT = "140"  # networks; the smallest of the three splits then has ten
SMALL = ["--trainer.max_epochs=2", "--data.batch_size=16"]
SMALL_TASKS = ["--data.outer_steps=2", "--model.inner_steps=20"]  # where networks to train are no zoo


def add(commands: Any) -> None:
    """Adds ``reproduce`` to the subparsers."""
    parser = commands.add_parser("reproduce", help="run an experiment file, its zoo included", description=DESCRIPTION)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="experiment files, in this order")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="N", help="of training; the zoo stays; default: 0"
    )
    parser.add_argument("--images", metavar="NAME|DIR", help="images to grow the zoo from, other than the file says")
    parser.add_argument(
        "--small", action="store_true", help=f"{SMALL_COUNT} networks and two epochs, into small/: does all of it work?"
    )
    show.add_json(parser)
    parser.set_defaults(command=run, goes_on=same_command)


def run(arguments: Namespace) -> int:
    """Runs every file with every seed, and prints a line for each."""
    reached = []
    for file in arguments.files:
        experiment = Experiment(file, arguments.images, arguments.small)
        experiment.grow()
        results = [experiment.train(seed) for seed in arguments.seeds]
        reached.append({"file": str(file), **experiment.reached(results, arguments.seeds)})
    show.print_json(reached) if arguments.json else print(show.table(reached))
    return 0


class Experiment:
    """One experiment file and the commands at its head."""

    def __init__(self, file: Path, images: str | None, small: bool) -> None:
        self.file, self.images, self.small = file, images, small
        self.root = Path("small") if small else Path()
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        listed = [shlex.split(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
        self.zoo_words = next((words for words in listed if words[:1] == ["zoo"]), [])  # none: it trains on images
        if not any(words[:1] == ["fit"] for words in listed):
            raise ConfigError(
                f"{file} is no experiment: no line at its head says '{MARK}fit …'; the project's are in experiments/"
            )

    def grow(self) -> None:
        """Grow the zoo, or go on with it; published ones are imported once."""
        words = list(self.zoo_words)
        if not words:
            return
        if not self.grown:
            if not (self.zoo / "manifest.json").is_file():
                _neural_graphs([*words[:-1], str(self.zoo)])
            return
        _set(words, "--out", str(self.zoo))
        if self.images:
            _set(words, "--images", self.images)
        if self.small:
            _set(words, "--count", SMALL_COUNT)
        if words[2] == "inr":
            _set(words, "--device", _grown_on(self.zoo))
        _neural_graphs(words)

    def train(self, seed: int) -> dict[str, Any]:
        """Train and measure a seed, as far as that is not done; the result of its test split."""
        from neural_graphs.tasks import Run
        from neural_graphs.tasks.history import read_csv

        name = self.file.stem if seed == 0 else f"{self.file.stem}-seed{seed}"
        run = Run(self.root / "runs" / name)
        if not run.results(1).is_file():
            _neural_graphs(["fit", *self.fit_words(seed, run.last.is_file()), "--run", str(run.folder)])
            _neural_graphs(["test", "--run", str(run.folder)])
        return {**run.result, "device": run.facts.get("device"), "seconds": read_csv(run.metrics_file)["seconds"][-1]}

    def fit_words(self, seed: int, begun: bool) -> list[str]:
        """The words of ``fit`` for a seed, but the folder of its run."""
        if begun:
            return ["--resume"]
        words = ["--config", str(self.file)]
        keys = ["seed_everything", "model.seed", *(["data.seed"] if self.zoo_words else [])]
        words += [f"--{key}={seed}" for key in keys if seed]
        if self.small:
            words += [*SMALL, *([f"--data.zoo={self.zoo}"] if self.zoo_words else SMALL_TASKS)]
        return words

    @property
    def grown(self) -> bool:
        """Whether its zoo is grown; others are imported."""
        return self.zoo_words[1] == "grow"

    @property
    def zoo(self) -> Path:
        """Where its zoo lies."""
        return self.root / (_option(self.zoo_words, "--out") if self.grown else self.zoo_words[-1])

    def reached(self, results: list[dict[str, Any]], seeds: list[int]) -> dict[str, Any]:
        """Mean and spread over seeds of the figure that the task is judged by, in the unit of published figures."""
        from neural_graphs.tasks import find_task

        task = find_task(results[0]["task"])
        name = task.best[0]
        figures = [task.scale * result[name] for result in results]
        return {
            "measure": name,
            "mean": statistics.fmean(figures),
            "spread": statistics.stdev(figures) if len(figures) > 1 else None,
            "seeds": " ".join(map(str, seeds)),
            "published": results[0]["published"],
            "minutes": round(statistics.fmean(result["seconds"] for result in results) / 60, 1),
            "device": results[0]["device"],
        }


def _grown_on(zoo: Path) -> str:
    """The device that a begun zoo is grown on, or else the best there is."""
    import torch

    from neural_graphs.zoo.manifest import Manifest

    if (zoo / "manifest.json").is_file():
        return str(Manifest.read(zoo).recipe.get("device", "cpu"))
    return "cuda" if torch.cuda.is_available() else "cpu"


def _option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def _set(words: list[str], name: str, value: str) -> None:
    """Give an option of a command a value, in place."""
    if name in words:
        words[words.index(name) + 1] = value
    else:
        words += [name, value]


def _neural_graphs(words: list[str]) -> None:
    """Runs a command in a process of its own, which gives back its memory; what it prints goes to stderr."""
    print(f"neural-graphs {shlex.join(words)}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "neural_graphs", *words], stdout=sys.stderr)
    if done.returncode:
        raise ConfigError(f"neural-graphs {words[0]} ended with exit code {done.returncode}; see above")
