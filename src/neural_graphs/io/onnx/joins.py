"""Exporters write some operators of torch as several of ONNX; joined here to one again, so that graphs are the same."""

from collections import Counter
from collections.abc import Mapping
from math import inf, isclose, sqrt

import numpy as np

from neural_graphs.io.onnx.nodes import Node

Nodes = tuple[Node, ...]


def join(nodes: Nodes, known: Mapping[str, np.ndarray], outputs: tuple[str, ...]) -> Nodes:
    """The same nodes with every product by a matrix of the file, and the sum with a bias after it, as one `Linear`;
    `x · sigmoid(x)` as one `Swish`, `1 / sqrt(x)` as one `Rsqrt`, and `x · (1 + erf(x / √2)) · ½` as one `Gelu`.

    Nodes that nothing reads any more are left in place.
    """
    readers = Counter([*(name for node in nodes for name in node.inputs), *outputs])
    made_by = {name: node for node in nodes for name in node.outputs}
    numbers = {name: float(values.item()) for name, values in known.items() if values.size == 1}
    numbers |= {node.outputs[0]: value for node in nodes if (value := _constant(node)) is not None}
    joined = tuple(_gelu(_joined(node, made_by, readers), made_by, numbers) for node in nodes)
    return _join_linear(joined, known, readers)


def _constant(node: Node) -> float | None:
    """The number that a node holds, if it holds a single one."""
    if node.operator != "Constant" or node.proto is None:
        return None
    from onnx import numpy_helper

    held = next(iter(node.attributes.values()))
    values = numpy_helper.to_array(held) if "value" in node.attributes else np.asarray(held)
    return float(values.item()) if values.size == 1 and values.dtype.kind in "fiu" else None


def _joined(node: Node, made_by: Mapping[str, Node], readers: Mapping[str, int]) -> Node:
    """Two element-wise operators in a row, the first read by the second alone, as one."""
    for name in node.inputs:
        before, others = made_by.get(name), [other for other in node.inputs if other != name]
        if before is None or readers[name] != 1:
            continue
        if (before.operator, node.operator) == ("Sqrt", "Reciprocal"):
            return Node("Rsqrt", before.inputs, node.outputs)
        if (before.operator, node.operator) == ("Sigmoid", "Mul") and others == list(before.inputs):
            return Node("Swish", before.inputs, node.outputs)
    return node


def _gelu(node: Node, made_by: Mapping[str, Node], numbers: Mapping[str, float]) -> Node:
    """The last node of an exact GELU, as exporters write it before version 20, as the whole of it."""

    def other(name: str, operators: tuple[str, ...], number: float) -> str:
        """What an operator combines with that number to make a value; "" where it does not."""
        maker = made_by.get(name)
        if maker is None or maker.operator not in operators:
            return ""
        rest = [each for each in maker.inputs if not isclose(numbers.get(each, inf), number, rel_tol=1e-6)]
        return rest[0] if len(rest) == 1 else ""

    product = made_by.get(other(node.outputs[0], ("Mul",), 0.5)) if node.operator == "Mul" else None
    for gate in product.inputs if product is not None and product.operator == "Mul" else ():
        erf = made_by.get(other(gate, ("Add",), 1.0))
        if erf is not None and erf.operator == "Erf" and product is not None:
            x = other(erf.inputs[0], ("Div",), sqrt(2)) or other(erf.inputs[0], ("Mul",), sqrt(0.5))
            if sorted(product.inputs) == sorted((x, gate)):
                return Node("Gelu", (x,), node.outputs)
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
