"""What the documentation shows is true: its Python runs, its commands and files exist, its links lead somewhere."""

import contextlib
import doctest
import functools
import importlib
import re
import shlex
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import yaml

import neural_graphs
from neural_graphs.commands.cli import build_parser, main
from neural_graphs.tracing.registry import RULES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", TEXT[page], re.DOTALL | re.MULTILINE)
    return [block for written, block in found if written == language]


def python_blocks(page: str) -> list[str]:
    return blocks(page, "python")


COMMANDS = sorted(
    {
        line.strip()
        for page in TEXT
        for block in blocks(page, "")
        for line in block.splitlines()
        if line.strip().startswith("neural-graphs ")
    }
)


def test_the_readme_runs_as_printed() -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    shown = python_blocks("README.md")
    assert all(parser.get_examples(block) for block in shown)
    runner.run(parser.get_doctest("\n".join(shown), {}, "README.md", "README.md", 0))  # one session
    assert runner.failures == 0


@pytest.mark.parametrize("page", ["docs/alignment.md", "docs/linear.md", "docs/sharing.md", "docs/symmetries.md"])
def test_these_pages_run_as_printed(page: str) -> None:
    runner = doctest.DocTestRunner()
    session = "\n".join(python_blocks(page))
    runner.run(doctest.DocTestParser().get_doctest(session, {}, page, page, 0))
    assert runner.failures == 0 and runner.tries > 5


def test_the_page_on_metanetworks_runs() -> None:
    (block,) = python_blocks("docs/metanetworks.md")
    names: dict[str, Any] = {}
    exec(compile(block, "metanetworks.md", "exec"), names)
    assert tuple(names["scores"].shape) == (8, 10) and tuple(names["logits"].shape) == (8, 1)


def test_the_page_on_learning_to_optimise_runs() -> None:
    names: dict[str, Any] = {}
    for block in python_blocks("docs/learning_to_optimize.md"):
        exec(compile(block, "learning_to_optimize.md", "exec"), names)
    assert bool(names["loss"].isfinite()) and len(names["optimizer"].param_groups) == 1


BEGINNING, *QUESTIONS = re.split(r"^## ", TEXT["docs/cookbook.md"], flags=re.MULTILINE)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.split("\n")[0])
def test_every_answer_of_the_cookbook_runs_by_itself(question: str) -> None:
    names: dict[str, Any] = {}
    for text in (BEGINNING, question):
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            assert len(block.splitlines()) <= 17, "an answer is short"
            assert max(map(len, block.splitlines())) <= 95, "more is cut on the page"
            with mock.patch.dict(RULES):
                exec(compile(block, "cookbook.md", "exec"), names)


def test_the_cookbook_has_twenty_answers_at_least() -> None:
    assert len(QUESTIONS) >= 20 and all("```" in question for question in QUESTIONS)


ROWS = re.findall(r"^\| (?!there)([^|]+)\|([^|]*)\|([^|]*)\|$", TEXT["docs/coming_from.md"], re.MULTILINE)


def found(name: str) -> Any:
    """What a dotted name leads to: modules first, then their attributes."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            return functools.reduce(getattr, parts[cut:], importlib.import_module(".".join(parts[:cut])))
    raise AttributeError(name)


@pytest.mark.parametrize("there, here", [(there.strip(), here) for there, here, _ in ROWS])
def test_every_name_of_ours_exists_that_stands_beside_one_of_theirs(there: str, here: str) -> None:
    names = re.findall(r"`([^`]+)`", here)
    assert names, f"nothing of ours stands beside {there}"
    for name in names:
        assert found(name.replace("ng", "neural_graphs", 1)) is not None


def test_a_name_that_is_not_there_would_be_found_out() -> None:
    assert len(ROWS) > 50
    for name in ("neural_graphs.nn.NGGAN", "neural_graphs.Topology.scatter", "neural_grafs.Networks"):
        with pytest.raises(AttributeError):
            found(name)


def test_the_loop_for_a_card_runs_anywhere() -> None:
    (block,) = python_blocks("docs/gpu.md")
    names: dict[str, Any] = {}
    exec(compile(block, "gpu.md", "exec"), names)
    assert tuple(names["scores"].shape) == (8, 10) and bool(names["loss"].isfinite())


def test_the_quickstart_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    grow = next(command for command in COMMANDS if "--out zoos/digits" in command)
    assert main([*shlex.split(grow)[1:], "--count", "120"]) == 0
    names: dict[str, object] = {}
    for block in python_blocks("docs/quickstart.md"):
        exec(compile(block, "quickstart.md", "exec"), names)
    assert tuple(names["networks"].values.shape) == (64, 129)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_is_understood(command: str) -> None:
    words = shlex.split(re.split(r"\s{4,}|\s#|;", command)[0].replace("…", ""))[1:]
    assert callable(build_parser().parse_args(words).command)


@pytest.mark.parametrize("page", TEXT)
def test_every_file_named_exists(page: str) -> None:
    for name in re.findall(r"experiments/[\w/]+\.yaml", TEXT[page]):
        assert (ROOT / name).is_file(), f"{page} names {name}"
    for link in re.findall(r"\]\((?!http|#)([^)#]+)", TEXT[page]):
        assert source((ROOT / page).parent / link).exists(), f"{page} links to {link}"


def pages_in(nav: Any) -> list[str]:
    """The files that a navigation of mkdocs names, however deep."""
    if isinstance(nav, str):
        return [nav]
    return [page for each in (nav.values() if isinstance(nav, dict) else nav) for page in pages_in(each)]


@pytest.mark.parametrize("listing", ["mkdocs.yml", "docs/index.md"])
def test_every_page_is_listed(listing: str) -> None:
    text = (ROOT / listing).read_text(encoding="utf-8")
    listed = pages_in(yaml.safe_load(text)["nav"]) if listing == "mkdocs.yml" else re.findall(r"\]\(([\w/]+\.md)", text)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    pages |= {f"notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert pages - {"index.md"} == set(listed) - {"index.md"} and len(pages) > 20


def source(file: Path) -> Path:
    """The notebook that a page of docs/notebooks is made of; every other file is its own source."""
    made = file.parent == ROOT / "docs" / "notebooks"
    return ROOT / "notebooks" / f"{file.stem}.ipynb" if made else file


@pytest.mark.parametrize("name", neural_graphs.__all__)
def test_every_public_name_has_a_short_example(name: str) -> None:
    """Here that it is there; the doctests of `src` run it."""
    shown = doctest.DocTestParser().get_examples(getattr(neural_graphs, name).__doc__)
    assert 2 <= len(shown) <= 7, f"{name} has an example of {len(shown)} lines in its docstring"
    assert shown[-1].want or "assert" in shown[-1].source, f"the example of {name} shows nothing"


def test_a_style_is_written_as_the_page_says() -> None:
    names: dict[str, Any] = {}
    exec(compile(python_blocks("docs/editing.md")[0], "editing.md", "exec"), names)
    images = np.array([0.2, 0.9], dtype=np.float32).reshape(1, 1, 2, 1)
    assert names["Threshold"](0.5)(images).ravel().tolist() == [0, 1]
