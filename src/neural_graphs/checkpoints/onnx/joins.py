"""Exporters write some operators of torch as several of ONNX; joined here to one again, so that graphs are the same."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from neural_graphs.checkpoints.onnx.graph import Node

Nodes = tuple[Node, ...]


def join(nodes: Nodes, known: Mapping[str, np.ndarray], outputs: tuple[str, ...]) -> Nodes:
    """The same nodes with every product by a matrix of the file, and the sum with a bias after it, as one `Linear`;
    `x · sigmoid(x)` as one `Swish`, and `1 / sqrt(x)` as one `Rsqrt`.

    Nodes that nothing reads any more are left in place.
    """
    readers = Counter([*(name for node in nodes for name in node.inputs), *outputs])
    return _join_linear(_join_pairs(nodes, readers), known, readers)


def _join_pairs(nodes: Nodes, readers: Mapping[str, int]) -> Nodes:
    """Two element-wise operators in a row, the first read by the second alone, as one."""
    made_by = {name: node for node in nodes for name in node.outputs}
    return tuple(_joined(node, made_by, readers) for node in nodes)


def _joined(node: Node, made_by: Mapping[str, Node], readers: Mapping[str, int]) -> Node:
    for name in node.inputs:
        before, others = made_by.get(name), [other for other in node.inputs if other != name]
        if before is None or readers[name] != 1:
            continue
        if (before.operator, node.operator) == ("Sqrt", "Reciprocal"):
            return Node("Rsqrt", before.inputs, node.outputs)
        if (before.operator, node.operator) == ("Sigmoid", "Mul") and others == list(before.inputs):
            return Node("Swish", before.inputs, node.outputs)
    return node


def _join_linear(nodes: Nodes, known: Mapping[str, np.ndarray], readers: Mapping[str, int]) -> Nodes:
    """Products by matrices, transposed before or not, with the vectors that are added to them."""
    by_input = {name: node for node in nodes for name in node.inputs}
    transposed = {
        node.outputs[0]: node.inputs[0]
        for node in nodes
        if node.operator == "Transpose" and node.attributes.get("perm", [1, 0]) == [1, 0]
    }
    found: list[Node] = []
    taken: set[str] = set()
    for node in nodes:
        factor = node.inputs[1] if node.operator == "MatMul" else ""
        weight = transposed.get(factor, factor)
        if known.get(weight, np.zeros(0)).ndim != 2:
            found += [] if set(node.outputs) & taken else [node]
            continue
        rows = known[weight].shape[0 if weight != factor else 1]
        if weight == factor:
            weight = f"{factor} transposed"
            found.append(Node("Transpose", (factor,), (weight,), {"perm": [1, 0]}))
        after = by_input.get(node.outputs[0]) if readers[node.outputs[0]] == 1 else None
        bias = "" if after is None else _bias(after, node.outputs[0], known, rows)
        last = node if after is None or not bias else after
        taken |= set(last.outputs)
        found.append(Node("Linear", (node.inputs[0], weight, *([bias] if bias else [])), last.outputs))
    return tuple(found)


def _bias(after: Node, product: str, known: Mapping[str, np.ndarray], rows: int) -> str:
    """The vector that is added to a product; "" where none is."""
    others = [name for name in after.inputs if name != product]
    if after.operator != "Add" or len(others) != 1:
        return ""
    values = known.get(others[0])
    return others[0] if values is not None and values.dtype.kind == "f" and values.shape == (rows,) else ""
