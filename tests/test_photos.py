"""Photos: colour patches with something to see, in two splits that share no pixel."""

import importlib.machinery
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from neural_graphs.errors import ImageError
from neural_graphs.zoo import find_source, grow_inrs, load_images, photos, preset
from neural_graphs.zoo.photos import Photos, patches


@pytest.fixture(scope="module")
def both():
    return load_images("photos"), load_images("photos", "test")


def test_there_are_thousands_of_every_photograph(both):
    train, test = both
    assert train.pixels.shape == (4203, 32, 32, 3) and test.pixels.shape == (1681, 32, 32, 3)  # as the docstring says
    for images, least in ((train, 150), (test, 50)):
        assert np.bincount(images.labels, minlength=len(Photos.FILES)).min() >= least
        assert images.labels.max() == len(Photos.FILES) - 1
        first = np.bincount(images.labels[:400], minlength=len(Photos.FILES))
        assert first.min() > 0  # the first few stand for all
    assert isinstance(find_source("photos"), Photos)


def test_the_same_bytes_every_time(both):
    assert load_images("photos", "test").checksum() == both[1].checksum() != both[0].checksum()


def test_there_is_colour_and_something_to_see(both):
    for images in both:
        pixels = images.pixels[:600].astype(np.float32)
        assert pixels.std(axis=(1, 2)).mean(axis=1).min() > photos.FLAT
        assert np.median(np.ptp(pixels.mean(axis=(1, 2)), axis=1)) > 15  # of the channels: not grey
        assert len({patch.tobytes() for patch in images.pixels}) == len(images)


def test_no_patch_is_in_both_splits(both):
    train, test = ({patch.tobytes() for patch in images.pixels} for images in both)
    assert not train & test


def test_train_and_test_share_no_pixel():
    random = np.random.default_rng(0)
    photo = random.integers(0, 100, (40, 62, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)[:, :490]
    start, stop = (round(share * 490) for share in photos.TEST_BAND)
    photo[:, start:stop] += 155  # even an average over one column of the other split would lie in between
    assert patches(photo, "train").max() < 100 and len(patches(photo, "train")) > 100
    assert patches(photo, "test").min() >= 155 and len(patches(photo, "test")) > 100


def test_patches_are_averages_of_the_photograph(monkeypatch):
    monkeypatch.setattr(photos, "SCALES", (2,))
    photo = np.random.default_rng(0).integers(0, 256, (80, 300, 3)).astype(np.uint8)
    found = patches(photo, "test")  # columns 150 to 240, 40 × 45 after averaging: 2 × 2 patches
    assert len(found) == 4
    square = photo[2 * 8 : 2 * 8 + 64, 150 : 150 + 64].reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(found[2], np.rint(square))


def test_flat_and_small_photographs_have_no_patches():
    assert len(patches(np.full((300, 500, 3), 200, np.uint8), "train")) == 0
    assert len(patches(np.zeros((40, 50, 3), np.uint8), "test")) == 0


def test_without_the_extra_its_name_is_given(monkeypatch):
    monkeypatch.setattr(photos, "find_spec", lambda package: None)
    with pytest.raises(ImageError, match=r"pictures of skimage; .* pip install 'neural-graphs\[colour\]'"):
        load_images("photos")


def test_a_release_without_the_file_is_named(monkeypatch, tmp_path):
    spec = importlib.machinery.ModuleSpec("skimage", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(photos, "find_spec", lambda package: spec)
    with pytest.raises(ImageError, match=r"astronaut\.png is not there: this release of skimage"):
        load_images("photos")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "astronaut.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"astronaut\.png is not a readable image"):
        load_images("photos")


def test_nothing_is_imported_to_find_the_files(monkeypatch):
    monkeypatch.delitem(sys.modules, "skimage", raising=False)  # another test may have needed it
    load_images("photos", "test")
    assert "skimage" not in sys.modules


def test_a_zoo_of_colour_networks_is_grown(tmp_path):
    zoo = grow_inrs(tmp_path / "zoo", "photos", replace(preset("fast"), steps=2), count=3, hidden=(8,))
    assert len(zoo) == 3 and zoo.manifest.recipe["images"] == "photos"
    record = zoo[0]
    assert record.render().shape == (32, 32, 3) and record.image is not None
    assert Image.fromarray(record.image).mode == "RGB"
