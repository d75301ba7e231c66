"""Time the growing of INRs: `python benchmarks/grow_inr.py --images-file FILE --preset dws2023 --count 96`."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neural_graphs.zoo.images import read_idx
from neural_graphs.zoo.recipes.inr import PRESETS, Recipe, grow, preset
from neural_graphs.zoo.recipes.presets import OMEGA


class PlainSiren(nn.Module):
    """What one would write first: modules and autograd."""

    def __init__(self, recipe: Recipe, number: int) -> None:
        super().__init__()
        widths = (2, *recipe.hidden, recipe.image[2])
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.offset = recipe.preset.offset
        nn.utils.vector_to_parameters(recipe.initial(number), self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.sin(OMEGA * layer(x))
        return self.layers[-1](x) + self.offset


def fit_plainly(recipe: Recipe, pixels: Tensor, number: int) -> float:
    """Fit one network with autograd and `torch.optim.Adam`, the same steps as `grow`; return its PSNR in dB."""
    law = recipe.preset
    module, x, drawn = PlainSiren(recipe, number), recipe.coordinates().T, recipe.drawn()
    target = law.low + (1 - law.low) * pixels.reshape(-1, recipe.image[2])
    adam = torch.optim.Adam(module.parameters(), lr=law.lr)
    for step in range(law.steps):
        adam.param_groups[0]["lr"] = law.rate(step)
        chosen = slice(None) if drawn is None else drawn[step]
        loss = nn.functional.mse_loss(module(x[chosen]), target[chosen])
        if law.stop_psnr is not None and psnr(loss, recipe) >= law.stop_psnr:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        return psnr(nn.functional.mse_loss(module(x), target), recipe)


def psnr(error: Tensor, recipe: Recipe) -> float:
    """Return the PSNR in dB of an image in [0, 1] from the mean squared error in the preset's range."""
    return float(-10 * torch.log10(error.detach() / (1 - recipe.preset.low) ** 2))


def timed(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[float, Any]:
    """Return the seconds of a call and its result."""
    started = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images-file", type=Path, required=True, help="IDX file of images, plain or gzip")
    parser.add_argument("--preset", choices=PRESETS, default="dws2023")
    parser.add_argument("--count", type=int, default=96, help="networks to grow")
    parser.add_argument("--repeats", type=int, default=3, help="times to grow, and networks for the plain loop")
    parser.add_argument("--workers", type=int, default=2, help="threads of grow")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = read_idx(arguments.images_file, 3)[: arguments.count, ..., None]
    recipe = Recipe(preset(arguments.preset), images.shape[1:])
    pixels = torch.from_numpy(images.astype(np.float32) / 255)
    grow_times, plain_times, plain = [], [], []
    for number in range(arguments.repeats):  # in turns: a busy machine slows down both
        seconds, grown = timed(grow, images, recipe, device=arguments.device, workers=arguments.workers)
        grow_times.append(seconds)
        seconds, value = timed(fit_plainly, recipe, pixels[number], number)
        plain_times.append(seconds)
        plain.append(value)
    rate, plain_rate = len(images) / min(grow_times), 1 / min(plain_times)
    print(
        f"{arguments.preset}: {rate:.2f} networks/s on {arguments.device} ({len(images)} networks, {arguments.workers} "
        f"threads), median PSNR {grown.psnr.median():.1f} dB, {rate / plain_rate:.1f} × a plain loop "
        f"on one thread ({plain_rate:.2f}/s, {np.mean(plain):.1f} dB where grow has "
        f"{grown.psnr[: len(plain)].mean():.1f} dB); best of {arguments.repeats}"
    )


if __name__ == "__main__":
    main()
