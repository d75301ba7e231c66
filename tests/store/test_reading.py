"""Zoos on disk: what is written comes back bit for bit, chosen and mixed."""

import json
import pickle
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from neural_graphs.errors import ZooError
from neural_graphs.layout import Layout
from neural_graphs.zoo import Zoo, check_zoo, info
from neural_graphs.zoo.canvas import Canvas
from tests.store.small_zoos import CANVAS, LAYOUT, rows, write_zoo


def test_what_is_written_comes_back(zoo):
    expected = np.concatenate([rows(range(start, min(start + 8, 20))).values for start in (0, 8, 16)])
    assert len(zoo) == 20 and zoo.layout == LAYOUT
    np.testing.assert_array_equal(zoo.networks().values.numpy(), expected)
    chosen = [19, 0, 8, 8, -1]
    np.testing.assert_array_equal(zoo.networks(chosen).values.numpy(), expected[chosen])
    np.testing.assert_array_equal(zoo.networks(torch.tensor([3, 9])).values.numpy(), expected[[3, 9]])
    np.testing.assert_array_equal(zoo.networks(slice(7, 9)).values.numpy(), expected[7:9])
    np.testing.assert_array_equal(zoo.networks(range(2)).values.numpy(), expected[:2])
    assert [record.metadata["index"] for record in zoo] == list(range(20))
    record = zoo[-1]
    np.testing.assert_array_equal(record.values.numpy(), expected[-1])
    np.testing.assert_array_equal(record.image, rows(range(16, 20)).images[-1])
    np.testing.assert_array_equal(zoo.image(19), record.image)
    assert record.metadata == {"index": 19, "split": "val", "label": 4, "psnr": 30.0}
    assert zoo.labels.tolist() == [number % 5 for number in range(20)]


def test_a_batch_may_be_written_to_and_the_file_stays(zoo):
    networks = zoo.networks([0, 1])
    networks.values.zero_()
    record = zoo[0]
    record.values.fill_(7.0)
    check_zoo(zoo.path)
    assert zoo.networks([0]).values.abs().sum() > 0


def test_indices_out_of_range_and_empty_batches_are_refused(zoo):
    with pytest.raises(IndexError):
        zoo[20]
    with pytest.raises(IndexError):
        zoo.networks([20])
    with pytest.raises(ZooError, match="at least one network"):
        zoo.networks([])


def test_views_select_rows_and_compose(zoo):
    train = zoo.split("train")
    assert train.column("index").tolist() == list(range(0, 20, 3))
    small = train.subset("label == 3")
    assert small.column("index").tolist() == [3, 18]
    assert torch.equal(small.networks().values, zoo.networks([3, 18]).values)
    assert small[1].metadata["index"] == 18
    assert zoo.subset("split == 'val' and psnr >= 20").column("index").tolist() == [4, 7, 13, 19]
    assert zoo.subset("split == val and label != 4").column("index").tolist() == [1, 7, 10, 13, 16]
    assert zoo.subset(pc.field("index") > 17).column("index").tolist() == [18, 19]
    assert len(zoo.subset("label == 77")) == 0
    again = pickle.loads(pickle.dumps(small))
    assert torch.equal(again.networks().values, small.networks().values)
    assert again.table.equals(small.table)
    mixed = zoo.at(np.arange(len(zoo))[::-1])
    assert pickle.loads(pickle.dumps(mixed)).column("index").tolist() == mixed.column("index").tolist()


def test_unknown_columns_and_splits_name_the_known_ones(zoo):
    with pytest.raises(ZooError, match=r"no column 'colour'; it has index, split, label, psnr"):
        zoo.column("colour")
    with pytest.raises(ZooError, match=r"no networks in split 'training'; it has test, train, val"):
        zoo.split("training")


@pytest.mark.parametrize(("axes", "first", "second"), [("xy", [0, -1], [1, -1]), ("ij", [-1, 0], [-1, 1])])
def test_a_render_asks_for_pixels_row_by_row(axes, first, second):
    canvas = Canvas(2, 3, 1, axes=axes, low=-1.0)
    assert canvas.coordinates()[1:3].tolist() == [first, second]
    assert Canvas(**canvas.to_json()) == canvas


def test_a_render_is_what_the_network_says_in_the_range_of_the_canvas(zoo):
    expected = zoo.networks().run(CANVAS.coordinates()).reshape(20, 2, 3)
    np.testing.assert_allclose(zoo[5].render(), expected[5].numpy(), rtol=1e-5, atol=1e-6)
    wide = replace(CANVAS, low=-1.0).render(zoo.networks())
    np.testing.assert_allclose(wide, (expected.numpy() + 1) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(zoo.render(slice(5, 6))[0], zoo.render([5])[0])
    images, renders = zoo.sheet([1, 2])
    np.testing.assert_allclose(images[0].ravel(), np.arange(6, 12) / 255, rtol=1e-6)
    np.testing.assert_allclose(renders, expected.numpy()[1:3].clip(0, 1), rtol=1e-5, atol=1e-6)


def test_a_zoo_of_several_layouts_gives_mixed_batches(tmp_path):
    wide = Layout.mlp((2, 4, 1), activation="sine", names="layers.{}")
    zoo = Zoo(write_zoo(tmp_path / "zoo", planned=16, layouts=(LAYOUT, wide)))
    assert zoo.at([8, 0]).weights.tolist() == [2 * 4 + 4, 2 * 3 + 3]
    mixed = zoo.networks([0, 8])
    assert mixed.layouts == (LAYOUT, wide)
    assert torch.equal(mixed[1].values[0], zoo[8].values)
    assert zoo.networks([9, 8]).layout == wide
    assert zoo[8].network.layout == wide
    with pytest.raises(ZooError, match="2 layouts"):
        _ = zoo.layout


def test_info_counts_everything(zoo):
    facts = info(zoo)
    assert facts["splits"] == {"train": 7, "val": 7, "test": 6}
    assert facts["labels"]["train"] == {0: 2, 1: 1, 2: 1, 3: 2, 4: 1}
    assert facts["psnr"][0.0] == 10.0 and facts["psnr"][1.0] == 30.0
    assert facts["layouts"] == {"2 → 3 → 1 · sine": 13} and facts["recipe"] == {"seed": 0}
    json.dumps(facts)


def test_more_shards_than_files_may_be_open(tmp_path):
    path = write_zoo(tmp_path / "zoo", planned=90, shard_size=1)
    few, many = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 30, many))
    try:
        networks = Zoo(path).networks()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, many))
    assert len(networks) == 90
