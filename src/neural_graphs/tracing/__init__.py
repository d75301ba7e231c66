"""Any `nn.Module` to a layout: `trace` runs `torch.export` and applies one small rule per operator."""

from neural_graphs.tracing.registry import OpCall as OpCall
from neural_graphs.tracing.registry import rule as rule
from neural_graphs.tracing.tracer import trace as trace
