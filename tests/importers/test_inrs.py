"""Published zoos become ours, network for network; files that cannot be used are reported, the others converted."""

import json
import os
import pickle
import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from neural_graphs.errors import ZooError
from neural_graphs.zoo import Navon, Zhou, Zoo, check_zoo, convert, info


def siren(seed=0, names="seq.{}", widths=(2, 32, 32, 1)):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        state[names.format(layer) + ".weight"] = torch.randn(outputs, inputs, generator=generator) / 10
        state[names.format(layer) + ".bias"] = torch.randn(outputs, generator=generator) / 10
    return state


def vector(state):
    return torch.cat([tensor.flatten() for tensor in state.values()])


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def navon_folder(folder, prefix="dataset/mnist-inrs/"):
    """Write 12 networks as Navon et al. publish them, with their list of splits."""
    splits = {split: {"path": [], "label": []} for split in ("train", "val", "test")}
    for number in range(12):
        split = ("train", "train", "val", "test")[number % 4]
        part = "testing" if split == "test" else "training"
        name = f"mnist_png_{part}_{number % 3}_{100 + number}/checkpoints/model_final.pth"
        save(folder / name, siren(number))
        splits[split]["path"].append(prefix + name)
        splits[split]["label"].append(str(number % 3) if number % 2 else number % 3)
    (folder / "mnist_splits.json").write_text(json.dumps(splits))
    return splits


def zhou_folder(folder, copies=2, images=20):
    """Write networks as Zhou et al. publish them: one file each, copies of the training images."""
    for image in range(images):
        for copy in range(copies):
            save(folder / f"randinit_{copy}_train/mnist_{image % 10}s/net{image}.pth", siren(1000 * copy + image))
        save(folder / f"randinit_0_test/mnist_{image % 10}s/net{image}.pth", siren(5000 + image))


@pytest.mark.parametrize("prefix", ["dataset/mnist-inrs/", "", "/home/someone/mnist-inrs/"])
def test_navon_networks_keep_numbers_labels_and_splits(tmp_path, prefix):
    folder = tmp_path / "mnist-inrs"
    navon_folder(folder, prefix)
    seen = []
    zoo = convert(Navon(), folder, tmp_path / "zoo", shard_size=5, progress=lambda *each: seen.append(each))
    check_zoo(zoo)
    assert seen == [(5, 12), (10, 12), (12, 12)] and info(zoo)["splits"] == {"train": 6, "val": 3, "test": 3}
    for record in zoo:
        number = record.metadata["image"] - 100
        assert torch.equal(record.values, vector(siren(number)))
        assert record.metadata["label"] == number % 3
        assert record.metadata["split"] == ("train", "train", "val", "test")[number % 4]
        assert record.metadata["source"] == ("test" if number % 4 == 3 else "train")
        assert record.metadata["file"].startswith("mnist_png_")
    assert str(zoo.layout) == "2 → 32 → 32 → 1 · sine" and not info(zoo)["skipped"]


def test_a_navon_network_draws_as_published(tmp_path):
    """y = W₃ sin(30 (W₂ sin(30 (W₁ x + b₁)) + b₂)) + b₃ + 0.5 at (column, row)."""
    navon_folder(tmp_path / "inrs")
    zoo = convert(Navon(), tmp_path / "inrs", tmp_path / "zoo")
    record = zoo[0]
    state = {name: tensor.double() for name, tensor in siren(record.metadata["image"] - 100).items()}
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 28).double()] * 2, indexing="ij")
    hidden = torch.stack((columns.flatten(), rows.flatten()), dim=1)
    for layer in range(2):
        hidden = torch.sin(30 * (hidden @ state[f"seq.{layer}.weight"].T + state[f"seq.{layer}.bias"]))
    expected = hidden @ state["seq.2.weight"].T + state["seq.2.bias"] + 0.5
    np.testing.assert_allclose(record.render(), expected.reshape(28, 28).numpy(), atol=1e-4)


def test_zhou_copies_of_an_image_stay_in_one_split(tmp_path):
    zhou_folder(tmp_path / "siren_mnist")
    zoo = convert(Zhou(), tmp_path / "siren_mnist", tmp_path / "zoo", shard_size=16)
    assert info(zoo)["splits"] == {"test": 20, "train": 36, "val": 4}
    for record in zoo:
        facts = record.metadata
        seed = 5000 if facts["source"] == "test" else 1000 * facts["copy"]
        assert torch.equal(record.values, vector(siren(seed + facts["image"])))
        assert facts["label"] == facts["image"] % 10
        assert (facts["split"] == "test") == (facts["source"] == "test")
    held = zoo.split("val").column("image").tolist()
    assert len(held) == 4 and len(set(held)) == 2
    assert not set(held) & set(zoo.split("train").column("image").tolist())
    assert zoo.canvas.axes == "ij" and zoo.canvas.low == -1.0
    drawn = zoo[0].network.run(zoo.canvas.coordinates()).reshape(28, 28)
    np.testing.assert_allclose(zoo[0].render(), (drawn.numpy() + 1) / 2, rtol=1e-5, atol=1e-6)


def test_zhou_files_of_other_names_take_other_expressions(tmp_path):
    for number in range(3):
        save(tmp_path / "in" / f"{number}_{number + 4}_7.pth", siren(number))
    with pytest.raises(ZooError, match=r"none of 3 files can be used\. .*tells no image or no label"):
        convert(Zhou(), tmp_path / "in", tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
    names = Zhou(image=r"^(\d+)_", label=r"^\d+_(\d+)_", copy=r"_(\d+)\.pth$")
    zoo = convert(names, tmp_path / "in", tmp_path / "zoo")
    assert zoo.column("image").tolist() == [0, 1, 2] and zoo.column("label").tolist() == [4, 5, 6]
    assert zoo.column("copy").tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "names", ["seq.{}", "layers.{}", "net.{}.linear", "module.net.{}.0", "siren.layers.{}.linear", "seq.{}0"]
)
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_tensor_names_and_wrappings_of_every_kind(tmp_path, names, wrap):
    widths = (2, *[4] * 11, 3) if names == "layers.{}" else (2, 32, 32, 3)  # 12 layers: order by number, not by text
    state = siren(1, names, widths)
    shuffled = dict(sorted(state.items(), key=lambda item: hash(item[0])))
    save(tmp_path / "in" / "mnist_png_training_5_41" / "model.pt", wrap(shuffled))
    zoo = convert(Navon(), tmp_path / "in", tmp_path / "zoo")
    assert torch.equal(zoo[0].values, vector(state)) and zoo[0].render().shape == (32, 32, 3)


def test_a_layer_without_a_number_is_the_last(tmp_path):
    state = siren(1, "layers.{}")
    renamed = {name.replace("layers.2", "last_layer"): tensor.double() for name, tensor in state.items()}
    save(tmp_path / "in" / "mnist_png_training_5_41" / "model.pt", dict(reversed(renamed.items())))
    assert torch.equal(convert(Navon(), tmp_path / "in", tmp_path / "zoo")[0].values, vector(state))


class Evil:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def damage(folder):
    """Spoil files in every way and return the reason to expect for each."""
    good = siren(3)
    nan = {**good, "seq.1.weight": good["seq.1.weight"].clone()}
    nan["seq.1.weight"][3, 4] = torch.nan
    contents = {
        "a list": ([1, 2], "list"),
        "a number inside": ({**good, "epoch": 3}, "other entries than tensors"),
        "no bias": ({name: tensor for name, tensor in good.items() if name != "seq.1.bias"}, r"seq\.1\.bias"),
        "another bias": ({**good, "seq.1.bias": torch.zeros(7)}, r"seq\.1\.bias has shape \(7,\), expected \(32,\)"),
        "a cube": ({**good, "seq.0.weight": torch.zeros(32, 2, 1)}, r"seq\.0\.weight has shape"),
        "a gap": ({**good, "seq.1.weight": torch.zeros(32, 5)}, r"seq\.0\.weight .* and seq\.1\.weight"),
        "nan": (nan, r"seq\.1\.weight holds values that are not finite"),
        "integers": ({**good, "seq.2.bias": torch.zeros(1, dtype=torch.int64)}, r"seq\.2\.bias holds"),
        "another width": (siren(0, widths=(2, 16, 16, 1)), "2 → 16 → 16 → 1"),
        "one layer": (siren(0, widths=(2, 1)), "a weight and a bias per layer"),
    }
    expected = {}
    for number, (content, reason) in enumerate(contents.values()):
        name = f"mnist_png_training_1_{500 + number}/checkpoints/model_final.pth"
        save(folder / name, content)
        expected[name] = reason
    whole = pickle.dumps(Evil())
    for number, data in enumerate((b"", b"not a file of tensors", whole, (folder / name).read_bytes()[:200])):
        broken = f"mnist_png_training_1_{600 + number}/checkpoints/model_final.pth"
        (folder / broken).parent.mkdir(parents=True)
        (folder / broken).write_bytes(data)
        expected[broken] = "cannot be read as a PyTorch file" if data else "is empty, 0 bytes"
    save(folder / "elsewhere/model_final.pth", good)
    expected["elsewhere/model_final.pth"] = "not named like"
    return expected


def test_bad_files_are_reported_and_the_others_converted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "inrs"
    navon_folder(folder)
    (folder / "mnist_splits.json").unlink()
    expected = damage(folder)
    zoo = convert(Navon(), folder, tmp_path / "zoo", shard_size=4)
    skipped = dict(info(zoo)["skipped"])
    assert skipped.keys() == expected.keys()
    for name, reason in expected.items():
        assert re.search(reason, skipped[name]), (name, skipped[name])
    assert len(zoo) == 12 and not (tmp_path / "hacked").exists()
    check_zoo(zoo)
    assert Zoo(zoo.path).column("image").tolist() == zoo.column("image").tolist()


def test_lists_of_splits_that_do_not_fit_the_files(tmp_path):
    splits = navon_folder(tmp_path / "in")
    splits["train"]["path"].append("dataset/mnist_png_training_9_999/checkpoints/model_final.pth")
    splits["train"]["label"].append(9)
    splits["train"]["label"][0] = 2  # by its name 0
    (tmp_path / "in" / "mnist_splits.json").write_text(json.dumps(splits))
    zoo = convert(Navon(), tmp_path / "in", tmp_path / "zoo")
    reasons = [reason for _, reason in info(zoo)["skipped"]]
    assert len(zoo) == 11 and sorted(reasons) == [
        "it is in the list of splits, but not in the folder",
        "its label is 0 by its name, 2 in the list of splits",
    ]
    (tmp_path / "in" / "mnist_splits.json").write_text(json.dumps({**splits, "val": {"path": ["a"], "label": []}}))
    with pytest.raises(ZooError, match=r"mnist_splits\.json: val is not a pair of lists"):
        convert(Navon(), tmp_path / "in", tmp_path / "other")
    (tmp_path / "in" / "mnist_splits.json").write_text("{")
    with pytest.raises(ZooError, match=r"mnist_splits\.json is not JSON"):
        convert(Navon(), tmp_path / "in", tmp_path / "other")


def test_an_image_in_two_splits_or_twice_is_refused(tmp_path):
    splits = navon_folder(tmp_path / "in")
    path = tmp_path / "in" / "mnist_splits.json"
    for split, message in (("train", "are both copy 0"), ("val", "are both copy 0")):
        twice = json.loads(json.dumps(splits))
        twice[split]["path"].append(splits["train"]["path"][1])
        twice[split]["label"].append(splits["train"]["label"][1])
        path.write_text(json.dumps(twice))
        with pytest.raises(ZooError, match=message):
            convert(Navon(), tmp_path / "in", tmp_path / "zoo")


def test_a_conversion_goes_on_where_it_stopped(tmp_path):
    folder = tmp_path / "in"
    zhou_folder(folder, images=5)

    def stop(done, _):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(Zhou(), folder, tmp_path / "cut", shard_size=4, progress=stop)
    resumed = convert(Zhou(), folder, tmp_path / "cut", shard_size=4)
    whole = convert(Zhou(), folder, tmp_path / "whole", shard_size=4)
    for file in whole.path.iterdir():
        assert (resumed.path / file.name).read_bytes() == file.read_bytes()
    save(folder / "randinit_0_train/mnist_1s/net77.pth", siren(1))
    with pytest.raises(ZooError, match="listing_sha256"):
        convert(Zhou(), folder, tmp_path / "whole", shard_size=4)


def test_folders_without_networks_are_refused(tmp_path):
    with pytest.raises(ZooError, match=r"holds no file of \.pt, \.pth"):
        convert(Navon(), tmp_path, tmp_path / "zoo")
    with pytest.raises(ZooError, match="is not a folder"):
        convert(Zhou(), tmp_path / "nowhere", tmp_path / "zoo")
