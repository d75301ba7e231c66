"""Metanetworks and zoos on the Hub, spoken to through its own library, on a server of this machine."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import neural_graphs as ng
from neural_graphs.commands.cli import main
from neural_graphs.errors import HubError, ZooError
from neural_graphs.tasks import Pretrained, ZooData, predict, share
from neural_graphs.zoo import check_zoo
from tests.sharing.hub_server import Hub, commit_id, running
from tests.store.small_zoos import write_zoo

library = pytest.importorskip("huggingface_hub", reason="the Hub needs the extra hub: pip install 'neural-graphs[hub]'")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # within the library
FORMER = Path(__file__).parents[1] / "former"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        url = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # files go by Git LFS
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield hub


@pytest.fixture
def metanetwork() -> ng.NGGNN:
    return ng.NGGNN(ng.InputSpec.of([ng.Layout.mlp([2, 4, 1])]), classes=3, width=4, depth=2).eval()


def test_a_metanetwork_goes_to_the_hub_and_comes_back(hub: Hub, metanetwork: ng.NGGNN) -> None:
    address = metanetwork.push_to_hub("me/reader", figures={"accuracy": 0.9})
    assert address == f"{hub.address}/me/reader"
    assert set(hub.commits["me/reader"][-1]) == {"README.md", "config.json", "model.safetensors"}
    for place in ("me/reader", "hub://me/reader"):
        read = ng.NGGNN.from_pretrained(place)
        assert all(torch.equal(each, read.state_dict()[name]) for name, each in metanetwork.state_dict().items())
    assert hub.sent.count("model.safetensors") == 1  # then it is in the cache


def test_a_revision_stays_what_it_was(hub: Hub, metanetwork: ng.NGGNN) -> None:
    metanetwork.push_to_hub("me/reader")
    first = commit_id("me/reader", 1)
    before = {name: each.clone() for name, each in metanetwork.state_dict().items()}
    with torch.no_grad():
        metanetwork.readout.mlp[0].weight.add_(1.0)
    metanetwork.push_to_hub("me/reader")
    old, new = (ng.from_pretrained(place).state_dict() for place in (f"me/reader@{first}", "me/reader"))
    assert all(torch.equal(old[name], each) for name, each in before.items())
    assert not torch.equal(new["readout.mlp.0.weight"], before["readout.mlp.0.weight"])


def test_what_is_in_the_cache_needs_no_network(
    hub: Hub, metanetwork: ng.NGGNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    metanetwork.push_to_hub("me/reader")
    ng.from_pretrained("me/reader")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert isinstance(ng.from_pretrained("me/reader"), ng.NGGNN)
    with pytest.raises(HubError, match=r"me/other is no folder here, and .* is not in the cache"):
        ng.from_pretrained("me/other")


def test_what_is_not_there_is_said(hub: Hub, metanetwork: ng.NGGNN) -> None:
    with pytest.raises(HubError, match=r"there is no model me/nothing at http.*hf auth login"):
        ng.from_pretrained("me/nothing")
    metanetwork.push_to_hub("me/reader")
    with pytest.raises(HubError, match="or it has no v9"):
        ng.from_pretrained("me/reader@v9")
    hub.commits["me/reader"].append({"README.md": b"something else"})
    with pytest.raises(HubError, match=r"holds no config.json: it was not made by save_pretrained"):
        ng.from_pretrained("me/reader")


def test_a_shared_run_answers_from_the_hub_in_a_process_of_its_own(hub: Hub, tmp_path: Path) -> None:
    runs = FORMER / "runs/classification"
    assert main(["share", str(runs), "hub://me/digits"]) == 0
    file = FORMER / "networks/digit.safetensors"
    words = [sys.executable, "-m", "neural_graphs", "predict", "--pretrained", "me/digits", str(file), "--json"]
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = predict(Pretrained(share(runs, tmp_path / "digits").folder), [file])
    assert f'"class": {expected[0]["class"]},' in done.stdout


# -- zoos -----------------------------------------------------------------------------------------------------------


def test_a_zoo_comes_shard_by_shard(hub: Hub, tmp_path: Path) -> None:
    local = ng.Zoo(write_zoo(tmp_path / "zoo"))
    assert local.push_to_hub("me/zoo") == f"{hub.address}/datasets/me/zoo"
    zoo = ng.Zoo("hub://me/zoo")
    assert len(zoo) == 20 and zoo.table.equals(local.table) and not [name for name in hub.sent if "safetensors" in name]
    assert torch.equal(zoo.networks([1, 3]).values, local.networks([1, 3]).values)
    np.testing.assert_array_equal(zoo[9].image, local[9].image)
    assert [name for name in hub.sent if "safetensors" in name] == [
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    assert torch.equal(zoo.networks().values, local.networks().values) and zoo.has_images
    assert len([name for name in hub.sent if "safetensors" in name]) == 3
    check_zoo(zoo)


def test_a_view_travels_between_processes_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    local = ng.Zoo(write_zoo(tmp_path / "zoo"))
    local.push_to_hub("me/zoo")
    view = ng.Zoo("hub://me/zoo").split("val")
    assert view.place == f"hub://me/zoo@{commit_id('datasets/me/zoo', 1)}"
    ng.Zoo(write_zoo(tmp_path / "other", planned=6)).push_to_hub("me/zoo")
    again = pickle.loads(pickle.dumps(view))
    assert torch.equal(again.networks().values, local.split("val").networks().values)
    assert len(ng.Zoo("hub://me/zoo")) == 6


def test_a_configuration_names_a_zoo_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    ng.Zoo(write_zoo(tmp_path / "zoo")).push_to_hub("me/zoo")
    data = ZooData(Path("hub://me/zoo"), batch_size=4)  # which pathlib makes hub:/me/zoo
    assert len(data.zoo) == 20 and data.classes == 5


def test_commands_take_an_address(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["share", str(write_zoo(tmp_path / "zoo")), "hub://me/zoo"]) == 0
    assert main(["zoo", "info", "hub://me/zoo"]) == 0
    said = capsys.readouterr().out
    assert f"{hub.address}/datasets/me/zoo" in said and "hub://me/zoo@" in said and ": 20 networks" in said
    assert not [name for name in hub.sent if "safetensors" in name]


def test_damage_on_the_way_is_seen(hub: Hub, tmp_path: Path) -> None:
    ng.Zoo(write_zoo(tmp_path / "zoo")).push_to_hub("me/zoo")
    files = hub.commits["datasets/me/zoo"][-1]
    files["shard-00001.safetensors"] = files["shard-00001.safetensors"][:-4]
    zoo = ng.Zoo("hub://me/zoo")
    zoo.networks([0])
    with pytest.raises(ZooError, match=r"shard-00001.safetensors holds .* bytes, the manifest says"):
        zoo.networks([9])


def test_only_whole_zoos_are_shared(hub: Hub, tmp_path: Path) -> None:
    zoo = ng.Zoo(write_zoo(tmp_path / "zoo"))
    with pytest.raises(ZooError, match="only whole, finished zoos"):
        zoo.split("val").push_to_hub("me/zoo")
    with pytest.raises(ZooError, match="expected owner/name"):
        zoo.push_to_hub("zoo")
    with pytest.raises(HubError, match="is no address of a zoo"):
        ng.Zoo("hub://zoo")
    assert not hub.commits
