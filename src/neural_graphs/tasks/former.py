"""Former names of classes, read for ever: configurations name classes by where they are, and some have moved since."""

import re
from collections.abc import Sequence
from pathlib import Path

from neural_graphs.errors import ConfigError
from neural_graphs.io.documents import read_text

FORMER = {
    "compat": "nn.released",
    "family": "nn.spec",
    "nn.features": "nn.embeddings",
    "nn.message_passing": "nn.backbones.message_passing",
    "nn.sight": "nn.ablation",
    "nn.signs": "nn.canonical",
    "nn.transformer": "nn.backbones.transformer",
    "nn.values": "nn.fourier",
    "topology": "graph",
    "wiring": "graph",
    "zoo.cnn": "zoo.recipes",
    "zoo.inr": "zoo.recipes.inr",
    "zoo.presets": "zoo.recipes.presets",
}  # rooms below `neural_graphs`, then and now
_NAMES = re.compile(rf"\bneural_graphs\.({'|'.join(map(re.escape, FORMER))})(?=\.[A-Za-z])")


def renamed(text: str) -> str:
    """A configuration with the classes named as they are now.

    >>> renamed("class_path: neural_graphs.wiring.AllPairs")
    'class_path: neural_graphs.graph.AllPairs'
    """
    return _NAMES.sub(lambda found: f"neural_graphs.{FORMER[found[1]]}", text)


def current(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with classes named as they are now; a file that names former ones becomes text."""
    return [_current(word) for word in arguments]


def _current(word: str) -> str:
    option, equals, value = word.rpartition("=") if word.startswith("--config=") else ("", "", word)
    file = Path(value)
    if file.suffix not in (".yaml", ".yml", ".json") or not file.is_file():
        return renamed(word)
    text = read_text(file, ConfigError, "write it again, as UTF-8")
    return word if renamed(text) == text else f"{option}{equals}{renamed(text)}"
