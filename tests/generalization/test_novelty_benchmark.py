"""`benchmarks/novelty.py`: each way of spoiling does what it says, and the table has a line for each."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from neural_graphs.zoo import Zoo

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "novelty.py"
NOVELTY = runpy.run_path(str(SCRIPT))
MOVES = ("shuffled within every tensor", "square kernels transposed", "classes of the output permuted")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", NOVELTY["WAYS"])
def test_a_way_changes_numbers_and_no_layout(name: str, park: Path) -> None:
    networks = Zoo(park).split("test").networks()
    spoiled = NOVELTY["WAYS"][name](networks, seeded())
    assert not networks.regular and spoiled.layouts == networks.layouts
    changed = [not torch.equal(a, b) for a, b in zip(spoiled.vectors(), networks.vectors(), strict=True)]
    assert any(changed) == (name != "as they are (false alarms)")
    for old, new in zip(networks.state_dicts(), spoiled.state_dicts(), strict=True):
        if name in MOVES:
            assert all(torch.equal(old[key].flatten().sort()[0], new[key].flatten().sort()[0]) for key in old)


def test_permuted_classes_are_the_same_outputs_elsewhere(small: Path) -> None:
    networks = Zoo(small).split("test").networks()
    images = torch.rand(4, 1, 8, 8, generator=seeded())
    before, after = (n.run(images) for n in (networks, NOVELTY["classes_permuted"](networks, seeded())))
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(before.sort(-1)[0], after.sort(-1)[0])


def test_the_table_has_a_line_for_every_way_and_zoo(run, small, monkeypatch, capsys) -> None:
    words = [str(run.folder), "--elsewhere", str(small), "--only", "split == test"]
    monkeypatch.setattr(sys, "argv", ["novelty.py", *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    *ways, _, _, elsewhere = capsys.readouterr().out.splitlines()[2:]
    found = {line[:34].strip(): line[34:].split() for line in ways}
    assert list(found) == list(NOVELTY["WAYS"])
    assert found["all numbers × 30"][1:] == ["100", "100", "100"]
    held_out = found["as they are (false alarms)"]
    assert int(held_out[3]) < 30
    assert elsewhere.split()[:5] == ["small", *held_out]  # the same networks, asked for by name
