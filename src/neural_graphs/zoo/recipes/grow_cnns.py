"""Growing a zoo of CNNs on disk."""

from dataclasses import dataclass
from pathlib import Path

from neural_graphs.errors import ConfigError, ZooError
from neural_graphs.zoo.engines import Engine, Job, Processes, Tick, nobody
from neural_graphs.zoo.find_images import find_source
from neural_graphs.zoo.grow import Growth, grow, silent
from neural_graphs.zoo.images import Source
from neural_graphs.zoo.recipes.cnn import CnnRecipe, Part
from neural_graphs.zoo.recipes.training_data import TrainingData
from neural_graphs.zoo.store import Progress, Zoo
from neural_graphs.zoo.writer import ShardData


@dataclass(frozen=True)
class Growing(Job[Part, ShardData]):
    """Grows the shards of one zoo."""

    recipe: CnnRecipe
    data: TrainingData

    def count(self, part: Part) -> int:
        """Return how many networks a shard has, each with several checkpoints."""
        return len(part.runs)

    def __call__(self, part: Part, tick: Tick = nobody) -> ShardData:
        """Return the checkpoints of the shard's networks."""
        made = self.recipe.grow(part, self.data)
        tick(self.count(part))
        return made


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
    fields of `small_cnn.Hyperparameters`, or depth, channels, kernels, activations and skips.

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
    data = TrainingData(train, test, seed)
    if data.classes < 2:
        raise ConfigError(f"all images of {source.name} are of one class; expected images with labels to learn")
    parts, layouts = recipe.parts(count, data), list(recipe.layouts(count, data))
    places = {layout: place for place, layout in enumerate(layouts)}
    facts = {
        "kind": "cnn",
        "recipe": recipe.to_json(),
        "images": source.name,
        "images_sha256": [each.checksum() for each in images],
        "seed": seed,
    }
    sizes = [part.rows for part in parts]
    growth = Growth(
        facts=facts,
        layouts=layouts,
        planned=sum(sizes),
        shard_size=sizes,
        networks=count,
        job=Growing(recipe, data),
        left=lambda writer: parts[len(writer.manifest.shards) :],
        layout=lambda part: places[part.layout],
    )
    return grow(path, growth, engine or Processes(), progress)
