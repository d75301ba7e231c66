"""Folders of metanetworks: what is made from them answers with the same bits, and nothing in them is run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import neural_graphs as ng
from neural_graphs import nn
from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.graph import AllPairs
from neural_graphs.io.documents import write_json
from neural_graphs.layout.recorded import Recorded
from neural_graphs.nn.backbones.scale_equivariant import Factors
from neural_graphs.nn.baselines import FlatMLP, Inr2Vec, StatNN
from neural_graphs.nn.embeddings import Standardise
from neural_graphs.nn.shareable import Shareable
from neural_graphs.optim.update_rule import UpdateRule
from neural_graphs.tasks import Pretrained, Run, classify, edit, load_task, predict, rank, share
from neural_graphs.tasks.sharing.kinds import EDITORS, KINDS, READERS
from neural_graphs.zoo.styles import Dilate
from tests.test_damage import tried

FORMER = Path(__file__).parents[1] / "former"
LAYOUT = ng.Layout.mlp([2, 6, 5, 1], "sine", scale=30.0)
BASES = {
    "BaseTask",
    "Training",
    "Shareable",
    "Metanetwork",
    "AttentionMetanetwork",
    "GridMetanetwork",
    "LinearMetanetwork",
    "Recorded",
    "Maps",
    "Factors",
    "Pool",
    "Canonical",
    "Style",
    "Task",
}
INNER = {"InvariantPart", "ByWeights", "Configurable"}  # made by others of these, never by a file
INNER |= {"LearningToOptimize"}  # update rules have folders of their own
NETWORKS = sorted(map(str, (FORMER / "networks").glob("park-*.safetensors")))


def networks(seed: int, count: int = 4) -> ng.Networks:
    return ng.Networks(torch.randn(count, LAYOUT.size, generator=torch.Generator().manual_seed(seed)), LAYOUT)


FAMILY = ng.InputSpec.of([LAYOUT], Standardise.measure(networks(1, 9)))
OPTIONS: dict[type, dict[str, Any]] = {
    ng.NGGNN: {"pool": nn.MeanNodes(), "sight": nn.Ablation(position=False), "probes": 3},
    ng.NGT: {"wiring": AllPairs(), "canonical": [nn.CompleteSigns(True)]},
    ng.NGGNNEditor: {"standardised": True, "sigma": None},
    ng.UNF: {"maps": ng.nn.linear.Neighbours()},
    ng.ScaleGMN: {"symmetry": nn.Signs()},
    ng.ScaleGMNEditor: {"symmetry": nn.SignsAndScales()},
    nn.Ensemble: {"members": [lambda family: nn.ProbeGen(family, 3, 5), lambda family: StatNN(family, 3, [6])]},
    nn.ProbeGen: {"probes": 5, "hidden": (7,)},
    ng.NFN: {"width": 8, "hidden": [6]},
    FlatMLP: {"hidden": [6]},
    Inr2Vec: {"hidden": [6], "head": [5]},
    StatNN: {"hidden": [6]},
}


def made(kind: type) -> Any:
    """One of a kind, with other numbers than those that its constructor draws."""
    classes = {} if kind in EDITORS or kind is nn.Ensemble else {"classes": 3}
    found = kind(FAMILY, **classes, **OPTIONS.get(kind, {}))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return found.eval()


def says(metanetwork: Any, batch: ng.Networks) -> torch.Tensor:
    with torch.no_grad():
        answer = metanetwork(batch)
    return answer.values if isinstance(answer, ng.Networks) else answer


@pytest.mark.parametrize("kind", READERS + EDITORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
def test_what_comes_back_answers_with_the_same_bits(kind: type, precision: torch.dtype, tmp_path: Path) -> None:
    written = made(kind).to(precision)
    written.save_pretrained(tmp_path, figures={"accuracy": 0.5})
    read, batch = kind.from_pretrained(tmp_path), networks(2).to(precision)
    assert not read.training and torch.equal(says(read, batch), says(written, batch))
    assert type(ng.from_pretrained(tmp_path)) is kind
    read.save_pretrained(tmp_path / "again", figures={"accuracy": 0.5})
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shared") / "ngt"
    made(ng.NGT).save_pretrained(place)
    return place


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_answers_are_equal_for_any_networks_and_differ_where_a_number_does(folder: Path, seed: int) -> None:
    read, again, batch = ng.from_pretrained(folder), ng.from_pretrained(folder), networks(seed)
    assert torch.equal(says(read, batch), says(again, batch))
    with torch.no_grad():
        again.readout.mlp[-1].bias[0] += 1e-3  # type: ignore[index, union-attr]
    assert not torch.equal(says(read, batch), says(again, batch))


def descendants(kind: type) -> set[type]:
    return {kind} | {each for child in kind.__subclasses__() for each in descendants(child)}


def test_every_class_that_can_be_written_down_can_be_read() -> None:
    ours = {each for each in descendants(Recorded) if each.__module__.startswith("neural_graphs.")}
    ours -= descendants(UpdateRule)  # these are read by `load_rule`
    lacking = {each.__name__ for each in ours - set(KINDS)} - BASES - INNER
    assert not lacking, f"add these to tasks/sharing/kinds.py: {lacking}"
    assert issubclass(Factors, Recorded) and len(ours) > 40


# -- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, shared without their zoos."""
    place = tmp_path_factory.mktemp("shared")
    for name in ("classification", "editing", "generalization"):
        share(FORMER / "runs" / name, place / name, licence="cc-by-4.0")
    return place


def test_a_shared_run_says_what_the_run_says(shared: Path, tmp_path: Path) -> None:
    digits = [FORMER / f"networks/digit.{kind}" for kind in ("safetensors", "pt")]
    places = {name: Pretrained(shared / name) for name in ("classification", "editing", "generalization")}
    assert predict(places["classification"], digits) == predict(FORMER / "runs/classification", digits)
    ranked = rank(places["generalization"], NETWORKS)
    assert ranked == rank(FORMER / "runs/generalization", NETWORKS) and len(ranked.rows) == 3
    assert all(row.low < row.accuracy < row.high and row.embedding > 0 for row in ranked.rows)
    for source, index in ((FORMER / "zoos/digits", 5), (digits[0], None)):
        found, wanted = (edit(by, source, index) for by in (places["editing"], FORMER / "runs/editing"))
        assert torch.equal(found.after.values, wanted.after.values)
        assert not torch.equal(found.after.values, found.before.values)


def test_a_task_comes_back_with_its_options(shared: Path) -> None:
    task, wanted = Pretrained(shared / "editing").task(), load_task(FORMER / "runs/editing")[0]
    assert isinstance(task.style, Dilate) and repr(task.style) == repr(wanted.style)  # type: ignore[union-attr]
    assert Pretrained(shared / "editing").canvas == Run(FORMER / "runs/editing").canvas


def test_the_card_tells_figures_family_recipe_and_licence(shared: Path) -> None:
    card = (shared / "classification/README.md").read_text(encoding="utf-8")
    for said in ("license: cc-by-4.0", "NGGNN, trained for Classification", "* accuracy ", "`2 → 8 → 1 · sine",
                 "neural-graphs predict --pretrained", "width: 8", "parameters"):  # fmt: skip
        assert said in card, said
    assert "interval" in (shared / "generalization/README.md").read_text(encoding="utf-8")
    assert str(FORMER) not in card and "/tmp" not in card


def test_a_zoo_is_not_needed_twice(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "generalization", tmp_path / "bare")
    (tmp_path / "bare/calibration.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"calibration.safetensors is missing; copy the whole folder"):
        rank(Pretrained(tmp_path / "bare"), NETWORKS)


# -- what is refused ------------------------------------------------------------------------------------------------


def resealed(folder: Path, change: Any) -> Path:
    """The folder with a changed configuration, whose seal is right."""
    facts = {key: value for key, value in json.loads((folder / "config.json").read_bytes()).items() if key != "sha256"}
    change(facts)
    write_json(folder / "config.json", facts)
    return folder


@pytest.mark.parametrize(
    "kind", ["os.system", "os:system", "builtins.exec", "Linear", "torch.nn.Linear", "NGGN", "", None, 3]
)
@pytest.mark.parametrize("place", ["model", "pool", "family"])
def test_no_class_comes_from_a_file(tmp_path: Path, kind: Any, place: str) -> None:
    made(ng.NGGNN).save_pretrained(tmp_path)

    def change(facts: dict[str, Any]) -> None:
        (facts["model"] if place == "model" else facts["model"][place])["kind_of"] = kind

    with pytest.raises(CheckpointError, match=r"config.json is damaged"):
        ng.from_pretrained(resealed(tmp_path, change))


@pytest.mark.parametrize(
    "files", [{}, {"../secret": "0"}, {"model.safetensors": "0", "/etc/hostname": "0"}, [], None, 3]
)
def test_no_other_file_is_read_or_pushed(folder: Path, tmp_path: Path, files: Any) -> None:
    place = resealed(shutil.copytree(folder, tmp_path / "ngt"), lambda facts: facts.update(files=files))
    for use in (ng.from_pretrained, lambda place: Pretrained(place).push_to_hub("me/stolen")):
        with pytest.raises(CheckpointError, match=r"config.json is damaged"):
            use(place)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("width", "64", "NGGNN: width is '64', expected int"),
        ("width", -3, "config.json is damaged"),
        ("widht", 64, "NGGNN has no 'widht'.*did you mean 'width'"),
        ("pool", "os.system", "config.json is damaged"),
        ("classes", 4, r"model.safetensors does not fit .*: readout.mlp.4.weight is \(3, 32\), expected \(4, 32\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, key: str, value: Any, said: str) -> None:
    made(ng.NGGNN).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=said):
        ng.from_pretrained(resealed(tmp_path, lambda facts: facts["model"].update({key: value})))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damage_is_seen_and_its_file_named(folder: Path, tmp_path: Path, name: str) -> None:
    place = shutil.copytree(folder, tmp_path / "ngt")
    said = tried(place / name, lambda: ng.from_pretrained(place))
    assert all(name in each or not each for each in said), [each for each in said if each and name not in each]
    (place / name).unlink()
    with pytest.raises((CheckpointError, ConfigError), match=name):
        ng.from_pretrained(place)


def test_a_tensor_that_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "ngt")
    tensors = load_file(place / "model.safetensors")
    lost = next(iter(tensors))
    save_file({name: each for name, each in tensors.items() if name != lost}, place / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"model.safetensors does not fit .*: {lost} is missing, expected"):
        ng.from_pretrained(place)
    tensors[lost] = torch.full_like(tensors[lost], torch.nan)
    save_file(tensors, place / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"model.safetensors: {lost} holds NaN"):
        ng.from_pretrained(place)


class Mine(ng.NGGNN):
    """A metanetwork of one's own."""

    def __init__(self, family: ng.InputSpec, classes: int) -> None:
        super().__init__(family, classes, width=4, depth=2)


def test_a_class_of_ones_own_is_named_by_whoever_loads_it(tmp_path: Path) -> None:
    mine = Mine(FAMILY, 3).eval()
    mine.save_pretrained(tmp_path)
    assert torch.equal(says(Mine.from_pretrained(tmp_path), networks(3)), says(mine, networks(3)))
    with pytest.raises(CheckpointError, match="unknown kind 'Mine'"):
        ng.from_pretrained(tmp_path)


def test_another_class_than_asked_for_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds a NGT, not a NGGNN; load it by NGT.from_pretrained"):
        ng.NGGNN.from_pretrained(folder)
    assert isinstance(ng.Metanetwork.from_pretrained(folder), ng.NGT)


def test_parts_that_cannot_be_written_down_are_refused(tmp_path: Path) -> None:
    parts = made(ng.NGGNN)
    own = ng.Metanetwork(parts.encoder, parts.backbone, parts.readout)
    with pytest.raises(ConfigError, match="Metanetwork was made of parts that cannot be written down"):
        own.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="licence is 'mit\\\\nevil: 1', expected an identifier"):
        parts.save_pretrained(tmp_path, licence="mit\nevil: 1")
    assert not list(tmp_path.iterdir())


def test_a_metanetwork_alone_does_not_tell_what_it_is_for(folder: Path) -> None:
    with pytest.raises(ConfigError, match="holds a metanetwork alone"):
        predict(Pretrained(folder), NETWORKS)


def test_sharing_works_without_the_library_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    made(ng.NGGNN).save_pretrained(tmp_path)
    assert classify(ng.from_pretrained(tmp_path), networks(4)).shape == (4, 3)
    with pytest.raises(ng.NeuralGraphsError, match=r"is no folder here, and .*pip install 'neural-graphs\[hub\]'"):
        ng.from_pretrained("owner/name")


def test_every_shareable_is_recorded() -> None:
    assert issubclass(Shareable, Recorded) and all(issubclass(each, Shareable) for each in READERS + EDITORS)
