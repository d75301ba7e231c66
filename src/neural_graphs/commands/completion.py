"""``neural-graphs completion``: a script that makes a shell complete commands, options and files at the tab key."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Any

from neural_graphs.errors import ConfigError

DESCRIPTION = """\
Prints a script for a shell, which completes commands, options and files from then on (extra `completion`).

  eval "$(neural-graphs completion bash)"                            in ~/.bashrc
  neural-graphs completion zsh > ~/.zfunc/_neural-graphs             in a folder of $fpath
"""
SHELLS = ("bash", "zsh", "fish")


def add(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Adds ``completion`` to the subparsers of the whole parser."""
    parser = commands.add_parser("completion", help="tab completion for a shell", description=DESCRIPTION)
    parser.add_argument("shell", choices=SHELLS, help=f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
    parser.set_defaults(command=completion, parser=whole)


def completion(arguments: Namespace) -> int:
    """Prints the script."""
    try:
        import shtab
    except ImportError as error:
        raise ConfigError("completion needs an extra: pip install 'neural-graphs[completion]'") from error
    _complete_files(arguments.parser, shtab.FILE)
    print(shtab.complete(arguments.parser, arguments.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser, files: Any) -> None:
    """Have files offered wherever a path is expected, in a parser and those below it."""
    for action in parser._actions:
        if action.type is Path:
            action.complete = files  # type: ignore[attr-defined]  # read by shtab
        for each in (action.choices or {}).values() if isinstance(action, argparse._SubParsersAction) else ():
            _complete_files(each, files)
