"""Normalisations, in the form that torch has them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from neural_graphs.errors import CheckpointError
from neural_graphs.io.onnx.registry import Value, operator, tensor


@operator("BatchNormalization")
def batch_norm(x: Tensor, scale: Value, bias: Value, mean: Value, variance: Value, *, epsilon: float = 1e-5,
               momentum: float = 0.9, training_mode: int = 0, spatial: int = 1) -> Tensor:  # fmt: skip
    """Batch norm with running statistics, as in evaluation."""
    if training_mode or not spatial:
        raise CheckpointError("a batch norm in training mode depends on its batch; export the network in evaluation")
    weight, shift, centre, spread = (tensor(each, x) for each in (scale, bias, mean, variance))
    return F.batch_norm(x, centre, spread, weight, shift, training=False, eps=epsilon)


@operator("LayerNormalization")
def layer_norm(x: Tensor, scale: Value, bias: Value | None = None, *, axis: int = -1, epsilon: float = 1e-5,
               stash_type: int = 1) -> Tensor:  # fmt: skip
    """Layer norm over the dimensions from `axis` on."""
    shift = None if bias is None or (not isinstance(bias, Tensor) and not bias.any()) else tensor(bias, x)
    return F.layer_norm(x, x.shape[axis % x.ndim :], tensor(scale, x), shift, epsilon)


@operator("RMSNormalization", "SimplifiedLayerNormalization")
def rms_norm(x: Tensor, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    """Root-mean-square norm over the dimensions from `axis` on."""
    return F.rms_norm(x, x.shape[axis % x.ndim :], tensor(scale, x), epsilon)


@operator("InstanceNormalization")
def instance_norm(x: Tensor, scale: Value, bias: Value, *, epsilon: float = 1e-5) -> Tensor:
    """Instance norm: every channel over its places."""
    return F.instance_norm(x, weight=tensor(scale, x), bias=tensor(bias, x), eps=epsilon)


@operator("GroupNormalization")
def group_norm(x: Tensor, scale: Value, bias: Value, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1,
               opset: int) -> Tensor:  # fmt: skip
    """Group norm; before version 21 one scale per group of channels, since then one per channel."""
    weight, shift = tensor(scale, x), tensor(bias, x)
    if opset < 21:
        weight, shift = (each.repeat_interleave(x.shape[1] // num_groups) for each in (weight, shift))
    return F.group_norm(x, num_groups, weight, shift, epsilon)


@operator("LpNormalization")
def lp_norm(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """A vector divided by its length."""
    return x / torch.linalg.vector_norm(x, p, axis, keepdim=True)
