"""One self-contained HTML page per run: result, curves, confusion matrix, networks, configuration."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from neural_graphs.layout import Layout
from neural_graphs.plots import confusion_matrix, contact_sheet, plot, training_curve
from neural_graphs.tasks.history import read_csv
from neural_graphs.tasks.runs import Run
from neural_graphs.tasks.task import CLASSIFICATION, find_task
from neural_graphs.zoo import Zoo

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 3rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .6rem; }
p.lead { color: #7b8794; margin-top: .2rem; } img { max-width: 100%; }
table { border-collapse: collapse; } td, th { padding: .25rem 1.2rem .25rem 0; text-align: left; }
th { font-weight: 500; color: #7b8794; } tr + tr { border-top: 1px solid #e4e8ec; }
pre { background: #f6f8fa; padding: 1rem; overflow-x: auto; font-size: .85rem; border-radius: 6px; }
"""
SHOWN = 24  # networks in the contact sheet
FEW = 3  # architectures that are named


def report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, by default to `report.html` in its folder, and return where it is.

    It shows what is there: without a test result no accuracy, without the zoo no networks. Raises ConfigError where
    the folder is no run.
    """
    run = Run(folder)
    config, facts = run.config, run.facts
    result = run.result if run.result_file.exists() else None
    name = config["model"]["metanetwork"]["class_path"].rpartition(".")[2]
    parts = [
        f"<h1>{html.escape(name)} · {html.escape(run.folder.name)}</h1>",
        f"<p class=lead>{html.escape(_architectures(run.layouts))}</p>",
        _table(_figures(result, facts)),
        *_pictures(run, result, config),
        "<h2>Configuration</h2>",
        f"<pre>{html.escape(yaml.safe_dump(config, sort_keys=False))}</pre>",
    ]
    title = html.escape(f"{name}, {run.folder.name}")
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    path = Path(out) if out else run.folder / "report.html"
    path.write_text(page + "\n".join(parts) + "</html>\n", encoding="utf-8")
    return path


def _architectures(layouts: Sequence[Layout]) -> str:
    """The first few layouts, and how many more there are."""
    more = [f"and {len(layouts) - FEW} more architectures"] if len(layouts) > FEW else []
    return " | ".join([*map(format, layouts[:FEW]), *more])


def _figures(result: dict[str, Any] | None, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the table at the top."""
    rows = []
    for place in (result, *result.get("elsewhere", [])) if result else ():
        told = "; ".join(find_task(place.get("task", CLASSIFICATION)).summary(place))
        rows.append((f"test, {Path(place['zoo']).name}", f"{told} ({place['networks']:,} networks)"))
    rows.append(("parameters", f"{facts['parameters']:,}"))
    rows.append(("libraries", ", ".join(f"{name} {number}" for name, number in facts["versions"].items())))
    return [*rows, ("commit", facts["commit"] or "not a checkout")]


def _pictures(run: Run, result: dict[str, Any] | None, config: dict[str, Any]) -> Iterable[str]:
    if run.metrics_file.exists():
        yield _picture("Training", training_curve(read_csv(run.metrics_file)))
    if result and "confusion" in result:
        yield _picture("Which classes are confused", confusion_matrix(np.array(result["confusion"])))
    for file in sorted(run.folder.glob("gallery-*.png")):
        yield _embedded(f"Before and after the edit: {file.stem.removeprefix('gallery-')}", file.read_bytes())
    for file in sorted(run.folder.glob("scatter-*.png")):
        yield _embedded(f"Predicted and true accuracy: {file.stem.removeprefix('scatter-')}", file.read_bytes())
    for file in sorted(run.folder.glob("curves*.png")):
        yield _embedded("Training by each optimizer", file.read_bytes())
    place = Path(config["data"].get("zoo", ""))
    if (place / "manifest.json").exists():
        zoo = Zoo(place).split("test")
        if zoo.canvas is not None:
            images, renders = zoo.sheet(range(min(SHOWN, len(zoo))))
            yield _picture("Images, and what the networks fitted to them draw", contact_sheet(images, renders))
        yield _picture("One of the networks as a graph", plot(zoo.networks([0])))


def _picture(title: str, figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=130, bbox_inches="tight")
    return _embedded(title, data.getvalue())


def _embedded(title: str, png: bytes) -> str:
    encoded = base64.b64encode(png).decode()
    return f'<h2>{html.escape(title)}</h2><img alt="{html.escape(title)}" src="data:image/png;base64,{encoded}">'


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
