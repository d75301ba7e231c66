"""What an ONNX file says, as values of our own: nodes, weights, constants, inputs and outputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural_graphs.errors import CheckpointError, reason
from neural_graphs.io.onnx.joins import join
from neural_graphs.io.onnx.nodes import Node

ELEMENTWISE = frozenset({"Add", "And", "Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
ELEMENTWISE |= {"Max", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Where"}
SETTINGS = frozenset({"Clip", "ConstantOfShape", "Pad", "Range", "Resize", "Tile", "Upsample"})
WEIGHED = frozenset({"Conv", "ConvTranspose", "Gemm", "Linear", "MatMul", "BatchNormalization", "LayerNormalization"})
WEIGHED |= {"RMSNormalization", "GroupNormalization", "InstanceNormalization", "PRelu", "Einsum"}
STATISTICS = slice(3, 5)  # the inputs of a BatchNormalization that are not trained: running mean and variance
SIGNATURE = "pkg.torch.export.graph_signature.InputSpec."  # how torch's exporter notes what a tensor was in the module
MASK = 1e30  # exporters write masks as tables of 0 and -inf, or of the lowest number there is


@dataclass(frozen=True)
class Input:
    """An input of the graph; sizes are None where the file leaves them open."""

    name: str
    sizes: tuple[int | None, ...]
    kind: np.dtype[Any]


@dataclass(frozen=True)
class Graph:
    """A network as its file has it: nodes in the order they run; `weights` are floats, `constants` are settings.

    `buffers` are the names of those weights that are not trained.
    """

    path: Path
    opset: int
    nodes: tuple[Node, ...]
    weights: dict[str, np.ndarray]
    constants: dict[str, np.ndarray]
    buffers: frozenset[str]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]


def read_graph(path: Path) -> Graph:
    """Read an ONNX file, with the files beside it that its larger tensors are in.

    Where torch's exporter noted which initialisers are parameters and buffers, that is what they are. Other floating
    ones are weights, but for masks and for single numbers that only arithmetic reads. Half precision is read as single.
    Raises CheckpointError naming the file for anything that is no network.
    """
    proto = _load(path)
    try:
        return _graph(proto, path)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:  # of damaged entries
        raise CheckpointError(f"{path} cannot be read as an ONNX file ({reason(error)})") from error


def _graph(proto: Any, path: Path) -> Graph:
    known = {each.name: _array(each, path) for each in proto.graph.initializer}
    nodes = tuple(map(_node, proto.graph.node))
    inputs = tuple(_input(each) for each in proto.graph.input if each.name not in known)
    outputs = tuple(each.name for each in proto.graph.output)
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), 1)
    nodes = needed(join(nodes, known, outputs), outputs)
    noted = _noted(proto)
    weights: dict[str, np.ndarray] = {}
    constants: dict[str, np.ndarray] = {}
    for name, values in known.items():
        readers = {node.operator for node in nodes if name in node.inputs}
        if readers:
            (weights if _is_weight(values, readers, noted.get(name)) else constants)[name] = values
    buffers = {name for name, kind in noted.items() if kind == "buffer"}
    for node in nodes:
        buffers |= set(node.inputs[STATISTICS]) if node.operator == "BatchNormalization" else set()
    if not nodes or not outputs:
        raise CheckpointError(f"{path} holds no network: its graph has no nodes")
    return Graph(path, opset, nodes, weights, constants, frozenset(buffers), inputs, outputs)


def _load(path: Path) -> Any:
    try:
        import onnx
        from onnx import inliner
    except ImportError as error:
        raise CheckpointError(f"{path} needs the extra onnx: pip install 'neural-graphs[onnx]'") from error
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        proto = onnx.load(path)
        return inliner.inline_local_functions(proto) if proto.functions else proto
    except Exception as error:  # protobuf and onnx raise many kinds for damaged files, and for missing ones beside them
        raise CheckpointError(f"{path} cannot be read as an ONNX file ({reason(error)})") from error


def _array(proto: Any, path: Path) -> np.ndarray:
    from onnx import numpy_helper

    try:
        values = numpy_helper.to_array(proto)
    except Exception as error:  # data of another length than the shape says, or of an unknown type
        raise CheckpointError(f"{path}: the tensor {proto.name} cannot be read ({reason(error)})") from error
    small = values.dtype == np.float16 or values.dtype.kind == "V" or values.dtype.name.startswith(("bfloat", "float8"))
    return values.astype(np.float32) if small else values


def _node(proto: Any) -> Node:
    from onnx import helper

    domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}::"
    attributes = {each.name: _plain(helper.get_attribute_value(each)) for each in proto.attribute}
    return Node(f"{domain}{proto.op_type}", tuple(proto.input), tuple(proto.output), attributes, proto)


def _plain(value: Any) -> Any:
    """Attributes as Python has them: words, numbers, lists; tensors and graphs stay what they are."""
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if not isinstance(value, str) and isinstance(value, Iterable) else value


def _input(proto: Any) -> Input:
    from onnx import helper

    kind = proto.type.tensor_type
    dims = tuple(int(dim.dim_value) or None for dim in kind.shape.dim)
    return Input(proto.name, dims, np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)))


def _noted(proto: Any) -> dict[str, str]:
    """What torch says the initialisers were: parameter, buffer, or constant (a buffer of no state dict)."""
    found = {}
    for each in proto.graph.value_info:
        notes = {note.key.removeprefix(SIGNATURE): note.value for note in each.metadata_props}
        if notes.get("kind") in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
            kept = notes["kind"] != "CONSTANT_TENSOR" and notes.get("persistent") != "False"
            found[each.name] = notes["kind"].lower() if kept else "constant"
    return found


def _is_weight(values: np.ndarray, readers: set[str], noted: str | None) -> bool:
    if values.dtype.kind != "f" or noted == "constant":
        return False
    if noted == "parameter" or readers & WEIGHED or np.isnan(values).any():
        return True
    mask = bool((np.abs(values) >= MASK).any())
    setting = readers <= SETTINGS or (values.size == 1 and readers <= ELEMENTWISE)
    return not mask and (noted == "buffer" or not setting)


def needed(nodes: tuple[Node, ...], outputs: tuple[str, ...]) -> tuple[Node, ...]:
    """The nodes that the outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted |= set(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
