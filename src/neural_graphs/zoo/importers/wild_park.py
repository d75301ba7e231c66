"""CNN Wild Park (Kofinas et al. 2024), one folder with a `checkpoint.pt` per checkpoint, converted to a zoo of ours."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from neural_graphs.errors import CheckpointError, ZooError
from neural_graphs.io.foreign import place
from neural_graphs.io.tensors import PICKLED, is_pickled, load
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.networks.execution import ACTIVATIONS
from neural_graphs.zoo.importers.collect import collect
from neural_graphs.zoo.importers.runs_of_files import run_and_epoch
from neural_graphs.zoo.manifest import SPLITS
from neural_graphs.zoo.store import Zoo
from neural_graphs.zoo.writer import SHARD_SIZE

ACCURACY = re.compile(r"(?:.*\W|.*_)?(?:acc|accuracy|score)", re.IGNORECASE)
EPOCHS = ("epoch", "epochs", "training_iteration", "step")
ALSO = {"identity": "none", "linear": "none", "leakyrelu": "leaky_relu", "swish": "silu"}  # other words for the kinds
LEFT_OUT = ("activation", "residual", "run", "epoch", "split", "file", "index", "network", "ok")  # of a config: ours


def convert_cnn_wild_park(
    folder: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    shard_size: int = SHARD_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Zoo:
    """Convert all `.pt` or `.ckpt` files at or below a folder to a zoo with shards per architecture, and return it.

    A file holds `model` (the state dict: convolutions, then one linear layer), `config` with `residual` (per
    convolution the earlier one whose output is added, -1 for none) and `activation` (one for all, or one each), and the
    test accuracy. Which files are checkpoints of one network is told by their folders (`net_7/checkpoint_000010/`).
    Splits are those of a JSON file in the folder, `{"train": [paths], "val": …}`, else of networks at random.
    Files that cannot be used are skipped and reported; progress receives files read and to read, each twice. Raises
    `ZooError` where no file can be used, or where a network is in two splits.
    """
    folder = Path(folder)
    every = (path for path in folder.rglob("*") if path.is_file() and is_pickled(path))
    files = sorted(path.relative_to(folder).as_posix() for path in every)
    if not files:
        raise ZooError(f"{folder} holds no file of {', '.join(PICKLED)}.")
    splits = _splits(folder, files)

    def read(file: str) -> tuple[Networks, Mapping[str, Any]]:
        if splits and file not in splits:
            raise CheckpointError("it is in no list of the JSON file of splits")
        networks, facts = read_checkpoint(folder / file)
        run, epoch = run_and_epoch(file)
        split = {"split": splits[file]} if splits else {}
        return networks, {"run": run or ".", "epoch": epoch, **facts, **split}

    files = sorted({*files, *splits})
    recipe = {"source": "cnn-wild-park", "images": folder.resolve().name}
    return collect(out, recipe, files, read, seed=seed, shard_size=shard_size, progress=progress)


def read_checkpoint(path: Path) -> tuple[Networks, dict[str, Any]]:
    """Return the network of a `checkpoint.pt`, its tensors named as `Layout.cnn` does, and what the file says of it.

    Raises CheckpointError saying what is missing or does not fit.
    """
    content = _load(path)
    state, config = (content.get(key) for key in ("model", "config"))
    if not (isinstance(state, Mapping) and isinstance(config, Mapping)):
        raise CheckpointError(f"it has no 'model' and 'config', but {', '.join(map(str, content)) or 'nothing'}")
    layers = _layers(state)
    weights = [state[f"{layer}.weight"] for layer in layers]
    layout = _layout(
        (weights[0].shape[1], *(weight.shape[0] for weight in weights[:-1])),
        tuple(weight.shape[2] for weight in weights[:-1]),
        weights[-1].shape[0],
        _kinds(config.get("activation"), len(layers) - 1),
        _skips(config.get("residual"), len(layers) - 1),
    )
    tensors = [state[f"{layer}.{part}"] for layer in layers for part in ("weight", "bias")]
    named = {parameter.name: tensor for parameter, tensor in zip(layout.parameters, tensors, strict=True)}
    networks = Networks.from_state_dicts([named], layout, names=["it"])
    plain = {str(key): value for key, value in config.items() if isinstance(value, int | float | str)}
    facts = {key: value for key, value in plain.items() if key not in LEFT_OUT}
    return networks, {**facts, **_epoch(content), "test_accuracy": _accuracy(content), **_described(layout)}


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = load(path)
    except CheckpointError as error:  # the list of skipped files names it
        raise CheckpointError(f"it {str(error).removeprefix(f'{path} ')}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"it holds a {type(content).__name__}; expected a dictionary with 'model' and 'config'")
    return content


def _layers(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the layers in the order of computation: convolutions by their numbers, then the head."""
    found = {name.rpartition(".")[0] for name in state}
    expected = {f"{layer}.{part}" for layer in found for part in ("weight", "bias")}
    if expected != set(state) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        odd = ", ".join(sorted(expected ^ set(state))) or "entries that are no tensors"
        raise CheckpointError(f"its layers are no pairs of weight and bias: {odd}")
    ranks = {layer: state[f"{layer}.weight"].ndim for layer in found}
    layers = sorted(found, key=lambda layer: (-ranks[layer], place(layer)))
    if [ranks[layer] for layer in layers] != [4] * (len(layers) - 1) + [2] or len(layers) < 2:
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        raise CheckpointError(f"it is no row of convolutions with one linear layer: {shapes}")
    return layers


def _kinds(activation: Any, depth: int) -> tuple[str, ...]:
    """Return the activation of each convolution in our words."""
    each = [activation] * depth if isinstance(activation, str) or activation is None else activation
    if not isinstance(each, list | tuple):
        raise CheckpointError(f"its activation is {activation!r}; expected one for all convolutions, or one for each")
    words = ["none" if one is None else str(one).lower() for one in each]
    kinds = tuple(ALSO.get(word, word) for word in words)
    if strange := [kind for kind in kinds if kind not in ACTIVATIONS]:
        raise CheckpointError(f"its activation {strange[0]!r} is unknown; known are {', '.join(ACTIVATIONS)}")
    return kinds


def _skips(residual: Any, depth: int) -> tuple[int, ...]:
    """Return the convolution each one has a skip from, -1 for none."""
    given = residual.tolist() if isinstance(residual, Tensor) else residual
    each = given or [-1] * depth
    if isinstance(each, list | tuple) and all(one is None or isinstance(one, int) for one in each):
        return tuple(-1 if one is None else int(one) for one in each)
    raise CheckpointError(f"its residual is {residual!r}; expected an earlier convolution or -1 for each")


@lru_cache(maxsize=4096)  # checkpoints of one network share a layout
def _layout(
    channels: tuple[int, ...], kernels: tuple[int, ...], classes: int, kinds: tuple[str, ...], skips: tuple[int, ...]
) -> Layout:
    if any(source >= layer for layer, source in enumerate(skips)):
        raise CheckpointError(f"its residual {list(skips)} adds the output of a convolution before it is there")
    return Layout.cnn(channels, kernels, classes, activations=kinds, residual=skips)


def _epoch(content: Mapping[str, Any]) -> dict[str, int]:
    return next(({"epoch": int(content[key])} for key in EPOCHS if isinstance(content.get(key), int | float)), {})


def _accuracy(content: Mapping[str, Any]) -> float:
    """Return the test accuracy: the entry called so, at the top or one level below, a test one before any other."""
    inner = [value for key, value in content.items() if isinstance(value, Mapping) and key != "model"]
    for level in [content, *inner]:
        named = {str(key): value for key, value in level.items() if ACCURACY.fullmatch(str(key))}
        values = {key: float(value) for key, value in named.items() if _is_number(value)}
        tests = [value for key, value in values.items() if "test" in key.lower()]
        unnamed = [value for key, value in values.items() if not re.search("train|val", key, re.IGNORECASE)]
        if tests or unnamed:
            return (tests or unnamed)[0]
    raise CheckpointError(f"it names no test accuracy; it has {', '.join(map(str, content))}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)


def _described(layout: Layout) -> dict[str, Any]:
    """Return the architecture as words, one per convolution."""
    convolutions = [block for block in layout.blocks if block.parameter and len(block.kernel) == 2]
    skips = {block.target - 1: block.source - 1 for block in layout.blocks if block.parameter is None}
    return {
        "depth": len(convolutions),
        "channels": " ".join(str(layout.groups[block.target].size) for block in convolutions),
        "kernels": " ".join(str(block.kernel[0]) for block in convolutions),
        "activations": " ".join(layout.groups[block.target].activation.kind for block in convolutions),
        "skips": " ".join(str(skips.get(layer, -1)) for layer in range(len(convolutions))),
    }


def _splits(folder: Path, files: Sequence[str]) -> dict[str, str]:
    """Return the split of every file that a JSON file of splits lists; nothing without such a file.

    Its paths may start at another folder: the longest end that is a file here counts, or the path where none is.
    """
    lists = [(path, content) for path in sorted(folder.glob("*.json")) if (content := _read_json(path))]
    if not lists:
        return {}
    if len(lists) > 1:
        raise ZooError(f"{folder} holds {len(lists)} JSON files of splits; leave one.")
    here, splits = set(files), {}
    for split, names in lists[0][1].items():
        for name in names["path"] if isinstance(names, Mapping) and "path" in names else names:
            parts = PurePosixPath(str(name)).parts
            ends = ("/".join(parts[start:]) for start in range(len(parts)))
            splits[next((end for end in ends if end in here), str(name))] = split
    if not here & set(splits):
        raise ZooError(f"{lists[0][0]} lists none of the {len(files)} files of {folder}.")
    return splits


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file of splits; None for one of something else."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ZooError(f"{path} is not JSON ({error}).") from error
    return content if isinstance(content, dict) and content and set(content) <= set(SPLITS) else None
