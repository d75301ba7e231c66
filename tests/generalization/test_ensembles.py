"""Ensembles: the mean of their members, as one metanetwork and as one run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_graphs import tasks
from neural_graphs.commands.cli import main
from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import Ensemble, ProbeGen, Propagator, PropagatorEditor
from neural_graphs.nn.baselines import StatNN
from neural_graphs.nn.spec import InputSpec
from neural_graphs.tasks import Run, fit
from neural_graphs.tasks.generalization.task import Generalization
from neural_graphs.tasks.report import report
from neural_graphs.testing import assert_equivariant, assert_invariant
from tests.generalization.conftest import NGGNN, STATNN
from tests.page.checking import outline

LAYOUTS = [Layout.mlp([2, 5, 4, 3], "relu"), Layout.mlp([2, 6, 3], "relu")]
FAMILY = InputSpec.of(LAYOUTS)


def some(layout: Layout, count: int = 3) -> Networks:
    return Networks(torch.randn(count, layout.size, dtype=torch.float64), layout)


def three() -> Ensemble:
    torch.manual_seed(0)
    made = Ensemble(
        FAMILY,
        [Propagator(FAMILY, 2, 8, 2, 2), ProbeGen(FAMILY, 2, 5, hidden=[7]), lambda f: StatNN(f, 2, hidden=[6])],
    )
    return made.double().eval()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_ensemble_answers_the_mean_and_is_as_invariant_as_its_members(layout: Layout) -> None:
    ensemble, networks = three(), some(layout)
    mean = sum(member(networks) for member in ensemble.members) / 3
    torch.testing.assert_close(ensemble(networks), mean, rtol=1e-12, atol=1e-12)
    assert_invariant(ensemble, networks)
    widths = [member.embed(networks).shape[1] for member in ensemble.members]
    assert ensemble.embed(networks).shape == (3, sum(widths))


def test_editors_change_networks_by_the_mean_of_their_changes() -> None:
    torch.manual_seed(0)
    ensemble = Ensemble(FAMILY, [lambda f, d=d: PropagatorEditor(f, 8, d, 2) for d in (1, 2)]).double().eval()
    networks = Networks.cat([some(layout, 1) for layout in LAYOUTS])
    first, second = (member(networks) for member in ensemble.members)
    torch.testing.assert_close(ensemble(networks).values, (first.values + second.values) / 2, rtol=1e-12, atol=1e-15)
    assert_equivariant(ensemble, networks)


def test_a_mixed_batch_is_read_as_its_networks_one_by_one() -> None:
    ensemble = three()
    parts = [some(layout, 1) for layout in LAYOUTS]
    apart = torch.cat([ensemble(part) for part in parts])
    torch.testing.assert_close(ensemble(Networks.cat(parts)), apart, rtol=1e-10, atol=1e-12)


def test_what_no_ensemble_can_be_of() -> None:
    with pytest.raises(ConfigError, match="at least one member"):
        Ensemble(FAMILY, [])
    with pytest.raises(ConfigError, match="Linear cannot be a member"):
        Ensemble(FAMILY, [torch.nn.Linear(2, 2)])
    editor, reader = (lambda f: PropagatorEditor(f, 8, 2, 2)), (lambda f: Propagator(f, 3, 8, 2, 2))
    with pytest.raises(ConfigError, match="members of both kinds"):
        Ensemble(FAMILY, [reader, editor]).double()(some(LAYOUTS[0]))
    with pytest.raises(ConfigError, match=r"answers of \(\d, 3\) and \(\d, 4\); .* same classes"):
        Ensemble(FAMILY, [reader, lambda f: Propagator(f, 4, 8, 2, 2)]).double()(some(LAYOUTS[0]))


@pytest.mark.parametrize("grad", [True, False])
def test_no_networks_have_no_answer(grad: bool) -> None:
    with torch.set_grad_enabled(grad), pytest.raises(ConfigError, match="got no networks"):
        three()(some(LAYOUTS[0])[:0])


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, configure: Callable[..., list[str]], small: Path) -> list[Run]:
    folder = tmp_path_factory.mktemp("members")
    return [
        fit(configure(small, metanetwork, 2, seed=seed), folder / f"run{seed}")
        for seed, metanetwork in enumerate((STATNN, STATNN, NGGNN))
    ]


def test_a_run_of_several_predicts_their_mean_and_is_tested_shared_and_ranks(
    members: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(member.folder) for member in members]
    assert main(["ensemble", *words, "--out", str(tmp_path / "joined")]) == 0
    assert "answers by the mean of 3" in capsys.readouterr().out
    joined = Run(tmp_path / "joined")
    task, zoo = joined.task(), joined.data().zoo.split("test")
    assert isinstance(task, Generalization)
    logits = []
    for member in members:
        alone = member.task()
        assert isinstance(alone, Generalization)
        predicted = alone.predict(zoo)
        logits.append(np.log(predicted / (1 - predicted)))
    expected = 1 / (1 + np.exp(-np.mean(logits, 0)))
    np.testing.assert_allclose(task.predict(zoo), expected, rtol=1e-5)
    assert joined.facts["parameters"] == sum(member.facts["parameters"] for member in members)
    assert tasks.test(joined.folder)["tau"] > 0
    told = "".join(outline(report(joined.folder).read_text(encoding="utf-8")).text)
    assert f"it answers by the mean of {', '.join(words)}." in told
    assert f"neural-graphs ensemble {' '.join(words)} --out {joined.folder}-again\n" in told
    shared = tasks.share(joined.folder, tmp_path / "shared")
    again = shared.task()
    assert isinstance(again, Generalization)
    np.testing.assert_array_equal(again.predict(zoo), task.predict(zoo))


def test_runs_that_do_not_go_together_are_refused_and_nothing_is_written(
    members: list[Run], run: Run, configure: Callable[..., list[str]], park: Path, tmp_path: Path
) -> None:
    out = tmp_path / "joined"
    with pytest.raises(ConfigError, match="two runs or more, got 1"):
        tasks.ensemble([members[0].folder], out)
    other = fit(configure(park, STATNN, 1), tmp_path / "park")
    with pytest.raises(ConfigError, match="other networks"):
        tasks.ensemble([members[0].folder, other.folder], out)
    with pytest.raises(ConfigError, match=r"no config\.yaml"):
        tasks.ensemble([members[0].folder, tmp_path / "nothing"], out)
    damaged = tmp_path / "damaged"
    shutil.copytree(members[1].folder, damaged)
    content = (damaged / "config.yaml").read_text(encoding="utf-8")
    (damaged / "config.yaml").write_text(content.replace("- 32", "- 16"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"damaged/checkpoints/best\.ckpt does not fit"):
        tasks.ensemble([members[0].folder, damaged], out)
    assert not out.exists()
    with pytest.raises(ConfigError, match="holds a run already"):
        tasks.ensemble([members[0].folder, run.folder], members[1].folder)


def test_an_ensemble_can_be_trained_as_one(configure: Callable[..., list[str]], small: Path, tmp_path: Path) -> None:
    together = {"class_path": "neural_graphs.nn.Ensemble", "init_args": {"members": [STATNN, NGGNN]}}
    trained = fit(configure(small, together, 1), tmp_path / "one")
    assert len(trained.task().metanetwork.members) == 2
