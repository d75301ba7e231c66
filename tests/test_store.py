"""Zoos on disk: what is written comes back bit for bit, damage is noticed, writing again continues."""

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
from neural_graphs.zoo.manifest import locked
from neural_graphs.zoo.writer import Rows, writing

LAYOUT = Layout.mlp((2, 3, 1), activation="sine", names="layers.{}", scale=30.0, offset=0.5)
CANVAS = Canvas(2, 3, 1)


def rows(numbers, layout=LAYOUT, index=0, skipped=()):
    count = len(numbers) - len(skipped)
    first = torch.arange(count * layout.size, dtype=torch.float32).reshape(count, layout.size)
    columns = {
        "split": [("train", "val", "test")[number % 3] for number in numbers[:count]],
        "label": [number % 5 for number in numbers[:count]],
        "psnr": np.linspace(10, 30, count, dtype=np.float32),
    }
    pixels = np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3, 1)
    return Rows((first / 100 + numbers.start).numpy(), columns, images=pixels, layout=index, skipped=skipped)


def write_zoo(path, planned=20, shard_size=8, seed=0, layouts=(LAYOUT,), stop_after=None):
    with writing(path, {"seed": seed}, layouts, planned, canvas=CANVAS, shard_size=shard_size) as writer:
        for place, numbers in enumerate(writer.remaining()):
            if place == stop_after:
                return path
            index = place % len(layouts)
            writer.write(rows(numbers, layouts[index], index))
    return path


def files(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


@pytest.fixture
def zoo(tmp_path):
    return Zoo(write_zoo(tmp_path / "zoo"))


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


@pytest.mark.parametrize("query", ["label = 3", "colour == 3", "label == three", "and", "split == 3"])
def test_bad_queries_are_refused(zoo, query):
    with pytest.raises(ZooError, match=r"query|column"):
        zoo.subset(query)


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


# -- damage --------------------------------------------------------------------------------------------------------


def test_a_folder_without_manifest_is_no_zoo(tmp_path):
    with pytest.raises(ZooError, match=r"no manifest\.json"):
        Zoo(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "neural-graphs zoo", "version": 1}'])
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ZooError, match=r"manifest\.json is damaged"):
        Zoo(tmp_path)


def test_a_manifest_of_another_version_is_refused(zoo):
    path = zoo.path / "manifest.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(ZooError, match="this library reads"):
        Zoo(zoo.path)


@pytest.mark.parametrize("content", ["", "[]", '[{"kind_of": "Layout"}]', '[{"kind_of": "Axis"}]'])
def test_missing_or_damaged_layouts_are_named(zoo, content):
    path = zoo.path / "layouts.json"
    path.write_text(content)
    with pytest.raises(ZooError, match=r"layouts\.json is damaged"):
        Zoo(zoo.path)
    path.unlink()
    with pytest.raises(ZooError, match=r"layouts\.json is missing"):
        Zoo(zoo.path)


@pytest.mark.parametrize("name", ["shard-00001.safetensors", "shard-00001.parquet"])
def test_a_truncated_or_missing_shard_is_named(zoo, name):
    path = zoo.path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ZooError, match=rf"{name} holds \d+ bytes, the manifest says"):
        Zoo(zoo.path)
    path.unlink()
    with pytest.raises(ZooError, match=rf"{name} is missing"):
        Zoo(zoo.path)


def test_a_header_that_promises_too_much_is_named(zoo):
    path = zoo.path / "shard-00000.safetensors"
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    longer = data[8:start].replace(b'"data_offsets":[0,416]', b'"data_offsets":[0,996]')
    assert longer != data[8:start]
    path.write_bytes(data[:8] + longer + data[start:])
    with pytest.raises(ZooError, match=r"shard-00000\.safetensors is truncated: tensor 'values'"):
        Zoo(zoo.path)


def test_a_changed_byte_fails_the_check_and_nan_names_its_tensor(zoo):
    path = zoo.path / "shard-00001.safetensors"
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    place = start + 4 * (2 * LAYOUT.size + LAYOUT.slices["layers.1.weight"].start)  # network 2 of the shard
    data[place : place + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    damaged = Zoo(zoo.path)
    expected = r"shard-00001\.safetensors: network 2 of this shard .* not finite in \['layers\.1\.weight'\]"
    with pytest.raises(ZooError, match=expected):
        damaged.networks([0, 10])
    with pytest.raises(ZooError, match=expected):
        _ = damaged[10]
    with pytest.raises(ZooError, match=rf"(?s)checksum.*{expected}"):
        check_zoo(zoo.path)
    assert len(damaged.networks([9, 11])) == 2


# -- writing -------------------------------------------------------------------------------------------------------


def test_an_unfinished_zoo_opens_only_on_request_and_continues_to_the_same_bytes(tmp_path, zoo):
    path = write_zoo(tmp_path / "cut", stop_after=1)
    with pytest.raises(ZooError, match="unfinished: 8 of 20"):
        Zoo(path)
    assert len(Zoo(path, partial=True)) == 8
    write_zoo(path)
    assert files(path) == files(zoo.path)
    check_zoo(path)


def test_growing_further_and_repairing_give_the_bytes_of_one_run(tmp_path, zoo):
    path = write_zoo(tmp_path / "small", planned=11)
    write_zoo(path)
    assert files(path) == files(zoo.path)
    (path / "shard-00001.safetensors").write_bytes(b"")
    write_zoo(path)
    assert files(path) == files(zoo.path)


def test_a_zoo_with_its_layouts_in_the_manifest_opens_and_grows(tmp_path, zoo):
    """As the library wrote zoos before it gave layouts a file of their own."""
    path = write_zoo(tmp_path / "old", stop_after=2)
    content = json.loads((path / "manifest.json").read_bytes())
    content |= {"version": 1, "layouts": json.loads((path / "layouts.json").read_bytes())}
    (path / "manifest.json").write_text(json.dumps(content, indent=1))
    (path / "layouts.json").unlink()
    old = Zoo(path, partial=True)
    assert len(old) == 16 and old.layout == LAYOUT
    write_zoo(path)
    assert files(path) == files(zoo.path)


def test_layouts_are_written_once_and_before_the_shards(tmp_path):
    path = tmp_path / "zoo"
    with writing(path, {}, [LAYOUT], 4, shard_size=2) as writer:
        written = (path / "layouts.json").stat()
        for numbers in writer.remaining():
            writer.write(rows(numbers))
        assert (path / "layouts.json").stat().st_ino == written.st_ino
    assert "kind_of" not in (path / "manifest.json").read_text()
    (path / "manifest.json").unlink()
    for file in path.glob("shard-*"):
        file.unlink()
    assert len(Zoo(write_zoo(path))) == 20  # what a kill before the first manifest leaves is no other folder


def test_another_recipe_or_a_smaller_plan_is_refused(zoo):
    before = files(zoo.path)
    with pytest.raises(ZooError, match=r"recipe\.seed is 0 there, 1 asked for"):
        write_zoo(zoo.path, seed=1)
    with pytest.raises(ZooError, match=r"layouts\.0 is 2 → 3 → 1 · sine there, 2 → 4 → 1 · relu asked for; choose"):
        write_zoo(zoo.path, layouts=(Layout.mlp((2, 4, 1)),))
    with pytest.raises(ZooError, match="shard_size is 8 there, 4 asked for"):
        write_zoo(zoo.path, shard_size=4)
    with pytest.raises(ZooError, match="holds 20 networks already"):
        write_zoo(zoo.path, planned=10)
    assert files(zoo.path) == before


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ZooError, match=r"no zoo \(it holds thesis\.txt\)"):
        write_zoo(tmp_path)
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_shards_without_their_manifest_are_not_written_over(zoo):
    (zoo.path / "manifest.json").unlink()
    with pytest.raises(ZooError, match=r"no zoo \(it holds shard-00000\.parquet"):
        write_zoo(zoo.path)


def test_two_writers_do_not_meet(zoo):
    with locked(zoo.path), pytest.raises(ZooError, match="another process"):
        write_zoo(zoo.path)


def test_rows_that_do_not_fit_are_refused(tmp_path):
    good = rows(range(4))
    bad = {
        "not finite": replace(good, values=np.full_like(good.values, np.inf)),
        "a network has 13 numbers": replace(good, values=good.values[:, 1:]),
        "3 entries of label": replace(good, columns={**good.columns, "label": [1, 2, 3]}),
        "the plan has 4": rows(range(3)),
        "2 entries of images": replace(good, images=good.images[:2]),
    }
    for message, wrong in bad.items():
        with writing(tmp_path, {}, [LAYOUT], 4) as writer, pytest.raises(ZooError, match=message):
            writer.write(wrong)
    with writing(tmp_path, {}, [LAYOUT], 4) as writer, pytest.raises(ZooError, match="not written"):
        list(writer.remaining())
    with writing(tmp_path, {}, [LAYOUT], 4) as writer:
        writer.write(rows(range(4), skipped=[("net.pth", "is empty")]))
    assert info(Zoo(tmp_path))["skipped"] == [["net.pth", "is empty"]]


def test_nothing_outside_the_zoo_is_written(tmp_path):
    write_zoo(tmp_path / "zoo")
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]
    assert not [path for path in Path(tmp_path / "zoo").iterdir() if path.name.startswith(".")]
