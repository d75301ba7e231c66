"""Damage to a zoo is noticed, and the file is named."""

import numpy as np
import pytest

from neural_graphs.errors import ZooError
from neural_graphs.zoo import Zoo, check_zoo
from tests.store.small_zoos import LAYOUT


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
    path.write_text(path.read_text().replace('"version": 3', '"version": 4'))
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
