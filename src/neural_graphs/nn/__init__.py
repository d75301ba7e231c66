"""Metanetworks and their parts."""

from neural_graphs.nn.ablation import Ablation, Sight
from neural_graphs.nn.backbones.message_passing import MessagePassing
from neural_graphs.nn.backbones.propagation import Propagation
from neural_graphs.nn.backbones.scale_equivariant import ScaleEquivariant, Scales, Signs, SignsAndScales
from neural_graphs.nn.backbones.shared_linear import SharedLinear
from neural_graphs.nn.backbones.transformer import RelationalTransformer
from neural_graphs.nn.canonical import Canonical, CanonicalScales, CanonicalSigns, CompleteSigns
from neural_graphs.nn.embeddings import (
    ActivationKinds,
    NeuronKinds,
    Position,
    PositionEmbedding,
    Probes,
    Standardise,
    WeightKinds,
)
from neural_graphs.nn.encoder import Encoder
from neural_graphs.nn.ensemble import Ensemble
from neural_graphs.nn.fourier import MultiscaleEncoder, ValueEncoder
from neural_graphs.nn.linear import (
    NFN,
    NFT,
    UNF,
    DWSNet,
    DWSNetEditor,
    EquivariantLinear,
    NFNEditor,
    NFTEditor,
    UNFEditor,
)
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.models import NGGNN, NGT, NGGNNEditor, NGTEditor
from neural_graphs.nn.probe_generators import ImageProbes, LinearProbes
from neural_graphs.nn.probing import ProbeGen
from neural_graphs.nn.propagator import Propagator, PropagatorEditor
from neural_graphs.nn.readout import ConcatOutputs, GraphReadout, MeanNodes, MeanOutputs, Pool, WeightReadout
from neural_graphs.nn.run.capture import CapturedAnswers, CapturedLoss
from neural_graphs.nn.run.microbatch import mean_loss
from neural_graphs.nn.scale_gmn import ScaleGMN, ScaleGMNEditor
from neural_graphs.nn.shared_unf import SharedUNF, SharedUNFEditor

__all__ = [
    "NFN",
    "NFT",
    "NGGNN",
    "NGT",
    "UNF",
    "Ablation",
    "ActivationKinds",
    "Canonical",
    "CanonicalScales",
    "CanonicalSigns",
    "CapturedAnswers",
    "CapturedLoss",
    "CompleteSigns",
    "ConcatOutputs",
    "DWSNet",
    "DWSNetEditor",
    "Encoder",
    "Ensemble",
    "EquivariantLinear",
    "GraphReadout",
    "ImageProbes",
    "LinearProbes",
    "MeanNodes",
    "MeanOutputs",
    "MessagePassing",
    "Metanetwork",
    "MultiscaleEncoder",
    "NFNEditor",
    "NFTEditor",
    "NGGNNEditor",
    "NGTEditor",
    "NeuronKinds",
    "Pool",
    "Position",
    "PositionEmbedding",
    "ProbeGen",
    "Probes",
    "Propagation",
    "Propagator",
    "PropagatorEditor",
    "RelationalTransformer",
    "ScaleEquivariant",
    "ScaleGMN",
    "ScaleGMNEditor",
    "Scales",
    "SharedLinear",
    "SharedUNF",
    "SharedUNFEditor",
    "Sight",
    "Signs",
    "SignsAndScales",
    "Standardise",
    "UNFEditor",
    "ValueEncoder",
    "WeightKinds",
    "WeightReadout",
    "mean_loss",
]
