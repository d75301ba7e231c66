"""Every test runs with shapes checked at run time, one torch thread, and warnings as errors (pyproject.toml)."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "Agg")
# Before the library is imported: the hook checks every jaxtyping annotation of every call with beartype.
install_import_hook("neural_graphs", "beartype.beartype")

import torch  # noqa: E402 (after the hook, so that all tests see one order)

torch.set_num_threads(1)
