"""Networks on disk: random access, splits and subsets, batches by one gather from mapped files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from neural_graphs.errors import ZooError
from neural_graphs.io.hub import Repository
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.manifest import LAYOUTS, MANIFEST, Manifest, Shard, map_tensors
from neural_graphs.zoo.query import matches
from neural_graphs.zoo.remote import RemoteShards, Tensors, card, fetch_description, repository_of

Indices = Sequence[int] | NDArray[np.integer[Any]] | Int[Tensor, " n"] | slice
FEW = 3  # layouts are printed, more are counted
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Record:
    """One network of a zoo: its parameters in `state_dict` order, what the table says of it, and what it was fitted to.

    `image` is uint8 (height, width, channels), None for networks that are not implicit images.
    """

    values: Float[Tensor, " size"]
    layout: Layout
    metadata: dict[str, Any]
    image: NDArray[np.uint8] | None
    canvas: Canvas | None

    @property
    def network(self) -> Networks:
        """Return the network as a batch of one."""
        return Networks(self.values[None], self.layout)

    def render(self) -> NDArray[np.float32]:
        """Return what an implicit network draws, (height, width) or (height, width, 3), nominally in [0, 1]."""
        return _require(self.canvas, "The zoo of this network").render(self.network)[0]


class Zoo:
    """Networks in a folder, read where they lie: a zoo of any size opens at once and shares memory between processes.

    `zoo[i]` is a `Record`; `zoo.networks(indices)` a batch; `zoo.split("train")` and `zoo.subset("label == 3")` are
    zoos themselves, views of the same files. Opening checks the size of every file; `ZooError` names the wrong one.
    A zoo that is still growing opens with `partial=True` only.

    `Zoo("hub://owner/name")` is one of the Hugging Face Hub (extra `hub`), at `@revision` if that is said: its tables
    are downloaded when it is opened, a shard when a network of it is first read. Raises HubError where it is not there.

    Examples:
        >>> from tempfile import mkdtemp
        >>> from neural_graphs.zoo import grow_inrs, preset
        >>> zoo = grow_inrs(mkdtemp(), "digits", preset("same-start"), hidden=(32,), count=8)
        >>> zoo.networks([0, 3, 5]).values.shape, zoo[0].render().shape, len(zoo.subset('psnr > 0'))
        (torch.Size([3, 129]), (8, 8), 8)
    """

    def __init__(self, path: str | Path, *, partial: bool = False) -> None:
        self.repository = repository_of(path)
        self.path = Path(path) if self.repository is None else fetch_description(self.repository)
        self.manifest = Manifest.read(self.path)
        plan = self.manifest
        if plan.done < plan.planned and not partial:
            raise ZooError(
                f"{self.path} is unfinished: {plan.done} of {plan.planned} networks. Grow it again with the same"
                f" arguments to finish it, or read what is there with Zoo({str(path)!r}, partial=True)."
            )
        self.layouts = plan.layouts
        self.canvas = None if plan.canvas is None else Canvas.from_json(plan.canvas)
        self._partial = partial
        self._tensors = self._open_shards()
        counts = [shard.networks for shard in plan.shards]
        self._shard = np.repeat(np.arange(len(counts)), counts)  # of each network
        self._row = np.concatenate([np.arange(count) for count in (0, *counts)])  # of each network in its shard
        self._rows = np.arange(len(self._shard))  # of the networks of this view
        self.table = _read_tables(self.path, plan.shards)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        few = len(self.layouts) <= FEW
        layouts = ", ".join(map(format, self.layouts)) if few else f"{len(self.layouts)} layouts"
        return f"Zoo({self.place}: {len(self)} networks, {layouts})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.place, self._partial, self._rows)  # mapped files do not travel between processes

    def __getitem__(self, index: SupportsIndex) -> Record:
        place = range(len(self))[index]
        row = self._rows[place]
        network = self.networks([place])
        images = self._tensors[self._shard[row]].get("images")
        return Record(
            values=network.values[0],
            layout=network.layouts[0],
            metadata=self.table.slice(place, 1).to_pylist()[0],
            image=None if images is None else images[self._row[row]].copy(),
            canvas=self.canvas,
        )

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    @property
    def place(self) -> str:
        """Return what opens this zoo again: its folder, or its address with the commit it is of."""
        return str(self.repository or self.path)

    @property
    def layout(self) -> Layout:
        """Return the layout that all networks share; raises `ZooError` where there are several."""
        if len(self.layouts) != 1:
            raise ZooError(f"{self.path} holds networks of {len(self.layouts)} layouts; ask for `zoo.layouts`.")
        return self.layouts[0]

    @property
    def labels(self) -> Int[Tensor, " networks"]:
        """Return the class of each network's image."""
        return torch.from_numpy(self.column("label").astype(np.int64))

    @property
    def weights(self) -> NDArray[np.int64]:
        """Return how many weights each network has, (networks,)."""
        of_shards = [self.layouts[shard.layout].weights for shard in self.manifest.shards]
        return np.array(of_shards, np.int64)[self._shard[self._rows]]

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of the metadata table; raises `ZooError` listing the columns where there is none such."""
        if name not in self.table.column_names:
            raise ZooError(f"{self.path} has no column {name!r}; it has {', '.join(self.table.column_names)}.")
        return self.table[name].to_numpy()

    def networks(self, indices: Indices = slice(None)) -> Networks:
        """Return networks as one batch, in the order asked for; all of them by default.

        Raises `ZooError` naming shard and tensor where a value is not finite: `subset("ok")` leaves out runs that
        diverged.
        """
        rows = self._places(indices)
        if not len(rows):
            raise ZooError(f"{self.path}: a batch needs at least one network, none was asked for.")
        shards, places = self._shard[rows].tolist(), self._row[rows].tolist()
        vectors = [self._tensors[shard]["values"][place] for shard, place in zip(shards, places, strict=True)]
        layouts = [self.layouts[self.manifest.shards[shard].layout] for shard in shards]
        regular = len(set(layouts)) == 1
        values = np.stack(vectors) if regular else np.concatenate(vectors)
        if not np.isfinite(values).all():
            raise self._refuse(next(r for r, v in zip(rows.tolist(), vectors, strict=True) if not np.isfinite(v).all()))
        return Networks(torch.from_numpy(values), layouts[0] if regular else layouts)

    def batches(self, size: int) -> Iterator[Networks]:
        """Yield all networks in order, at most so many at a time."""
        for start in range(0, len(self), size):
            yield self.networks(slice(start, start + size))

    def image(self, index: SupportsIndex) -> NDArray[np.uint8]:
        """Return the image (height, width, channels) a network was fitted to; raises `ZooError` where none is kept."""
        return self.images([int(index)])[0]

    def images(self, indices: Indices = slice(None)) -> NDArray[np.uint8]:
        """Return the images (n, height, width, channels) networks were fitted to; raises `ZooError` without any."""
        rows = self._places(indices)
        if not self.has_images:
            raise ZooError(f"{self.path} keeps no images.")
        return np.stack([self._tensors[self._shard[row]]["images"][self._row[row]] for row in rows])

    @property
    def has_images(self) -> bool:
        """Return whether the images that the networks were fitted to are kept."""
        tensors = self._tensors
        asked = [tensors[self._shard[row]] for row in self._rows[:1]] if isinstance(tensors, RemoteShards) else tensors
        return bool(asked) and all("images" in tensors for tensors in asked)

    def render(self, indices: Indices) -> NDArray[np.float32]:
        """Return what implicit networks draw, (n, height, width[, 3]), nominally in [0, 1]."""
        return _require(self.canvas, str(self.path)).render(self.networks(indices))

    def sheet(self, indices: Indices) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return images and what the networks draw, both (n, height, width[, 3]) in [0, 1], to show side by side."""
        renders = self.render(indices)
        images = self.images(indices)
        return images.reshape(renders.shape).astype(np.float32) / np.float32(255), renders.clip(0, 1)

    def subset(self, query: str | pc.Expression) -> "Zoo":
        """Return the networks for which a query holds: `"label == 3 and (psnr > 20 or split == val)"`.

        It compares columns by `==`, `!=`, `<`, `<=`, `>`, `>=`, `in [a, b]`, `not in`, joined by `and`, `or`, `not`; a
        column of truths stands alone, and missing values never match. An expression of pyarrow is a query too.
        Raises `ZooError` for a query that cannot be read or asks for an unknown column.
        """
        return self._view(matches(self.table, query))

    def split(self, name: str) -> "Zoo":
        """Return the networks of the split `train`, `val` or `test`; copies of one image are never in two of them."""
        view = self._view(np.flatnonzero(self.column("split") == name))
        if not len(view):
            known = ", ".join(sorted(set(self.column("split"))))
            raise ZooError(f"{self.path} has no networks in split {name!r}; it has {known}.")
        return view

    def at(self, indices: Indices) -> "Zoo":
        """Return the networks at these places, in this order."""
        return self._view(np.arange(len(self))[indices])

    def spaced(self, count: int) -> "Zoo":
        """Return at most `count` networks, evenly spaced from the first to the last."""
        return self.at(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))

    def files(self, place: int) -> tuple[tuple[Path, int, str], ...]:
        """Return path, expected bytes and expected SHA-256 of the two files of a shard, which lie on this disk."""
        files = self.manifest.shards[place].files(self.path)
        if self.repository is not None:
            for path, _, _ in files:
                self.repository.fetch(path.name)
        return files

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Write the whole zoo onto the Hub as the data set `owner/name`, in one commit, and return its address.

        Raises `ZooError` for a view or an unfinished zoo, `HubError` where the Hub does not take it.
        """
        repository = Repository.at(name, "dataset")
        if repository is None:
            raise ZooError(f"{name} is no name on the Hub: expected owner/name.")
        if len(self) != len(self._shard) or self.manifest.done < self.manifest.planned:
            raise ZooError(
                f"{self.place}: only whole, finished zoos are shared; this holds {len(self)} networks of one."
            )
        paths = [path for place in range(len(self.manifest.shards)) for path, _, _ in self.files(place)]
        content: dict[str, Path | bytes] = {path.name: path for path in paths}
        content["README.md"] = card(repository.name, len(self), [format(layout) for layout in self.layouts[:FEW]])
        content |= {name: self.path / name for name in (MANIFEST, LAYOUTS) if (self.path / name).is_file()}
        return repository.push(content, f"neural-graphs: a zoo of {len(self)} networks", private=private)

    def _open_shards(self) -> list[Tensors] | RemoteShards:
        """Return the tensors of all shards, whose sizes are checked; of a zoo on the Hub each when it is asked for."""

        def opened(place: int) -> Tensors:
            return _open(self.files(place), self.manifest.shards[place], self.layouts)

        if self.repository is not None:
            return RemoteShards(opened)
        return [opened(place) for place in range(len(self.manifest.shards))]

    def _places(self, indices: Indices) -> NDArray[np.int64]:
        """Return the places in the whole zoo of the networks asked for."""
        return self._rows[indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)]

    def _view(self, positions: NDArray[np.integer[Any]]) -> "Zoo":
        view = object.__new__(type(self))  # copy.copy would open the files again, as `__reduce__` says
        view.__dict__ |= self.__dict__
        view._rows = self._rows[positions]
        view.table = self.table.take(pa.array(positions))
        return view

    def _refuse(self, row: int) -> ZooError:
        """Return the error for a network, given by its place in the whole zoo, whose values are not all finite."""
        shard = self.manifest.shards[self._shard[row]]
        values = self._tensors[self._shard[row]]["values"][self._row[row]]
        slices = self.layouts[shard.layout].slices
        bad = [name for name, where in slices.items() if not np.isfinite(values[where]).all()]
        path = shard.files(self.path)[0][0]
        marked = "; leave out what diverged: zoo.subset('ok')" if "ok" in self.table.column_names else ""
        place = self._row[row]
        return ZooError(f"{path}: network {place} of this shard has values that are not finite in {bad}{marked}.")


def _reopen(path: str, partial: bool, rows: NDArray[np.int64]) -> Zoo:
    return Zoo(path, partial=partial)._view(rows)


def _require(canvas: Canvas | None, whose: str) -> Canvas:
    if canvas is None:
        raise ZooError(f"{whose} says nothing of how its networks draw: they are not implicit images.")
    return canvas


def _open(files: Sequence[tuple[Path, int, str]], shard: Shard, layouts: Sequence[Layout]) -> Tensors:
    """Map the tensors of a shard after checking the sizes of its files and of its values."""
    for path, expected, _ in files:
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            state = "is missing" if found is None else f"holds {found} bytes, the manifest says {expected}"
            raise ZooError(f"{path} {state}; grow the zoo again with the same arguments to repair it.")
    path = files[0][0]
    tensors = map_tensors(path)
    shape = (shard.networks, layouts[shard.layout].size)
    if "values" not in tensors or tensors["values"].shape != shape:
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        raise ZooError(f"{path} holds {shapes}; expected a tensor 'values' of shape {shape}.")
    return tensors


def _read_tables(folder: Path, shards: Sequence[Shard]) -> pa.Table:
    """Return the metadata of all shards as one table, a row per network."""
    tables: list[pa.Table] = []
    for shard in shards:
        path = shard.files(folder)[1][0]
        try:
            table = pq.ParquetFile(path).read(use_threads=False)  # a few rows each: threads would cost more
        except (pa.ArrowException, ValueError, OSError) as error:
            raise ZooError(f"{path} is not a readable Parquet table ({error}).") from error
        if len(table) != shard.networks:
            raise ZooError(f"{path} has {len(table)} rows, the manifest says {shard.networks} networks.")
        if tables and table.schema != tables[0].schema:
            odd = sorted(set(map(str, table.schema)) ^ set(map(str, tables[0].schema)))
            raise ZooError(f"{path} has other columns than {shards[0].name}.parquet ({', '.join(odd[:2])}).")
        tables.append(table)
    return pa.concat_tables(tables).combine_chunks() if tables else pa.table({})
