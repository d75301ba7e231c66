"""The notebooks: kept without outputs, and run from top to bottom when documentation is built."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
WIDE = 95  # characters that fit on a page
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_is_kept_without_outputs(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_says_what_it_costs_and_where_to_go_on(path: Path) -> None:
    assert "**You need**" in text(path) and "**It takes**" in text(path) and "\n## Where to go on\n" in text(path)
    links = re.findall(r"\]\((?!http)([^)#]+)", text(path))
    assert len(links) >= 3
    for link in links:
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_line_of_code_is_cut_on_the_page(path: Path) -> None:
    code = "".join("".join(cell["source"]) + "\n" for cell in cells(path) if cell["cell_type"] == "code")
    assert not [line for line in code.splitlines() if len(line) > WIDE]


def make(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """A notebook of one cell, made a page as `make docs` does it."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "\n".join(lines), "outputs": []}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [{**cell, "execution_count": None}]}
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "it.ipynb").write_text(json.dumps(content), encoding="utf-8")
    command = ["make", "-C", str(folder), "-f", str(ROOT / "Makefile"), "docs/notebooks/it.md", f"VENV={sys.prefix}"]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_notebook_becomes_a_page_with_what_it_printed(tmp_path: Path) -> None:
    said = make(tmp_path, "print('](../docs/zoos.md) and', 6 * 7)")
    assert said.returncode == 0, said.stderr
    assert "](../zoos.md) and 42" in (tmp_path / "docs/notebooks/it.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ["1 / 0", "import warnings; warnings.warn('old')"])
def test_one_that_stops_or_warns_fails_and_leaves_no_page(tmp_path: Path, line: str) -> None:
    assert make(tmp_path, line).returncode != 0
    assert not (tmp_path / "docs/notebooks/it.md").exists()
