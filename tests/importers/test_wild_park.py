"""CNN Wild Park as it is published becomes ours: layouts, functions, accuracies, networks in one split."""

import json
import os
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from neural_graphs.errors import ZooError
from neural_graphs.zoo import Zoo, check_zoo, info
from neural_graphs.zoo.importers.runs_of_files import split_networks
from neural_graphs.zoo.importers.wild_park import convert_cnn_wild_park

KINDS = {"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "leaky_relu": F.leaky_relu}
NETWORKS = (  # channels, kernels, residual, activation
    ((3, 8, 16, 4, 8), (5, 3, 7, 3), [-1, -1, 0, 1], ["relu", "tanh", "gelu", "leaky_relu"]),
    ((3, 4, 32), (3, 3), [-1, -1], ["sigmoid", "none"]),
    ((3, 8, 8, 16), (3, 5, 3), [-1, -1, 0], ["relu", "relu", "tanh"]),
    ((3, 4, 32), (3, 3), [-1, -1], ["sigmoid", "none"]),  # built like the second one, another network
)


def state_of(number, epoch, names=("conv{}", "fc")):
    channels, kernels, _, _ = NETWORKS[number]
    generator = torch.Generator().manual_seed(1000 * number + epoch)
    state = {}
    for layer, (fan_in, fan_out, kernel) in enumerate(zip(channels, channels[1:], kernels, strict=False)):
        state[f"{names[0].format(layer)}.weight"] = torch.randn(fan_out, fan_in, kernel, kernel, generator=generator)
        state[f"{names[0].format(layer)}.bias"] = torch.randn(fan_out, generator=generator)
    state[f"{names[1]}.weight"] = torch.randn(10, channels[-1], generator=generator)
    state[f"{names[1]}.bias"] = torch.randn(10, generator=generator)
    return {name: tensor / 10 for name, tensor in state.items()}


def accuracy_of(number, epoch):
    return 0.1 + number / 20 + epoch / 1000


def content_of(number, epoch, **changes):
    config = {"residual": NETWORKS[number][2], "activation": NETWORKS[number][3], "lr": 1e-3, "n_layers": 4}
    return {"model": state_of(number, epoch), "config": config, "test_accuracy": accuracy_of(number, epoch), **changes}


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def park_folder(folder, epochs=(10, 20, 30)):
    for number in range(len(NETWORKS)):
        for epoch in epochs:
            save(folder / f"net_{number}" / f"checkpoint_{epoch:06d}" / "checkpoint.pt", content_of(number, epoch))
    return folder


def reference(number, state, x):
    """The network as its authors run it: the skip is added before the activation, on the channels both have."""
    _, kernels, residual, activation = NETWORKS[number]
    outputs = []
    for layer, kernel in enumerate(kernels):
        y = F.conv2d(x, state[f"conv{layer}.weight"], state[f"conv{layer}.bias"], padding=kernel // 2)
        if residual[layer] >= 0:
            shared = min(y.shape[1], outputs[residual[layer]].shape[1])
            y = torch.cat([y[:, :shared] + outputs[residual[layer]][:, :shared], y[:, shared:]], dim=1)
        x = KINDS.get(activation[layer], lambda x: x)(y)
        outputs.append(x)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def test_networks_are_what_they_were(tmp_path):
    zoo = convert_cnn_wild_park(park_folder(tmp_path / "park"), tmp_path / "zoo", shard_size=2)
    check_zoo(zoo)
    assert len(zoo) == 12 and len(zoo.layouts) == 3 and not info(zoo)["skipped"]
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = set()
    for record in zoo:
        facts = record.metadata
        number, epoch = int(facts["run"].removeprefix("net_")), facts["epoch"]
        state = {name: tensor.double() for name, tensor in state_of(number, epoch).items()}
        got = record.network.to(torch.float64).run(x)[0]
        torch.testing.assert_close(got, reference(number, state, x), rtol=1e-10, atol=1e-12)
        assert facts["test_accuracy"] == pytest.approx(accuracy_of(number, epoch)) and facts["ok"]
        assert facts["activations"].split() == NETWORKS[number][3] and facts["depth"] == len(NETWORKS[number][1])
        assert [int(skip) for skip in facts["skips"].split()] == NETWORKS[number][2]
        assert [int(size) for size in facts["channels"].split()] == list(NETWORKS[number][0][1:])
        assert [int(size) for size in facts["kernels"].split()] == list(NETWORKS[number][1])
        assert facts["lr"] == 1e-3 and facts["file"].startswith(facts["run"])
        seen.add((facts["network"], facts["run"], facts["split"]))
    assert len(seen) == 4 and {split for _, _, split in seen} == {"train", "val", "test"}


def test_mixed_batches_come_in_the_order_asked_for(tmp_path):
    zoo = convert_cnn_wild_park(park_folder(tmp_path / "park"), tmp_path / "zoo", shard_size=2)
    order = np.random.default_rng(0).permutation(len(zoo))
    batch = zoo.networks(order)
    for vector, layout, place in zip(batch.vectors(), batch.layouts, order, strict=True):
        assert torch.equal(vector, zoo[place].values) and layout == zoo[place].layout


@pytest.mark.parametrize("wrap", [lambda paths: paths, lambda paths: {"path": paths, "score": [0.1] * len(paths)}])
def test_a_list_of_splits_counts(tmp_path, wrap):
    folder = park_folder(tmp_path / "park")
    listed = {"train": ["net_0", "net_3"], "val": ["net_1"], "test": ["net_2"]}
    paths = {
        split: [f"data/park/{net}/checkpoint_{epoch:06d}/checkpoint.pt" for net in nets for epoch in (10, 20)]
        for split, nets in listed.items()
    }
    paths["test"].append("data/park/net_9/checkpoint_000010/checkpoint.pt")
    (folder / "splits.json").write_text(json.dumps({split: wrap(each) for split, each in paths.items()}))
    zoo = convert_cnn_wild_park(folder, tmp_path / "zoo")
    for split, nets in listed.items():
        assert set(zoo.split(split).column("run")) == set(nets) and set(zoo.column("epoch").tolist()) == {10, 20}
    reasons = dict(info(zoo)["skipped"])
    assert len(reasons) == 5 and "it is in no list" in reasons["net_0/checkpoint_000030/checkpoint.pt"]
    assert "cannot be read" in reasons["data/park/net_9/checkpoint_000010/checkpoint.pt"]


def test_a_network_in_two_splits_is_refused(tmp_path):
    folder = park_folder(tmp_path / "park", epochs=(10, 20))
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.pt"))
    (folder / "splits.json").write_text(json.dumps({"train": paths[:3], "test": paths[3:]}))
    with pytest.raises(ZooError, match="but both are checkpoints of net_1: a network belongs to one split"):
        convert_cnn_wild_park(folder, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("changes", "accuracy"),
    [
        ({"test_accuracy": torch.tensor(0.25)}, 0.25),
        ({"test_accuracy": None, "test/acc": 0.3, "train/acc": 0.9}, 0.3),
        ({"test_accuracy": None, "metrics": {"val_acc": 0.9, "test_acc": 0.35}}, 0.35),
        ({"test_accuracy": None, "train_acc": 0.9, "score": 0.4}, 0.4),
    ],
)
def test_the_test_accuracy_under_other_names(tmp_path, changes, accuracy):
    content = {key: value for key, value in {**content_of(0, 1), "epoch": 7, **changes}.items() if value is not None}
    save(tmp_path / "park" / "net_0" / "checkpoint.pt", content)
    facts = convert_cnn_wild_park(tmp_path / "park", tmp_path / "zoo")[0].metadata
    assert facts["test_accuracy"] == pytest.approx(accuracy) and facts["epoch"] == 7


@pytest.mark.parametrize("residual", [[None, None, 0, 1], torch.tensor([-1, -1, 0, 1])])
def test_tensors_of_other_names_and_activations_in_other_words(tmp_path, residual):
    state = state_of(0, 1, names=("layers.{}0", "classifier"))  # "layers.100" comes after "layers.20"
    content = content_of(0, 1, model=dict(reversed(state.items())))
    content["config"]["activation"] = ["ReLU", "Tanh", "GELU", "LeakyReLU"]
    content["config"]["residual"] = residual
    save(tmp_path / "park" / "net_0" / "checkpoint.pt", content)
    record = convert_cnn_wild_park(tmp_path / "park", tmp_path / "zoo")[0]
    assert torch.equal(record.values, torch.cat([tensor.flatten() for tensor in state_of(0, 1).values()]))
    assert [group.activation.kind for group in record.layout.groups[1:-1]] == NETWORKS[0][3]
    assert list(record.layout.slices)[:2] == ["conv0.weight", "conv0.bias"] and "fc.bias" in record.layout.slices


class Evil:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_files_that_cannot_be_used_are_told_and_the_others_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = park_folder(tmp_path / "park", epochs=(10,))
    nan, narrow, odd = state_of(0, 1), state_of(0, 1), state_of(0, 1)
    nan["conv1.bias"] = nan["conv1.bias"] * torch.nan
    narrow["conv1.weight"] = narrow["conv1.weight"][:, :3]
    odd["extra"] = torch.zeros(3)
    config = content_of(0, 1)["config"]
    contents = {
        "evil": (Evil(), "cannot be read as a PyTorch file"),
        "list": ([1], "holds a list"),
        "bare": (state_of(0, 1), "has no 'model' and 'config'"),
        "nan": (content_of(0, 1, model=nan), r"conv1\.bias holds NaN"),
        "narrow": (content_of(0, 1, model=narrow), r"conv1\.weight has shape \(16, 3, 3, 3\)"),
        "odd": (content_of(0, 1, model=odd), "no pairs of weight and bias: .*extra"),
        "kinds": (content_of(0, 1, config={**config, "activation": "swirl"}), "activation 'swirl' is unknown"),
        "number": (content_of(0, 1, config={**config, "activation": 3}), "its activation is 3; expected one for all"),
        "word": (
            content_of(0, 1, config={**config, "residual": "none"}),
            "its residual is 'none'; expected an earlier",
        ),
        "few": (content_of(0, 1, config={**config, "activation": ["relu"]}), "4 conv layers need as many activations"),
        "early": (content_of(0, 1, config={**config, "residual": [2, -1, 0, 1]}), "before it is there"),
        "percent": (content_of(0, 1, test_accuracy=57.0), "accuracies are fractions"),
        "silent": ({"model": state_of(0, 1), "config": config}, "names no test accuracy"),
    }
    for name, (content, _) in contents.items():
        save(folder / name / "checkpoint.pt", content)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "checkpoint.pt").write_bytes(b"PK damaged")
    zoo = convert_cnn_wild_park(folder, tmp_path / "zoo", shard_size=5)
    check_zoo(zoo)
    reasons = {file.partition("/")[0]: reason for file, reason in info(zoo)["skipped"]}
    assert len(zoo) == 4 and set(reasons) == {*contents, "damaged"} and not (tmp_path / "hacked").exists()
    for name, (_, reason) in contents.items():
        assert re.search(reason, reasons[name]), (name, reasons[name])


def test_no_usable_file_at_all(tmp_path):
    with pytest.raises(ZooError, match=r"holds no file of \.pt, \.pth"):
        convert_cnn_wild_park(tmp_path, tmp_path / "zoo")
    save(tmp_path / "a" / "checkpoint.pt", [1])
    with pytest.raises(ZooError, match=r"None of 1 files can be used\. a/checkpoint\.pt: it holds a list"):
        convert_cnn_wild_park(tmp_path, tmp_path / "zoo")


def test_interrupted_it_ends_with_the_same_bytes(tmp_path):
    folder = park_folder(tmp_path / "park")

    def stop(done, total):
        if done > 0.75 * total:
            raise KeyboardInterrupt

    whole = convert_cnn_wild_park(folder, tmp_path / "whole", shard_size=2)
    with pytest.raises(KeyboardInterrupt):
        convert_cnn_wild_park(folder, tmp_path / "zoo", shard_size=2, progress=stop)
    assert 0 < len(Zoo(tmp_path / "zoo", partial=True)) < 12
    convert_cnn_wild_park(folder, tmp_path / "zoo", shard_size=2)
    for path in whole.path.iterdir():
        assert (tmp_path / "zoo" / path.name).read_bytes() == path.read_bytes()


def test_checkpoints_of_a_network_share_a_split():
    networks = np.random.default_rng(0).integers(0, 40, size=500)
    splits = np.array(split_networks(networks, seed=3))
    assert all(len(set(splits[networks == number])) == 1 for number in range(40))
    counts = [len(set(networks[splits == split])) for split in ("train", "val", "test")]
    assert counts == [32, 4, 4] and split_networks(networks, seed=3) == splits.tolist()
    assert split_networks(networks, seed=4) != splits.tolist()
