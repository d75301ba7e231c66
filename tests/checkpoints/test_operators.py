"""Every ONNX operator against the reference implementation of ONNX."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from neural_graphs.errors import CheckpointError
from neural_graphs.io.onnx import OPERATORS, OnnxModule, example, read_graph

X, IMAGE = (2, 3, 4), (2, 4, 6, 6)


@dataclass(frozen=True)
class Case:
    """One node: the shapes of its inputs, or constants in their place, and its attributes."""

    operator: str
    inputs: tuple[Any, ...] = (X,)
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 20
    outputs: int = 1
    positive: bool = False


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


ONE = ["Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Mish", "Neg", "Relu", "Round", "Sigmoid", "Sign"]
ONE += ["Sin", "Softplus", "Softsign", "Tan", "Tanh", "Gelu", "Elu", "Selu", "Celu", "LeakyRelu", "HardSigmoid"]
ONE += ["Identity", "Softmax", "LogSoftmax", "LpNormalization", "Flatten", "Transpose", "Reciprocal"]
CASES = [
    *(Case(name) for name in ONE),
    *(Case(name, positive=True) for name in ("Log", "Sqrt")),
    *(Case(name, (X, (3, 1))) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum")),
    *(Case(name, (X, (3, 1))) for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    Case("Pow", (X, floats(2.0))),
    Case("Mod", (X, floats(0.7)), {"fmod": 1}),
    Case("Clip", (X, np.float64(-0.5), np.float64(0.5))),
    Case("PRelu", (IMAGE, (4, 1, 1))),
    Case("Gemm", ((2, 3), (3, 5), (5,))),
    Case("Gemm", ((3, 2), (5, 3), (2, 5)), {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("MatMul", (X, (2, 4, 5))),
    Case("Einsum", (X, (4, 5)), {"equation": "abc,cd->abd"}),
    Case("Gather", ((5, 3), whole(0, 4, 2))),
    Case("Gather", (X, np.array(-1)), {"axis": 1}),
    Case("Gather", (X, np.array([[0, -1], [2, 2]])), {"axis": 2}),
    Case("GatherND", (X, np.array([[0, 1], [1, 2]]))),
    Case("Conv", (IMAGE, (6, 2, 3, 3), (6,)), {"group": 2, "strides": [2, 1], "pads": [1, 0, 1, 0]}),
    Case("Conv", (IMAGE, (3, 4, 3, 2)), {"pads": [0, 1, 1, 0], "dilations": [1, 2]}),
    Case("Conv", (IMAGE, (3, 4, 4, 4)), {"auto_pad": "SAME_UPPER"}),
    Case("Conv", ((2, 4, 9), (3, 4, 3)), {"strides": [2]}),
    Case("ConvTranspose", (IMAGE, (4, 3, 3, 3), (3,)), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("BatchNormalization", (IMAGE, (4,), (4,), (4,), (4,)), positive=True),
    Case("LayerNormalization", (X, (4,), (4,)), {"epsilon": 1e-3}),
    Case("LayerNormalization", (X, (3, 4)), {"axis": 1}),
    Case("RMSNormalization", (X, (4,)), opset=23),
    Case("InstanceNormalization", (IMAGE, (4,), (4,))),
    Case("GroupNormalization", (IMAGE, (4,), (4,)), {"num_groups": 2}, opset=21),
    Case("Attention", ((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4)), opset=23),
    Case("Attention", ((1, 4, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)), {"is_causal": 1}, opset=23),
    Case("Trilu", ((4, 4), np.array(1)), {"upper": 0}),
    Case("GlobalAveragePool", (IMAGE,)),
    Case("GlobalMaxPool", (IMAGE,)),
    Case("MaxPool", (IMAGE,), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 1, 1, 0]}),
    Case("AveragePool", (IMAGE,), {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 1, 1, 1]}),
    *(Case(f"Reduce{name}", (X, whole(-1))) for name in ("Mean", "Sum", "Max", "Min", "L1", "L2", "SumSquare")),
    Case("ReduceLogSumExp", (X, whole(0, 2)), {"keepdims": 0}),
    Case("ReduceMean", (X,), {"axes": [1]}, opset=13),
    Case("Pad", (IMAGE, whole(0, 0, 1, 2, 0, 0, 2, 1), np.float64(0.5))),
    Case("Pad", (IMAGE, whole(0, 0, 1, 2, 0, 0, 2, 1)), {"mode": "reflect"}),
    Case("Resize", (IMAGE, None, np.array([1, 1, 2, 2], dtype=np.float32)),
         {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}),
    Case("Resize", (IMAGE, None, None, whole(2, 4, 9, 12)), {"mode": "linear"}),
    Case("CumSum", (X, np.array(1))),
    Case("Reshape", (X, whole(0, -1, 2))),
    Case("Squeeze", ((2, 1, 3, 1), whole(1))),
    Case("Squeeze", ((2, 1, 3, 1),), {"axes": [3]}, opset=11),
    Case("Unsqueeze", (X, whole(0, -1))),
    Case("Concat", (X, (2, 1, 4)), {"axis": 1}),
    Case("Split", (X, whole(1, 3)), {"axis": 2}, outputs=2),
    Case("Split", ((2, 3, 5),), {"axis": 2, "num_outputs": 3}, outputs=3),
    Case("Slice", (X, whole(1, 0), whole(3, 2**62), whole(1, 2), whole(1, 2))),
    Case("Slice", (X, whole(1), whole(2), whole(-1))),
    Case("Slice", (X, whole(-1), whole(-(2**62)), whole(1), whole(-1))),
    Case("Expand", ((3, 1), whole(2, 1, 4))),
    Case("Tile", (X, whole(1, 2, 1))),
    Case("Where", (np.array([[True], [False], [True]]), X, X)),
    Case("DepthToSpace", (IMAGE,), {"blocksize": 2}),
    Case("DepthToSpace", (IMAGE,), {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", (IMAGE,), {"blocksize": 2}),
    Case("Dropout"),
]  # fmt: skip


def write(case: Case, path: Path) -> Path:
    names = ["" if each is None else f"in{i}" for i, each in enumerate(case.inputs)]
    shapes = {n: each for n, each in zip(names, case.inputs, strict=True) if isinstance(each, tuple)}
    constants = {
        n: each for n, each in zip(names, case.inputs, strict=True) if isinstance(each, np.ndarray | np.float64)
    }
    outputs = [f"out{i}" for i in range(case.outputs)]
    graph = helper.make_graph(
        [helper.make_node(case.operator, names, outputs, **case.attributes)], "one",
        [helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, shape) for name, shape in shapes.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)]), str(path))
    return path


def values(case: Case, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    made = [generator.standard_normal(shape) for shape in shapes]
    return [np.abs(each) + 0.1 for each in made] if case.positive else made


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operator} {case.attributes or ''}".strip())
def test_an_operator_does_what_onnx_says(case: Case, tmp_path: Path) -> None:
    path = write(case, tmp_path / "one.onnx")
    given = values(case, [each for each in case.inputs if isinstance(each, tuple)])
    reference = ReferenceEvaluator(str(path))
    expected = reference.run(None, dict(zip(reference.input_names, given, strict=True)))
    actual = OnnxModule(read_graph(path))(*map(torch.tensor, given))
    for found, wanted in zip(actual if case.outputs > 1 else [actual], expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6, atol=1e-6)  # the reference has some in float32


def test_every_operator_is_tested() -> None:
    """But for those that need several nodes: they are met in the networks of test_same_graph."""
    together = {"Linear", "Rsqrt", "Swish", "SplitToSequence", "SequenceAt", "Shape", "Size", "Cast", "CastLike"}
    whole_numbers = {"And", "Or", "Xor", "Not", "IsNaN"}
    other_names = {"Upsample", "SimplifiedLayerNormalization"}
    assert set(OPERATORS) - {case.operator for case in CASES} == together | whole_numbers | other_names


def test_shapes_are_worked_out_without_tensors(tmp_path: Path) -> None:
    """x reshaped to (its first size, -1), as exporters with open sizes write it; the module runs for any batch."""
    make = helper.make_node
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Gather", ["shape", "zero"], ["rows"]),
        make("Unsqueeze", ["rows", "first"], ["one"]),
        make("Concat", ["one", "rest"], ["sizes"], axis=0),
        make("Reshape", ["x", "sizes"], ["y"]),
    ]
    constants = {"zero": np.array(0), "first": whole(0), "rest": whole(-1)}
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, 4])]
    outputs = [helper.make_empty_tensor_value_info("y")]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, initial))
    onnx.save(model, str(tmp_path / "g.onnx"))
    graph = read_graph(tmp_path / "g.onnx")
    module = OnnxModule(graph)
    assert module(torch.zeros(5, 3, 4)).shape == (5, 12) and not list(module.parameters())
    assert [tuple(each.shape) for each in example(graph)] == [(1, 3, 4)]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case("Unique"), r'the operator Unique is not known here; to add it, .*@operator\("Unique"\)'),
        (Case("Softmax", attributes={"axis": 1}, opset=11), "a softmax over dimensions 1 to 2 at once"),
        (Case("Slice", (X, whole(2), whole(0), whole(1), whole(-1))), "step -1 is not read"),
        (Case("Relu", attributes={"slope": 2}), "Relu → out0 has the attribute slope, which is not known"),
        (Case("MatMul", (X, (3, 5))), "MatMul → out0 failed"),
        (Case("Conv", (IMAGE, np.full((2, 4, 1, 1), np.nan))), "in1 holds NaN"),
    ],
)
def test_what_is_refused(case: Case, said: str, tmp_path: Path) -> None:
    path = write(case, tmp_path / "one.onnx")
    given = values(case, [each for each in case.inputs if isinstance(each, tuple)])
    with pytest.raises(CheckpointError, match=said) as error:
        OnnxModule(read_graph(path))(*map(torch.tensor, given))
    assert str(path) in str(error.value)
