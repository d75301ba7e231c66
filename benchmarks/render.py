"""Time the drawing of edited networks against a whole training step of the editors: 128 INRs 2 → 32 → 32 → 1, 28 × 28.

Drawing is what a step adds to an editor: `networks + edit`, the picture, its squared error, and backward to the edit;
in the pieces, and on the threads, of the step it is compared with. A step is that, the editor, and AdamW. Float32,
weights without probes. Prints one line; the ratios are of times taken in turns, so that a busy machine slows both down.

    python benchmarks/render.py [--editors nggnn32 nggnn128 ngt] [--batch 128] [--repeats 3]
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from neural_graphs.graph import Looped
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import Metanetwork, NGGNNEditor, NGTEditor
from neural_graphs.nn.run import microbatch
from neural_graphs.nn.spec import InputSpec, Statistics
from neural_graphs.tasks.editing import Drawing
from neural_graphs.zoo.canvas import Canvas

LAYOUT = Layout.mlp((2, 32, 32, 1), "sine", scale=30.0, offset=0.5)
CANVAS = Canvas(28, 28, 1)
FAMILY = InputSpec.of([LAYOUT], Statistics((0.0,) * 3, (0.06, 0.02, 0.12), (0.0,) * 3, (0.02, 0.01, 0.1)))
EDITORS: dict[str, Callable[[], Metanetwork]] = {
    "nggnn32": lambda: NGGNNEditor(FAMILY, width=32),
    "nggnn128": lambda: NGGNNEditor(FAMILY, width=128),
    "ngt": lambda: NGTEditor(FAMILY, wiring=Looped()),
}


class Known(nn.Module):
    """In an editor's place: an edit that is there already, for batches cut as that editor cuts them."""

    def __init__(self, editor: Metanetwork) -> None:
        super().__init__()
        self.edit = nn.Parameter(1e-3 * torch.randn(LAYOUT.size))  # its gradient is what drawing has to give back
        self.numbers = editor.numbers

    def read(self, networks: Networks) -> Networks:
        """The same change of every network."""
        return networks.with_values(self.edit.expand_as(networks.values))


def seconds(run: Callable[[], Any]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(editor: Metanetwork, batch: int, repeats: int) -> tuple[float, float]:
    """Seconds of drawing and of a whole step, medians of runs in turns."""
    networks = Networks(0.05 * torch.randn(batch, LAYOUT.size), LAYOUT)
    targets = torch.rand(batch, CANVAS.height * CANVAS.width, CANVAS.channels)
    known: Any = Known(editor)
    optimizer = torch.optim.AdamW(editor.parameters(), 1e-3)

    def draw(with_editor: Metanetwork) -> None:
        microbatch.mean_loss(Drawing(with_editor, CANVAS), networks, targets, F.mse_loss)[0].backward()

    def step() -> None:
        optimizer.zero_grad()
        draw(editor)
        optimizer.step()

    times = [(seconds(lambda: draw(known)), seconds(step)) for _ in range(repeats + 1)][1:]  # the first is a warm-up
    return median(time for time, _ in times), median(time for _, time in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--editors", nargs="+", choices=EDITORS, default=list(EDITORS))
    parser.add_argument("--batch", type=int, default=128, help="networks per step (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many counts (default %(default)s)")
    arguments = parser.parse_args()
    parts = []
    for name in arguments.editors:
        torch.manual_seed(0)
        drawing, step = measure(EDITORS[name](), arguments.batch, arguments.repeats)
        parts.append(f"{name} {drawing * 1e3:.0f} of {step * 1e3:.0f} ms, {drawing / step:.1%}")
    threads = torch.get_num_threads()
    print(f"drawing {arguments.batch} edited networks on {threads} thread(s): " + "   ".join(parts), flush=True)


if __name__ == "__main__":
    main()
