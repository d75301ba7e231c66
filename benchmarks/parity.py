"""Compare our outputs with those of the paper's released models, case folder by case folder.

Each folder holds config.json, state.safetensors, inputs.safetensors and outputs.safetensors. Prints a row per case and
exits non-zero where a relative error (largest difference over largest value, per output tensor) exceeds the bound.

    python benchmarks/parity.py DIR [DIR …] [--device cuda]
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from neural_graphs.networks import Networks
from neural_graphs.nn.released import load_released, released_layout


def case_outputs(folder: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our outputs and the stored ones, by name."""
    config = json.loads((folder / "config.json").read_text())
    inputs, layout = load_file(folder / "inputs.safetensors"), released_layout(config)
    batched = "layout" in config and config["layout"]
    stacks = inputs if batched else {name: tensor[None] for name, tensor in inputs.items()}
    networks = Networks(torch.cat([stacks[name].flatten(1) for name in layout.shapes], 1), layout).to(
        torch.device(device)
    )
    model = load_released(config, load_file(folder / "state.safetensors")).eval().to(device)
    with torch.no_grad():
        found = model(networks)
    stored = load_file(folder / "outputs.safetensors")
    if isinstance(found, Networks):
        return {name: found.tensor(name).reshape(stored[name].shape).cpu() for name in stored}, stored
    return {"output": found.cpu()}, stored


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest value; NaN counts as infinite."""
    error = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-300))
    return float("inf") if error != error else error


def case_folders(roots: list[Path]) -> Iterator[Path]:
    """The given folders that are cases, and the cases right below those that are not."""
    for root in roots:
        yield from [root] if (root / "config.json").exists() else sorted(p.parent for p in root.glob("*/config.json"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument(
        "--bound", type=float, default=1e-10, help="largest relative error allowed (default %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="where ours are computed (default %(default)s)")
    arguments = parser.parse_args()
    folders, worst = list(case_folders(arguments.folders)), 0.0
    if not folders:
        parser.error(f"no case folder with a config.json in {', '.join(map(str, arguments.folders))}")
    for folder in folders:
        ours, stored = case_outputs(folder, arguments.device)
        errors = {name: relative_error(ours[name], stored[name]) for name in stored}
        worst = max(worst, *errors.values())
        row = "  ".join(f"{name} {error:.1e}" for name, error in errors.items())
        print(f"{folder.name:40s} {'ok  ' if max(errors.values()) <= arguments.bound else 'FAIL'} {row}", flush=True)
    print(f"{len(folders)} cases, largest relative error {worst:.1e}")
    return int(worst > arguments.bound)


if __name__ == "__main__":
    sys.exit(main())
