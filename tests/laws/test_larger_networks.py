"""Larger networks train, too: editors of SIRENs 2 → 128 → 128 → 128 → 1 learn to dilate what they draw."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from neural_graphs.graph import Looped
from neural_graphs.networks import Networks
from neural_graphs.nn import Metanetwork, NGGNNEditor, NGTEditor, Standardise
from neural_graphs.nn.spec import InputSpec
from neural_graphs.zoo import Zoo, grow_inrs, preset
from neural_graphs.zoo.styles import Dilate

STEPS, WARMUP, RATE = 200, 10, 1e-3


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Two networks of 33,537 parameters that draw digits."""
    folder = tmp_path_factory.mktemp("zoos") / "large"
    law = replace(preset("fast"), steps=100)
    return grow_inrs(folder, "digits", law, count=2, hidden=(128, 128, 128), shares=(1, 0, 0), workers=1)


def steps_to_halve(editor: Metanetwork, zoo: Zoo) -> int | None:
    """Training steps until the error is half of what it is without an edit; None where `STEPS` are not enough."""
    networks = zoo.networks()
    styled = torch.from_numpy(Dilate()(zoo.images().astype(np.float32) / np.float32(255))).flatten(1, 2)

    def error(edited: Networks) -> torch.Tensor:
        return F.mse_loss(zoo.canvas.draw(edited), styled)

    untouched = error(networks).item()
    optimizer = torch.optim.Adam(editor.parameters(), RATE)
    for step in range(STEPS + 1):
        loss = error(networks + editor(networks))
        if loss.item() < untouched / 2:
            return step
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(editor.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / WARMUP)
        optimizer.step()
    return None


# A change of 0.01 shared by the 128 weights into a neuron would turn its sine by radians: start lower.
EDITORS = {
    "NG-GNN": lambda family: NGGNNEditor(family, width=8, depth=2, sigma=None, initial=1e-3),
    "NG-T over weights": lambda family: NGTEditor(
        family, widths=(8, 8), attention=8, heads=2, hidden=(8, 8), depth=2, wiring=Looped(), sigma=None, initial=1e-3
    ),
}


@pytest.mark.parametrize("name", EDITORS)
def test_the_error_halves_within_two_hundred_steps(zoo: Zoo, name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        editor = EDITORS[name](InputSpec.of(zoo.layouts, Standardise.measure(zoo.networks())))
    steps = steps_to_halve(editor, zoo)
    assert steps is not None and steps > 0
