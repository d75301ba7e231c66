"""A zoo on one page: its networks, what its table holds, and filters of both kinds of facts."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from neural_graphs.plots.page import (
    Block,
    Card,
    Cards,
    Code,
    Facet,
    Histogram,
    Histograms,
    Note,
    Page,
    Section,
    Sheet,
    Slider,
    Table,
    Tile,
    bins,
    fitting,
)
from neural_graphs.zoo.check import info
from neural_graphs.zoo.manifest import SPLITS
from neural_graphs.zoo.portraits import QUALITIES, caption, known, portrait, title
from neural_graphs.zoo.recipes.command import growing
from neural_graphs.zoo.store import Zoo

PLACES = ("index", "image", "copy", "seed", "network")  # columns that tell networks apart, and say nothing of them
FEW = 24  # values of a column that is chosen from
SHOWN = 240  # networks
LAYOUTS = 12


def zoo_page(zoo: Zoo, count: int = SHOWN) -> Page:
    """The page of a zoo, finished or not: at most `count` of its networks, evenly spaced, and all of its table."""
    facts = info(zoo)
    layouts = f"{len(zoo.layouts):,} layouts" if len(zoo.layouts) != 1 else format(zoo.layout)
    told = [f"{facts['networks']:,} networks", f"{facts['bytes'] / 1e6:,.1f} MB", layouts]
    return Page(zoo.path.resolve().name, " · ".join(told), [
        Section("What it holds", list(_figures(zoo, facts))),
        _networks(zoo, count),
        Section("What its table holds", [_histograms(zoo)], "Every column, by split; buttons hide a split."),
        Section("How it was made", list(_made(zoo, facts))),
    ])  # fmt: skip


def _figures(zoo: Zoo, facts: dict[str, Any]) -> Iterator[Block]:
    cards = [Card(split, f"{facts['splits'][split]:,}", "networks") for split in sorted(facts["splits"], key=_split)]
    cards += [Card("runs", f"{facts['runs']:,}", "with all their checkpoints")] if "runs" in facts else []
    for name in QUALITIES:
        if name in facts:
            low, middle, high = (facts[name][part] for part in (0.05, 0.5, 0.95))
            cards.append(Card(f"median {title(name)}", f"{middle:.3g}", f"90 % from {low:.3g} to {high:.3g}"))
    yield Cards(cards)
    done = zoo.manifest.done
    if done < zoo.manifest.planned:
        yield Note(f"Unfinished: {done:,} of {zoo.manifest.planned:,} networks; the command that grew it goes on.")
    rows = [[text, f"{size:,}"] for text, size in list(facts["layouts"].items())[:LAYOUTS]]
    rows += [[f"and {len(zoo.layouts) - LAYOUTS:,} more", ""]] if len(zoo.layouts) > LAYOUTS else []
    yield Table(["layout", "parameters"], rows)


def _split(name: str) -> tuple[int, str]:
    """Where a split stands: the three of training in their order, then others."""
    return SPLITS.index(name) if name in SPLITS else len(SPLITS), name


def _networks(zoo: Zoo, count: int) -> Section:
    """The sheet, as large as there is room for."""
    if not len(zoo):
        return Section("Networks", [Note("It holds no network yet.")])
    shown = zoo.spaced(count)
    facets = [Facet(name, values) for name, values in _facets(shown)]
    sliders = [Slider.over(name, title(name), shown.column(name)) for name in QUALITIES if _numbers(shown, name)]
    tiles = list(fitting(_tiles(shown, [facet.name for facet in facets], [slider.name for slider in sliders])))
    lead = f"{len(tiles):,} of {len(zoo):,} networks, evenly spaced."
    return Section("Networks", [Sheet(tiles, facets, sliders)], lead)


def _facets(zoo: Zoo) -> Iterator[tuple[str, list[str]]]:
    """Columns with few values, and these as text in their order."""
    for name, values in _columns(zoo):
        found = _distinct(values)
        if values.dtype.kind != "f" and 1 < len(found) <= FEW:
            yield name, list(map(str, found))


def _distinct(values: NDArray[Any]) -> list[Any]:
    """The values of a column, each once, in their order."""
    return sorted(set(values.tolist()), key=lambda each: (str(type(each)), each))


def _columns(zoo: Zoo) -> Iterator[tuple[str, NDArray[Any]]]:
    """Name and values of the columns that say something: floats, or numbers and words without gaps."""
    for name in zoo.table.column_names:
        kind = zoo.table[name].type
        if name in PLACES or not (pa.types.is_primitive(kind) or pa.types.is_string(kind)):
            continue
        filled = zoo.table[name].fill_null("") if pa.types.is_string(kind) else zoo.table[name]
        yield name, filled.to_numpy()


def _numbers(zoo: Zoo, name: str) -> bool:
    """Whether a column is there and holds a number."""
    return name in zoo.table.column_names and bool(np.isfinite(zoo.column(name)).any())


def _tiles(zoo: Zoo, facets: Iterable[str], qualities: Iterable[str]) -> Iterator[Tile]:
    for index, row in enumerate(zoo.table.to_pylist()):
        facts = {name: str("" if row[name] is None else row[name]) for name in facets}
        numbers = {name: row[name] if known(row[name]) else None for name in qualities}
        yield Tile(portrait(zoo, index), caption(row), {**facts, **numbers})


def _histograms(zoo: Zoo) -> Block:
    """Every column as a chart, stacked by split."""
    names = zoo.table.column_names
    groups = zoo.column("split") if "split" in names else np.full(len(zoo), "all")
    panels = [_histogram(name, values, groups) for name, values in _columns(zoo) if name != "split"]
    found = [panel for panel in panels if panel is not None]
    return (
        Histograms("histograms of the columns of the table, by split", found) if found else Note("It has no columns.")
    )


def _histogram(name: str, values: NDArray[Any], groups: NDArray[Any]) -> Histogram | None:
    """Of numbers, or of the few values of a column."""
    order = _distinct(values)
    if len(order) == 1:
        return None  # there is nothing to see
    if values.dtype.kind == "f" or (values.dtype.kind in "iu" and len(order) > FEW):
        return bins(title(name), values.astype(np.float64), groups)
    if len(order) > FEW:
        return None  # nearly each has its own
    counts = {
        str(group): [int(((values == each) & (groups == group)).sum()) for each in order]
        for group in sorted(set(groups.tolist()), key=_split)
    }
    return Histogram(title(name), list(map(str, order)), (str(order[0]), str(order[-1])), counts)


def _made(zoo: Zoo, facts: dict[str, Any]) -> Iterator[Block]:
    command = growing(zoo)
    yield Note("It was imported, or grown by a recipe of one's own.") if command is None else Code(command)
    made = yaml.safe_dump({"recipe": facts["recipe"], "versions": facts["versions"]}, sort_keys=False)
    yield Code(made, summary="recipe and versions")
    if facts["skipped"]:
        yield Table(["input", "reason"], facts["skipped"], summary=f"{len(facts['skipped']):,} inputs were skipped")
