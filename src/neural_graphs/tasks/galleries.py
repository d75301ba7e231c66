"""Watching an editor learn."""

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from neural_graphs.errors import ConfigError
from neural_graphs.plots import save
from neural_graphs.tasks.editing import Editing


class Galleries(Callback):
    """Draws validation networks before and after their edit, every `every` epochs, into `galleries/` of the run."""

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise ConfigError(f"a gallery every {every} epochs was asked for; it must be at least 1")
        self.every = every

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw, where it is time to."""
        epoch, kept = trainer.current_epoch + 1, trainer.checkpoint_callback
        if epoch % self.every or not trainer.is_global_zero:
            return
        if not isinstance(module, Editing) or not isinstance(kept, ModelCheckpoint) or kept.dirpath is None:
            raise ConfigError("galleries show what an Editing task does, into the folder of its checkpoints")
        zoo = trainer.datamodule.zoo.split("val")  # type: ignore[attr-defined]  # set by Lightning
        save(module.gallery(zoo), Path(kept.dirpath).parent / "galleries" / f"epoch-{epoch:03d}.png")
