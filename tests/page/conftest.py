"""A page with a block of every kind, made of whatever text is wanted, and a browser to open it in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_graphs.plots.page import (
    Card,
    Cards,
    Code,
    Comparison,
    Comparisons,
    Curve,
    Drawing,
    Facet,
    Histogram,
    Histograms,
    Lines,
    Matrix,
    Note,
    Page,
    Panel,
    Picture,
    Points,
    Section,
    Sheet,
    Slider,
    Table,
    Tile,
    Tiles,
)

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TILES = 12


@pytest.fixture(scope="session")
def everything() -> Callable[[str], Page]:
    """Makes a page of every block, in which one text stands wherever text may stand."""

    def everything(text: str) -> Page:
        epochs, black, white = [1.0, 2.0, 3.0, 4.0], np.zeros((8, 8)), np.ones((8, 8))
        error = Panel(
            text, [Curve("training", epochs, [4, 3, 2, 1]), Curve(text, epochs, [5, float("nan"), 3, 2])], {text: 2.5}
        )
        pictures = [Picture.of(pixels, text) for pixels in (black, white, black + 0.5)]
        tiles = [
            Tile(
                pictures[0],
                [text],
                {"split": ("train", "val", text)[place % 3], "psnr": 10.0 + place if place else None},
            )
            for place in range(TILES)
        ]
        blocks = [
            Note(text), Code(text), Code(text, summary=text), Cards([Card(text, text, text)]),
            Table([text, "b"], [[text, "2"], ["3", text]], marked=frozenset({1})),
            Table([text], [[text]], summary=text), Matrix(np.array([[8, 2], [0, 7]])),
            Lines(text, text, [error, error]),
            Points(text, text, text, np.array([20.0, 80.0]), np.array([25.0, 70.0]), [text, "other"], 10.0),
            Histograms(text, [Histogram(text, [text, "b"], (text, "b"), {"train": [3, 1], text: [0, 2]})]),
            Tiles(tiles[:2]), Drawing(pictures[0]), Comparisons([Comparison(*pictures, [text])] * 3),
            Sheet(tiles, [Facet("split", ["train", "val", text])], [Slider("psnr", text, 10.0, 21.0, 0.1)]),
        ]  # fmt: skip
        return Page(text, text, [Section(text, [block], text) for block in blocks])

    return everything


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: Debian has one in the packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield window
    window.quit()


class Window:
    """A browser with a page in it."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.browser, self.file = browser, file

    def show(self, width: int = 1400, scheme: str = "light") -> None:
        """Open the page anew, in a window so wide."""
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.get(self.file.as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        """What an expression of JavaScript is."""
        return self.browser.execute_script(f"return {script}", *arguments)

    def all(self, selector: str) -> list[Any]:
        """The elements of a selector."""
        return self.browser.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        """The first of them."""
        return self.browser.find_element("css selector", selector)

    def point_at(self, element: Any, x: int = 0, y: int = 0) -> None:
        """Move the mouse to an element, so far from its middle."""
        from selenium.webdriver import ActionChains

        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it has scrolled
        ActionChains(self.browser, duration=0).move_to_element_with_offset(element, x, y).perform()

    @property
    def tip(self) -> str:
        """What the tip says; nothing while it is hidden."""
        return self.ask("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")

    @property
    def said(self) -> list[str]:
        """What the console said since it was asked last."""
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Callable[[str], Window]:
    """Opens a page in the browser, with nothing on its console from before."""

    def open_page(html: str) -> Window:
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        window = Window(browser, file)
        window.show()
        return window

    return open_page
