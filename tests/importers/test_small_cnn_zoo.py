"""The Small CNN Zoo as it is published becomes ours: same functions, same facts, runs in one split, little memory."""

import csv
import gzip
import random

import numpy as np
import pytest
import torch

from neural_graphs.errors import ZooError
from neural_graphs.zoo import Zoo, check_zoo, info
from neural_graphs.zoo.importers.keras import read_layout
from neural_graphs.zoo.importers.small_cnn_zoo import convert_small_cnn_zoo, split_runs

STEPS = (0, 1, 2, 3, 20, 40, 60, 80, 86)
SHAPES = [(16,), (3, 3, 1, 16), (16,), (3, 3, 16, 16), (16,), (3, 3, 16, 16), (10,), (16, 10)]  # biases come first
NAMES = [f"sequential/{layer}/{part}:0" for layer in ("conv2d", "conv2d_1", "conv2d_2", "dense")
         for part in ("bias", "kernel")]  # fmt: skip
CONFIG = ("activation", "b_init", "dataset", "dropout", "init_std", "l2reg", "learning_rate", "optimizer", "w_init")


def write_layout(path, shapes=SHAPES, names=NAMES):
    start, lines = 0, ["varname,start_idx,end_idx,size,shape"]
    for name, shape in zip(names, shapes, strict=True):
        end = start + int(np.prod(shape))
        lines.append(f'{name},{start},{end},{end - start},"{shape}"')
        start = end
    path.write_text("\n".join(lines) + "\n")


def write_published(folder, runs=20, *, modeldir=True, kinds=("relu", "tanh")):
    """Write the three files for runs of nine checkpoints each; returns the weights and the rows of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    write_layout(folder / "layout.csv")
    weights = np.random.default_rng(0).normal(size=(runs * len(STEPS), 4970)).astype(np.float32) / 3
    np.save(folder / "weights.npy", weights)
    rows = []
    for run in range(runs):
        config = [kinds[run % len(kinds)], "zeros", "mnist", 0.1 * (run % 7), "" if run % 3 else 0.01 * run,
                  10.0**-run, 0.001 * (run + 1), "adam", "glorot_normal"]  # fmt: skip
        for step in STEPS:
            measures = [run / runs + step / 2000, 2.0, run / runs, 1.9]
            rows.append(dict(zip(
                [f"config.{name}" for name in CONFIG] + ["modeldir", "step"]
                + ["test_accuracy", "test_loss", "train_accuracy", "train_loss"],
                [*config, f"/folder/of/run-{run}", step, *measures], strict=True)))  # fmt: skip
    return weights, write_metrics(folder, rows, modeldir)


def write_metrics(folder, rows, modeldir=True):
    names = [name for name in rows[0] if modeldir or name != "modeldir"]
    with gzip.open(folder / "metrics.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def keras_cnn(vector, images, activation):
    """The network as Keras computes it, in numpy: channels last, kernels (h, w, in, out), stride 2, no padding."""
    places = np.cumsum([0, *(int(np.prod(shape)) for shape in SHAPES)])
    parts = [vector[a:b].reshape(shape) for a, b, shape in zip(places, places[1:], SHAPES, strict=False)]
    x = images
    for bias, kernel in zip(parts[0:6:2], parts[1:6:2], strict=True):
        side = (x.shape[1] - 3) // 2 + 1
        y = np.zeros((len(x), side, side, 16)) + bias
        for row in range(3):
            for column in range(3):
                seen = x[:, row : row + 2 * side - 1 : 2, column : column + 2 * side - 1 : 2]
                y += np.einsum("nhwi,io->nhwo", seen, kernel[row, column])
        x = np.maximum(y, 0) if activation == "relu" else np.tanh(y)
    return x.mean(axis=(1, 2)) @ parts[7] + parts[6]


@pytest.fixture
def published(tmp_path):
    weights, rows = write_published(tmp_path / "cifar10")
    return tmp_path / "cifar10", weights, rows


def test_networks_compute_what_they_computed_in_keras(tmp_path, published):
    folder, weights, rows = published
    zoo = convert_small_cnn_zoo(folder, tmp_path / "zoo", shard_size=32)
    check_zoo(zoo)
    assert len(zoo) == 180 and {str(layout.groups[1].activation.kind) for layout in zoo.layouts} == {"relu", "tanh"}
    images = np.random.default_rng(1).uniform(-1, 1, size=(3, 28, 28, 1))
    for record in (zoo[place] for place in range(0, 180, 19)):
        row = record.metadata["row"]
        expected = keras_cnn(weights[row].astype(np.float64), images, rows[row]["config.activation"])
        got = record.network.to(torch.float64).run(torch.from_numpy(images).permute(0, 3, 1, 2))[0]
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10, atol=1e-12)
        assert str(record.layout) == f"1 →(3×3) 16 →(3×3) 16 →(3×3) 16 → 10 · {record.metadata['activation']}"


def test_the_facts_of_every_row_come_along(tmp_path, published):
    folder, weights, rows = published
    zoo = convert_small_cnn_zoo(folder, tmp_path / "zoo", shard_size=32)
    order = read_layout(folder / "layout.csv").order
    assert sorted(zoo.column("row").tolist()) == list(range(180)) and zoo.manifest.recipe["kind"] == "cnn"
    for place, facts in enumerate(zoo.table.to_pylist()):
        row = rows[facts["row"]]
        assert facts["epoch"] == row["step"] and facts["network"] == facts["row"] // 9 and facts["ok"]
        assert facts["test_accuracy"] == pytest.approx(row["test_accuracy"]) and facts["activation"] in ("relu", "tanh")
        assert facts["l2"] == pytest.approx(row["config.l2reg"]) and facts["initializer"] == "glorot_normal"
        assert facts["init_std"] == (row["config.init_std"] if row["config.init_std"] != "" else None)
        if place % 30 == 0:
            np.testing.assert_array_equal(zoo[place].values.numpy(), weights[facts["row"]][order])
    assert "modeldir" not in zoo.table.column_names


@pytest.mark.parametrize("title", ["", "index\n"])
def test_splits_are_the_published_ones(tmp_path, published, title):
    """Half of the shuffled runs is test, a fifth of the others val, all checkpoints of a run together."""
    folder, _, _ = published
    order = np.random.default_rng(5).permutation(20).tolist()
    (tmp_path / "shuffle.csv").write_text(title + "\n".join(map(str, order)) + "\n")
    zoo = convert_small_cnn_zoo(folder, tmp_path / "zoo", shuffle=tmp_path / "shuffle.csv")
    first = order[:10]
    random.Random(0).shuffle(first)
    expected = {"train": set(first[:8]), "val": set(first[8:]), "test": set(order[10:])}
    for split, runs in expected.items():
        assert set(zoo.split(split).column("network").tolist()) == runs
    assert info(zoo)["splits"] == {"train": 72, "val": 18, "test": 90}
    assert len(zoo.subset("epoch == 86").split("test")) == 10


def test_the_published_sizes_of_the_splits():
    """12,000, 3,000 and 15,000 of 30,000 runs; a run that never got to epoch 86 is not tested on."""
    networks = np.repeat(np.arange(30_001), 2)
    final = np.tile([False, True], 30_001)
    final[-1] = False
    splits = split_runs(networks, final, None)
    counts = {name: splits[0:60_000:2].count(name) for name in ("train", "val", "test")}
    assert counts == {"train": 12_000, "val": 3_000, "test": 15_000} and splits[-2:] == ["train", "train"]
    assert splits[::2] == splits[1::2]


def test_runs_without_a_folder_are_told_by_their_hyperparameters(tmp_path):
    write_published(tmp_path / "in", modeldir=False)
    zoo = convert_small_cnn_zoo(tmp_path / "in", tmp_path / "zoo")
    assert [facts["network"] == facts["row"] // 9 for facts in zoo.table.to_pylist()] == [True] * 180


def test_diverged_networks_are_kept_and_marked_and_unknown_ones_told(tmp_path):
    weights, rows = write_published(tmp_path / "in", runs=6, kinds=("relu", "tanh", "swirl"))
    weights[3, 17] = np.nan
    np.save(tmp_path / "in" / "weights.npy", weights)
    rows[10]["test_accuracy"] = "nan"
    write_metrics(tmp_path / "in", rows)
    zoo = convert_small_cnn_zoo(tmp_path / "in", tmp_path / "zoo", shard_size=8)
    check_zoo(zoo)
    assert zoo.column("row")[~zoo.column("ok")].tolist() == [3, 10]
    reasons = dict(info(zoo)["skipped"])
    assert set(reasons) == {f"metrics.csv.gz, row {9 * run + step}" for run in (2, 5) for step in range(9)}
    assert set(reasons.values()) == {"its activation 'swirl' is unknown"}
    assert len(zoo) + len(reasons) == 54 == zoo.manifest.planned


def test_interrupted_it_ends_with_the_same_bytes(tmp_path, published):
    folder, _, _ = published

    def stop(done, _):
        if done > 60:
            raise KeyboardInterrupt

    whole = convert_small_cnn_zoo(folder, tmp_path / "whole", shard_size=32)
    with pytest.raises(KeyboardInterrupt):
        convert_small_cnn_zoo(folder, tmp_path / "zoo", shard_size=32, progress=stop)
    assert len(Zoo(tmp_path / "zoo", partial=True)) < 180
    convert_small_cnn_zoo(folder, tmp_path / "zoo", shard_size=32)
    for path in whole.path.iterdir():
        assert (tmp_path / "zoo" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.npy", b"no array", r"weights\.npy is no whole array of numpy"),
        ("weights.npy", None, r"has no weights\.npy; the Small CNN Zoo is these three files"),
        (
            "layout.csv",
            b"varname,start_idx,end_idx,shape\na,0,9,\"__import__('os')\"\n",
            r"line 2: .* is no shape of 9",
        ),
        ("layout.csv", b"varname,start_idx\na,0\n", r"line 2: no end_idx, shape; it has varname, start_idx"),
        (
            "metrics.csv.gz",
            gzip.compress(b"step,test_accuracy\n1,0.5\n", mtime=0),
            r"has no column activation, test_loss",
        ),
        ("metrics.csv.gz", b"not gzip", r"metrics\.csv\.gz is no readable table"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, published, name, content, message):
    folder, _, _ = published
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ZooError, match=message):
        convert_small_cnn_zoo(folder, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(16,), (3, 3, 1, 16), (10,), (8, 10)], "follow each other"),
        ([(16,), (3, 5, 1, 16), (10,), (16, 10)], "expected square convolutions"),
        ([(16,), (3, 3, 1, 8), (10,), (8, 10)], "are no kernel and bias"),
        ([(16,), (3, 3, 1, 16), (10,)], "3 tensors are no pairs"),
    ],
)
def test_layouts_that_are_no_such_network(tmp_path, shapes, message):
    write_layout(tmp_path / "layout.csv", shapes, [f"t{place}" for place in range(len(shapes))])
    with pytest.raises(ZooError, match=message):
        read_layout(tmp_path / "layout.csv")


def test_a_shuffle_of_other_runs_is_refused(tmp_path, published):
    (tmp_path / "shuffle.csv").write_text("0\n1\n1\n")
    with pytest.raises(ZooError, match=r"The shuffle has 3 places; expected each of 0 … 19 once"):
        convert_small_cnn_zoo(published[0], tmp_path / "zoo", shuffle=tmp_path / "shuffle.csv")


def test_a_whole_shard_of_networks_that_cannot_be_used(tmp_path):
    write_published(tmp_path / "in", runs=4, kinds=("relu", "swirl"))
    zoo = convert_small_cnn_zoo(tmp_path / "in", tmp_path / "zoo", shard_size=9)
    check_zoo(zoo)
    assert len(zoo) == 18 and len(info(zoo)["skipped"]) == 18 and not min(s.networks for s in zoo.manifest.shards)
