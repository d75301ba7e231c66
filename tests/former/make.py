"""Writes all files here: with the code of the version in README.md on the path, where there are none."""

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from neural_graphs.family import Family
from neural_graphs.zoo.cnn import WildPark, grow_cnns
from neural_graphs.zoo.cnn.pictures import Pictures
from torch import nn

from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.tasks import ZooData, write_network
from neural_graphs.tracing import trace
from neural_graphs.zoo import Zoo, convert_state_dicts
from tests.former import facts
from tests.former.modules import TRACED, Residual, filled, inputs

PARK = WildPark(
    "tiny-park", Pictures(train=64, test=40), batch=32, shares=(2, 1, 1), epochs=(2, 5), every=2, depth=(2, 4),
    channels=(3, 5), kernels=(3,),
)  # fmt: skip
SPLITS = ("train", "val", "val", "train", "val", "val", "test", "val")  # of own networks: ten give intervals
STYLES, MOVES, NN = "neural_graphs.zoo.styles", "neural_graphs.zoo.transforms", "neural_graphs.nn"


def item(path: str, **options: Any) -> dict[str, Any]:
    """A class and its arguments, as a configuration says them."""
    return {"class_path": path, **({"init_args": options} if options else {})}


MOTIONS = [item(f"{MOVES}.Translate", limit=0.1), item(f"{MOVES}.Rotate", degrees=10.0), item(f"{MOVES}.Permute")]
MOTIONS += [item(f"{MOVES}.Sometimes", transform=item(f"{MOVES}.FlipSigns")), item(f"{MOVES}.Noise", scale=0.01)]
NGT = {"widths": [8, 4], "attention": 8, "heads": 2, "hidden": [8, 8], "depth": 1, "sigma": None}
SIGHT = {"position": True, "activations": True, "skips": True, "scalars_apart": True}
METANETWORKS = {
    "classification": item(f"{NN}.NGGNN", classes=10, width=8, depth=2, probes=4, sigma=0.3, dropout=0.1, signs=True),
    "flat": item(f"{NN}.baselines.FlatMLP", classes=10, hidden=[8]),
    "editing": item(
        f"{NN}.NGTEditor", **NGT, wiring=item("neural_graphs.wiring.AllPairs", copies=2), initial=0.1, standardised=True
    ),
    "generalization": item(
        f"{NN}.NGT", classes=1, **NGT, wiring=item("neural_graphs.wiring.Looped"), pool=item(f"{NN}.MeanNodes"),
        sight=SIGHT,
    ),
    "statistics": item(f"{NN}.baselines.StatNN", classes=1, hidden=[8]),
    "traced": item(
        f"{NN}.NGGNN", classes=1, width=8, depth=1, reverse=False, sigma=None, pool=item(f"{NN}.MeanOutputs"),
        sight=item(f"{NN}.Sight", position=False),
    ),
}  # fmt: skip

ZOOS = {"generalization": "park", "statistics": "park", "traced": "own"}


def configuration(name: str) -> dict[str, Any]:
    """What one run is told."""
    task = {"classification": "Classification", "flat": "Classification", "editing": "Editing"}
    content = {"task": f"neural_graphs.tasks.{task.get(name, 'Generalization')}", "seed_everything": 1}
    model: dict[str, Any] = {"metanetwork": METANETWORKS[name], "lr": 5e-3, "warmup": 2}
    data: dict[str, Any] = {"zoo": f"zoos/{ZOOS.get(name, 'digits')}", "batch_size": 4}
    trainer: dict[str, Any] = {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False}
    if name == "editing":
        model["style"] = item(f"{STYLES}.Dilate", size=3)
        trainer["callbacks"] = [item("neural_graphs.tasks.Galleries", every=2)]
    elif name == "classification":
        data["augmentation"] = item(f"{MOVES}.Compose", transforms=MOTIONS)
    elif name == "generalization":
        model["criterion"] = item("neural_graphs.tasks.losses.CrossEntropy")
        data["only"] = 'fate != "diverged"'
    return {**content, "model": model, "data": data, "trainer": trainer}


def zoos() -> None:
    """One of implicit networks, one of many architectures, one imported by tracing."""
    words = "--images digits --preset same-start --count 16 --hidden 8 --shares 2 1 1 --out zoos/digits"
    facts.command("zoo", "grow", "inr", *words.split())
    grow_cnns("zoos/park", "digits", PARK, count=8)
    rows = ["file,split,test_accuracy"]
    Path("own").mkdir()
    for number in range(16):
        torch.save({"state_dict": filled(Residual, number).state_dict()}, f"own/net{number}.pt")
        rows.append(f"net{number}.pt,{SPLITS[number % 8]},{0.1 + number / 20:.2f}")
    Path("own/metrics.csv").write_text("\n".join(rows), encoding="utf-8")
    convert_state_dicts("own/*.pt", "own/metrics.csv", "zoos/own", module=Residual, shape=(1, 1, 8, 8), shard_size=10)
    shutil.rmtree("own")


def runs() -> None:
    """All of them; without pictures, and but for one without the checkpoint that training goes on from."""
    for name in METANETWORKS:
        Path("config.yaml").write_text(yaml.safe_dump(configuration(name)), encoding="utf-8")
        facts.command("fit", "--config", "config.yaml", "--run", f"runs/{name}")
        facts.command("test", "--run", f"runs/{name}")
    Path("config.yaml").unlink()
    for file in [*Path("runs").rglob("*.png"), *Path("runs").rglob("last.ckpt")]:
        if file.suffix == ".png" or "classification" not in file.parts:
            file.unlink()
    for file in Path("runs").rglob("*.ckpt"):  # Lightning notes where on this machine they are
        torch.save(shortened(torch.load(file, weights_only=True)), file)
    for folder in sorted(Path("runs").rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def shortened(value: Any) -> Any:
    """The same value with paths that start at this folder."""
    if isinstance(value, dict):
        return {shortened(key): shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value]
    return value.replace(f"{Path.cwd()}/", "") if isinstance(value, str) else value


def rest() -> None:
    """Layouts, families, networks in files of their own."""
    for folder in ("families", "layouts", "networks"):
        Path(folder).mkdir()
    digits, park = Zoo("zoos/digits"), Zoo("zoos/park")
    layouts = {name: trace(make().double().eval(), inputs(shape)) for name, (make, shape) in TRACED.items()}
    layouts["mlp"] = Layout.mlp((2, 8, 8, 1), "sine", offset=0.5)
    layouts["cnn"] = Layout.cnn((1, 4, 6, 4), (3, 5, 3), 3, activations=("relu", "gelu", "tanh"), residual=(-1, -1, 0))
    for name, layout in layouts.items():
        Path(f"layouts/{name}.json").write_text(json.dumps(layout.to_json()), encoding="utf-8")
    families = {"digits": ZooData(Path("zoos/digits")).family, "all": Family.of(layouts.values())}
    for name, family in families.items():
        Path(f"families/{name}.json").write_text(json.dumps(family.to_json()), encoding="utf-8")
    write_network(digits.networks([3]), "networks/digit.safetensors")
    torch.save(digits.networks([4]).state_dicts()[0], "networks/digit.pt")
    for place in (0, 3, 6):
        write_network(park.networks([place]), f"networks/park-{place}.safetensors")
    module: nn.Module = filled(Residual, 1)
    write_network(Networks.from_modules([module], layouts["residual"]), "networks/residual.safetensors")
    torch.save(module.state_dict(), "networks/residual.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.chdir(facts.HERE)
    zoos()
    runs()
    rest()
    for name, files in (("generalization", "park-0"), ("traced", "residual")):  # which writes the calibration
        facts.command("rank", "--run", f"runs/{name}", f"networks/{files}.safetensors")
    kept: dict[str, Any] = facts.everything()
    shutil.copytree(".", spare := sys.argv[1])
    with contextlib.chdir(spare):
        kept |= {"commands": facts.of_commands(), "resumed": facts.resumed()}
    lines = [f"{json.dumps(kind)}: {json.dumps(said, ensure_ascii=False)}" for kind, said in kept.items()]
    Path("expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
