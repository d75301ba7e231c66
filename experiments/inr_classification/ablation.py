"""What every ingredient of the Propagator earns on the val split, over depth and over training networks; two pictures.

python experiments/inr_classification/ablation.py zoos/fmnist13k    # eight epochs each
python experiments/inr_classification/ablation.py zoos/fmnist13k --epochs 1 --only depth

A variant that is in the folder of runs already is not trained again; one that was interrupted goes on.
"""

# ruff: noqa: T201
import argparse
import csv
import json
from pathlib import Path

from matplotlib.figure import Figure

from neural_graphs.plots import save
from neural_graphs.plots.style import BLUE, INK, plain
from neural_graphs.tasks import Run, fit

BASE = Path(__file__).with_name("fmnist_propagator_2cores.yaml")
PLACE = "neural_graphs.zoo.transforms"
FLIP, TRANSLATE = (
    {"class_path": f"{PLACE}.FlipSigns"},
    {"class_path": f"{PLACE}.Translate", "init_args": {"limit": 0.1}},
)
ROTATE = {"class_path": f"{PLACE}.Rotate", "init_args": {"degrees": 10.0}}
EMA = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.99}}
MADE = "--model.metanetwork.init_args"


def moved_by(*transforms: dict) -> list[str]:
    """The option that augments by these."""
    every = {"class_path": f"{PLACE}.Compose", "init_args": {"transforms": list(transforms)}}
    return [f"--data.augmentation={json.dumps(every)}"]


ONE = {
    "all of it": [],
    "AdamW instead of Muon": ["--model.optimizer=neural_graphs.tasks.AdamW"],
    "signs as they are": moved_by(TRANSLATE, ROTATE),
    "images not moved": moved_by(FLIP),
    "no dropout": [f"{MADE}.dropout=0"],
    "statistics of groups": [f"{MADE}.statistics=true"],
    "mean of weights (EMA)": [f"--trainer.callbacks={json.dumps([EMA])}"],
}
DEPTHS = {str(depth): [f"{MADE}.depth={depth}"] for depth in (2, 4, 8)}
SIZES = {"1050": 10, "2100": 5, "5250": 2, "10500": 1}  # training networks, and how often as many epochs they are seen


def train(name: str, options: list[str], epochs: int, arguments: argparse.Namespace) -> dict[str, float]:
    """The best epoch of a variant on the val split; all variants take about as many steps."""
    run = Run(arguments.runs / name.replace(" ", "-"))
    begun = run.last.is_file()
    if not begun or len(rows_of(run)) < epochs:
        base = ["--config", str(BASE), f"--data.zoo={arguments.zoo}", f"--model.steps={164 * arguments.epochs}"]
        fit([*base, f"--trainer.max_epochs={epochs}", *options], run.folder, resume=begun)
    best = max(rows_of(run), key=lambda row: float(row["val_accuracy"]))
    return {key: float(best[f"val_{key}"]) for key in ("accuracy", "loss")}


def rows_of(run: Run) -> list[dict[str, str]]:
    """An epoch each."""
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


def told(group: str, name: str, options: list[str], arguments: argparse.Namespace, times: int = 1) -> float:
    """Train a variant, print a line, and return its accuracy in per cent."""
    score = train(f"{group} {name}", options, times * arguments.epochs, arguments)
    accuracy = 100 * score["accuracy"]
    print(f"{group:10} {name:24} val accuracy {accuracy:5.1f} %   val loss {score['loss']:.3f}", flush=True)
    return accuracy


def draw(found: dict[str, float], label: str, file: Path) -> None:
    """Accuracy over a number."""
    figure = Figure(figsize=(4.2, 3), layout="constrained")
    axes = figure.subplots()
    axes.semilogx([float(name) for name in found], list(found.values()), "o-", color=BLUE, linewidth=2)
    plain(axes)
    axes.set_xticks([float(name) for name in found], list(found))
    axes.minorticks_off()
    axes.set(xlabel=label)
    axes.set_title("validation accuracy, %", loc="left", color=INK, fontsize=10)
    save(figure, file)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("zoo", type=Path, help="folder of the zoo")
parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="default: %(default)s")
parser.add_argument("--pictures", type=Path, default=Path("docs/img"), help="default: %(default)s")
parser.add_argument("--only", choices=["one", "depth", "networks"], help="one group of variants; default: all")
arguments = parser.parse_args()
if arguments.only in (None, "depth"):
    depths = {name: told("depth", name, options, arguments) for name, options in DEPTHS.items()}
    draw(depths, "rounds", arguments.pictures / "propagator-depth.png")
if arguments.only in (None, "networks"):
    smaller = {size: f"--data.only=split != train or index < {int(size) * 13 // 10.5:.0f}" for size in SIZES}
    sizes = {size: told("networks", size, [smaller[size]], arguments, SIZES[size]) for size in SIZES}
    draw(sizes, "training networks", arguments.pictures / "propagator-networks.png")
if arguments.only in (None, "one"):
    for name, options in ONE.items():
        told("one", name, options, arguments)
