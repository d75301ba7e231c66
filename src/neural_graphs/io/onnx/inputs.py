"""Example inputs for the network of an ONNX file, from the shapes it declares."""

import torch
from torch import Tensor

from neural_graphs.io.onnx.graph import Graph, Input

TOKENS = 4  # open sizes of whole-number inputs beside the batch: sequences of tokens


def example(graph: Graph) -> tuple[Tensor, ...]:
    """Random numbers of the declared shapes, distinct tokens where whole numbers are looked up, ones for masks.

    Sizes that the file leaves open are 1, or a few tokens for whole numbers after the batch.
    """
    generator = torch.Generator().manual_seed(0)
    return tuple(_one(each, graph, generator) for each in graph.inputs)


def _one(each: Input, graph: Graph, generator: torch.Generator) -> Tensor:
    words = each.kind.kind in "iub"
    shape = [size or (TOKENS if words and dim else 1) for dim, size in enumerate(each.sizes)]
    if not words:
        return torch.randn(shape, generator=generator).to(getattr(torch, each.kind.name))
    rows = [graph.weights[table].shape[0] for table in _looked_up(each.name, graph)]
    count = torch.Size(shape).numel()
    made = torch.arange(count) % min(rows) if rows else torch.ones(count)
    return made.reshape(shape).to(getattr(torch, each.kind.name))


def _looked_up(name: str, graph: Graph) -> list[str]:
    """The tables that the indices of an input are looked up in."""
    readers = [node.inputs[0] for node in graph.nodes if node.operator == "Gather" and node.inputs[1] == name]
    return [table for table in readers if table in graph.weights]
