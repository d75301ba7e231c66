"""What a trained metanetwork says: of the splits of a zoo, and of single files. Data comes back; nothing is printed."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning import Trainer
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.quiet import quiet
from neural_graphs.tasks.runs import Run, load_run


def validate(run: str | Path, zoo: str | Path | None = None) -> dict[str, Any]:
    """Accuracy and loss of a run's best checkpoint on the val split of its zoo, or of another."""
    return _evaluate(Run(run), zoo, "val")


def test(run: str | Path, zoo: str | Path | None = None) -> dict[str, Any]:
    """Accuracy, loss and confusion matrix (rows: true classes) on the test split of the run's zoo, or of another.

    The figures for its own zoo are kept in the run's `result.json`.
    """
    result = _evaluate(Run(run), zoo, "test")
    if zoo is None:
        Run(run).write(Run(run).result_file, result)
    return result


def _evaluate(run: Run, zoo: str | Path | None, split: str) -> dict[str, Any]:
    metanetwork, config = load_run(run.folder)
    place = Path(config["data"]["zoo"] if zoo is None else zoo)
    data = ZooData(place, config["data"]["batch_size"])
    module = Classification(metanetwork, config["model"]["classes"])
    with quiet():
        bar = sys.stderr.isatty()  # for people who watch
        trainer = Trainer(logger=False, enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=bar)
        evaluate = trainer.test if split == "test" else trainer.validate
        (found,) = evaluate(module, data, verbose=False)
    result = {
        "run": str(run.folder),
        "zoo": str(place),
        "split": split,
        "networks": len(data.zoo.split(split)),
        "accuracy": round(found[f"{split}_accuracy"], 6),
        "loss": round(found[f"{split}_loss"], 6),
        "published": config.get("published"),
        "parameters": run.facts["parameters"],
    }
    return result | ({"confusion": module.confusion.compute().tolist()} if split == "test" else {})


def predict(run: str | Path, files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The class and the probabilities of all classes for networks in `.safetensors` or `.pt` files.

    Tensors may have other names than those of the run's zoo, as long as shapes and order are the same. Raises
    CheckpointError naming the file that cannot be read, holds NaN, or is of another architecture.
    """
    metanetwork, config = load_run(run)
    paths = [Path(file) for file in files]
    networks = Networks.cat([read_network(path, Run(run).layouts) for path in paths])
    scores = classify(metanetwork, networks, config["data"]["batch_size"])
    rows = zip(paths, scores.softmax(1).tolist(), strict=True)
    return [{"file": str(path), "class": row.index(max(row)), "probabilities": row} for path, row in rows]


@torch.inference_mode()
def classify(metanetwork: nn.Module, networks: Networks, batch_size: int = 128) -> Float[Tensor, "networks classes"]:
    """Scores of any number of networks, in evaluation mode, a batch at a time; on the device of the networks."""
    training = metanetwork.training
    metanetwork.eval()
    batches = [slice(start, start + batch_size) for start in range(0, len(networks), batch_size)]
    scores = torch.cat([metanetwork(networks[batch]) for batch in batches])
    metanetwork.train(training)
    return scores


def read_network(path: Path, layouts: Sequence[Layout]) -> Networks:
    """One network from a state dict on disk, of the first of `layouts` whose shapes it has, in their order."""
    state = _read_state(path)
    shapes = [tuple(tensor.shape) for tensor in state.values()]
    for layout in layouts:
        if set(state) == set(layout.shapes):  # names agree, in any order
            return Networks.from_state_dicts([state], layout, [str(path)])
        if shapes == list(layout.shapes.values()):
            renamed = dict(zip(layout.shapes, state.values(), strict=True))
            return Networks.from_state_dicts([renamed], layout, [str(path)])
    found = ", ".join(f"{name} {shape}" for name, shape in zip(state, shapes, strict=True))
    expected = " or ".join(str(layout) for layout in layouts)
    raise CheckpointError(f"{path}: expected a network {expected}; got tensors {found}")


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give state dicts in .safetensors or .pt files")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise many kinds for damaged files
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}); expected a state dict") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict of named tensors")
    return state
