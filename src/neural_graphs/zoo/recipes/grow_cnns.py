"""Growing a zoo of CNNs on disk: shard by shard, by one engine or another, resumable."""

from dataclasses import dataclass
from pathlib import Path

from neural_graphs.errors import ConfigError, ZooError
from neural_graphs.zoo.executors import Engine, Job, Processes
from neural_graphs.zoo.find_images import find_source
from neural_graphs.zoo.images import Source
from neural_graphs.zoo.recipes.cnn import CnnRecipe, Part, Study
from neural_graphs.zoo.store import Progress, Zoo
from neural_graphs.zoo.writer import Rows, writing


def silent(done: int, planned: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Growing(Job[Part, Rows]):
    """Grows the shards of one zoo."""

    recipe: CnnRecipe
    study: Study

    def __call__(self, part: Part) -> Rows:
        """Return the checkpoints of the shard's networks."""
        return self.recipe.grow(part, self.study)


def grow_cnns(
    path: str | Path,
    source: Source | str | Path,
    recipe: CnnRecipe,
    *,
    count: int,
    seed: int = 0,
    engine: Engine | None = None,
    progress: Progress = silent,
) -> Zoo:
    """Grow a zoo of `count` CNNs in a folder, or go on with one, and return it: a row per network and checkpoint.

    Every row has the columns network, epoch, split (the same for all of a network), train_accuracy and test_accuracy
    (0 to 1), train_loss and test_loss (mean cross-entropy, nats), seed, fate ("trained", "collapsed": one answer to all
    test images, or "diverged": values or losses not finite) and ok (not diverged), and what the recipe drew: the
    fields of `small.Draw`, or depth, channels, kernels, activations and skips.

    The bytes depend on recipe, images, count and seed, not on the engine (default: two processes). A kill loses the
    shards in hand; the same arguments go on from there, and a larger `count` grows the zoo further. `progress` receives
    networks done and in all. Raises `ZooError` where the folder holds a zoo of another recipe or more networks,
    `ImageError` where the images cannot be read, `ConfigError` where they do not suit the recipe.
    """
    if count < 1 or seed < 0:
        raise ZooError(f"Expected count ≥ 1 and a seed ≥ 0; got {count} networks and seed {seed}.")
    source = source if isinstance(source, Source) else find_source(source)
    images = source.load("train"), source.load("test")
    train, test = (recipe.pictures.prepare(each, seed) for each in images)
    study = Study(train, test, seed)
    if study.classes < 2:
        raise ConfigError(f"all images of {source.name} are of one class; expected images with labels to learn")
    parts, layouts = recipe.parts(count, study), list(recipe.layouts(count, study))
    places = {layout: place for place, layout in enumerate(layouts)}
    facts = {
        "kind": "cnn",
        "recipe": recipe.to_json(),
        "images": source.name,
        "images_sha256": [each.checksum() for each in images],
        "seed": seed,
    }
    sizes = [part.rows for part in parts]
    with writing(path, facts, layouts, sum(sizes), shard_size=sizes) as writer:
        begun = len(writer.manifest.shards)
        done, left = sum(len(part.runs) for part in parts[:begun]), parts[begun:]
        progress(done, count)
        grown = (engine or Processes()).run(Growing(recipe, study), left)
        for part, rows in zip(left, grown, strict=True):
            writer.write(Rows(rows.values, rows.columns, layout=places[part.layout]))
            done += len(part.runs)
            progress(done, count)
    return Zoo(path)
