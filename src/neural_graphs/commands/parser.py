"""An argument parser that answers a mistyped word with the nearest right one."""

import argparse
import difflib
import math
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean --count?"``, or nothing where no known word is near.

    >>> did_you_mean("--cuont", ["--count", "--seed"])
    '; did you mean --count?'
    >>> did_you_mean("--xyz", ["--count", "--seed"])
    ''
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.55)
    return f"; did you mean {near[0]}?" if near else ""


def positive(word: str) -> int:
    """A whole number of at least 1, as the type of an option."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def seed(word: str) -> int:
    """A whole number from 0 on that generators take, as the type of an option."""
    number = int(word)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 2⁶³ − 1, got {number}")
    return number


def positive_number(word: str) -> float:
    """A finite number above 0, as the type of an option."""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {word}")
    return number


def safetensors_file(word: str) -> Path:
    """The path of a file of tensors to be written, as the type of an option."""
    path = Path(word)
    if path.suffix != ".safetensors":
        raise argparse.ArgumentTypeError(f"{path} should end in .safetensors, the one format networks are written in")
    return path


def same_command(arguments: argparse.Namespace) -> str:
    """How a command goes on that keeps what it has done."""
    return "the same command continues where it stopped"


def from_the_start(arguments: argparse.Namespace) -> str:
    """How a command goes on that keeps nothing."""
    return "what was done is not kept; the same command begins again"


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` without abbreviations, whose errors name the nearest known word.

    Args:
        passes_on: prefixes of options that are not this parser's and are handed on untouched (``--model.lr=1e-3``).
        options: as for ``argparse.ArgumentParser``.
    """

    def __init__(self, *, passes_on: Sequence[str] = (), **options: Any) -> None:
        self.passes_on = tuple(passes_on)
        self.words: list[str] = []
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        # Everywhere, so that it may stand before and after the command.
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )

    @property
    def known(self) -> list[str]:
        """Its long options, those of its groups too."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses what it does not know, here, where the options of this very command are known."""
        self.words = list(sys.argv[1:] if args is None else args)
        parsed, left = super().parse_known_args(args, namespace)
        overrides = list(getattr(parsed, "overrides", []))
        values = iter(left)
        for word in values:
            if not self._passes(word):
                self.error(self._unknown(word))
            overrides += [word] if "=" in word else [f"{word}={self._value(word, values)}"]
        if self.passes_on:
            parsed.overrides = overrides
        return parsed, []

    def error(self, message: str) -> NoReturn:
        """One line with the nearest choice, and where to read on; exit code 2."""
        options = [word for word in self.words if word.startswith("--")]
        strange = [word for word in options if word.partition("=")[0] not in self.known and not self._passes(word)]
        if "required" in message and strange:  # rather a word mistyped than one forgotten
            message = self._unknown(strange[0])
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            choices = [choice.strip(" '") for choice in wrong[2].split(",")]
            near = did_you_mean(wrong[1], choices)
            message = f"unknown {wrong[1]!r}{near} (one of: {', '.join(choices)})"
        self.exit(2, f"{self.prog}: error: {message}\n{self.prog} --help lists what it understands\n")

    def _passes(self, word: str) -> bool:
        return bool(self.passes_on) and word.startswith(self.passes_on)

    def _unknown(self, word: str) -> str:
        known = [*self.known, *(prefix.rstrip(".=") for prefix in self.passes_on)]
        kind = "option" if word.startswith("-") else "argument"
        return f"unknown {kind} {word}{did_you_mean(word.partition('=')[0], known)}"

    def _value(self, word: str, values: Any) -> str:
        value = next(values, None)
        if value is None:
            self.error(f"{word} needs a value: {word}=VALUE")
        return str(value)
