"""Draws the pictures of the page on tracing: run it in the root of the project, with the extra `dev` installed."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from neural_graphs.plots import plot, save
from neural_graphs.tracing import trace
from tests.tracing.models.convolutional import DenseNet, UNet
from tests.tracing.models.recurrent import Tagger

FOLDER = Path(__file__).parent / "img"
IMAGE, GREY, WORDS = torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 32, 32), torch.zeros(1, 8, dtype=torch.long)


def resnet() -> nn.Module:
    """ResNet-18."""
    widths, depths = [64, 128, 256, 512], [2, 2, 2, 2]
    config = ResNetConfig(hidden_sizes=widths, depths=depths, embedding_size=64, layer_type="basic", num_labels=1000)
    return ResNetForImageClassification(config)


def vit() -> nn.Module:
    """A vision transformer of four layers."""
    sizes = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 768}
    return ViTForImageClassification(ViTConfig(image_size=64, patch_size=16, num_labels=10, **sizes))


def gpt2() -> nn.Module:
    """GPT-2, four layers of it."""
    return GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=256, n_head=4))


NETWORKS: dict[str, tuple[str, Callable[[], nn.Module], Tensor]] = {
    "resnet": ("ResNet-18", resnet, IMAGE),
    "densenet": ("A DenseNet", lambda: DenseNet(stem=16, growth=8, depths=(3, 4), classes=10), IMAGE),
    "unet": ("A U-Net", lambda: UNet(transposed=True), GREY),
    "vit": ("ViT, four layers", vit, IMAGE),
    "gpt2": ("GPT-2, four layers", gpt2, WORDS),
    "lstm": ("An LSTM of two layers", lambda: Tagger(nn.LSTM, layers=2, both_ways=False), WORDS),
}

if __name__ == "__main__":
    for name, (title, build, example) in NETWORKS.items():
        layout = trace(build().eval(), example)
        save(plot(layout, title=title), FOLDER / f"traced-{name}.png", dpi=120)
