"""Metanetworks: networks that read other networks as graphs, and respect their symmetries by construction.

The public names are loaded on first use, so that ``neural-graphs --help`` does not wait for torch. To add a name, add
it to both lists below (type checkers and editors read the first, Python the second; a test compares them).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural_graphs import testing as testing
    from neural_graphs.errors import NeuralGraphsError as NeuralGraphsError
    from neural_graphs.graph import NeuralGraph as NeuralGraph
    from neural_graphs.graph import Topology as Topology
    from neural_graphs.io import read_checkpoint as read_checkpoint
    from neural_graphs.layout import Layout as Layout
    from neural_graphs.networks import Networks as Networks
    from neural_graphs.nn import NFN as NFN
    from neural_graphs.nn import NFT as NFT
    from neural_graphs.nn import NGGNN as NGGNN
    from neural_graphs.nn import NGT as NGT
    from neural_graphs.nn import UNF as UNF
    from neural_graphs.nn import DWSNet as DWSNet
    from neural_graphs.nn import DWSNetEditor as DWSNetEditor
    from neural_graphs.nn import EquivariantLinear as EquivariantLinear
    from neural_graphs.nn import Metanetwork as Metanetwork
    from neural_graphs.nn import NFNEditor as NFNEditor
    from neural_graphs.nn import NFTEditor as NFTEditor
    from neural_graphs.nn import NGGNNEditor as NGGNNEditor
    from neural_graphs.nn import NGTEditor as NGTEditor
    from neural_graphs.nn import Propagator as Propagator
    from neural_graphs.nn import PropagatorEditor as PropagatorEditor
    from neural_graphs.nn import ScaleGMN as ScaleGMN
    from neural_graphs.nn import ScaleGMNEditor as ScaleGMNEditor
    from neural_graphs.nn import SharedUNF as SharedUNF
    from neural_graphs.nn import SharedUNFEditor as SharedUNFEditor
    from neural_graphs.nn import UNFEditor as UNFEditor
    from neural_graphs.nn.spec import Family as Family
    from neural_graphs.nn.spec import InputSpec as InputSpec
    from neural_graphs.plots import plot as plot
    from neural_graphs.symmetry import NeuronPermutation as NeuronPermutation
    from neural_graphs.symmetry import PositiveScale as PositiveScale
    from neural_graphs.symmetry import SignFlip as SignFlip
    from neural_graphs.symmetry import shuffle as shuffle
    from neural_graphs.tasks import from_pretrained as from_pretrained
    from neural_graphs.tasks import load_run as load_run
    from neural_graphs.testing import assert_equivariant as assert_equivariant
    from neural_graphs.testing import assert_invariant as assert_invariant
    from neural_graphs.testing import symmetry_error as symmetry_error
    from neural_graphs.tracing import trace as trace
    from neural_graphs.zoo import Zoo as Zoo

_HOME = {
    "DWSNet": "nn",
    "DWSNetEditor": "nn",
    "EquivariantLinear": "nn",
    "Family": "nn.spec",
    "InputSpec": "nn.spec",
    "Layout": "layout",
    "Metanetwork": "nn",
    "NFN": "nn",
    "NFT": "nn",
    "NFNEditor": "nn",
    "NFTEditor": "nn",
    "NGGNN": "nn",
    "NGGNNEditor": "nn",
    "NGT": "nn",
    "NGTEditor": "nn",
    "Networks": "networks",
    "NeuralGraph": "graph",
    "NeuralGraphsError": "errors",
    "NeuronPermutation": "symmetry",
    "PositiveScale": "symmetry",
    "Propagator": "nn",
    "PropagatorEditor": "nn",
    "ScaleGMN": "nn",
    "ScaleGMNEditor": "nn",
    "SharedUNF": "nn",
    "SharedUNFEditor": "nn",
    "SignFlip": "symmetry",
    "Topology": "graph",
    "UNF": "nn",
    "UNFEditor": "nn",
    "Zoo": "zoo",
    "assert_equivariant": "testing",
    "assert_invariant": "testing",
    "from_pretrained": "tasks",
    "load_run": "tasks",
    "plot": "plots",
    "read_checkpoint": "io",
    "shuffle": "symmetry",
    "symmetry_error": "testing",
    "testing": "",
    "trace": "tracing",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("neural_graphs.versions").version_of("neural-graphs")
    if name not in _HOME:
        raise AttributeError(f"module 'neural_graphs' has no attribute {name!r}")
    if not _HOME[name]:
        return import_module(f"neural_graphs.{name}")
    return getattr(import_module(f"neural_graphs.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
