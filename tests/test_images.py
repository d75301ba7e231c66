"""Image sources: the pixels and labels of every format, and an error that names the file for everything else."""

import gzip
import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from neural_graphs.errors import ImageError
from neural_graphs.zoo import Images, find_images, find_source, load_images
from neural_graphs.zoo.images import Cifar10, Folder, Hub, Idx

STEMS = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), "test": ("t10k-images-idx3-ubyte",)}


def idx_bytes(array):
    sizes = np.array(array.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def write_idx(folder, count=5, seed=0, pack=lambda data: data, end=""):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    arrays = {}
    for split, stem in {"train": "train", "test": "t10k"}.items():
        arrays[split] = random.integers(0, 256, (count, 4, 3)), random.integers(0, 10, count)
        for array, name in zip(arrays[split], ("images-idx3-ubyte", "labels-idx1-ubyte"), strict=True):
            (folder / f"{stem}-{name}{end}").write_bytes(pack(idx_bytes(array)))
    return arrays


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No data set is installed on this machine."""
    monkeypatch.delenv(find_images.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(find_images, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it fails
    return tmp_path


def test_digits_are_all_there_once_and_balanced():
    train, test = load_images("digits"), load_images("digits", "test")
    assert len(train) == 1438 and len(test) == 359 and train.pixels.shape[1:] == (8, 8, 1)
    assert train.pixels.max() == 255 and train.pixels.min() == 0
    assert np.bincount(test.labels).min() >= 25
    assert len({image.tobytes() for split in (train, test) for image in split.pixels}) == 1797
    assert load_images("digits", "test").checksum() == test.checksum() != train.checksum()


@pytest.mark.parametrize(("pack", "end"), [(lambda data: data, ""), (gzip.compress, ".gz")])
def test_idx_files_plain_and_gzip(tmp_path, pack, end):
    arrays = write_idx(tmp_path / "shoes", pack=pack, end=end)
    for split, (pixels, labels) in arrays.items():
        images = load_images(tmp_path / "shoes", split)
        assert images.name == "shoes" and images.split == split
        np.testing.assert_array_equal(images.pixels[..., 0], pixels)
        np.testing.assert_array_equal(images.labels, labels)


def test_damaged_idx_files_are_named(tmp_path):
    write_idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for data, message in (
        (whole[:-1], "holds 75 bytes, but its header of shape"),
        (whole + b"\0", "holds 77 bytes"),
        (whole[:9], "ends inside its header"),
        (b"\0\0\x0d\x03" + whole[4:], "starts with 00 00 0d 03"),
        (b"", "starts with"),
        (b"<html>", "starts with 3c 68"),
    ):
        path.write_bytes(data)
        with pytest.raises(ImageError, match=rf"train-images-idx3-ubyte {message}"):
            load_images(tmp_path)
    path.rename(tmp_path / "train-images-idx3-ubyte.gz")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(ImageError, match=r"ubyte\.gz is not a whole gzip file"):
        load_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(ImageError, match="has no train-labels-idx1-ubyte, plain or"):
        load_images(tmp_path)


def test_labels_that_do_not_match_the_images_are_refused(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(4)))
    with pytest.raises(ImageError, match="5 images, but labels"):
        load_images(tmp_path, "test")


def test_named_sets_are_found_where_the_variable_and_debian_say(nowhere, monkeypatch):
    with pytest.raises(
        ImageError, match=r"(?s)looked in .*debian/mnist.*NEURAL_GRAPHS_DATA.*neural-graphs\[download\]"
    ):
        load_images("mnist")
    installed = write_idx(nowhere / "debian" / "mnist", seed=1)
    np.testing.assert_array_equal(load_images("mnist").pixels[..., 0], installed["train"][0])
    mine = write_idx(nowhere / "mine" / "mnist", seed=2)
    monkeypatch.setenv(find_images.DATA_VARIABLE, str(nowhere / "mine"))
    np.testing.assert_array_equal(load_images("mnist").pixels[..., 0], mine["train"][0])
    assert load_images("mnist").name == "mnist"


def test_unknown_names_and_splits_list_the_known_ones(nowhere):
    with pytest.raises(ImageError, match=r"'nmist' is neither a folder nor one of digits, photos, mnist, fashion"):
        find_source("nmist")
    with pytest.raises(ImageError, match="no split 'val'; choose one of train, test"):
        load_images("digits", "val")


@pytest.mark.parametrize("inner", [".", "cifar-10-batches-bin"])
def test_cifar_binaries_are_read_channels_last(tmp_path, inner):
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    records = random.integers(0, 256, (12, Cifar10.RECORD)).astype(np.uint8)
    records[:, 0] %= 10
    parts = np.split(records, 6)
    for name, part in zip((*Cifar10.FILES["train"], *Cifar10.FILES["test"]), parts, strict=True):
        part.tofile(folder / name)
    train, test = load_images(tmp_path), load_images(tmp_path, "test")
    assert train.pixels.shape == (10, 32, 32, 3) and len(test) == 2
    np.testing.assert_array_equal(train.labels, records[:10, 0])
    assert train.pixels[3, 5, 7, 2] == records[3, 1 + 2 * 1024 + 5 * 32 + 7]
    (folder / "data_batch_3.bin").write_bytes(b"\0" * 3000)
    with pytest.raises(ImageError, match=r"data_batch_3\.bin holds 3000 bytes"):
        load_images(tmp_path)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(ImageError, match=r"data_batch_3\.bin is missing"):
        load_images(tmp_path)


def draw(path, value, size=(3, 2), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def test_a_folder_of_images_is_labelled_by_its_folders(tmp_path):
    for split in ("train", "test"):
        for place, animal in enumerate(("cat", "ant")):
            draw(tmp_path / split / animal / "a.png", 10 + place)
            draw(tmp_path / split / animal / "deep" / "b.png", 20 + place)
    images = load_images(tmp_path, "test")
    assert images.pixels.shape == (4, 2, 3, 1) and images.labels.tolist() == [0, 0, 1, 1]
    assert images.pixels[:, 0, 0, 0].tolist() == [11, 21, 10, 20]


def test_a_folder_without_splits_sets_a_fifth_aside(tmp_path):
    for value in range(10):
        draw(tmp_path / f"{value}.jpg" if value % 2 else tmp_path / f"{value}.png", value * 20)
    draw(tmp_path / "9.jpg", (200, 10, 10), mode="RGB")
    train, test = load_images(tmp_path), load_images(tmp_path, "test")
    assert (len(train), len(test)) == (8, 2)
    assert train.pixels.shape[3] == test.pixels.shape[3] == 3  # one image of ten is in colour


def test_folders_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"holds no image; expected files ending in \.png"):
        load_images(tmp_path)
    draw(tmp_path / "one.png", 1)
    with pytest.raises(ImageError, match="too few images"):
        load_images(tmp_path, "test")
    draw(tmp_path / "two.png", 1, size=(4, 4))
    with pytest.raises(ImageError, match=r"two\.png is \(4, 4\) pixels, but .*one\.png is \(2, 3\)"):
        load_images(tmp_path)
    (tmp_path / "two.png").write_bytes((tmp_path / "one.png").read_bytes()[:40])
    with pytest.raises(ImageError, match=r"two\.png is not a readable image"):
        load_images(tmp_path)


def test_downloads_go_through_datasets(nowhere, monkeypatch):
    class ShardData:
        column_names = ("img", "label")

        def __getitem__(self, name):
            return [Image.new("RGB", (3, 2), (5, 6, 7))] * 4 if name == "img" else [0, 1, 2, 3]

    asked = []
    fake = ModuleType("datasets")
    fake.load_dataset = lambda *names, split: asked.append((*names, split)) or ShardData()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    images = load_images("cifar10", "test")
    assert asked == [("uoft-cs/cifar10", None, "test")] and isinstance(find_source("cifar10"), Hub)
    assert images.pixels.shape == (4, 2, 3, 3) and images.pixels[0, 0, 0].tolist() == [5, 6, 7]


def test_sources_are_told_apart_by_their_files(tmp_path):
    write_idx(tmp_path / "a")
    (tmp_path / "b").mkdir()
    assert isinstance(find_source(tmp_path / "a"), Idx) and isinstance(find_source(tmp_path / "b"), Folder)


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (np.zeros((2, 3, 3, 2), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((0, 3, 3, 1), np.uint8), np.zeros(0, np.int64)),
    ],
)
def test_images_that_contradict_themselves_are_refused(pixels, labels):
    with pytest.raises(ImageError, match=r"^mine: "):
        Images(pixels, labels, "mine", "train")


def test_images_print_on_one_line_and_slice():
    images = load_images("digits")
    assert repr(images) == "Images(digits train: 1438 of 8×8×1)"
    assert len(images[10:12]) == 2 and images[[3]].labels[0] == images.labels[3]
