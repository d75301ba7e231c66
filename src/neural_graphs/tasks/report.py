"""The page of a run: what it reached, how it learned, networks that are worth a look, and how to make it again."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from neural_graphs.errors import ConfigError, NeuralGraphsError
from neural_graphs.io.atomic import write_whole
from neural_graphs.io.documents import read_json
from neural_graphs.layout import Layout
from neural_graphs.plots import plot
from neural_graphs.plots.charts import QUANTITIES, factor
from neural_graphs.plots.page import (
    Block,
    Card,
    Cards,
    Code,
    Curve,
    Drawing,
    Lines,
    Note,
    Page,
    Panel,
    Picture,
    Section,
    Table,
    Tile,
    Tiles,
    fitting,
)
from neural_graphs.tasks.base import BaseTask
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.history import read_csv
from neural_graphs.tasks.logging import quiet
from neural_graphs.tasks.runs import RETEST, Run
from neural_graphs.tasks.settings import settings
from neural_graphs.tasks.task import CLASSIFICATION, find_task
from neural_graphs.zoo import Zoo
from neural_graphs.zoo.portraits import caption, portrait
from neural_graphs.zoo.recipes.command import growing
from neural_graphs.zoo.remote import is_zoo

FEW = 3  # architectures that are named
SHOWN = 12  # networks of the zoo
ROOM = 300_000  # bytes for their pictures


def report(folder: str | Path, out: str | Path | None = None, against: str | Path | None = None) -> Path:
    """Write the page of a run, by default to `report.html` in its folder, and return where it is.

    It shows what is there, and says what is missing: a result, the zoo, a checkpoint, epochs. The configuration stands
    beside the experiment file `against`, by default the one it was trained from, or else beside the defaults. Raises
    ConfigError where the folder is no run, or that file cannot be read.
    """
    path = Path(out) if out else Path(folder) / "report.html"
    page = RunPage(Run(folder).known(), None if against is None else Path(against)).page()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.html().encode())
    return path


class RunPage:
    """What a run holds, section by section."""

    def __init__(self, run: Run, against: Path | None) -> None:
        self.run, self.config = run, run.config
        self.kind: type[BaseTask] = find_task(self.config.get("task", CLASSIFICATION))
        self.facts: dict[str, Any] = run.facts if run.facts_file.is_file() else {}
        self.result: dict[str, Any] = run.result if run.result_file.is_file() else {}
        self.members: list[str] = self.facts.get("members", [])  # of an ensemble
        self.arguments: list[str] = [] if self.members else self.facts.get("arguments", [])
        self.against = against or self._experiment()

    def page(self) -> Page:
        """The whole page."""
        reader = self.config["model"]["metanetwork"]["class_path"].rpartition(".")[2]
        title = f"{reader} · {self.run.folder.resolve().name}"
        return Page(title, _architectures(self.facts.get("layouts", [])), [
            Section("Result", list(self._figures())),
            Section("Training", list(self._training())),
            *self._measured(),
            *_told("Networks of its zoo", self._networks),
            self._configuration(),
            Section("To make it again", [Code("\n".join(self._commands()))]),
            Section("Made with", [self._made()]),
        ])  # fmt: skip

    def _experiment(self) -> Path | None:
        """The last configuration that it was trained from, where that is still there."""
        words, found = iter(self.arguments), None
        for word in words:
            name, _, value = word.partition("=")
            if name == "--config" and (file := Path(value or next(words, ""))).is_file():
                found = file
        return found

    @cached_property
    def task(self) -> BaseTask:
        """The task around the metanetwork of the best checkpoint."""
        return self.run.task()

    @cached_property
    def zoo(self) -> Zoo | None:
        """The zoo it was trained on, where it is one and is still there."""
        place = self.config["data"].get("zoo")
        return ZooData.of(self.config["data"], None).zoo if place is not None and is_zoo(place) else None

    @property
    def places(self) -> list[dict[str, Any]]:
        """The result of its own zoo, and of others."""
        return [self.result, *self.result.get("elsewhere", [])] if self.result else []

    def _figures(self) -> Iterator[Block]:
        """The figure that the task is judged by beside the published one, and all others in words."""
        name, published = self.kind.best[0], self.config.get("published")
        known = "" if published is None else f"published: {published:g}"
        cards = []
        if name in self.result:
            title = f"{QUANTITIES.get(name, name)}, {Path(self.result['zoo']).name}"
            cards.append(Card(title, f"{self.kind.scale * self.result[name]:.4g}", known))
        cards += [Card("parameters", f"{self.facts['parameters']:,}")] if self.facts else []
        yield Cards(cards)
        if not self.result:
            known = f" Published: {published:g}." if known else ""
            yield Note(f"Not tested yet: neural-graphs test --run {self.run.folder}{known}")
            return
        several = [read_json(file, ConfigError, RETEST) for file in sorted(self.run.folder.glob("result-views*.json"))]
        yield Table(["data", "test split", "networks"], [
            [_called(place), "; ".join(self.kind.summary(place)), f"{place['networks']:,}"]
            for result in (self.result, *several) for place in (result, *result.get("elsewhere", []))
        ])  # fmt: skip
        for absent in self.result.get("absent", []):
            yield Note(f"{absent} was not there: not measured.")

    def _training(self) -> Iterator[Block]:
        """Every quantity over epochs."""
        if self.members:
            yield Note(f"Nothing was trained: it answers by the mean of {', '.join(self.members)}.")
            return
        if not self.run.metrics_file.is_file() or not (columns := read_csv(self.run.metrics_file))["epoch"]:
            yield Note(f"No epoch is over yet; go on with: neural-graphs fit --run {self.run.folder} --resume")
            return
        epochs = [epoch + 1 for epoch in columns["epoch"]]
        planned = self.config.get("trainer", {}).get("max_epochs") or len(epochs)
        if len(epochs) < planned:
            yield Note(
                f"{len(epochs)} of {planned} epochs are over; go on with:"
                f" neural-graphs fit --run {self.run.folder} --resume"
            )
        quantities = [name.removeprefix("val_") for name in columns if name.startswith("val_")]
        panels = [self._panel(quantity, epochs, columns) for quantity in quantities]
        yield Lines("training and validation over epochs", "epoch", panels)

    def _panel(self, quantity: str, epochs: list[float], columns: Mapping[str, Sequence[float]]) -> Panel:
        by = factor(quantity)
        curves = [
            Curve(name, epochs, [by * value for value in columns[f"{split}_{quantity}"]], quiet=split == "train")
            for split, name in (("train", "training"), ("val", "validation")) if f"{split}_{quantity}" in columns
        ]  # fmt: skip
        published = self.config.get("published") if quantity == self.kind.best[0] else None
        marks = {} if published is None else {"published": published}
        return Panel(QUANTITIES.get(quantity, quantity), curves, marks)

    def _measured(self) -> Iterator[Section]:
        """What the task shows of its figures, and of the networks, for every zoo that was measured."""
        for place in self.places:
            where = f", {Path(place['zoo']).name}" if len(self.places) > 1 else ""
            examples = _told("Networks that were measured", partial(self._examples, place))
            for section in [*self.kind.charts(place), *examples]:
                yield Section(section.title + where, section.blocks, section.lead)

    def _examples(self, place: Mapping[str, Any]) -> list[Section]:
        task = self.task
        data = task.data_class.of(self.config["data"], place["zoo"])
        with quiet():
            return task.examples(data)

    def _networks(self) -> list[Section]:
        """Some networks of its zoo, and one of them as a graph."""
        if not issubclass(self.kind.data_class, ZooData):
            return []
        if self.zoo is None:
            place = self.config["data"]["zoo"]
            raise ConfigError(f"Its zoo {place} is not there, seen from {Path.cwd()}: no network can be shown.")
        zoo = self.zoo.spaced(SHOWN)
        rows = enumerate(zoo.table.to_pylist())
        tiles = fitting((Tile(portrait(zoo, index), caption(row), {}) for index, row in rows), ROOM)
        graph = Picture.drawn(plot(zoo.networks([0])), "one of the networks as a graph")
        return [Section("Networks of its zoo", [Tiles(list(tiles)), Drawing(graph)])]

    def _configuration(self) -> Section:
        """Keys that differ, then the others."""
        beside = "the defaults" if self.against is None else str(self.against)
        found = settings(self.config, self.against)
        head = ["key", "this run", "default" if self.against is None else beside]
        marked, others = ([[s.key, s.value, s.usual] for s in found if s.differs is wanted] for wanted in (True, False))
        lead = f"{len(marked)} of {len(found)} keys differ from {beside}."
        return Section("Configuration", [
            *([Table(head, marked, marked=frozenset(range(len(marked))))] if marked else []),
            Table(head, others, summary=f"{len(others)} keys that are as in {beside}"),
        ], lead)  # fmt: skip

    def _commands(self) -> Iterator[str]:
        """From the zoo to this page."""
        if self.zoo is not None:
            yield growing(self.zoo) or f"# {self.config['data']['zoo']} was imported, or grown from Python"
        words, again = self.arguments or ["--config", str(self.run.config_file)], f"{self.run.folder}-again"
        make = ["ensemble", *self.members, "--out", again] if self.members else ["fit", *words, "--run", again]
        for command in (make, ["test", "--run", again], ["report", again]):
            yield shlex.join(["neural-graphs", *command])

    def _made(self) -> Block:
        if not self.facts:
            return Note(f"{self.run.facts_file} is missing: nothing is known of versions, device and architectures.")
        rows = [[name, number] for name, number in self.facts["versions"].items()]
        rows += [["commit", self.facts["commit"] or "not a checkout"]]
        return Table(
            ["", ""], [*rows, *([name, str(self.facts[name])] for name in ("device", "date") if name in self.facts)]
        )


def _called(place: Mapping[str, Any]) -> str:
    """The data of a result, and over how many views it is a mean."""
    views = place.get("views", 1)
    return Path(place["zoo"]).name + (f", mean of {views} views" if views > 1 else "")


def _told(title: str, make: Callable[[], list[Section]]) -> list[Section]:
    """Sections, or one that says why there are none."""
    try:
        return make()
    except NeuralGraphsError as error:
        return [Section(title, [Note(str(error))])]


def _architectures(layouts: Sequence[dict[str, Any]]) -> str:
    """The first few layouts, and how many more there are."""
    more = [f"and {len(layouts) - FEW:,} more architectures"] if len(layouts) > FEW else []
    return " | ".join([*(format(Layout.from_json(each)) for each in layouts[:FEW]), *more])
