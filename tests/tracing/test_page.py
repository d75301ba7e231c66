"""The page on tracing is true: its code runs and prints what it shows."""

import re
from pathlib import Path
from typing import Any

from tests.tracing.models.everything import EXAMPLES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "tracing.md").read_text(encoding="utf-8")


def test_the_page_runs_and_prints_what_it_shows(capsys: Any) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "tracing.md", "exec"), names)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert capsys.readouterr().out.split() == shown.split()


def test_the_page_counts_right() -> None:
    assert f"The tests prove {len(EXAMPLES)} networks so" in PAGE
    assert len([name for name in EXAMPLES if name.startswith("transformers")]) == 12


def test_its_pictures_are_those_of_the_script() -> None:
    script = (DOCS / "draw_tracing.py").read_text(encoding="utf-8")
    shown = re.findall(r"img/traced-(\w+)\.png", PAGE)
    assert shown == re.findall(r'^    "(\w+)": \(', script, re.MULTILINE) and len(shown) == 6
    assert all((DOCS / "img" / f"traced-{name}.png").stat().st_size < 300_000 for name in shown)
