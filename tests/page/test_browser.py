"""Pages in a real browser: they answer to mouse and keys, fit into narrow and wide windows, and say no error."""

from collections.abc import Callable
from typing import Any

import pytest

from neural_graphs.plots.page import Page
from tests.page.checking import HOSTILE
from tests.page.conftest import TILES


@pytest.fixture
def page(everything: Callable[[str], Page], open_page: Callable[[str], Any]) -> Any:
    """Every block, in the browser."""
    return open_page(everything("plain").html())


def background(page: Any) -> str:
    return page.ask("getComputedStyle(document.body).backgroundColor")


def test_curves_tell_their_values_and_hide(page: Any) -> None:
    surface = page.one(".chart svg")
    page.point_at(surface)
    first = page.tip
    assert first.startswith("plain ") and "training: " in first
    training, other = page.all(".chart .legend button")[:2]
    assert (training.text, other.text) == ("training", "plain")
    drawn = len(page.all(".chart:first-of-type .curve"))
    training.click()
    assert training.get_attribute("aria-pressed") == "false"
    assert len(page.all(".chart:first-of-type .curve")) < drawn
    page.point_at(surface)
    assert "training" not in page.tip
    training.click()
    assert training.get_attribute("aria-pressed") == "true"
    assert len(page.all(".chart:first-of-type .curve")) == drawn
    assert page.said == []


def test_keys_do_what_the_mouse_does(page: Any) -> None:
    surface = page.one(".chart svg")
    page.ask("arguments[0].focus()", surface)
    surface.send_keys("\ue014")  # right
    assert page.tip == "plain 1\ntraining: 4\nplain: 5"
    surface.send_keys("\ue014")
    assert page.tip == "plain 2\ntraining: 3"  # the other one is not known there
    surface.send_keys("\ue012")
    assert page.tip.startswith("plain 1\n")
    surface.send_keys("\ue00c")  # escape
    assert page.tip == ""


def test_points_cells_and_bars_tell_what_they_are(page: Any) -> None:
    (points,) = [each for each in page.all(".chart svg") if each.find_elements("css selector", ".point")]
    page.ask("arguments[0].focus()", points)
    points.send_keys("\ue014")
    assert page.tip == "plain\nplain: 20\nplain: 25"
    page.point_at(page.all(".matrix td[data-tip]")[1])
    assert page.tip == "is 0, said 1: 2 of 10 (20.0%)"
    page.point_at(page.one(".bar"))
    assert page.tip == "plain: plain\ntrain: 3 of 3"
    assert page.said == []


def test_the_slider_uncovers_the_edit(page: Any) -> None:
    slider = page.one(".comparisons input")
    cover = "getComputedStyle(document.querySelector('.stack img + img')).clipPath"
    assert page.ask(cover) == "inset(0px 0px 0px 50%)"
    page.ask("arguments[0].focus()", slider)
    slider.send_keys("\ue010")  # the end: all of it is edited
    assert slider.get_attribute("value") == "100" and page.ask(cover) == "inset(0px 0px 0px 100%)"
    slider.send_keys("\ue011")
    assert page.ask(cover) == "inset(0px 0px 0px 0%)" or page.ask(cover) == "inset(0px)"
    assert page.said == []


def test_filters_hide_tiles(page: Any) -> None:
    def shown() -> int:
        return sum(tile.is_displayed() for tile in page.all(".sheet li"))

    assert shown() == TILES and page.one(".count").text == str(TILES)
    page.one("select option:nth-child(2)").click()  # train
    assert shown() == TILES // 3 and page.one(".count").text == str(TILES // 3)
    slider = page.one("[data-least]")
    page.ask("arguments[0].focus()", slider)
    slider.send_keys("\ue014")  # by one step: the network without a number falls short, and so does no other one yet
    assert shown() == TILES // 3 - 1
    slider.send_keys("\ue010")
    assert shown() == 0
    page.one("button[type=reset]").click()
    page.ask("new Promise((done) => setTimeout(done))")  # a reset takes effect after its event
    assert shown() == TILES
    assert page.said == []


CUT = """[...document.querySelectorAll('svg text')].filter((text) => {
  const [a, b] = [text, text.ownerSVGElement].map((each) => each.getBoundingClientRect());
  return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1;
}).map((text) => text.textContent)"""  # words of a chart that leave it
SIZES = "[...document.querySelectorAll('body *')].map((each) => parseFloat(getComputedStyle(each).fontSize))"
LEAST = 8 * 96 / 72  # pixels of eight points


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_leaves_the_window_in_light_and_dark(page: Any, width: int) -> None:
    seen = set()
    for scheme in ("light", "dark"):
        page.show(width, scheme)
        assert page.ask("innerWidth") == width
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.ask(CUT) == []
        assert min(page.ask(SIZES)) >= LEAST - 0.01
        seen.add(background(page))
    assert len(seen) == 2
    assert page.said == []


def test_hostile_text_runs_nothing(everything: Callable[[str], Page], open_page: Callable[[str], Any]) -> None:
    page = open_page(everything(HOSTILE).html())
    assert page.ask("document.querySelector('h1').textContent") == HOSTILE
    assert page.ask("[...document.images].filter((image) => !image.src.startsWith('data:')).length") == 0
    assert page.said == []


def test_the_browser_refuses_what_was_smuggled_in(
    everything: Callable[[str], Page], open_page: Callable[[str], Any]
) -> None:
    smuggled = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    page = open_page(everything("plain").html().replace("</main>", f"{smuggled}</main>"))
    assert page.ask("document.title") == "plain"
    assert any("Content Security Policy" in said for said in page.said)  # and this console is heard
