"""Models in folders as Hugging Face's libraries save them: `config.json` and `model.safetensors`, read offline."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, reason
from neural_graphs.io.tensors import check_finite

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TOKENS = 8
PIXELS = 224  # of a side, where a config does not say: convolutional classifiers
TESTED = {"pixel_values", "input_ids"}


def read_model(folder: Path) -> nn.Module:
    """The model of a folder in evaluation mode and single precision, of the class its config names.

    Only classes of the installed `transformers` are made: code beside the weights is never run, pickles are not read,
    and nothing is downloaded. Raises CheckpointError naming the file, or the tensors that do not fit.
    """
    kind = _model_class(folder, _architecture(folder / CONFIG))
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise CheckpointError(f"{folder} holds no {WEIGHTS[0]}; save the model with save_pretrained")
    try:
        with _quiet():
            model, said = kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32,
                output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
    except Exception as error:  # transformers raises many kinds, for configs and damaged files
        raise CheckpointError(f"{folder} cannot be read as a {kind.__name__}: {reason(error)}") from error
    _check_loaded(folder, said)
    check_finite(model.state_dict(), folder)
    model.config.use_cache = False
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without bars and reports of transformers: what does not fit is an error here."""
    from transformers.utils import logging as theirs

    logging: Any = theirs  # some of it has no annotations
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(logging.ERROR + 10)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _architecture(config: Path) -> str:
    try:
        names = json.loads(config.read_text(encoding="utf-8")).get("architectures")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{config} cannot be read as JSON ({reason(error)})") from error
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise CheckpointError(f"{config} names no architectures; save the model with save_pretrained")
    return str(names[0])


def _model_class(folder: Path, name: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        extra = "pip install 'neural-graphs[huggingface]'"
        raise CheckpointError(f"{folder} needs the extra huggingface: {extra}") from error
    kind = getattr(transformers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
        raise CheckpointError(
            f"{folder / CONFIG} names {name}, which transformers {transformers.__version__} does not have; "
            "code of its own beside the weights is not run: load such a model yourself and trace it"
        )
    return kind


def _check_loaded(folder: Path, said: dict[str, Any]) -> None:
    """Raise CheckpointError where the file and the model have other tensors."""
    if broken := sorted(said.get("mismatched_keys") or []):
        name, *shapes = broken[0] if isinstance(broken[0], tuple) else (broken[0],)
        sizes = f"shape {tuple(shapes[0])}, expected {tuple(shapes[1])}" if len(shapes) > 1 else "another shape"
        raise CheckpointError(f"{folder}: {name} has {sizes}")
    for key, words in (("missing_keys", "lacks the tensors"), ("unexpected_keys", "holds the unexpected tensors")):
        if names := sorted(said.get(key) or []):
            raise CheckpointError(f"{folder} {words} {', '.join(names[:4])}{' …' if len(names) > 4 else ''}")


def example(model: nn.Module) -> dict[str, Tensor]:
    """Example inputs from a model's config: an image of its size, or some tokens of its vocabulary.

    Raises CheckpointError for models that read something else: give example inputs for those.
    """
    config: Any = model.config
    name = str(model.main_input_name)
    if name not in TESTED:
        raise CheckpointError(f"{type(model).__name__} reads {name}; give example inputs for it")
    text = getattr(config, "text_config", config)
    inputs = {name: _image(config) if name == "pixel_values" else _tokens(text)}
    if getattr(config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = _tokens(text)
    return inputs


def _image(config: Any) -> Tensor:
    size = getattr(config, "image_size", None) or PIXELS
    height, width = size if isinstance(size, list | tuple) else (size, size)
    channels = getattr(config, "num_channels", 3)
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def _tokens(config: Any) -> Tensor:
    """Different tokens from the upper half of the vocabulary: those with a meaning of their own have low numbers."""
    words = int(config.vocab_size)
    count = min(TOKENS, int(getattr(config, "max_position_embeddings", None) or TOKENS), max(1, words // 2))
    return (words // 2 + torch.arange(count))[None]
