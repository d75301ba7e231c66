"""The page of a zoo: its networks to filter, histograms of its table, and the command that grows it again."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neural_graphs.commands.cli import main
from neural_graphs.layout import Layout
from neural_graphs.zoo import Zoo
from neural_graphs.zoo import manifest as manifests
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.page import zoo_page
from neural_graphs.zoo.recipes.command import growing
from neural_graphs.zoo.writer import ShardData, writing
from tests.generalization.random_zoos import SMALL, write_zoo
from tests.page.checking import HOSTILE, outline

COUNT = 30


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Somebody else's zoo of pictures: odd words in its table, a number that is not there, a network that diverged."""
    folder, layout = tmp_path_factory.mktemp("zoos") / "strange", Layout.mlp((2, 4, 1), "sine", scale=30.0, offset=0.5)
    values = torch.randn(COUNT, layout.size, generator=torch.Generator().manual_seed(0)).numpy()
    values[7] = np.nan
    columns = {
        "split": np.array(["train", "val", HOSTILE] * (COUNT // 3)),
        "label": np.arange(COUNT) % 5,
        "psnr": np.where(np.arange(COUNT) == 4, np.nan, np.linspace(10, 20, COUNT)),
        "author <b>": np.array([HOSTILE, "me"] * (COUNT // 2)),
        "ok": np.arange(COUNT) != 7,
        "rate": np.geomspace(1e-5, 1, COUNT),
    }
    with writing(folder, {"made by": HOSTILE}, [layout], COUNT, canvas=Canvas(5, 5, 1)) as writer:
        writer.write(ShardData(values, columns))
    return Zoo(folder)


def test_it_holds_the_networks_and_the_table(strange: Zoo) -> None:
    found = outline(zoo_page(strange).html())
    tiles = [held["data-facts"] for tag, held in found.elements if tag == "li"]
    assert len(tiles) == COUNT
    facets = [held["data-facet"] for tag, held in found.elements if tag == "select"]
    assert facets == ["split", "label", "author <b>", "ok"]
    (charts,) = found.charts
    panels = {panel["title"]: panel for panel in charts["panels"]}
    assert panels.keys() == {"label", "PSNR, dB, unknown of 1 networks", "author <b>", "ok", "rate"}
    assert list(panels["label"]["counts"]) == ["train", "val", HOSTILE]
    for split, counts in panels["label"]["counts"].items():
        here = strange.labels[torch.from_numpy(strange.column("split") == split)]
        assert counts == here.bincount(minlength=5).tolist()
    assert panels["author <b>"]["bins"] == sorted([HOSTILE, "me"])
    assert all(sum(panels["rate"]["counts"]["train"][k : k + 12]) == 5 for k in (0, 12))  # over powers of ten


def test_networks_that_diverged_are_said_to_be(strange: Zoo) -> None:
    alts = [held["alt"] for tag, held in outline(zoo_page(strange).html()).elements if tag == "img"]
    assert [place for place, alt in enumerate(alts) if alt == "values that are not finite"] == [7]


def test_of_many_networks_some_are_shown(strange: Zoo) -> None:
    found = outline(zoo_page(strange, count=4).html())
    assert f"4 of {COUNT} networks, evenly spaced." in found.text
    assert sum(tag == "li" for tag, _ in found.elements) == 4


def test_networks_that_are_no_pictures_show_their_kernels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = outline(zoo_page(Zoo(write_zoo(tmp_path / "small", [SMALL], 10))).html())
    alts = {held["alt"] for tag, held in found.elements if tag == "img"}
    assert alts == {"the kernels of the first layer, blue positive, red negative"}
    assert "It was imported, or grown by a recipe of one's own." in found.text
    assert [held["data-least"] for tag, held in found.elements if tag == "input"] == ["test_accuracy"]
    assert main(["zoo", "show", str(tmp_path / "small")]) == 2
    assert f"neural-graphs zoo show {tmp_path / 'small'} --out small.html" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "inr --images digits --preset fast --count 12 --hidden 4 --seed 3 --shares 2 1 1",
        "inr --images digits --preset same-start --count 12 --hidden 3 3 --copies 2",
    ],
)
def test_its_command_grows_it_again(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["zoo", "grow", *words.split(), "--out", str(tmp_path / "z")]
    assert main(asked) == 0
    zoo = Zoo(tmp_path / "z")
    again = shlex.split(str(growing(zoo)))
    assert again[0] == "neural-graphs" and set(words.split()) <= set(again)
    again[again.index("--out") + 1] = str(tmp_path / "again")
    assert main(again[1:]) == 0
    assert torch.equal(Zoo(tmp_path / "again").networks().values, zoo.networks().values)


def test_the_command(strange: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "deep" / "page.html"
    words = ["zoo", "show", str(strange.path), "--out", str(page), "--where", "label == 3", "--count", "4"]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert "4 of 6 networks, evenly spaced." in outline(page.read_text(encoding="utf-8")).text


def test_a_view_opens_no_file_again(strange: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    before = strange.split("train").networks().values

    def never(folder: Path) -> None:
        raise AssertionError(f"{folder} was opened again")

    monkeypatch.setattr(manifests.Manifest, "read", never)
    assert torch.equal(strange.split("train").networks().values, before)
    assert len(strange) == COUNT
    with pytest.raises(AssertionError, match="opened again"):
        Zoo(strange.path)


def test_filters_work_in_a_browser(strange: Zoo, open_page: Callable[[str], Any]) -> None:
    page = open_page(zoo_page(strange).html())
    assert page.one(".count").text == str(COUNT)
    page.one("select[data-facet=split] option:last-child").click()  # the odd one
    assert page.one(".count").text == str(COUNT // 3)
    page.point_at(page.one(".bar"))
    assert page.tip.startswith("label: 0\ntrain: ")
    for width in (400, 1400):
        page.show(width)
        assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.said == []
