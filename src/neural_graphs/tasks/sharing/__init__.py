"""Sharing what was trained: a folder that says how a metanetwork is made again, on this disk or on the Hub."""

from neural_graphs.tasks.sharing.pretrained import Pretrained, examples, from_pretrained
from neural_graphs.tasks.sharing.share import share

__all__ = ["Pretrained", "examples", "from_pretrained", "share"]
