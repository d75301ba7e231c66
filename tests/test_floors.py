"""The import-floor law of docs/design.md: lower floors never import upper ones; nn and zoo do not import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import neural_graphs

PACKAGE = Path(neural_graphs.__file__).parent
# A module that is not named here is on floor 0, where the least may be imported.
FLOORS = {
    1: {"symmetry", "testing", "align", "checkpoints"},
    2: {"nn", "zoo"},
    3: {"tasks", "compat", "data", "plots", "report"},
    4: {"cli", "commands", "demo", "__main__"},
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    """First name below the package: ``neural_graphs.nn.encoder`` belongs to ``nn``."""
    return module.removeprefix("neural_graphs").lstrip(".").partition(".")[0]


def dotted(path: Path) -> str:
    names = ["neural_graphs", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imports(source: str, module: str, is_package: bool) -> set[str]:
    """Names of the library's modules that a source imports, anywhere in it (inside functions too)."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".")
                kept = len(here) - node.level + is_package
                base = ".".join([*here[:kept], *filter(None, [node.module])])
            found |= {base} if base != "neural_graphs" else {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "neural_graphs"}


def violations(importer: str, imported: set[str]) -> list[str]:
    """The imports that break the law: from a lower to an upper floor, or across from nn to zoo and back."""
    own = part(importer)
    floor = FLOOR.get(own, 0)
    others = [(name, part(name)) for name in sorted(imported)]
    return [
        name
        for name, other in others
        if FLOOR.get(other, 0) > floor or (floor == FLOOR.get(other, 0) == 2 and own != other)
    ]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_no_import_goes_up(path: Path) -> None:
    module = dotted(path)
    if module == "neural_graphs":
        return  # the table of contents: names of floors 0 to 3, never those above
    found = imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    assert not violations(module, found), f"{module} (floor {FLOOR.get(part(module), 0)}) reaches up or across"


def test_the_table_of_contents_imports_nothing_of_the_command_line() -> None:
    names = imports((PACKAGE / "__init__.py").read_text(encoding="utf-8"), "neural_graphs", True)
    assert not [name for name in names if FLOOR.get(part(name), 0) >= 4]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("neural_graphs.layout", "from neural_graphs.nn.encoder import Encoder"),
        ("neural_graphs.graph", "def f():\n    import neural_graphs.tasks.classification"),
        ("neural_graphs.nn.encoder", "from ..zoo import Zoo"),
        ("neural_graphs.zoo.store", "from neural_graphs import nn"),
        ("neural_graphs.networks", "from . import symmetry"),
    ],
)
def test_the_tester_sees_a_broken_module(module: str, source: str) -> None:
    assert violations(module, imports(source, module, False))


def fresh_python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("imported", "forbidden"),
    [
        ("neural_graphs.layout", ["torch", "lightning", "matplotlib", "pyarrow", "sklearn"]),
        ("neural_graphs", ["lightning", "matplotlib", "pyarrow", "sklearn", "torchmetrics", "jsonargparse"]),
        ("neural_graphs.cli", ["torch", "numpy", "lightning", "matplotlib", "jsonargparse", "pyarrow"]),
    ],
)
def test_importing_stays_light(imported: str, forbidden: list[str]) -> None:
    loaded = fresh_python(f"import sys, {imported}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))").split()
    assert not set(loaded) & set(forbidden), f"import {imported} also imports {sorted(set(loaded) & set(forbidden))}"


def test_both_lists_of_public_names_agree() -> None:
    shown = {
        alias.name
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "neural_graphs"
        for alias in node.names
    }
    assert shown == set(neural_graphs.__all__)
    assert all(getattr(neural_graphs, name) for name in neural_graphs.__all__)
    assert set(dir(neural_graphs)) >= shown
