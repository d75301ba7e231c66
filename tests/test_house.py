"""The house rules that a machine can check: sizes, words that stay out, paths that exist on one machine only."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
TEXTS = [
    *(path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts),  # tests may show what is refused
    *sorted(
        path
        for folder in ("docs", "experiments", "notebooks")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix != ".png"
    ),
    *(
        ROOT / name
        for name in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "constraints.txt", ".ci/run")
    ),
]
LINES, BODY = 500, 40
PLACES = re.compile(r"(?<![\w.])/(?:home|root|tmp|Users)/\w|find-links|extra-index-url")
LEFTOVERS = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b")
PICKLES = re.compile(r"(?:pickle|joblib|cloudpickle)\.dumps?\(|allow_pickle=True|weights_only=False")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def found(pattern: re.Pattern[str], path: Path) -> list[str]:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    return [f"{name(path)}:{number}: {line.strip()}" for number, line in lines if pattern.search(line)]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function after its signature and docstring, inner functions included."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_sizes(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LINES, f"{name(path)} is longer than {LINES} lines: split it by what it is about"
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {function.name: body_lines(function) for function in functions if body_lines(function) > BODY}
    assert not long, f"{name(path)}: bodies longer than {BODY} lines: {long}"


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_words_that_stay_out(path: Path) -> None:
    assert not found(PLACES, path), "paths of one machine"
    assert not found(LEFTOVERS, path), "unfinished work"
    assert not found(PICKLES, path), "pickles"


def test_the_tester_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    file = tmp_path / "bad.py"
    for pattern, line in (
        (PLACES, "open('/home/x')"),
        (LEFTOVERS, "# TODO"),
        (PICKLES, "pickle.dump(x, f)"),
    ):
        file.write_text(line, encoding="utf-8")
        assert found(pattern, file)
    long = ast.parse("def f():\n    'doc'\n" + "    x = 1\n" * (BODY + 1)).body[0]
    assert isinstance(long, ast.FunctionDef) and body_lines(long) == BODY + 1


def test_plugins_may_warn_but_tests_may_not(tmp_path: Path) -> None:
    (tmp_path / "warner.py").write_text(
        "import warnings\ndef pytest_configure(config):\n    warnings.warn('of a plugin')", encoding="utf-8"
    )
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(
        "import warnings\ndef test_it():\n    warnings.warn('of a test')", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pytest", "-p", "warner", "-p", "no:cacheprovider", "-q", "test_it.py"]
    said = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True)
    assert "UserWarning: of a test" in said.stdout and "1 failed" in said.stdout
