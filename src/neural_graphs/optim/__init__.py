"""Learned optimizers: metanetworks that train networks, and what they are trained by."""

from neural_graphs.optim.architectures import Architecture, ConvNet, Perceptron
from neural_graphs.optim.graph_rules import NFNRule, NGGNNRule, NGTRule, PropagatorRule, SharedUNFRule
from neural_graphs.optim.inner import ImageSet, InnerTask
from neural_graphs.optim.meta_gradients import MetaGradient, PersistentES, PersistentStepwise, Stepwise
from neural_graphs.optim.optimizer import LearnedOptimizer
from neural_graphs.optim.pretrained import load_rule, save_rule
from neural_graphs.optim.tensor_rules import FeedForwardRule, LSTMRule
from neural_graphs.optim.update_rule import Decay, Refinements, UpdateRule

__all__ = [
    "Architecture",
    "ConvNet",
    "Decay",
    "FeedForwardRule",
    "ImageSet",
    "InnerTask",
    "LSTMRule",
    "LearnedOptimizer",
    "MetaGradient",
    "NFNRule",
    "NGGNNRule",
    "NGTRule",
    "Perceptron",
    "PersistentES",
    "PersistentStepwise",
    "PropagatorRule",
    "Refinements",
    "SharedUNFRule",
    "Stepwise",
    "UpdateRule",
    "load_rule",
    "save_rule",
]
