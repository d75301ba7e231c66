"""Ordinary mistakes, each made through the command line: an error of three lines at most, which says what to do."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from neural_graphs.commands.cli import main
from neural_graphs.io.foreign import in_order

FORMER = Path(__file__).parents[1] / "former"
Words = list[str]
State = dict[str, torch.Tensor]
RUN, ZOO, NET = "runs/classification", "zoos/digits", "net.safetensors"
PREDICT = ["predict", "--run", RUN]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run of each task, their zoos, and a network."""
    for name in ("runs", "zoos"):
        shutil.copytree(FORMER / name, tmp_path / name)
    shutil.copy(FORMER / "networks/digit.safetensors", tmp_path / NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state() -> State:
    tensors = load_file(NET)
    return {name: tensors[name] for name in in_order(tensors)}


def saved(tensors: Any, name: str = "other.pt") -> str:
    torch.save(tensors, name)
    return name


def configured(change: Callable[[dict[str, Any]], Any]) -> Words:
    """Words that train as the run's own configuration says, changed."""
    config = yaml.safe_load(Path(RUN, "config.yaml").read_text(encoding="utf-8"))
    change(config)
    Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return ["fit", "--config", "config.yaml", "--run", "runs/new"]


def empty(name: str) -> str:
    Path(name).touch()
    return name


def folder(name: str) -> str:
    Path(name).mkdir()
    return name


def without(*names: str) -> None:
    for name in names:
        Path(name).unlink()


def cut(name: str, kept: int) -> None:
    Path(name).write_bytes(Path(name).read_bytes()[:kept])


def table(text: str) -> Words:
    Path("table.csv").write_text(text, encoding="utf-8")
    return ["zoo", "import", "state-dicts", saved(state()), "zoos/mine", "--table", "table.csv", "--activation", "sine"]


def after(*done: Any) -> Words:
    """The last of these, the others being done."""
    return done[-1]


OWN = """
import torch
from torch import nn
from torch.nn import Conv2d, Embedding, Linear


def perceptron(classes=10):
    return nn.Sequential(nn.Flatten(), Linear(64, 4), nn.ReLU(), Linear(4, classes))


class Answering(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer, self.inner = answer, perceptron()

    def forward(self, x):
        return self.answer(self.inner(x))


class Coloured(nn.Module):  # by the brightness of pixels, which are normalised here
    def __init__(self):
        super().__init__()
        self.colours, self.head = Embedding(256, 2), Linear(128, 10)

    def forward(self, x):
        return self.head(self.colours((255 * x).long()).flatten(1))


MADE = {
    "few": lambda: perceptron(5),
    "maps": lambda: Conv2d(1, 10, 3),
    "pair": lambda: Answering(lambda y: (y, y)),
    "labels": lambda: Answering(lambda y: y.argmax(1)),
    "detached": lambda: Answering(lambda y: y.detach()),
    "embedding": lambda: Embedding(7, 10),
    "coloured": Coloured,
    "fine": perceptron,
    "frozen": lambda: perceptron().requires_grad_(False),
}
globals().update(MADE)
"""


def optimized(module: str, *words: str) -> Words:
    """Words that train a module of `OWN` by a rule that comes along."""
    Path("own_modules.py").write_text(OWN, encoding="utf-8")
    return ["optimize", f"own_modules:{module}", "--images", "digits", "--rule", "ff", "--steps", "2", *words]


def meta_trained(estimator: dict[str, Any] | None = None, **changes: Any) -> Words:
    """Words that train an update rule, with such a part of the configuration."""
    kind = {"class_path": "neural_graphs.optim.Stepwise", "init_args": {"steps": 2}} if estimator is None else estimator
    rule = {"class_path": "neural_graphs.optim.FeedForwardRule"}
    content = {
        "task": "neural_graphs.tasks.LearningToOptimize",
        "model": {"metanetwork": rule, "estimator": kind, **changes},
        "data": {"images": "digits", "batch_size": 8, "outer_steps": 1},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    Path("meta.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return ["fit", "--config", "meta.yaml", "--run", "runs/new"]


def estimator(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"neural_graphs.optim.{name}", "init_args": arguments}


GROW = ["zoo", "grow", "inr", "--preset", "same-start", "--hidden", "8", "--count", "16", "--workers", "1", "--images"]

MISTAKES: dict[str, tuple[Callable[[], Words], str]] = {
    "a network that is not there": (lambda: [*PREDICT, "net.pt"], r"net\.pt does not exist; give"),
    "a run that is not there": (lambda: ["predict", "--run", "run", NET], r"run is not a run: .* neural-graphs fit"),
    "a zoo that is not there": (lambda: ["zoo", "info", "zoo"], r"zoo is not a zoo: .* neural-graphs zoo grow"),
    "a configuration that is not there": (lambda: ["fit", "--config", "c.yaml"], r"c\.yaml is no file; .*experiments/"),
    "a pattern without files": (lambda: ["rank", "--run", "runs/traced", "*.pth"], r"\*\.pth matches no file"),
    "a folder without images": (lambda: [*GROW, folder("pictures"), "--out", "z"], r"pictures .*expected"),
    "images of a name mistyped": (lambda: [*GROW, "digist", "--out", "z"], r"digist.*digits"),
    "a folder in place of a network": (lambda: [*PREDICT, folder("nets")], r"nets is a folder; give"),
    "a folder in place of a configuration": (lambda: ["fit", "--config", "runs"], r"runs is no file"),
    "a file in place of a folder": (lambda: ["share", RUN, empty("shared")], r"shared: it is there already, as a file"),
    "an empty network": (lambda: [*PREDICT, empty("e.safetensors")], r"e\.safetensors .* empty"),
    "an empty checkpoint": (lambda: [*PREDICT, empty("e.pt")], r"e\.pt .* empty"),
    "an empty configuration": (lambda: ["fit", "--config", empty("e.yaml")], r"e\.yaml is empty"),
    "a partial state dict": (lambda: [*PREDICT, saved(dict([*state().items()][:2]))], r"expected a network 2 → 8 → 1"),
    "a network of another architecture": (
        lambda: [*PREDICT, saved(torch.nn.Linear(3, 3).state_dict())],
        r"expected a network 2 → 8 → 1 · sine; got tensors weight \(3, 3\)",
    ),
    "a prefix that is not known": (
        lambda: ["graph", saved({f"my.{name}": each for name, each in torch.nn.Linear(2, 2).state_dict().items()}),
                 "--module", "torch.nn:Identity", "--input", "1x2"],
        r"other\.pt does not fit Identity: .*my\.weight",
    ),
    "a checkpoint cut short": (
        lambda: after(cut(saved(state()), 900), [*PREDICT, "other.pt"]),
        r"other\.pt cannot be read",
    ),
    "a whole module, pickled": (
        lambda: [*PREDICT, saved(torch.nn.Linear(2, 2))],
        r"never run; save the state_dict\(\) alone",
    ),
    "weights that are not numbers": (
        lambda: [*PREDICT, saved({name: each * torch.nan for name, each in state().items()})],
        r"holds NaN, infinite or non-float values; drop or repair",
    ),
    "an interrupted run": (
        lambda: after(without(f"{RUN}/checkpoints/best.ckpt"), [*PREDICT, NET]),
        r"best\.ckpt is missing: .* let it finish an epoch",
    ),
    "a run without its zoo": (lambda: after(shutil.rmtree(ZOO), ["test", "--run", RUN]), r"is not a zoo"),
    "a run of another task": (lambda: ["rank", "--run", RUN, NET], r"trained for Classification; a ranking needs"),
    "a zoo cut short": (
        lambda: after(cut(f"{ZOO}/shard-00000.safetensors", 900), ["zoo", "check", ZOO]),
        r"grow .* again",
    ),
    "a zoo of another recipe": (
        lambda: [*GROW, "digits", "--seed", "7", "--out", ZOO],
        r"holds another zoo: .*choose another folder",
    ),
    "resumed with another configuration": (
        lambda: ["fit", "--run", RUN, "--resume", "--model.metanetwork.width", "9", "--trainer.max_epochs", "3"],
        r"last\.ckpt is of another network: .*; restore it, or train into another folder",
    ),
    "trained into twice": (lambda: [*configured(lambda _: None)[:-1], RUN], r"holds a run already; add --resume"),
    "a mistyped key": (
        lambda: configured(lambda c: c["model"].update(lrr=1)),
        r"unknown key model\.lrr; did you mean lr\?",
    ),
    "a mistyped class": (
        lambda: configured(lambda c: c["model"]["metanetwork"].update(class_path="neural_graphs.NGGN")),
        r"has no class NGGN; did you mean NGGNN\?",
    ),
    "a configuration that is no YAML": (
        lambda: after(Path("bad.yaml").write_text("model: [", encoding="utf-8"), ["fit", "--config", "bad.yaml"]),
        r"bad\.yaml",
    ),
    "an index beyond the zoo": (
        lambda: ["edit", "--run", "runs/editing", ZOO, "--index", "99", "--out", "o.safetensors"],
        r"choose one by an index from 0 to 15",
    ),
    "a kind of file that is not written": (
        lambda: ["edit", "--run", "runs/editing", NET, "--out", "o.pt"],
        r"o\.pt should end in \.safetensors",
    ),
    "a device that is not there": (
        lambda: [*GROW, "digits", "--out", "z", "--device", "cuda:99"],
        r"--device cuda:99 cannot be used",
    ),
    "accuracies in per cent": (lambda: table("file,test_accuracy\nother.pt,93\n"), r"--percent"),
    "a column that is not there": (lambda: table("file,acc\nother.pt,0.9\n"), r"--column"),
    "a run in place of what was shared": (lambda: ["predict", "--pretrained", RUN, NET], r"it is a run: say --run"),
    "a name that does not come with the package": (lambda: ["predict", "--pretrained", "mnist-irn", NET], r"known: "),
    "both a run and a name": (lambda: [*PREDICT, "--pretrained", "mnist-inr", NET], r"not allowed with"),
    "neither": (lambda: ["predict", NET], r"one of the arguments --run --pretrained is required"),
    "too few answers": (lambda: optimized("few"), r"Sequential answers .* \(128, 5\) .*; expected floats \(128, 10\)"),
    "maps as answers": (lambda: optimized("maps"), r"Conv2d answers .* \(128, 10, 6, 6\) .*; expected floats"),
    "two answers": (lambda: optimized("pair"), r"Answering answers .* with a tuple; expected floats"),
    "labels as answers": (lambda: optimized("labels"), r"answers .* \(128,\) of torch.int64; expected floats"),
    "answers without a gradient": (
        lambda: optimized("detached"),
        r"Answering cannot be trained on images 1 × 8 × 8.* does not require grad",
    ),
    "a module that reads no images": (lambda: optimized("embedding"), r"Embedding cannot be traced"),
    "a module that reads other pixels": (
        lambda: optimized("coloured"),
        r"Coloured cannot be trained on images .*, torch.float32 from -0\.42 to 2\.82 \(IndexError",
    ),
    "nothing to train": (lambda: optimized("frozen"), r"no parameter of .* requires a gradient"),
    "a negative rate": (lambda: optimized("fine", "--beside", "-1"), r"--beside: expected a number above 0, got -1"),
    "a rate of zero": (lambda: optimized("fine", "--beside", "0"), r"--beside: expected a number above 0, got 0"),
    "a rate that is not a number": (lambda: optimized("fine", "--beside", "nan"), r"expected .* above 0, got nan"),
    "a rate in words": (lambda: optimized("fine", "--beside", "low"), r"expected a number above 0, got low"),
    "no networks in an estimate": (
        lambda: meta_trained(estimator("Stepwise", networks=0)),
        r"networks of at least 1 .*got 100 steps, 0 networks",
    ),
    "no steps in an estimate": (
        lambda: meta_trained(estimator("PersistentStepwise", steps=0)),
        r"steps and networks of at least 1 .*got 0 steps",
    ),
    "pieces of no steps": (lambda: meta_trained(estimator("PersistentES", piece=0)), r"got 100 steps in pieces of 0"),
    "trainings of no steps": (lambda: meta_trained(inner_steps=0), r"inner_steps .* of at least 1, got 0"),
    "nothing to be measured by": (lambda: meta_trained(val_networks=0), r"val_networks of at least 1, got 500, 0"),
    "a licence that is a sentence": (
        lambda: ["share", RUN, "s", "--licence", "do as you like"],
        r"expected an identifier",
    ),
}  # fmt: skip


def says(words: Words, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says on its way out with code 2."""
    capsys.readouterr()
    try:
        code = main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert code == 2, f"exit code {code}: {said.out}{said.err}"
    return said.err


def short(said: str) -> bool:
    lines = said.strip().splitlines()
    return 0 < len(lines) <= 3 and max(map(len, lines)) < 400 and not re.search(r"Traceback|Namespace\(", said)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_three_lines(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, expected = MISTAKES[mistake]
    said = says(make(), capsys)
    assert short(said), said
    assert re.search(expected, said), said


def test_there_are_at_least_twenty_and_the_tester_sees_long_ones() -> None:
    assert len(MISTAKES) >= 20
    assert (
        not short("Traceback (most recent call last)")
        and not short("a\nb\nc\nd")
        and not short("")
        and short("a\nb")
        and not short("Namespace(a=1)")
    )


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (
            errno.ENOSPC,
            ["share", RUN, "shared"],
            "shared.*: no space is left; free some, and run the same command again",
        ),
        (errno.EROFS, ["share", RUN, "shared"], "shared.*: it may not be written; choose another folder"),
        (errno.EACCES, ["edit", "--run", "runs/editing", NET, "--out", "o.safetensors"], "o.safetensors.* may not be"),
    ],
)
def test_a_disk_that_is_full_or_closed(
    number: int, words: Words, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    said = says(words, capsys)
    assert short(said) and re.search(expected, said), said
    monkeypatch.undo()


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    said = says(["graph", empty("net.onnx")], capsys)
    assert short(said) and "pip install 'neural-graphs[onnx]'" in said


# -- what is no mistake ---------------------------------------------------------------------------------------------


def on_a_card(name: str) -> str:
    """The network as a program on a card saves it, which this machine need not have."""
    torch.save(state(), "cpu.pt")
    with ZipFile("cpu.pt") as source, ZipFile(name, "w") as target:
        for part in source.namelist():
            data = source.read(part)
            if part.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in data
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            target.writestr(part, data)
    return name


@pytest.mark.parametrize(
    "make",
    [
        lambda: saved({name: each.half() for name, each in state().items()}),
        lambda: saved({name: each.bfloat16() for name, each in state().items()}),
        lambda: saved({f"module.{name}": each for name, each in state().items()}),
        lambda: saved({"epoch": 3, "model_state_dict": state()}),
        lambda: saved({name: torch.nn.Parameter(each) for name, each in state().items()}),
        lambda: on_a_card("card.pt"),
        lambda: after(save_file(state(), "again.safetensors"), "again.safetensors"),
    ],
    ids=["half", "bfloat16", "prefix", "wrapped", "parameters", "saved on a card", "safetensors"],
)
def test_these_files_are_read_as_they_are(make: Callable[[], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PREDICT, make()]) == 0
    assert main([*PREDICT, NET]) == 0
    ours, plain = (line.split()[1] for line in capsys.readouterr().out.splitlines()[1::2])
    assert ours == plain
