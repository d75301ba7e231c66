"""Trace whole networks and read them with NG-GNN (width 32, depth 4): seconds, weights, numbers and peak memory.

Networks have random weights; classes are those of `transformers`. Reading is one forward and one backward pass over the
weights (`both` adds the reversed weights), the second of two, in float32. Every case runs in a process of its own, so
that peak memory is its own; `/M` columns are per million weights of the graph.

    python benchmarks/trace.py [--cases resnet18 vit gpt] [--wirings forward both] [--width 32] [--depth 4]
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import neural_graphs as ng
from neural_graphs.errors import MemoryNeeded
from neural_graphs.nn import NGGNN, MeanOutputs

WIRINGS = ("forward", "both")
HEADER = (
    f"{'network':10s} {'edges':8s} {'numbers':>11s} {'weights':>11s} {'trace s':>8s} {'read s':>7s} {'cpu s':>6s} "
    f"{'peak GB':>8s} {'trace s/M':>10s} {'read s/M':>9s} {'GB/M':>6s}"
)


def resnet18() -> tuple[nn.Module, Tensor]:
    """ResNet-18 for 1000 classes."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", num_labels=1000
    )
    return ResNetForImageClassification(config), torch.randn(1, 3, 64, 64)


def vit() -> tuple[nn.Module, Tensor]:
    """A vision transformer of 192 × 6, patches of 16."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=3,
        intermediate_size=768,
        image_size=64,
        num_labels=100,
    )
    return ViTForImageClassification(config), torch.randn(1, 3, 64, 64)


def gpt() -> tuple[nn.Module, Tensor]:
    """A decoder of ten million parameters, with tied embeddings."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 8192, "n_positions": 256, "n_embd": 288, "n_layer": 8, "n_head": 6}
    config = GPT2Config(**sizes, use_cache=False, bos_token_id=None, eos_token_id=None)
    return GPT2LMHeadModel(config), torch.randint(0, 8192, (1, 16))


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {"resnet18": resnet18, "vit": vit, "gpt": gpt}


def measure(case: str, wiring: str, width: int, depth: int) -> str:
    """One line of result, or why there is none."""
    torch.manual_seed(0)
    module, inputs = CASES[case]()
    start = time.perf_counter()
    layout = ng.trace(module, inputs)
    traced = time.perf_counter() - start
    networks = ng.Networks.from_modules([module], layout)
    shown = f"{case:10s} {wiring:8s} {layout.size:11,d} {layout.weights:11,d} {traced:8.1f}"
    reader = NGGNN(ng.InputSpec.of([layout]), 10, width, depth, reverse=wiring == "both", pool=MeanOutputs())
    try:
        for _ in range(2):
            reader.zero_grad()
            start, busy = time.perf_counter(), time.process_time()
            found = reader(networks)
            assert isinstance(found, Tensor)
            found.square().sum().backward()
            read, busy = time.perf_counter() - start, time.process_time() - busy
    except MemoryNeeded as error:
        return f"{shown} {error}"
    peak, millions = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, layout.weights / 1e6
    return (
        f"{shown} {read:7.1f} {busy:6.1f} {peak:8.2f} {traced / millions:10.2f} {read / millions:9.2f} "
        f"{peak / millions:6.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--wirings", nargs="+", choices=WIRINGS, default=list(WIRINGS))
    parser.add_argument("--width", type=int, default=32, help="of the metanetwork (default %(default)s)")
    parser.add_argument("--depth", type=int, default=4, help="of the metanetwork (default %(default)s)")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # set in the processes of the cases
    arguments = parser.parse_args()
    if arguments.alone:
        print(measure(arguments.cases[0], arguments.wirings[0], arguments.width, arguments.depth), flush=True)
        return
    print(f"{torch.get_num_threads()} threads\n{HEADER}", flush=True)
    options = ["--alone", "--width", str(arguments.width), "--depth", str(arguments.depth)]
    for case in arguments.cases:
        for wiring in arguments.wirings:
            subprocess.run([sys.executable, __file__, *options, "--cases", case, "--wirings", wiring], check=True)


if __name__ == "__main__":
    main()
