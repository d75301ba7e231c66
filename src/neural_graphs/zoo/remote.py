"""Zoos on the Hugging Face Hub: their tables come at once, their shards one by one, when they are first read."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from numpy.typing import NDArray

from neural_graphs.errors import HubError
from neural_graphs.io.hub import Repository
from neural_graphs.zoo.manifest import LAYOUTS, MANIFEST, Manifest

Tensors = dict[str, NDArray[Any]]  # of a shard, by name
SCHEME = "hub:"
CARD = """\
---
library_name: neural-graphs
tags: [neural-graphs, model-zoo, weight-space-learning]
---
# A zoo of {networks:,} networks

```python
from neural_graphs import Zoo

zoo = Zoo("hub://{name}")    # shards are downloaded when they are first read
```

```
{layouts}
```
"""


def repository_of(place: str | Path) -> Repository | None:
    """Where a zoo on the Hub lies, of an address such as `hub://owner/name@main`; None for a folder.

    Raises HubError for an address that is none.
    """
    if not str(place).startswith(SCHEME):
        return None
    repository = Repository.at(place, "dataset")
    if repository is None:
        raise HubError(f"{place} is no address of a zoo: expected hub://owner/name, or hub://owner/name@revision")
    return repository


def is_zoo(place: str | Path) -> bool:
    """Whether a place is that of a zoo: a folder with a manifest, or an address of the Hub."""
    return str(place).startswith(SCHEME) or (Path(place) / MANIFEST).is_file()


def fetch_description(repository: Repository) -> Path:
    """The folder in the cache that holds all of a zoo but its networks: manifest, layouts and tables."""
    folder = repository.fetch(MANIFEST).parent
    repository.fetch(LAYOUTS)
    for shard in Manifest.read(folder).shards:
        repository.fetch(shard.files(folder)[1][0].name)
    return folder


class RemoteShards:
    """The tensors of shards, each opened when it is first asked for; no Sequence, whose readers would open some."""

    def __init__(self, open_shard: Callable[[int], Tensors]) -> None:
        self._open = open_shard
        self._opened: dict[int, Tensors] = {}

    def __getitem__(self, place: SupportsIndex) -> Tensors:
        place = int(place)
        if place not in self._opened:
            self._opened[place] = self._open(place)
        return self._opened[place]


def card(name: str, networks: int, layouts: Sequence[str]) -> bytes:
    """The card of a zoo, as Markdown."""
    return CARD.format(name=name, networks=networks, layouts="\n".join(layouts)).encode()
