"""The classes that a shared folder may name. Whatever else it names is refused: no class is looked up by a path."""

from neural_graphs.graph import AllPairs, Bidirectional, Forward, Looped
from neural_graphs.layout.equivariant_maps import All, Neighbours
from neural_graphs.layout.layout import KINDS as LAYOUTS
from neural_graphs.nn import (
    NFN,
    NFT,
    NGGNN,
    NGT,
    UNF,
    Ablation,
    CanonicalScales,
    CanonicalSigns,
    CompleteSigns,
    ConcatOutputs,
    DWSNet,
    DWSNetEditor,
    Ensemble,
    MeanNodes,
    MeanOutputs,
    NFNEditor,
    NFTEditor,
    NGGNNEditor,
    NGTEditor,
    ProbeGen,
    Propagator,
    PropagatorEditor,
    ScaleGMN,
    ScaleGMNEditor,
    Scales,
    SharedUNF,
    SharedUNFEditor,
    Signs,
    SignsAndScales,
    UNFEditor,
)
from neural_graphs.nn.baselines import FlatMLP, Inr2Vec, SetNN, StatNN
from neural_graphs.nn.spec import InputSpec, Statistics
from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.editing import Editing
from neural_graphs.tasks.generalization.task import Generalization
from neural_graphs.tasks.losses import CrossEntropy, SquaredError
from neural_graphs.tasks.optimizers import Adam, AdamW, Muon
from neural_graphs.zoo.styles import Blur, Contrast, Dilate, Erode, Invert, Rotate

NETWORKS: tuple[type, ...] = (InputSpec, Statistics, *LAYOUTS)
READERS: tuple[type, ...] = (
    DWSNet,
    Ensemble,
    FlatMLP,
    Inr2Vec,
    NFN,
    NFT,
    NGGNN,
    NGT,
    ProbeGen,
    Propagator,
    ScaleGMN,
    SetNN,
    SharedUNF,
    StatNN,
    UNF,
)
EDITORS: tuple[type, ...] = (DWSNetEditor, NFNEditor, NFTEditor, NGGNNEditor, NGTEditor, PropagatorEditor)
EDITORS += (ScaleGMNEditor, SharedUNFEditor, UNFEditor)
PARTS: tuple[type, ...] = (Ablation, All, AllPairs, Bidirectional, CanonicalScales, CanonicalSigns, CompleteSigns)
PARTS += (ConcatOutputs, Forward, Looped, MeanNodes, MeanOutputs, Neighbours, Scales, Signs, SignsAndScales)
TASKS: tuple[type, ...] = (Adam, AdamW, Classification, CrossEntropy, Editing, Generalization, Muon, SquaredError)
STYLES: tuple[type, ...] = (Blur, Contrast, Dilate, Erode, Invert, Rotate)
KINDS = NETWORKS + READERS + EDITORS + PARTS + TASKS + STYLES
