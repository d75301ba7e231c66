"""Networks of `transformers`, its own code, from small configurations with random weights."""

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import nn

from tests.tracing.models.example import Example, floats, tokens


def made(model: str, config: str, **options: Any) -> Callable[[], nn.Module]:
    """The model with a configuration of these options."""

    def build() -> nn.Module:
        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return build


def classifier(name: str, **options: Any) -> Example:
    """A classifier of images of 32 × 32 pixels."""
    return Example(
        f"transformers {name}",
        made(f"{name}ForImageClassification", f"{name}Config", num_labels=4, **options),
        floats(2, 3, 32, 32),
    )


def ids() -> dict[str, Any]:
    return {"input_ids": tokens(19, 2, 6)()}


SINGLE = 1e-5  # these take the means of RMS norms in float32, whatever they are given
STAGES = {"hidden_sizes": [6, 8, 10, 12], "depths": [1, 2, 1, 1]}
WIDTHS = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
DECODER = {
    "vocab_size": 19, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 20, "max_position_embeddings": 16, "use_cache": False,
}  # fmt: skip

EXAMPLES = [
    classifier("ResNet", embedding_size=6, layer_type="basic", **STAGES),
    Example(
        "transformers ResNet, bottleneck",
        made(
            "ResNetForImageClassification",
            "ResNetConfig",
            embedding_size=6,
            hidden_sizes=[12, 16, 20, 24],
            depths=[1, 2, 1, 1],
            layer_type="bottleneck",
            num_labels=4,
        ),
        floats(2, 3, 32, 32),
    ),
    classifier("RegNet", embedding_size=6, hidden_sizes=[16, 16, 20, 24], depths=[1, 2, 1, 1], groups_width=4),
    classifier("ConvNext", **STAGES),
    classifier(
        "MobileNetV2", depth_multiplier=0.25, min_depth=4, depth_divisible_by=4, image_size=32, finegrained_output=False
    ),
    classifier("EfficientNet", width_coefficient=0.25, depth_coefficient=0.2, hidden_dim=320, image_size=32),
    classifier("ViT", image_size=32, patch_size=8, **WIDTHS),
    classifier("Swin", image_size=32, patch_size=4, embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=4),
    Example(
        "transformers BERT",
        made(
            "BertForSequenceClassification",
            "BertConfig",
            vocab_size=19,
            max_position_embeddings=16,
            num_labels=3,
            **WIDTHS,
        ),
        lambda: {
            "input_ids": tokens(19, 2, 6)(),
            "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]),
        },
    ),
    Example(
        "transformers GPT-2",
        made(
            "GPT2LMHeadModel",
            "GPT2Config",
            vocab_size=19,
            n_embd=12,
            n_layer=2,
            n_head=3,
            n_positions=16,
            bos_token_id=0,
            eos_token_id=0,
        ),
        ids,
    ),
    Example("transformers Llama", made("LlamaForCausalLM", "LlamaConfig", **DECODER), ids, SINGLE),
    Example(
        "transformers Qwen3",
        made("Qwen3ForCausalLM", "Qwen3Config", head_dim=8, tie_word_embeddings=True, **DECODER),
        ids,
        SINGLE,
    ),
]
