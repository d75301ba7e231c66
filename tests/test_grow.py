"""Growing zoos of implicit networks: which image each network gets, kills, and growing on to the same bytes."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neural_graphs.errors import ConfigError, ImageError, ZooError
from neural_graphs.zoo import Plan, Zoo, check_zoo, grow_inrs, preset
from neural_graphs.zoo.writer import ZooWriter

QUICK = replace(preset("fast"), steps=2)


def files(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 3), st.integers(0, 5))
def test_a_plan_uses_every_image_once_per_copy_and_keeps_splits_apart(train, test, copies, seed):
    plan = Plan.of(train, test, shares=None, copies=copies, seed=seed)
    val = train // 12
    assert np.bincount(plan.split, minlength=3).tolist() == [copies * (train - val), val, test]
    trained = {(image, copy) for image, copy in zip(plan.image, plan.copy, strict=True)}
    assert len({*zip(plan.split == 2, plan.image, plan.copy, strict=True)}) == len(plan) and trained
    assert not {*plan.image[plan.split == 0]} & {*plan.image[plan.split == 1]}
    assert sorted(plan.image[plan.split == 2]) == list(range(test))
    for part in (len(plan) // 3, len(plan) // 2):
        shares = np.bincount(plan.first(part).split[plan.first(part).copy == 0], minlength=3)
        images = shares.sum()
        assert np.abs(shares - images * np.array([train - val, val, test]) / (train + test)).max() <= 2


def test_shares_weigh_the_splits_until_images_run_out():
    plan = Plan.of(60, 40, shares=(3, 1, 2), copies=1, seed=0)
    assert np.bincount(plan.first(12).split).tolist() == [6, 2, 4]
    assert np.bincount(plan.split)[0] + np.bincount(plan.split)[1] == 60
    for shares in ((1, 1), (0, 0, 0), (1, -1, 1)):
        with pytest.raises(ZooError, match="three weights"):
            Plan.of(60, 40, shares=shares, copies=1, seed=0)
    for wrong in ({"copies": 0, "seed": 0}, {"copies": 1, "seed": -1}):
        with pytest.raises(ZooError, match="copies ≥ 1 and a seed ≥ 0"):
            Plan.of(60, 40, shares=None, **wrong)


def test_growing_fits_the_planned_images_and_is_the_same_in_one_or_two_runs(tmp_path):
    seen = []
    whole = grow_inrs(
        tmp_path / "a", "digits", QUICK, count=40, shard_size=16, progress=lambda *each: seen.append(each)
    )
    grow_inrs(tmp_path / "b", "digits", QUICK, count=10, shard_size=16, workers=1)
    again = grow_inrs(tmp_path / "b", "digits", QUICK, count=40, shard_size=16)
    assert files(whole.path) == files(again.path)
    assert seen[0] == (0, 40) and seen[-1] == (40, 40) and seen == sorted(seen)
    for record in whole:
        error = np.square(record.render().astype(np.float64) - record.image[..., 0] / 255).mean()
        assert -10 * np.log10(error) == pytest.approx(record.metadata["psnr"], abs=1e-3)
    with pytest.raises(ZooError, match=r"preset\.steps is 2 there, 3 asked for"):
        grow_inrs(tmp_path / "b", "digits", replace(QUICK, steps=3), count=40, shard_size=16)
    for count in (1798, 0, -3):
        with pytest.raises(ZooError, match=f"not {count}"):
            grow_inrs(tmp_path / "c", "digits", QUICK, count=count)
    with pytest.raises(ConfigError, match="'abacus'; expected one of cpu"):
        grow_inrs(tmp_path / "c", "digits", QUICK, device="abacus")
    assert not (tmp_path / "c").exists()
    with pytest.raises(ImageError):
        grow_inrs(tmp_path / "c", tmp_path / "nowhere", QUICK)


def test_colour_images_become_networks_of_three_outputs(tmp_path):
    random = np.random.default_rng(0)
    for number in range(10):
        Image.fromarray(random.integers(0, 256, (5, 4, 3)).astype(np.uint8)).save(tmp_path / f"{number}.png")
    zoo = grow_inrs(tmp_path / "zoo", tmp_path, QUICK, hidden=(8,))
    assert str(zoo.layout) == "2 → 8 → 3 · sine" and len(zoo) == 10
    for record in zoo:
        assert record.image.shape == record.render().shape == (5, 4, 3)
        error = np.square(record.render().astype(np.float64) - record.image / 255).mean()
        assert -10 * np.log10(error) == pytest.approx(record.metadata["psnr"], abs=1e-3)


def test_copies_of_an_image_start_from_other_numbers(tmp_path):
    zoo = grow_inrs(tmp_path / "zoo", "digits", QUICK, count=12, copies=3, shares=(1, 0, 0))
    assert zoo.column("copy").tolist() == [0, 1, 2] * 4
    assert len(set(zoo.column("image"))) == 4
    assert len(torch.unique(zoo.networks().values, dim=0)) == 12


GROW = """
import sys, dataclasses, torch
from neural_graphs.zoo import grow_inrs, preset
torch.set_num_threads(1)
steps = dataclasses.replace(preset("fast"), steps=100)
grow_inrs(sys.argv[1], "digits", steps, count=64, shard_size=8)
"""


def test_a_kill_loses_at_most_the_shard_in_progress(tmp_path):
    path = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", GROW, str(path)])
    deadline = time.monotonic() + 60
    while len(list(path.glob("*.parquet"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    survivors = Zoo(path, partial=True)
    check_zoo(survivors)
    assert 8 <= len(survivors) < 64
    steps = replace(preset("fast"), steps=100)
    resumed = grow_inrs(path, "digits", steps, count=64, shard_size=8)
    assert files(path) == files(grow_inrs(tmp_path / "whole", "digits", steps, count=64, shard_size=8).path)
    assert torch.equal(resumed.networks(range(len(survivors))).values, survivors.networks().values)


def test_all_shards_but_the_one_in_hand_are_on_disk_when_more_is_told(tmp_path):
    path, missing = tmp_path / "zoo", []

    def progress(done, _):
        whole = len(list(path.glob("*.parquet"))) * 8
        missing.extend([done] * (whole < (done - 1) // 8 * 8))

    grow_inrs(path, "digits", QUICK, count=40, shard_size=8, progress=progress)
    assert not missing


def test_a_shard_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    def full(_writer, _rows):
        raise OSError("no space left")

    monkeypatch.setattr(ZooWriter, "write", full)
    with pytest.raises(OSError, match="no space left"):
        grow_inrs(tmp_path / "zoo", "digits", QUICK, count=40, shard_size=8)
