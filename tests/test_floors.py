"""The floors of docs/design.md: a room imports only rooms below it, and no file imports one that imports it back."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neural_graphs

PACKAGE = Path(neural_graphs.__file__).parent
DESIGN = Path(__file__).parents[1] / "docs" / "design.md"
FILES = sorted(PACKAGE.rglob("*.py"))
FORWARDED = {
    "graph.topology": {"graph.ragged.topology_of"},  # Topology.of
    "layout.layout": {
        "layout.validate.validate",  # Layout(...) is checked when it is made
        "layout.describe.text",  # str(layout)
        "layout.describe.line",  # f"{layout}"
        "layout.tensor_axes.tensor_axes",  # layout.axes
        "io.graphs.to_networkx",  # layout.to_networkx()
        "layout.builders.mlp",  # Layout.mlp
        "layout.builders.cnn",  # Layout.cnn
    },
    "networks.networks": {
        "tracing.tracer.layout_of",  # Networks.from_modules
        "networks.execution.run",  # networks.run(x)
        "io.graphs.to_pyg",  # networks.to_pyg()
    },
    "nn.shareable": {
        "tasks.sharing.share.save",  # metanetwork.save_pretrained
        "tasks.sharing.share.push",  # metanetwork.push_to_hub
        "tasks.sharing.pretrained.metanetwork_of",  # NGGNN.from_pretrained
    },
}  # by file, the functions above it that its methods hand over to; see neural_graphs.layout.forwarding


def table(page: str) -> dict[str, int]:
    """Room to floor, of the table of floors in the page."""
    rows = re.findall(r"^\| (\d+) \|([^|]*)\|", page, re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


FLOOR = table(DESIGN.read_text(encoding="utf-8"))


def room(module: str) -> str:
    """First name below the package: `neural_graphs.nn.encoder` is in `nn`, the package itself is `__init__`."""
    return module.removeprefix("neural_graphs").lstrip(".").partition(".")[0] or "__init__"


def dotted(path: Path) -> str:
    names = ["neural_graphs", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = set(map(dotted, FILES))


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """The files of the library that a source imports, anywhere in it: inside functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            here = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*here, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    ours = {name for name in found if name.split(".")[0] == "neural_graphs"}
    return {name if name in MODULES else name.rpartition(".")[0] for name in ours}


def violations(module: str, imported: set[str]) -> list[str]:
    """The imports that go up, or across to a room of the same floor."""
    own = room(module)
    return [name for name in sorted(imported) if room(name) != own and FLOOR[room(name)] >= FLOOR[own]]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The files that reach themselves through imports: what is left when files that import nothing left are removed."""
    left = {module: {other for other in imported if other != module} for module, imported in graph.items()}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    while unread := left.keys() - {other for imported in left.values() for other in imported}:
        left = {module: imported for module, imported in left.items() if module not in unread}
    return [[module, *sorted(imported & left.keys())] for module, imported in left.items()]


def read(path: Path) -> set[str]:
    return imports(path.read_text(encoding="utf-8"), dotted(path), path.name == "__init__.py")


def test_every_room_has_its_floor() -> None:
    assert set(FLOOR) == {room(module) for module in MODULES}
    entries = {path.name for path in PACKAGE.iterdir()} - {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    entries -= {"pretrained"}  # data, not a room
    assert len(entries) <= 15, f"{len(entries)} rooms at the top: {sorted(entries)}"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_no_import_goes_up_or_across(path: Path) -> None:
    module = dotted(path)
    assert not violations(module, read(path)), f"{module} (floor {FLOOR[room(module)]}) reaches up or across"


def test_no_file_imports_one_that_imports_it_back() -> None:
    found = circles({dotted(path): read(path) for path in FILES})
    assert not found, "circles: " + "; ".join(f"{module} imports {', '.join(others)}" for module, *others in found)


def test_methods_hand_over_by_the_one_mechanism_to_the_functions_listed_here() -> None:
    found: dict[str, set[str]] = {}
    loaders = set()
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        module = dotted(path).removeprefix("neural_graphs").lstrip(".")
        if path.name != "forwarding.py" and (names := set(re.findall(r"forwarded\(\"([\w.]+)\"\)", source))):
            found[module] = names
        loaders |= {module} if re.search(r"import_module|__import__|importlib\.util", source) else set()
    assert found == FORWARDED
    assert loaders == {"", "layout.forwarding", *IMPORTS_BY_NAME}


# Files that import what a user names (a class of a configuration, a module), or look whether an extra is there.
IMPORTS_BY_NAME = {
    "commands.explain",
    "commands.info",
    "io.graphs",
    "io.modules",
    "tasks.task",
    "zoo.photos",
}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("neural_graphs.layout.parts", "from neural_graphs.nn.encoder import Encoder"),
        ("neural_graphs.graph.topology", "def f():\n    import neural_graphs.tasks.classification"),
        ("neural_graphs.nn.encoder", "from ..zoo import Zoo"),
        ("neural_graphs.nn.encoder", "from neural_graphs import testing"),
        ("neural_graphs.zoo.store", "from neural_graphs import tasks"),
        ("neural_graphs.networks.networks", "from .. import symmetry"),
    ],
)
def test_the_tester_sees_a_broken_floor(module: str, source: str) -> None:
    assert violations(module, imports(source, module))


def test_the_tester_sees_circles() -> None:
    assert not circles({"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a", "c"}})
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [["a", "b"], ["b", "c"], ["c", "a"]]
    inner = "def f():\n    from neural_graphs.layout.validate import validate"
    assert imports(inner, "neural_graphs.layout.layout") == {"neural_graphs.layout.validate"}


def fresh_python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("imported", "forbidden"),
    [
        ("neural_graphs.layout", ["torch", "lightning", "matplotlib", "pyarrow", "sklearn"]),
        ("neural_graphs", ["lightning", "matplotlib", "pyarrow", "sklearn", "torchmetrics", "jsonargparse"]),
        ("neural_graphs.commands.cli", ["torch", "numpy", "lightning", "matplotlib", "jsonargparse", "pyarrow"]),
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
