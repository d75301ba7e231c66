"""The page on tracing shows what tracing prints, and pictures that are there."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")


def test_the_page_prints_what_it_shows() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(program.replace("print(layout)", ""), "tracing.md", "exec"), names)
    assert str(names["layout"]) + "\n" == shown


def test_its_pictures_are_those_of_the_script() -> None:
    script = (ROOT / "docs" / "draw_tracing.py").read_text(encoding="utf-8")
    shown = re.findall(r"img/traced-(\w+)\.png", PAGE)
    assert shown == re.findall(r'^    "(\w+)": \(', script, re.MULTILINE) and len(shown) == 6
    assert all((ROOT / "docs" / "img" / f"traced-{name}.png").stat().st_size < 300_000 for name in shown)
