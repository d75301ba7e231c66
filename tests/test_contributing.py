"""CONTRIBUTING.md: its examples run, one after another, and its commands exist; so does what is cited."""

import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

import neural_graphs
from neural_graphs.tracing.registry import RULES
from neural_graphs.zoo.find_images import CARRIED

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
KINDS = ["backbone", "pool", "task", "style", "zoo recipe", "image source", "tracing rule", "command"]


def test_every_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "contributing"}
    sections = re.findall(r"^## An? (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert [title for title, _ in sections] == KINDS
    with mock.patch.dict(RULES), mock.patch.dict(CARRIED):
        for title, section in sections:
            (example,) = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
            assert "assert" in example
            exec(compile(example, title, "exec"), names)
    assert capsys.readouterr().out.endswith("3\n")


def test_every_file_and_target_named_is_there() -> None:
    package, targets = ROOT / "src/neural_graphs", (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in re.findall(r"`(\w+(?:/\w+)+(?:\.py)?)`", TEXT):
        assert (package / name).exists() or (ROOT / name).exists(), name
    for target in re.findall(r"^make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", targets, re.MULTILINE), target


def test_the_citation_is_of_this_version() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert content["title"] == "neural-graphs" and content["version"] == neural_graphs.__version__
    assert len(content["preferred-citation"]["authors"]) == 8 and content["preferred-citation"]["year"] == 2024
