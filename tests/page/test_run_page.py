"""The page of a run shows what is there, says what is missing, and tells how the run is made again."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from neural_graphs.commands.cli import build_parser, main
from neural_graphs.errors import ConfigError
from neural_graphs.tasks import Run, fit
from neural_graphs.tasks import test as evaluate
from neural_graphs.tasks.report import report
from neural_graphs.tasks.settings import settings
from neural_graphs.zoo import Zoo, grow_inrs, preset
from tests.page.checking import HOSTILE, Outline, outline

MLP = {"class_path": "neural_graphs.nn.baselines.FlatMLP", "init_args": {"classes": 10, "hidden": [8]}}
EVIL = HOSTILE.replace("/", "")  # as a folder may be called


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo, a configuration and the run that it made, tested."""
    folder = tmp_path_factory.mktemp("work")
    grow_inrs(folder / "zoo", "digits", preset("fast"), count=60, hidden=(4,), shares=(4, 1, 1))
    content = {
        "model": {"metanetwork": MLP, "warmup": 0, "lr": 1e-2},
        "data": {"zoo": str(folder / "zoo"), "batch_size": 8},
        "trainer": {"max_epochs": 2, "enable_progress_bar": False, "accelerator": "cpu"},
        "published": 91.4,
        "elsewhere": [str(folder / "gone")],
    }
    (folder / "mlp.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    run = fit(["--config", str(folder / "mlp.yaml"), "--model.lr=0.02"], folder / f"run {EVIL}")
    evaluate(run.folder)
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """A copy of the run, to take something away from."""
    return Run(shutil.copytree(folder / f"run {EVIL}", tmp_path / f"run {EVIL}"))


def read(run: Run, against: Path | None = None) -> Outline:
    return outline(report(run.folder, against=against).read_text(encoding="utf-8"))


def test_it_holds_all_that_a_tested_run_has(run: Run) -> None:
    found, result = read(run), run.result
    told = "".join(found.text)
    assert f"FlatMLP · run {EVIL}" in found.text  # the title, and no markup of it
    assert f"accuracy {result['accuracy']:.2%}" in told and "published: 91.4" in told and "gone was not there" in told
    (curves,) = found.charts
    assert [panel["y"] for panel in curves["panels"]] == ["cross-entropy", "accuracy, %"]
    assert curves["panels"][1]["marks"] == {"published": 91.4} and curves["panels"][1]["curves"][1]["x"] == [1.0, 2.0]
    titles = [
        "Result", "Training", "Which classes are confused", "Which networks it got most wrong", "Networks of its zoo",
        "Configuration", "To make it again", "Made with",
    ]  # fmt: skip
    assert [each for each in found.text if each in titles] == titles
    counts = [held["data-tip"] for tag, held in found.elements if tag == "td" and "data-tip" in held]
    assert counts[0].startswith("is 0, said 0: ") and len(counts) == 100


def test_the_worst_networks_are_those_whose_truth_was_least_likely(run: Run, folder: Path) -> None:
    found, zoo, task = read(run), Zoo(folder / "zoo").split("test"), run.task()
    with torch.no_grad():
        likely = task.metanetwork(zoo.networks()).double().softmax(1)
    said, truth = likely.argmax(1), likely[torch.arange(len(zoo)), zoo.labels]
    wrong = [place for place in truth.argsort().tolist() if said[place] != zoo.labels[place]]
    assert 0 < len(wrong) <= 24
    told = [each for each in found.text if each.startswith(("said ", "is "))]
    answers = [(f"said {said[place]} ({likely[place].max():.0%})", f"is {zoo.labels[place]}") for place in wrong]
    assert told == [line for answer in answers for line in answer]
    assert sum(tag == "li" and held.get("class") == "bad" for tag, held in found.elements) == len(wrong)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("result.json", "Not tested yet: neural-graphs test --run"),
        ("metrics.csv", "No epoch is over yet; go on with: neural-graphs fit --run"),
        ("run.json", "run.json is missing"),
        ("checkpoints/best.ckpt", "the run has no checkpoint yet"),
    ],
)
def test_it_says_what_is_missing(run: Run, missing: str, said: str) -> None:
    whole = "".join(read(run).text)
    (run.folder / missing).unlink()
    told = "".join(read(run).text)
    assert said in told and said not in whole
    assert "Configuration" in told and "To make it again" in told


def test_a_lost_zoo_is_named(run: Run, folder: Path) -> None:
    text = run.config_file.read_text(encoding="utf-8").replace(str(folder / "zoo"), "zoos/lost")
    run.config_file.write_text(text, encoding="utf-8")
    result = {**run.result, "zoo": "zoos/lost"}
    run.write(run.result_file, result)
    told = "".join(read(run).text)
    assert "Its zoo zoos/lost is not there, seen from" in told and "zoos/lost is not a zoo" in told
    assert "Which classes are confused" in told  # which the result knows


def test_an_unfinished_run_says_how_far_it_is(run: Run) -> None:
    rows = run.metrics_file.read_text(encoding="utf-8").splitlines()
    run.metrics_file.write_text("\n".join(rows[:2]) + "\n", encoding="utf-8")
    assert "1 of 2 epochs are over" in "".join(read(run).text)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run"):
        report(tmp_path / "empty")


# -- the configuration -------------------------------------------------------------------------------------------------


def test_what_differs_from_its_experiment_is_marked(run: Run, folder: Path) -> None:
    found = read(run)
    assert f"1 of {len(settings(run.config))} keys differ from {folder / 'mlp.yaml'}." in found.text
    assert sum(held.get("class") == "marked" for tag, held in found.elements if tag == "tr") == 1
    (setting,) = [each for each in settings(run.config, folder / "mlp.yaml") if each.differs]
    assert (setting.key, setting.value, setting.usual) == ("model.lr", "0.02", "0.01")


def test_without_a_file_it_stands_beside_the_defaults(run: Run) -> None:
    found = {each.key: each for each in settings(run.config)}
    differing = {key for key, each in found.items() if each.differs}
    assert differing == {
        "model.lr", "model.warmup", "model.metanetwork", "model.metanetwork.classes", "model.metanetwork.hidden",
        "data.zoo", "data.batch_size", "trainer.max_epochs", "trainer.enable_progress_bar", "trainer.accelerator",
    } - {"model.metanetwork"}  # fmt: skip
    assert found["model.metanetwork"].value == "nn.baselines.flat_mlp.FlatMLP"
    assert (found["trainer.max_epochs"].usual, found["data.zoo"].usual) == ("200", "–")


def test_another_experiment_may_be_asked_for(run: Run, folder: Path, tmp_path: Path) -> None:
    other = yaml.safe_load((folder / "mlp.yaml").read_text(encoding="utf-8"))
    other["model"]["metanetwork"] = {"class_path": "neural_graphs.nn.NGGNN", "init_args": {"classes": 10, "width": 7}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other), encoding="utf-8")
    found = {each.key: each for each in settings(run.config, tmp_path / "other.yaml") if each.differs}
    assert found.keys() == {"model.lr", "model.metanetwork", "model.metanetwork.hidden", "model.metanetwork.width"}
    assert found["model.metanetwork.width"].usual == "7" and found["model.metanetwork.width"].value == "–"
    (tmp_path / "list.yaml").write_text("[1]", encoding="utf-8")
    for name, said in (("gone.yaml", "is missing"), ("list.yaml", "holds a list")):
        with pytest.raises(ConfigError, match=said):
            report(run.folder, against=tmp_path / name)


# -- again -------------------------------------------------------------------------------------------------------------


def test_its_commands_are_understood_and_make_the_same(run: Run, folder: Path, tmp_path: Path) -> None:
    grow, again, test, page = next(text for text in read(run).text if text.startswith("neural-graphs zoo")).splitlines()
    words = shlex.split(grow)[1:]
    assert main(words) == 0  # the zoo is there already: another recipe would be refused
    parsed = [build_parser().parse_args(shlex.split(line)[1:]) for line in (again, test, page)]
    assert parsed[0].config == [folder / "mlp.yaml"] and parsed[0].overrides == ["--model.lr=0.02"]
    assert parsed[0].run == parsed[1].run == parsed[2].folder == Path(f"{run.folder}-again")
    anew = fit(["--config", str(parsed[0].config[0]), *parsed[0].overrides], tmp_path / "anew")
    ours, theirs = (each.checkpoint()["state_dict"] for each in (run, anew))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_resumed_run_knows_all_that_was_asked(folder: Path, tmp_path: Path) -> None:
    run = fit(["--config", str(folder / "mlp.yaml"), "--trainer.max_epochs=1"], tmp_path / "resumed")
    before = run.facts["arguments"]
    fit(["--trainer.max_epochs=2"], run.folder, resume=True)
    assert run.facts["arguments"] == [*before, "--trainer.max_epochs=2"]
    old = {name: value for name, value in run.facts.items() if name != "arguments"}
    run.write(run.facts_file, old, sealed=True)
    told = "".join(read(run).text)
    assert f"neural-graphs fit --config {shlex.quote(str(run.config_file))}" in told  # of an older version


def test_the_command(run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "new" / "page.html"
    assert main(["report", str(run.folder), "--out", str(page), "--against", str(folder / "mlp.yaml")]) == 0
    assert capsys.readouterr().out.strip() == str(page) and page.is_file()
    assert main(["report", str(folder / "zoo")]) == 2
    assert "is a zoo; its page: neural-graphs zoo show" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["report", str(run.folder), "--run", str(run.folder)])


def test_it_works_in_a_browser(run: Run, open_page: Callable[[str], object]) -> None:
    page = open_page(report(run.folder).read_text(encoding="utf-8"))
    for width in (400, 1400):
        page.show(width)
        assert page.ask("document.documentElement.scrollWidth") <= width
    page.point_at(page.one(".chart svg"))
    assert page.tip.startswith("epoch ") and "validation: " in page.tip
    page.point_at(page.one(".matrix td[data-tip]"))
    assert page.tip.startswith("is 0, said 0: ")
    assert page.said == []
