"""``neural-graphs bench``: the benchmark scripts of a checkout, one line of result each."""

import subprocess
import sys
from argparse import REMAINDER, Namespace
from pathlib import Path
from typing import Any

from neural_graphs.commands.parser import did_you_mean
from neural_graphs.errors import ConfigError

DESCRIPTION = """\
Runs the scripts of benchmarks/ (of a checkout: they are not installed). Each prints one line.

  neural-graphs bench                       those that need no argument; with a CUDA card the table of its steps
  neural-graphs bench step --backbone gnn   one of them, with its own options
"""
NEEDS_NOTHING = ("step", "render", "read_zoo")


def add(commands: Any) -> None:
    """Adds ``bench`` to the subparsers."""
    parser = commands.add_parser("bench", help="speed and memory on this machine", description=DESCRIPTION)
    parser.add_argument("name", nargs="?", metavar="NAME", help="a script of benchmarks/, without .py")
    parser.add_argument("options", nargs=REMAINDER, metavar="…", help="options of that script")
    parser.set_defaults(command=run)


def run(arguments: Namespace) -> int:
    """Runs one benchmark, or all that need no argument; returns the first exit code that is not 0."""
    folder = Path(__file__).parents[3] / "benchmarks"
    known = sorted(path.stem for path in folder.glob("[!_]*.py"))
    if not known:
        raise ConfigError(f"{folder} holds no benchmark; run this from a checkout of neural-graphs")
    if arguments.name and arguments.name not in known:
        hint = did_you_mean(arguments.name, known)
        raise ConfigError(f"unknown benchmark {arguments.name!r}{hint} (one of: {', '.join(known)})")
    names = [arguments.name] if arguments.name else [name for name in NEEDS_NOTHING if name in known]
    if not arguments.name and _has_card():
        names, arguments.options = ["device"], ["--only", "table"]
    codes = [
        subprocess.run([sys.executable, str(folder / f"{name}.py"), *arguments.options]).returncode for name in names
    ]
    return next((code for code in codes if code), 0)


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available()
