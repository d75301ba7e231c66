"""Networks of other people, read from files without running code from them: a module and inputs to trace it with."""

from neural_graphs.io.formats import FORMATS, Checkpoint, Format, read_checkpoint
from neural_graphs.io.tensors import bare, read_tensors

__all__ = ["FORMATS", "Checkpoint", "Format", "bare", "read_checkpoint", "read_tensors"]
