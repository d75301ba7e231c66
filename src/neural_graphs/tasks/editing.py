"""Editing implicit networks: change the parameters of a network so that its picture changes as an image style does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from neural_graphs.errors import ConfigError
from neural_graphs.networks import Networks
from neural_graphs.networks.evaluating import evaluating
from neural_graphs.nn.run.microbatch import Reader, widest_group
from neural_graphs.plots import gallery, save
from neural_graphs.plots.page import Comparison, Comparisons, Picture, Section
from neural_graphs.tasks.data import Batch, ZooData
from neural_graphs.tasks.pixels import rendered
from neural_graphs.tasks.task import Task
from neural_graphs.zoo import Zoo, turns
from neural_graphs.zoo.canvas import Canvas
from neural_graphs.zoo.styles import Style

SHOWN = 12  # networks in a gallery
WINDOW = 11  # pixels of the side of the window of structural similarity (Wang et al. 2004)


class Drawing(Reader):
    """What networks draw after an editor changed them."""

    def __init__(self, editor: Reader, canvas: Canvas) -> None:
        super().__init__()
        self.editor, self.canvas = editor, canvas

    def read(self, networks: Networks) -> Float[Tensor, "networks points channels"]:
        """The pictures, in one go."""
        return self.canvas.draw(networks + self.editor.read(networks))

    def prepare(self, networks: Networks) -> None:
        """What the editor needs of their layouts."""
        self.editor.prepare(networks)

    def numbers(self, networks: Networks) -> int:
        """How many numbers the largest tensor holds for one network, about: edges of the editor, or pixels."""
        points = self.canvas.height * self.canvas.width
        return max(self.editor.numbers(networks), points * widest_group(networks))


class Editing(Task):
    """Train a metanetwork to change networks so that they draw what a style makes of their images (Zhou et al. 2023).

    The loss is the mean squared error over all pixels, between what the edited network draws and the target, both in
    units where images are in [0, 1]. Targets are made of the images the networks were fitted to; where a zoo keeps no
    images, of what its networks draw.

    Args:
        metanetwork: an editor: module from `Networks` to a change of every parameter.
        style: what to make of an image.
        turns: train on networks and targets that are turned and reflected at random, together and exactly, where the
            style commutes with that; views are turned, too, and their pictures back.
        options: those of every `Task`.
    """

    quantities: ClassVar[tuple[str, ...]] = ("mse",)
    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("mse", "min")
    scale: ClassVar[float] = 100.0

    def __init__(self, metanetwork: nn.Module, style: Style, turns: bool = False, **options: Any) -> None:
        super().__init__(metanetwork, **options)
        self.style, self.turns = style, turns
        self.canvas: Canvas | None = None

    def setup(self, stage: str) -> None:
        """Learn how the networks of the data draw."""
        super().setup(stage)
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
        if isinstance(data, ZooData):
            self.canvas = data.zoo.canvas
            if stage == "fit" and self.turns:
                self._require_commuting(data.zoo.split("train").spaced(SHOWN))

    def _require_commuting(self, zoo: Zoo) -> None:
        """Raise ConfigError where turned images in this style are not the images in this style, turned."""
        images, targets, canvas = images_of(zoo), self.targets(zoo), self.required_canvas
        pixels = torch.from_numpy(images).flatten(1, 2)
        for number in range(turns.count(canvas)):
            which = torch.full((len(pixels),), number)
            turned = turns.turn_pictures(pixels, which, canvas).reshape(images.shape).numpy()
            made = torch.from_numpy(self.style(turned)).flatten(1, 2)
            if not torch.allclose(made, turns.turn_pictures(targets, which, canvas), atol=1e-4):
                raise ConfigError(f"{self.style} makes something else of an image that is turned: leave out turns")

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """As of every `Task`, on networks and targets that are turned where `turns` say so."""
        if self.turns:
            networks, targets = batch
            canvas = self.required_canvas
            which = torch.randint(turns.count(canvas), (len(networks),), device=targets.device)
            batch = turns.turn(networks, which, canvas), turns.turn_pictures(targets, which, canvas)
        return super().training_step(batch, index)

    def answer_again(self, networks: Networks, view: int, generator: torch.Generator) -> Tensor:
        """What other networks of the same functions draw after their edit; with `turns` these are turned before, and
        their pictures back."""
        if not self.turns:
            return super().answer_again(networks, view, generator)
        canvas = self.required_canvas
        which = torch.full((len(networks),), view % turns.count(canvas), device=networks.values.device)
        answers = super().answer_again(turns.turn(networks, which, canvas), view, generator)
        return turns.turn_pictures(answers, which, canvas, back=True)

    def targets(self, zoo: Zoo) -> Float[Tensor, "networks points channels"]:
        """The images in this style."""
        styled = self.style(images_of(zoo))
        return torch.from_numpy(styled).flatten(1, 2)

    def answer(self, networks: Networks) -> Float[Tensor, "networks points channels"]:
        """What the edited networks draw."""
        reader = self.reader
        return self.required_canvas.draw(networks + self(networks)) if reader is None else reader(networks)

    @property
    def reader(self) -> Reader | None:
        """The editor together with the drawing."""
        if not isinstance(self.metanetwork, Reader):
            return None
        return Drawing(self.metanetwork, self.required_canvas)

    @property
    def required_canvas(self) -> Canvas:
        """How the networks draw. Raises ConfigError for networks that are no implicit images."""
        if self.canvas is None:
            raise ConfigError("the networks to edit must be implicit images: set `canvas`, or take a zoo that has one")
        return self.canvas

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error per pixel."""
        return F.mse_loss(answers, targets)

    def measure(self, split: str, answers: Tensor, targets: Tensor, networks: Networks) -> Tensor:
        """Log the squared error; in the test split what it was before the edit and how much alike the pictures are."""
        loss = self.loss(answers, targets)
        self.log_metrics(split, networks, mse=loss.detach())
        if split == "test":
            with torch.no_grad():
                before = self.required_canvas.draw(networks)
            self.log_metrics(
                split,
                networks,
                unedited_mse=self.loss(before, targets),
                **self._likeness("", answers, targets),
                **self._likeness("unedited_", before, targets),
            )
        return loss

    def _likeness(self, prefix: str, pictures: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Peak signal-to-noise ratio in dB and structural similarity, means over pictures, of what can be shown."""
        shape = (self.required_canvas.height, self.required_canvas.width)
        shown, wanted = (x.clamp(0, 1).unflatten(1, shape).movedim(-1, 1) for x in (pictures, targets))
        errors = (shown - wanted).square().mean((1, 2, 3)).clamp(min=1e-10)  # 100 dB are enough
        window = min(WINDOW, (min(shape) - 1) // 2 * 2 + 1)
        similarity = structural_similarity_index_measure(shown, wanted, kernel_size=window, data_range=1.0)
        return {f"{prefix}psnr": (-10 * errors.log10()).mean(), f"{prefix}ssim": similarity}

    def result(self, found: Mapping[str, float], split: str) -> dict[str, Any]:
        """Mean squared error, PSNR and SSIM against the target, before and after the edit; `closed` compares errors."""
        if split != "test":
            return {"mse": round(found[f"{split}_mse"], 8)}
        figures = {name: found[f"test_{name}"] for name in ("mse", "psnr", "ssim")}
        before = {name: found[f"test_{name}"] for name in ("unedited_mse", "unedited_psnr", "unedited_ssim")}
        closed = 1 - found["test_mse"] / found["test_unedited_mse"]
        return {name: round(value, 8) for name, value in (figures | before | {"closed": closed}).items()}

    def keep_pictures(self, data: ZooData, folder: Path) -> None:
        """Write `gallery-ZOO.png`: some networks of the test split before and after the edit, and what was wanted."""
        save(self.gallery(data.zoo.split("test")), folder / f"gallery-{data.zoo.path.resolve().name}.png")

    def gallery(self, zoo: Zoo) -> Figure:
        """Some networks of a zoo, evenly spaced in it, before and after the edit, and what was wanted of them."""
        name = type(self.metanetwork).__name__
        return gallery(
            self.drawn(zoo.spaced(SHOWN)), title=f"{type(self.style).__name__} by {name}, {zoo.path.resolve().name}"
        )

    @torch.no_grad()
    def drawn(self, zoo: Zoo) -> dict[str, Float[np.ndarray, "..."]]:
        """What networks draw before their edit, what was wanted, and what they draw after it: pictures by name."""
        networks, canvas = zoo.networks().to(self.device), self.required_canvas
        with evaluating(self):
            shown = {
                "network": canvas.draw(networks),
                "target": self.targets(zoo),
                "edited": self.mean_answer(networks),
            }
        return {name: canvas.picture(pixels) for name, pixels in shown.items()}

    def examples(self, data: ZooData) -> list[Section]:
        """Some networks of the test split, before and after the edit under a slider, beside what was wanted."""
        self.canvas = data.zoo.canvas
        pictures = self.drawn(data.zoo.split("test").spaced(SHOWN))
        edits = []
        for before, target, after in zip(*pictures.values(), strict=True):
            errors = [100 * float(np.square(each - target).mean()) for each in (before, after)]
            edits.append(Comparison(
                Picture.of(before, "what the network draws"),
                Picture.of(after, "what the edited network draws"),
                Picture.of(target, "what was wanted"),
                [f"{errors[0]:.1f} → {errors[1]:.1f} · 10⁻²"],
            ))  # fmt: skip
        lead = (
            "Left a network before and after its edit, from one to the other by the slider; right what was wanted;"
            " below the squared error before and after."
        )
        return [Section("Before and after the edit", [Comparisons(edits)], lead)]

    @classmethod
    def summary(cls, result: Mapping[str, Any]) -> list[str]:
        """Errors in the unit of published figures, 10⁻²."""
        mse = f"MSE {100 * result['mse']:.3f} · 10⁻²"
        if result["split"] != "test":
            return [mse]
        published = [] if result["published"] is None else [f"published: {result['published']:g} · 10⁻²"]
        return [
            f"{mse} against the target, {100 * result['unedited_mse']:.3f} · 10⁻² before the edit:"
            f" {result['closed']:.1%} of the gap closed",
            f"PSNR {result['psnr']:.1f} dB (before {result['unedited_psnr']:.1f}),"
            f" SSIM {result['ssim']:.3f} (before {result['unedited_ssim']:.3f})",
            *published,
        ]


def images_of(zoo: Zoo) -> Float[np.ndarray, "networks height width channels"]:
    """The images that networks were fitted to, in [0, 1]; where a zoo keeps none, what the networks draw, clipped."""
    if zoo.canvas is None:
        raise ConfigError(f"{zoo.path} holds no implicit images: there is nothing to restyle")
    shape = (len(zoo), zoo.canvas.height, zoo.canvas.width, zoo.canvas.channels)
    if not zoo.has_images:
        return rendered(zoo).reshape(shape)
    return zoo.images().astype(np.float32) / np.float32(255)
