"""``neural-graphs info``: what a bug report should say of a machine."""

import os
import platform
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neural_graphs.commands import show
from neural_graphs.versions import version_of

DESCRIPTION = """\
Prints the versions, the devices, the extras that are missing with how to get them, and where things are kept: to paste
into a bug report.

  neural-graphs info
  neural-graphs info --json
"""
SHOWN = ("torch", "lightning", "jsonargparse", "numpy", "pyarrow", "safetensors", "scipy")
EXTRAS = {
    "colour": ("cv2", "skimage"),
    "completion": ("shtab",),
    "download": ("datasets",),
    "graph": ("networkx", "torch_geometric"),
    "hub": ("huggingface_hub",),
    "huggingface": ("transformers",),
    "notebooks": ("ipywidgets", "jupyterlab"),
    "onnx": ("onnx",),
    "ray": ("ray",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
}  # each with the modules that it brings
VARIABLES = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE", "NEURAL_GRAPHS_DATA", "NEURAL_GRAPHS_KEEP_MEMORY",
             "OMP_NUM_THREADS", "RAY_ADDRESS")  # fmt: skip


def add(commands: Any) -> None:
    """Adds ``info`` to the subparsers."""
    parser = commands.add_parser("info", help="versions, devices, extras: for a bug report", description=DESCRIPTION)
    show.add_json(parser)
    parser.set_defaults(command=info)


def info(arguments: Namespace) -> int:
    """Prints the facts, a line each."""
    facts = facts_of_machine()
    if arguments.json:
        show.print_json(facts)
        return 0
    for heading, told in facts.items():
        print(f"{heading}:")
        for name, value in told.items():
            print(f"  {name}: {value}")
    return 0


def facts_of_machine() -> dict[str, dict[str, Any]]:
    """Versions, devices, extras and places, as plain values."""
    missing = [name for name, modules in EXTRAS.items() if not all(map(find_spec, modules))]
    return {
        "versions": {"neural-graphs": version_of("neural-graphs"), "python": platform.python_version()}
        | {name: version_of(name) for name in SHOWN},
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            **_devices(),
        },
        "extras": {
            name: f"missing: pip install 'neural-graphs[{name}]'" if name in missing else "there" for name in EXTRAS
        },
        "places": _places(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _devices() -> dict[str, Any]:
    import torch

    cards = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return {
        "cores": os.cpu_count(),
        "threads of torch": torch.get_num_threads(),
        "CUDA": f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        if torch.version.cuda
        else "not built in",
        "cards": ", ".join(cards) or "none",
    }


def _places() -> dict[str, Any]:
    """Where the package, its metanetworks and what is downloaded lie."""
    from neural_graphs.tasks.sharing.pretrained import INSIDE, known

    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "hub"
    return {
        "package": str(Path(__file__).parents[1]),
        "pretrained": f"{INSIDE} ({', '.join(known()) or 'none'})",
        "cache of the Hub": f"{cache}{'' if cache.is_dir() else ' (not there yet)'}",
        "runs and zoos": f"below the working directory, {Path.cwd()}",
    }
