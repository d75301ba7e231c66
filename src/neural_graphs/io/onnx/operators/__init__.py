"""The ONNX operators that are understood, one function each; importing this registers them all."""

from neural_graphs.io.onnx.operators import attention, elementwise, linear, norms, places, shapes

__all__ = ["attention", "elementwise", "linear", "norms", "places", "shapes"]
