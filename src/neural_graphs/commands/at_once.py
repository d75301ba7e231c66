"""What the metanetworks that come with the package make of the networks that do: answers before anything is trained."""

import time
from pathlib import Path

import torch

from neural_graphs import plots
from neural_graphs.networks import Networks
from neural_graphs.tasks import Pretrained, classify, examples, read_network
from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.editing import Editing

READER, EDITOR = "mnist-inr", "mnist-dilate"
PICTURE = "pretrained.png"


@torch.no_grad()
def answer(out: Path) -> tuple[int, int, float]:
    """Name the digits that the networks draw, edit the networks, draw both.

    Returns how many digits are right, of how many, and the seconds it took.
    """
    start = time.perf_counter()
    reader, editor, files = Pretrained(READER), Pretrained(EDITOR), examples()
    networks = Networks.cat([read_network(file, reader.layouts) for file in files])
    naming, editing = reader.task(), editor.task()
    assert isinstance(naming, Classification) and isinstance(editing, Editing)
    said = classify(naming.metanetwork, networks).argmax(1).tolist()
    after, canvas = networks + editing(networks), editor.canvas
    rows = {"network": canvas.render(networks), "edited": canvas.render(after)}
    title = f"{READER} says {', '.join(map(str, said))}; {EDITOR} thickens the strokes"
    plots.save(plots.gallery(rows, title=title, difference=False), out / PICTURE)
    right = sum(file.stem == f"digit-{digit}" for file, digit in zip(files, said, strict=True))
    return right, len(networks), time.perf_counter() - start
