"""Finding image sources by name or folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from neural_graphs.errors import ImageError
from neural_graphs.zoo.images import Cifar10, Digits, Folder, Hub, Idx, Images, Source, find_idx
from neural_graphs.zoo.photos import Photos

DATA_VARIABLE = "NEURAL_GRAPHS_DATA"
CARRIED: dict[str, type[Source]] = {"digits": Digits, "photos": Photos}  # in installed packages, never downloaded
DEBIAN_FOLDER = Path("/usr/share/datasets")  # dataset-fashion-mnist puts its files into fashion-mnist/ there


def load_images(name_or_path: str | Path, split: str = "train") -> Images:
    """Return labelled images by name or from a folder: `digits`, `photos`, `mnist`, `fashion-mnist`, `cifar10`, `svhn`.

    The first two come with packages, before a folder called so (give that as `./photos`). Any other name is looked for
    in `$NEURAL_GRAPHS_DATA`, then where Debian's packages install data sets, then downloaded with the extra `download`.
    Raises `ImageError` saying where it looked when nothing is found.
    """
    return find_source(name_or_path).load(split)


def find_source(name_or_path: str | Path) -> Source:
    """Return the source of that name or folder; raises `ImageError` saying where it looked."""
    name = str(name_or_path)
    if name in CARRIED:
        return CARRIED[name](name)
    folder = Path(name_or_path)
    if folder.is_dir():
        return _source_in(folder.resolve().name, folder)
    if name not in Hub.REPOSITORIES:
        raise ImageError(f"{name!r} is neither a folder nor one of {', '.join([*CARRIED, *Hub.REPOSITORIES])}.")
    looked = list(_places(name))
    for place in looked:
        if place.is_dir() and isinstance(source := _source_in(name, place), Idx | Cifar10):
            return source
    try:
        import datasets  # noqa: F401  # only asks whether the extra is there
    except ImportError as error:
        where = ", ".join(map(str, looked))
        raise ImageError(
            f"{name} is not on this machine (looked in {where}); give its folder, set {DATA_VARIABLE}, or"
            " install the extra that downloads it: pip install 'neural-graphs[download]'."
        ) from error
    return Hub(name)


def _source_in(name: str, folder: Path) -> Source:
    """Tell the format of a folder from the files it holds."""
    if any(find_idx(folder, f"{stem}-images-idx3-ubyte") for stem in Idx.STEMS.values()):
        return Idx(name, folder)
    for inner in (folder, folder / "cifar-10-batches-bin"):
        if any((inner / file).is_file() for files in Cifar10.FILES.values() for file in files):
            return Cifar10(name, inner)
    return Folder(name, folder)


def _places(name: str) -> Iterator[Path]:
    """Yield the folders where the files of a named set may lie."""
    given = os.environ.get(DATA_VARIABLE)
    roots = ([Path(given)] if given else []) + [DEBIAN_FOLDER]
    for root in roots:
        yield from (root / name, root / {"cifar10": "cifar-10-batches-bin"}.get(name, f"dataset-{name}"))
