"""Files that former versions wrote are read for ever, and mean what they meant: see tests/former/README.md."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import neural_graphs as ng
from tests.former import facts
from tests.former.modules import TRACED, Residual, inputs

HERE = facts.HERE
EXPECTED = json.loads((HERE / "expected.json").read_bytes())
EACH = [(kind, name) for kind in facts.OF for name in EXPECTED[kind]]
PRECISE, SINGLE = 1e-9, 1e-6  # what rounding may change of figures in float64 and in float32


def same(found: Any, expected: Any, tolerance: float, place: str = "") -> None:
    """Assert that plain values are equal, but for the rounding of fractions."""
    if isinstance(expected, dict):
        assert sorted(found) == sorted(expected), place
        for key, each in expected.items():
            same(found[key], each, tolerance, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            same(ours, theirs, tolerance, f"{place}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance), place
    else:
        assert found == expected and type(found) is type(expected), place


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All files in a folder of their own, which is the working directory."""
    shutil.copytree(HERE, tmp_path / "former")
    monkeypatch.chdir(tmp_path / "former")
    return tmp_path / "former"


@pytest.mark.parametrize(("kind", "name"), EACH, ids=[f"{kind}-{name}" for kind, name in EACH])
def test_what_a_file_says_is_what_it_said(kind: str, name: str) -> None:
    (place,) = (HERE / kind).glob(f"{name}{'.safetensors' if kind == 'networks' else '*'}")
    drawn = SINGLE if kind == "zoos" else PRECISE  # pictures are drawn in float32
    same(json.loads(json.dumps(facts.OF[kind](place))), EXPECTED[kind][name], drawn, name)


def test_no_file_is_forgotten() -> None:
    for kind in facts.OF:
        stems = {place.stem for place in (HERE / kind).iterdir()}
        assert stems - {"digit" if kind == "networks" else ""} <= set(EXPECTED[kind]) and len(EXPECTED[kind]) > 1


@pytest.mark.parametrize("name", TRACED)
def test_a_traced_layout_is_the_one_that_tracing_finds(name: str) -> None:
    """So networks traced today fit the zoos and runs of then."""
    make, shape = TRACED[name]
    traced = ng.trace(make().double().eval(), inputs(shape))
    untold = [replace(group, transparent=False) for group in traced.groups]  # what files did not tell then
    assert replace(traced, groups=tuple(untold)) == facts.layout_in(HERE / f"layouts/{name}.json")


def test_the_same_layout_is_found_wherever_it_is_written() -> None:
    layout = facts.layout_in(HERE / "layouts/residual.json")
    run = json.loads((HERE / "runs/traced/run.json").read_bytes())
    assert ng.Zoo(HERE / "zoos/own").layout == layout
    assert [ng.Layout.from_json(each) for each in run["layouts"]] == [layout]
    assert facts.written_layout(HERE / "networks/residual.safetensors") == layout


def test_layouts_have_the_family_they_had() -> None:
    former = ng.Family.from_json(json.loads((HERE / "families/all.json").read_bytes()))
    found = ng.Family.of(map(facts.layout_in, sorted((HERE / "layouts").glob("*.json"))))
    assert found.log_degree == pytest.approx(former.log_degree, rel=1e-14)
    kinds = {"weight_kinds": former.weight_kinds, "neuron_kinds": former.neuron_kinds}
    assert found.layout is not None and former.layout is None  # what files did not tell then
    assert replace(found, log_degree=former.log_degree, layout=None, **kinds) == former
    for name, then in kinds.items():  # "" was the kind of what is built, which has the word of tracing now
        assert set(then) - {""} == set(getattr(found, name)) | (set(then) & {"input"})


def test_a_plain_state_dict_holds_the_network_of_its_zoo() -> None:
    zoo = ng.Zoo(HERE / "zoos/digits")
    state = torch.load(HERE / "networks/digit.pt", weights_only=True)
    found = ng.Networks.from_state_dicts([state], zoo.layout)
    assert torch.equal(found.values, zoo.networks([4]).values)


def test_a_checkpoint_is_the_module_it_was() -> None:
    x = inputs(TRACED["residual"][1])
    answers = [
        ng.read_checkpoint(HERE / f"networks/residual.{kind}", Residual, x).module.double()(x).tolist()
        for kind in ("pt", "safetensors")
    ]
    same(answers, [EXPECTED["networks"]["residual"]["computes"]] * 2, PRECISE)


def test_commands_say_what_they_said(copied: Path) -> None:
    """Of runs that are there without their zoos too: what ranking needs was kept in the run."""
    found = facts.of_commands()
    same(found, EXPECTED["commands"], 10 * SINGLE)
    for folder in ("park", "own"):
        shutil.rmtree(copied / "zoos" / folder)
    ranked = facts.command("rank", "--run", "runs/traced", "networks/residual.safetensors", "--json")
    assert json.loads(ranked) == found["rank traced"]


def test_every_byte_of_a_zoo_has_the_checksum_it_had(copied: Path) -> None:
    for name in EXPECTED["zoos"]:
        assert "every checksum right" in facts.command("zoo", "check", f"zoos/{name}")


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # Lightning's, of a run that was moved
def test_training_goes_on_as_it_would_have(copied: Path) -> None:
    header, *epochs = facts.resumed()
    assert header == EXPECTED["resumed"][0] and len(epochs) == 3
    for found, expected in zip(epochs, EXPECTED["resumed"][1:], strict=True):
        assert [float(each) for each in found] == pytest.approx([float(each) for each in expected], abs=2e-6)
    assert torch.load(copied / "runs/classification/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2
