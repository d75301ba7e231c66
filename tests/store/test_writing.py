"""Zoos are written whole or not at all, and writing again continues."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neural_graphs.errors import ZooError
from neural_graphs.layout import Layout
from neural_graphs.zoo import Zoo, check_zoo, info
from neural_graphs.zoo.manifest import locked
from neural_graphs.zoo.writer import writing
from tests.store.small_zoos import LAYOUT, files, rows, write_zoo


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
    content = {key: value for key, value in content.items() if "sha256" not in key}
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
