"""Files by patterns, which of them are checkpoints of one network, and splits that never part these."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from neural_graphs.io.tensors import without_kind

STATED = re.compile(r"[_.=-]*(?:epochs?|steps?|iter|checkpoint|ckpt)[_.=-]*(\d+)", re.IGNORECASE)
SAID_OF_ALL = re.compile(r"[_.=-]*\b(?:checkpoint|ckpt|model|weights|last|final|best|latest)$", re.IGNORECASE)
SHARES = (0.8, 0.1, 0.1)  # of the networks: train, val, test


def files_like(word: str) -> list[Path]:
    """Return the files that a name or a pattern (`*` within a folder, `**` any folders) stands for, sorted."""
    path = Path(word)
    found = [path] if path.is_file() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return [file for file in found if file.is_file()]


def run_and_epoch(file: str) -> tuple[str, int]:
    """Return the network a file belongs to and the epoch (-1 where none is stated), from a path with `/`.

    What states an epoch or a step is taken off the path, and so are names that every network could have:

    >>> run_and_epoch("park/net_12/checkpoint_000010/checkpoint.pt")
    ('park/net_12', 10)
    >>> run_and_epoch("runs/wide-epoch=3.pt")
    ('runs/wide', 3)
    >>> run_and_epoch("runs/0007.pt")
    ('runs/0007', -1)
    """
    parts = PurePosixPath(without_kind(file)).parts
    epochs = [int(number) for part in parts for number in STATED.findall(part)]
    kept = [SAID_OF_ALL.sub("", STATED.sub("", part)) for part in parts]
    return "/".join(part for part in kept if part), epochs[-1] if epochs else -1


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for every name, equal for equal names, in the order in which they first occur."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def split_networks(networks: NDArray[np.int64], seed: int = 0) -> list[str]:
    """Return the split of every checkpoint, given the numbers of their networks: `SHARES` of the networks, at random.

    Every network has all its checkpoints in one split. A few networks leave at least one for every split.
    """
    each = np.unique(networks)
    order = np.random.default_rng(seed).permutation(len(each))
    held = [max(1, round(share * len(each))) if len(each) > 2 else 0 for share in SHARES[1:]]
    names = ["val"] * held[0] + ["test"] * held[1] + ["train"] * (len(each) - sum(held))
    of = {int(each[place]): name for place, name in zip(order, names, strict=True)}
    return [of[number] for number in networks.tolist()]
