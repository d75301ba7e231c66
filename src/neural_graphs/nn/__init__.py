"""Metanetworks and their parts."""

from neural_graphs.nn.ablation import Ablation, Sight
from neural_graphs.nn.backbones.message_passing import MessagePassing
from neural_graphs.nn.backbones.scale_equivariant import ScaleEquivariant, Scales, Signs, SignsAndScales
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
from neural_graphs.nn.fourier import ValueEncoder
from neural_graphs.nn.metanetwork import Metanetwork
from neural_graphs.nn.models import NGGNN, NGT, NGGNNEditor, NGTEditor
from neural_graphs.nn.readout import ConcatOutputs, GraphReadout, MeanNodes, MeanOutputs, Pool, WeightReadout
from neural_graphs.nn.scale_gmn import ScaleGMN, ScaleGMNEditor

__all__ = [
    "NGGNN",
    "NGT",
    "Ablation",
    "ActivationKinds",
    "Canonical",
    "CanonicalScales",
    "CanonicalSigns",
    "CompleteSigns",
    "ConcatOutputs",
    "Encoder",
    "GraphReadout",
    "MeanNodes",
    "MeanOutputs",
    "MessagePassing",
    "Metanetwork",
    "NGGNNEditor",
    "NGTEditor",
    "NeuronKinds",
    "Pool",
    "Position",
    "PositionEmbedding",
    "Probes",
    "RelationalTransformer",
    "ScaleEquivariant",
    "ScaleGMN",
    "ScaleGMNEditor",
    "Scales",
    "Sight",
    "Signs",
    "SignsAndScales",
    "Standardise",
    "ValueEncoder",
    "WeightKinds",
    "WeightReadout",
]
