"""What is said of the files here: computed once by the code that wrote them, and by every later code in the tests."""

import contextlib
import hashlib
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import neural_graphs as ng
from tests.former.modules import TRACED, Residual, inputs

Facts = dict[str, Any]
HERE = Path(__file__).parent
LIKE = {"networks": "*.safetensors"}  # of the files of a kind: those with a layout


def checksum(values: Tensor) -> str:
    """SHA-256 of all bytes."""
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()


def of_zoo(folder: Path) -> Facts:
    """Its networks bit by bit, its table without what a machine may round otherwise, and what it draws."""
    zoo = ng.Zoo(folder)
    facts = {
        "networks": len(zoo),
        "layouts": [str(layout) for layout in zoo.layouts],
        "layout_of_each": [zoo.layouts.index(record.layout) for record in zoo],
        "values": checksum(zoo.networks().values),
        "table": zoo.table.to_pylist(),
    }
    if zoo.has_images:
        pictures = zoo.render(slice(None)).astype("float64")
        facts |= {"images": checksum(torch.from_numpy(zoo.images())), "drawn": pictures.mean((1, 2)).tolist()}
    return facts


def layout_in(file: Path) -> ng.Layout:
    """The layout that a JSON file describes."""
    return ng.Layout.from_json(json.loads(file.read_bytes()))


def of_layout(file: Path) -> Facts:
    """Its description, and the numbers behind it."""
    layout = layout_in(file)
    atoms = [[atom.name, atom.size, list(atom.within)] for atom in layout.free_atoms]
    sources, targets = layout.ends
    return {
        "text": str(layout),
        "line": f"{layout}",
        "size": layout.size,
        "neurons": layout.neurons,
        "weights": layout.weights,
        "groups": [[group.name, group.size, group.role, group.kind] for group in layout.groups],
        "permuted": atoms,
        "shapes": {name: list(shape) for name, shape in layout.shapes.items()},
        "ends": checksum(torch.from_numpy(sources * layout.neurons + targets)),
    }


LATER = {"channels": 1}  # what specifications did not tell then, because it always held


def of_family(file: Path) -> Facts:
    """All of it, but for what they tell today and always held then."""
    family = ng.Family.from_json(json.loads(file.read_bytes()))
    statistics = None if family.statistics is None else {k: list(v) for k, v in vars(family.statistics).items()}
    told = {key: value for key, value in vars(family).items() if LATER.get(key) != value}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}
    return plain | {"statistics": statistics, "groups": family.groups, "kernel_size": family.kernel_size}


def of_run(folder: Path) -> Facts:
    """What its metanetwork is, and what it says of all networks of its zoo, in float64."""
    metanetwork, config = ng.load_run(folder)
    zoo = ng.Zoo(folder.parents[1] / config["data"]["zoo"])
    sizes = {name: list(parameter.shape) for name, parameter in metanetwork.named_parameters()}
    with torch.no_grad():
        networks = zoo.networks().to(torch.float64)
        answers = metanetwork.double()(networks)
    values = answers.values if isinstance(answers, ng.Networks) else answers
    return {
        "task": config.get("task"),
        "class": type(metanetwork).__name__,
        "parameters": sizes,
        "says": values.tolist(),
    }


def written_layout(file: Path) -> ng.Layout:
    """The layout that a network's file carries along."""
    with safe_open(file, "pt") as content:
        return ng.Layout.from_json(json.loads(content.metadata()["layout"]))


def of_network(file: Path) -> Facts:
    """What the network in a file is, and what it computes, in float64."""
    layout = written_layout(file)
    network = ng.Networks.from_state_dicts([load_file(file)], layout)
    if "residual" in file.stem:  # a layout that was traced runs as the module
        module, x = ng.read_checkpoint(file, Residual, inputs(TRACED["residual"][1]))
        computed = module.double()(x).detach()
    else:
        x = inputs((2, layout.groups[0].size, *((8, 8) if layout.blocks[0].kernel else ())))
        computed = network.to(torch.float64).run(x)[0]
    return {"layout": f"{layout}", "values": checksum(network.values), "computes": computed.tolist()}


def command(*words: str) -> str:
    """Run `python -m neural_graphs` in this process, and return what it prints; it must end well."""
    said = io.StringIO()
    try:
        with mock.patch.object(sys, "argv", ["neural-graphs", *words]), contextlib.redirect_stdout(said):
            runpy.run_module("neural_graphs", run_name="__main__")
    except SystemExit as end:
        assert not end.code, f"{' '.join(words)}: ended with {end.code}"
    return said.getvalue()


def of_commands() -> Facts:
    """What commands say of the runs and networks in the working directory."""
    digits = [f"networks/digit.{kind}" for kind in ("safetensors", "pt")]
    command("edit", "--run", "runs/editing", "zoos/digits", "--index", "5", "--out", "edited.safetensors")
    said = {
        "rank": command("rank", "--run", "runs/generalization", "networks/park-*.safetensors", "--json"),
        "rank traced": command("rank", "--run", "runs/traced", "networks/residual.safetensors", "--json"),
        "predict": command("predict", "--run", "runs/classification", *digits, "--json"),
        "validate": command("validate", "--run", "runs/traced", "--json"),
    }
    edited = {name: tensor.tolist() for name, tensor in load_file("edited.safetensors").items()}
    return {"edit": edited, **{name: json.loads(text) for name, text in said.items()}}


def resumed() -> list[list[str]]:
    """The last epochs of a run in the working directory, resumed for one more; without the seconds."""
    command("fit", "--run", "runs/classification", "--resume", "--trainer.max_epochs", "3")
    rows = Path("runs/classification/metrics.csv").read_text(encoding="utf-8").splitlines()
    return [row.split(",")[:-1] for row in rows]


OF = {"zoos": of_zoo, "layouts": of_layout, "families": of_family, "runs": of_run, "networks": of_network}


def everything() -> dict[str, dict[str, Facts]]:
    """What is said of all files here: of every kind, and of every name."""
    return {
        kind: {place.stem: say(place) for place in sorted((HERE / kind).glob(LIKE.get(kind, "*")))}
        for kind, say in OF.items()
    }
