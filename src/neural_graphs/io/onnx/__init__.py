"""Networks in ONNX files: read into a module that torch runs, operator by operator; no code of the file is run."""

from neural_graphs.io.onnx.graph import read_graph
from neural_graphs.io.onnx.inputs import example
from neural_graphs.io.onnx.module import OnnxModule
from neural_graphs.io.onnx.registry import OPERATORS, operator

__all__ = ["OPERATORS", "OnnxModule", "example", "operator", "read_graph"]
