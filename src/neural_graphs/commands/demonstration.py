"""The whole story: read networks that come along, then grow some of scikit-learn's digits, train, shuffle neurons."""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from neural_graphs import plots
from neural_graphs.commands import at_once
from neural_graphs.networks import Networks
from neural_graphs.symmetry import shuffle
from neural_graphs.tasks import Run, classify, fit, load_run, test
from neural_graphs.tasks.history import read_csv
from neural_graphs.zoo import Zoo, grow_inrs, preset

SHOWN = 40  # networks in the contact sheet
TRAINED = ("contact_sheet.png", "training_curve.png", "confusion_matrix.png", "network.png")
PICTURES = (at_once.PICTURE, *TRAINED)


def run(out: str | Path = "out/demo", *, quick: bool = False) -> dict[str, Any]:
    """Grow a zoo from scikit-learn's digits, train NG-GNN and the flat MLP, shuffle neurons, print and draw the result.

    Returns what it prints: per model the test accuracy, the accuracy once every test network's hidden neurons are
    shuffled, and how many predictions that changed; and the seconds it took. `quick` does all of it on a few networks
    for an epoch. A zoo that is in `out` already is used again, models are trained afresh.
    """
    out, start = Path(out), time.perf_counter()
    _say("0/4  before anything is trained: metanetworks that come along read and edit networks that draw MNIST digits")
    right, count, took = at_once.answer(out)
    _say(f"     {right} of {count} digits named, {took:.1f} s; {out / at_once.PICTURE} shows the edits")
    place = out / ("zoo-quick" if quick else "zoo")
    _say(f"1/4  one small network per handwritten digit, grown in {place}")
    zoo = grow(place, quick=quick)
    _say(f"     {len(zoo)} networks {zoo.layout}, median fit {np.median(zoo.column('psnr')):.0f} dB")
    runs = {}
    for step, (name, config) in enumerate(configurations(place, quick=quick).items(), start=2):
        probes = config["model"]["metanetwork"]["init_args"].get("probes")
        also = f", and on their values at {probes} learned points" if probes else ""
        _say(f"{step}/4  training {name} on the weights of {len(zoo.split('train'))} networks{also}")
        runs[name] = _train(out / name.lower().replace(" ", "_"), config)
    _say("4/4  testing, before and after every test network's neurons are shuffled")
    networks = zoo.split("test").networks()
    moved = shuffle(networks, torch.Generator().manual_seed(0))
    models = {name: measure(trained, networks, moved, zoo.split("test").labels) for name, trained in runs.items()}
    _draw(out, zoo, runs)
    result = {"models": models, "networks": len(networks), "seconds": round(time.perf_counter() - start, 1)}
    _say(_table(result))
    _say(f"\n{result['seconds']:.0f} s; pictures in {out}: {', '.join(PICTURES)}")
    return result


def grow(folder: Path, *, quick: bool = False) -> Zoo:
    """The demo's zoo: one SIREN per digit."""
    few: dict[str, Any] = {"count": 96, "shares": (8, 1, 3)} if quick else {}
    return grow_inrs(folder, "digits", preset("same-start"), hidden=(32,), **few)


def configurations(zoo: Path, *, quick: bool = False) -> dict[str, dict[str, Any]]:
    """The configurations of both models, those of `experiments/inr_classification/digits_*.yaml`."""
    epochs = 1 if quick else 50
    moves = [
        {"class_path": "neural_graphs.zoo.transforms.Translate", "init_args": {"limit": 0.1}},
        {"class_path": "neural_graphs.zoo.transforms.Rotate", "init_args": {"degrees": 10.0}},
    ]
    graph = {"classes": 10, "width": 32, "depth": 2, "reverse": False, "probes": 64, "sigma": 0.3}
    models: dict[str, dict[str, Any]] = {
        "NG-GNN": {"class_path": "neural_graphs.nn.NGGNN", "init_args": graph},
        "flat MLP": {"class_path": "neural_graphs.nn.baselines.FlatMLP", "init_args": {"classes": 10}},
    }
    return {
        name: {
            "published": None,
            "seed_everything": 0,
            "model": {"metanetwork": model, "classes": 10, "lr": 3e-3, "warmup": 50, "steps": 42 * epochs},
            "data": {
                "zoo": str(zoo),
                "batch_size": 32,  # 42 batches of training networks
                "augmentation": {
                    "class_path": "neural_graphs.zoo.transforms.Compose",
                    "init_args": {"transforms": moves},
                },
            },
            "trainer": {"max_epochs": epochs},
        }
        for name, model in models.items()
    }


def measure(trained: Run, networks: Networks, moved: Networks, labels: torch.Tensor) -> dict[str, Any]:
    """Accuracy on networks and on the same networks with other orders of neurons, and how many predictions changed."""
    metanetwork, _ = load_run(trained.folder)
    before, after = classify(metanetwork, networks).argmax(1), classify(metanetwork, moved).argmax(1)
    return {
        "accuracy": (before == labels).double().mean().item(),
        "shuffled": (after == labels).double().mean().item(),
        "changed": int((before != after).sum()),
        "parameters": trained.facts["parameters"],
    }


def _train(folder: Path, config: dict[str, Any]) -> Run:
    """Train afresh and test; a run of an earlier demo in the same place makes room."""
    if (folder / "run.json").exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "asked.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    start = time.perf_counter()
    bar = f"--trainer.enable_progress_bar={str(sys.stderr.isatty()).lower()}"
    trained = fit(["--config", str(file), bar, "--trainer.accelerator=cpu"], folder)
    result = test(folder)
    took = time.perf_counter() - start
    _say(f"     {100 * result['accuracy']:.1f} % of {result['networks']} test networks, after {took:.0f} s")
    return trained


def _draw(out: Path, zoo: Zoo, runs: dict[str, Run]) -> None:
    """Save the pictures `TRAINED`."""
    tested, graph = zoo.split("test"), runs["NG-GNN"]
    shown = range(min(SHOWN, len(tested)))
    captions = [f"{psnr:.0f} dB" for psnr in tested.column("psnr")[: len(shown)]]
    title = f"Digits, and what the network {zoo.layout} fitted to each of them draws"
    figures = (
        plots.contact_sheet(*tested.sheet(shown), captions, title=title),
        plots.training_curve(read_csv(graph.metrics_file), title="NG-GNN", marks={"chance": 0.1}),
        plots.confusion_matrix(np.array(graph.result["confusion"]), title="NG-GNN"),
        plots.network_graph(zoo.networks([0]), title=f"A network that draws a {int(zoo.labels[0])}"),
    )
    for name, figure in zip(TRAINED, figures, strict=True):
        plots.save(figure, out / name)


def _table(result: dict[str, Any]) -> str:
    """The closing table."""
    lines = [f"\n{'':10}{'test accuracy':>15}{'neurons shuffled':>19}{'predictions changed':>22}{'parameters':>13}"]
    for name, found in result["models"].items():
        accuracy, shuffled = (f"{100 * found[key]:.1f} %" for key in ("accuracy", "shuffled"))
        changed = f"{found['changed']} of {result['networks']}"
        lines.append(f"{name:10}{accuracy:>15}{shuffled:>19}{changed:>22}{found['parameters']:>13,}")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, flush=True)
