"""Softmax, and attention as one operator (ONNX version 23)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.io.onnx.registry import Value, operator, tensor


@operator("Softmax")
def softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Softmax along one dimension."""
    return F.softmax(x, _along(x, axis, opset))


@operator("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """The logarithm of a softmax along one dimension."""
    return F.log_softmax(x, _along(x, axis, opset))


def _along(x: Tensor, axis: int | None, opset: int) -> int:
    """The dimension; before version 13 it was the first of several that were flattened."""
    chosen = (-1 if opset >= 13 else 1) if axis is None else axis
    if opset < 13 and chosen % x.ndim != x.ndim - 1:
        raise CheckpointError(f"a softmax over dimensions {chosen} to {x.ndim - 1} at once is not read")
    return chosen


@operator("Attention")
def attention(query: Tensor, key: Tensor, value: Tensor, mask: Value | None = None, past_key: Value | None = None,
              past_value: Value | None = None, *, is_causal: int = 0, scale: float | None = None, softcap: float = 0.0,
              q_num_heads: int = 0, kv_num_heads: int = 0, qk_matmul_output_mode: int = 0,
              softmax_precision: int = 1) -> Tensor:  # fmt: skip
    """Scaled dot-product attention `(batch, heads, tokens, d)`; with head counts, of `(batch, tokens, heads · d)`."""
    if past_key is not None or past_value is not None or softcap:
        raise CheckpointError("attention with a cache or with capped scores is not read; export with use_cache=False")
    packed = query.ndim == 3
    if packed:
        query = query.unflatten(2, (q_num_heads, -1)).transpose(1, 2)
        key, value = (each.unflatten(2, (kv_num_heads, -1)).transpose(1, 2) for each in (key, value))
    found = F.scaled_dot_product_attention(
        query, key, value, None if mask is None else tensor(mask, query), is_causal=bool(is_causal), scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return found.transpose(1, 2).flatten(2) if packed else found


@operator("Trilu")
def trilu(x: Tensor, k: Value | None = None, *, upper: int = 1) -> Tensor:
    """The upper or lower triangle of a matrix."""
    diagonal = 0 if k is None else int(tensor(k, x))
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)
