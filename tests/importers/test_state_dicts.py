"""A user's own checkpoints become a zoo: joined with a table, any network that can be traced, nothing lost."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import neural_graphs as ng
from neural_graphs.errors import ZooError
from neural_graphs.layout import Layout
from neural_graphs.zoo import Zoo, check_zoo, convert_state_dicts, info
from neural_graphs.zoo.importers.runs_of_files import run_and_epoch


def residual():
    """A network with a norm and a skip, which only tracing can read."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.body, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)

        def forward(self, x):
            x = torch.relu(self.norm(self.stem(x)))
            return self.head((x + torch.relu(self.body(x))).mean((2, 3)))

    return Residual()


def plain(widths=(4, 6)):
    layers = [nn.Conv2d(1, widths[0], 3), nn.ReLU(), nn.Conv2d(widths[0], widths[1], 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[1], 5))


def save(path, module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.rand(t.shape, generator=generator) if t.is_floating_point() else t
             for name, t in module.state_dict().items()}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path)
    return state


def table_of(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Twelve runs of two checkpoints each, and their table; the working directory is theirs."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for run in range(12):
        for epoch in (1, 2):
            save(Path(f"runs/{run}/epoch_{epoch}.pt"), plain(), 10 * run + epoch)
            facts = {"test_accuracy": run / 20 + epoch / 100, "lr": 0.1 / (run + 1), "note": f"run {run}"}
            rows.append({"file": f"{run}/epoch_{epoch}.pt", **facts})
    table_of(Path("metrics.csv"), rows)
    return rows


def test_the_whole_way(runs, tmp_path):
    zoo = convert_state_dicts("runs/**/*.pt", "metrics.csv", "zoo", module=plain, shape=(1, 1, 12, 12))
    check_zoo(zoo)
    assert len(zoo) == 24 and not info(zoo)["skipped"] and zoo.manifest.recipe["module"] == "plain"
    for facts in zoo.table.to_pylist():
        run, epoch = int(facts["run"].removeprefix("runs/")), facts["epoch"]
        assert facts["test_accuracy"] == pytest.approx(run / 20 + epoch / 100) and facts["note"] == f"run {run}"
        assert facts["lr"] == pytest.approx(0.1 / (run + 1)) and facts["file"] == f"runs/{run}/epoch_{epoch}.pt"
    splits = dict(zip(zoo.column("network").tolist(), zoo.column("split"), strict=True))
    assert len(splits) == 12 and list(splits.values()).count("val") == 1
    for network, split in splits.items():
        assert set(zoo.subset(f"network == {network}").column("split")) == {split}


def test_traced_layouts_come_back_without_their_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    states = [save(Path(f"runs/{run}.pt"), residual(), run) for run in range(4)]
    table_of(Path("t.csv"), [{"name": run, "test_accuracy": 0.5} for run in range(4)])
    convert_state_dicts("runs/*.pt", "t.csv", "zoo", module=residual, shape=(1, 3, 8, 8))
    zoo = Zoo("zoo")
    traced = ng.trace(residual(), torch.zeros(1, 3, 8, 8))
    assert zoo.layout == traced and zoo.layout.program is None
    assert Layout.from_json(zoo.layout.to_json()) == traced
    for state, back in zip(states, zoo.networks().state_dicts(), strict=True):
        assert list(back) == list(state)
        assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    module = residual().eval()
    module.load_state_dict(states[2])
    again = ng.Networks(zoo.networks().values, traced)  # the values with the layout that knows how to run them
    torch.testing.assert_close(again.run(x)[2], module(x))


def test_without_a_module_shapes_tell_many_layouts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    widths = [(4, 6), (8, 8), (4, 6), (2, 5)]
    states = []
    for run, each in enumerate(widths):
        path = Path(f"runs/{run}.safetensors")
        states.append(save(path, plain(each), run))
    pq.write_table(
        pa.table({"path": [f"runs/{run}.safetensors" for run in range(4)], "acc": [10, 20, 30, 40]}), "t.parquet"
    )
    zoo = convert_state_dicts(
        ["runs/*.safetensors"], "t.parquet", "zoo", activation="tanh", column="acc", percent=True, shard_size=2
    )
    check_zoo(zoo)
    assert len(zoo.layouts) == 3 and sorted(zoo.column("test_accuracy")) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    for record in zoo:
        run = int(record.metadata["run"].removeprefix("runs/"))
        assert record.metadata["test_accuracy"] == pytest.approx((run + 1) / 10)
        assert torch.equal(record.values, torch.cat([tensor.flatten() for tensor in states[run].values()]))
        assert record.layout.groups[1].activation.kind == "tanh"


def test_columns_of_the_table_tell_run_epoch_and_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(6):
        save(Path(f"all/{number}.pt"), plain(), number)
        split = ("train", "test")[number // 3]
        rows.append({"id": number, "run": f"r{number // 3}", "epoch": number % 3, "split": split, "test_accuracy": 0.3})
    table_of(Path("t.csv"), rows)
    zoo = convert_state_dicts("all/*.pt", "t.csv", "zoo", module=plain, shape=(1, 1, 12, 12))
    assert zoo.column("network").tolist() == [0, 0, 0, 1, 1, 1] and zoo.column("epoch").tolist() == [0, 1, 2] * 2
    assert zoo.column("split").tolist() == ["train"] * 3 + ["test"] * 3
    rows[1]["split"] = "test"
    table_of(Path("t.csv"), rows)
    with pytest.raises(ZooError, match=r"all/0\.pt is in train and all/1\.pt in test, but both are checkpoints of r0"):
        convert_state_dicts("all/*.pt", "t.csv", "zoo2", module=plain, shape=(1, 1, 12, 12))


def test_what_cannot_be_used_is_told_and_the_rest_kept(runs, tmp_path):
    save(Path("runs/12/epoch_1.pt"), plain(), 1)  # not in the table
    save(Path("runs/0/epoch_1.pt"), plain((3, 3)), 1)
    Path("runs/1/epoch_1.pt").write_bytes(b"damaged")
    torch.save({"state_dict": {**plain().state_dict(), "0.bias": torch.full((4,), torch.nan)}}, "runs/2/epoch_1.pt")
    runs[6]["test_accuracy"], runs[8]["test_accuracy"] = 35.0, ""
    runs.append({**runs[0], "file": "99/epoch_1.pt"})
    table_of(Path("metrics.csv"), runs)
    zoo = convert_state_dicts("runs/**/*.pt", "metrics.csv", "zoo", module=plain, shape=(1, 1, 12, 12), shard_size=4)
    check_zoo(zoo)
    reasons = dict(info(zoo)["skipped"])
    assert len(zoo) + len(reasons) == zoo.manifest.planned == 26 and len(zoo) == 19
    expected = {
        "runs/12/epoch_1.pt": "the table has no row for it",
        "runs/0/epoch_1.pt": "0.weight has shape (3, 1, 3, 3), expected (4, 1, 3, 3)",
        "runs/1/epoch_1.pt": "it cannot be read as a PyTorch file",
        "runs/2/epoch_1.pt": "0.bias holds NaN",
        "runs/3/epoch_1.pt": "its accuracy is 35; of accuracies from 0 to 100, say --percent",
        "runs/4/epoch_1.pt": "its test accuracy is None, no number",
        "99/epoch_1.pt": "it is in the table only",
    }
    assert set(reasons) == set(expected)
    for file, reason in expected.items():
        assert reason in reasons[file]


def test_columns_may_name_a_file_together(tmp_path, monkeypatch):
    """A table of runs and epochs as pandas writes it: with an index, and with dates, which are kept."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for run in range(3):
        for epoch in (1, 2):
            save(Path(f"runs/00{run}/epoch_{epoch}.pt"), plain(), 10 * run + epoch)
            when = f"2024-01-0{run + 1} 10:00:00"
            rows.append(
                {"": len(rows), "run": f"00{run}", "epoch": epoch, "test_accuracy": run / 4 + epoch / 10, "when": when}
            )
    table_of(Path("t.csv"), rows)
    given = {"files": "runs/**/*.pt", "table": "t.csv", "module": plain, "shape": (1, 1, 12, 12)}
    with pytest.raises(ZooError, match=r"has '000' in two rows of its column 'run'; .* --key '\{run\}/epoch_"):
        convert_state_dicts(**given, out="zoo")
    zoo = convert_state_dicts(**given, out="zoo", key="{run}/epoch_{epoch}")
    assert len(zoo) == 6 and "" not in zoo.table.column_names and zoo[0].metadata["when"].year == 2024
    for facts in zoo.table.to_pylist():
        assert facts["file"] == f"runs/{facts['run']}/epoch_{facts['epoch']}.pt"
        assert facts["test_accuracy"] == pytest.approx(int(facts["run"]) / 4 + facts["epoch"] / 10)


def test_epochs_that_are_words(runs):
    for place, row in enumerate(runs):
        row["epoch"] = "final" if place % 2 else "1"
    table_of(Path("metrics.csv"), runs)
    zoo = convert_state_dicts("runs/**/*.pt", "metrics.csv", "zoo", module=plain, shape=(1, 1, 12, 12))
    assert set(zoo.column("epoch").tolist()) == {1} and len(zoo) == 12
    assert {reason for _, reason in info(zoo)["skipped"]} == {"its epoch is 'final', no whole number"}


@pytest.mark.parametrize("out", ["runs/0/epoch_1.pt", "runs"])
def test_a_wrong_folder_is_told_before_files_are_read(runs, out):
    with pytest.raises(ZooError, match=f"{out} is (a file|not empty)"):
        convert_state_dicts(
            "runs/**/*.pt", "metrics.csv", out, module=plain, shape=(1, 1, 12, 12), progress=pytest.fail
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": "nothing/*.pt"}, "is like nothing"),
        ({"column": "accuracy"}, "has no column 'accuracy'; it has file, test_accuracy, lr, note: say --column"),
        ({"key": "path"}, "The table has no column 'path'"),
        (
            {"key": "note"},
            "No column of the table names the files: 'runs/0/epoch_1.pt', for example, is in none of note",
        ),
        ({"shape": None}, "give its shape, such as --input 1x3x32x32"),
        ({"table": "none.csv"}, "none.csv is no readable table"),
        ({"table": "twice.csv"}, "twice.csv has two columns 'lr'"),
        ({"key": "{run}.pt"}, r"\{run\}.pt cannot be filled in from file, test_accuracy, lr, note"),
        (
            {"column": "lr"},
            r"^None of 25 files can be used. runs/0/epoch_1.pt: its accuracy is 1.5; .*--percent; norm",
        ),
        ({"module": None, "files": "norm/*.pt"}, "its shapes tell no layout .* say --module and --input"),
        ({"module": nn.Identity}, "Identity has no parameters"),
    ],
)
def test_mistakes_are_named(runs, changes, message):
    save(Path("norm/last.pt"), residual())
    table_of(Path("metrics.csv"), [{**row, "lr": 1.5} for row in runs] + [{**runs[0], "file": "norm/last.pt"}])
    Path("twice.csv").write_text("file,lr,lr\nx.pt,1,2\n")
    given = {"files": "runs/**/*.pt", "table": "metrics.csv", "out": "zoo", "module": plain, "shape": (1, 1, 12, 12)}
    with pytest.raises(ng.errors.NeuralGraphsError, match=message):
        convert_state_dicts(**{**given, **changes})
    assert not Path("zoo").exists()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("park/net_12/checkpoint_000010/checkpoint.pt", ("park/net_12", 10)),
        ("runs/7/epoch_3.pt", ("runs/7", 3)),
        ("runs/7/last.pt", ("runs/7", -1)),
        ("runs/wide-epoch=3.ckpt", ("runs/wide", 3)),
        ("runs/wide-epoch=3-step=400.pt", ("runs/wide", 400)),
        ("runs/net3.pt", ("runs/net3", -1)),
        ("0001.pt", ("0001", -1)),
        ("runs/a_step10/final.pt", ("runs/a", 10)),
        ("remodel/blast.pt", ("remodel/blast", -1)),
    ],
)
def test_runs_and_epochs_by_path(file, expected):
    assert run_and_epoch(file) == expected


def test_many_files_are_read_one_at_a_time(runs):
    """What comes back does not depend on how many networks a shard has."""
    small, large = (
        convert_state_dicts(
            "runs/**/*.pt", "metrics.csv", f"zoo{size}", module=plain, shape=(1, 1, 12, 12), shard_size=size
        )
        for size in (3, 512)
    )
    np.testing.assert_array_equal(small.networks().values, large.networks().values)
    assert small.table.equals(large.table)
