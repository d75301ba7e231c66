"""`OnnxModule`: the network of an ONNX file as a torch module, run operator by operator."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, reason
from neural_graphs.io.modules import register
from neural_graphs.io.onnx import operators as operators
from neural_graphs.io.onnx.graph import Graph, needed
from neural_graphs.io.onnx.nodes import Node
from neural_graphs.io.onnx.registry import OPERATORS, Value
from neural_graphs.io.tensors import check_finite

GIVEN = ("opset", "outputs")  # what operators are told beside their attributes, if they ask


class OnnxModule(nn.Module):
    """The network of an ONNX file; its float initialisers are parameters (running statistics: buffers).

    They keep their names, but where torch cannot have one: two that differ by a dot at the end of a shared prefix, say.
    Whatever shapes and constants alone decide is worked out beforehand, or while it runs, in numpy. Raises
    CheckpointError naming the operator for one without a rule here, and the tensor for one with NaN.
    """

    def __init__(self, graph: Graph):
        super().__init__()
        weights = {name: torch.tensor(values) for name, values in graph.weights.items()}
        check_finite(weights, graph.path)
        self.path, self.opset = graph.path, graph.opset
        self.inputs, self.outputs = tuple(each.name for each in graph.inputs), graph.outputs
        self.constants = dict(graph.constants)
        self.options = {node.outputs: _options(node, graph) for node in _alive(graph)}
        self.nodes = needed(self._fold(graph.nodes, weights), graph.outputs)
        read = {name for node in self.nodes for name in node.inputs} | set(graph.outputs)
        self.constants = {name: value for name, value in self.constants.items() if name in read}
        kept = {name: tensor for name, tensor in weights.items() if name in read}
        self.names = {
            name: register(self, name, tensor if name in graph.buffers else _parameter(tensor))
            for name, tensor in kept.items()
        }

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs of the file's graph, in its order, for inputs in its order."""
        if len(inputs) != len(self.inputs):
            raise CheckpointError(f"{self.path} takes {len(self.inputs)} inputs {self.inputs}, got {len(inputs)}")
        state = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        values: dict[str, Value] = {**self.constants, **{name: state[own] for name, own in self.names.items()}}
        values.update(zip(self.inputs, inputs, strict=True))
        for node in self.nodes:
            values.update(zip(node.outputs, self._run(node, values), strict=False))
        found = tuple(_as_tensor(values[name]) for name in self.outputs)
        return found[0] if len(found) == 1 else found

    def _fold(self, nodes: tuple[Node, ...], weights: Mapping[str, Tensor]) -> tuple[Node, ...]:
        """The nodes that need an input; what the others make becomes a constant."""
        left = []
        for node in nodes:
            of_weight = node.operator in ("Shape", "Size") and node.inputs[0] in weights
            if of_weight or all(not name or name in self.constants for name in node.inputs):
                made = self._run(node, {**weights, **self.constants} if of_weight else self.constants)
                self.constants.update(zip(node.outputs, made, strict=False))
            else:
                left.append(node)
        return tuple(left)

    def _run(self, node: Node, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The outputs of a node."""
        unknown = [name for name in node.inputs if name and name not in values]
        if unknown:
            raise CheckpointError(f"{self.path}: {node} reads {unknown[0]}, which nothing makes")
        inputs = [values[name] if name else None for name in node.inputs]
        while inputs and inputs[-1] is None:
            inputs.pop()
        try:
            if all(value is None or isinstance(value, np.ndarray) for value in inputs):
                return _evaluate(node, inputs, self.opset)
            found = OPERATORS[node.operator](*inputs, **self.options[node.outputs])
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {node}: {error}") from error
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
            raise CheckpointError(f"{self.path}: {node} failed: {reason(error)}") from error
        return found if isinstance(found, tuple) else (found,)


def _alive(graph: Graph) -> list[Node]:
    """The nodes that read more than shapes and constants, and those that read shapes."""
    settled, alive = {"", *graph.constants}, []
    for node in graph.nodes:
        shape = node.operator in ("Shape", "Size")
        if shape or not settled.issuperset(node.inputs):
            alive.append(node)
        if shape or settled.issuperset(node.inputs[: 1 if node.operator == "CastLike" else None]):
            settled.update(node.outputs)
    return alive


def _evaluate(node: Node, inputs: list[Any], opset: int) -> tuple[np.ndarray, ...]:
    """What a node makes of constants, by the reference implementation of ONNX."""
    from onnx.reference import ReferenceEvaluator

    if node.proto is None:  # a join of our own: never of constants alone
        raise CheckpointError("it reads constants only")
    names = [name for name in node.inputs if name]
    arrays = [value for value in inputs if value is not None]
    found = ReferenceEvaluator(node.proto, opsets={"": opset}).run(None, dict(zip(names, arrays, strict=True)))
    return tuple(np.asarray(value) for value in found)


def _options(node: Node, graph: Graph) -> dict[str, Any]:
    """The keyword arguments of a node's function. Raises CheckpointError where there is no function, or no such one."""
    function = OPERATORS.get(node.operator)
    if function is None:
        raise CheckpointError(
            f"{graph.path}: the operator {node.operator} is not known here; to add it, write its function into "
            f'neural_graphs.io.onnx.operators, registered by @operator("{node.operator}")'
        )
    takes = inspect.signature(function).parameters
    known = [name for name, each in takes.items() if each.kind is inspect.Parameter.KEYWORD_ONLY]
    odd = [name for name in node.attributes if name not in known]
    if odd:
        raise CheckpointError(f"{graph.path}: {node} has the attribute {odd[0]}, which is not known here")
    told = dict(zip(GIVEN, (graph.opset, len(node.outputs)), strict=True))
    return node.attributes | {name: value for name, value in told.items() if name in known}


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=values.is_floating_point())


def _as_tensor(value: Value) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value)
