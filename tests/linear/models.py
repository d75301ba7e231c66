"""What the laws of linear layers range over: metanetworks × processed networks. A new one joins by one line here."""

from collections.abc import Callable
from typing import Any

import torch

from neural_graphs import InputSpec, Layout
from neural_graphs.nn import NFN, NFT, UNF, DWSNet, DWSNetEditor, NFNEditor, NFTEditor, UNFEditor
from neural_graphs.nn.linear import GridMetanetwork, Neighbours

Make = Callable[..., GridMetanetwork]
TINY_NFN: dict[str, Any] = {"width": 12, "depth": 2, "dropout": 0.0}
READERS: dict[str, Make] = {
    "DWSNet": lambda f: DWSNet(f, 3, width=5, depth=2),
    "DWSNet with norms": lambda f: DWSNet(f, 3, width=5, depth=2, norm=True),
    "NFN-NP": lambda f: NFN(f, 3, hidden=(8,), **TINY_NFN),
    "NFN-HNP": lambda f: NFN(f, 3, hidden=(8,), ends=False, **TINY_NFN),
    "NFT": lambda f: NFT(f, 3, 12, 2, 3, hidden=(8,)),
    "NFT without ends": lambda f: NFT(f, 3, 12, 2, 3, ends=False, hidden=(8,)),
    "UNF": lambda f: UNF(f, 3, width=5, depth=2),
    "UNF with ends": lambda f: UNF(f, 3, width=5, depth=2, ends=True),
    "UNF between neighbours": lambda f: UNF(f, 3, width=5, depth=2, maps=Neighbours()),
}
EDITORS: dict[str, Make] = {
    "DWSNet": lambda f, **o: DWSNetEditor(f, width=5, depth=2, **o),
    "NFN-NP": lambda f, **o: NFNEditor(f, **TINY_NFN, **o),
    "NFN-HNP": lambda f, **o: NFNEditor(f, ends=False, **TINY_NFN, **o),
    "NFT": lambda f, **o: NFTEditor(f, 12, 2, 3, **o),
    "NFT without ends": lambda f, **o: NFTEditor(f, 12, 2, 3, ends=False, **o),
    "UNF": lambda f, **o: UNFEditor(f, width=5, depth=2, **o),
    "UNF with ends": lambda f, **o: UNFEditor(f, width=5, depth=2, ends=True, **o),
    "UNF between neighbours": lambda f, **o: UNFEditor(f, width=5, depth=2, maps=Neighbours(), **o),
}
SAME_TENSORS = [Layout.mlp(sizes, "sine") for sizes in [(2, 6, 5, 3), (2, 4, 7, 3), (2, 3, 2, 3)]]


def built(make: Make, family: InputSpec, **options: Any) -> Any:
    """In float64, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(family, **options).double()
