"""Growing a zoo of CNNs on disk: shard by shard, by one engine or another, resumable."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neural_graphs.errors import ZooError
from neural_graphs.zoo.cnn.recipe import CnnRecipe, Part, Study
from neural_graphs.zoo.engines import Engine, Job, Processes
from neural_graphs.zoo.find_images import find_source
from neural_graphs.zoo.images import Source
from neural_graphs.zoo.store import Zoo
from neural_graphs.zoo.writer import Rows, writing

Progress = Callable[[int, int], None]


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
    progress: Progress | None = None,
) -> Zoo:
    """Grow a zoo of `count` CNNs in a folder, or go on with one, and return it: a row per network and checkpoint.

    The bytes depend on recipe, images, count and seed, not on the engine (default: two processes). A kill loses the
    shards in progress at most; the same arguments go on from there, and a larger `count` grows the zoo further.
    `progress` receives networks done and in all. Raises `ZooError` where the folder holds a zoo of another recipe,
    `ImageError` where the images cannot be read.
    """
    if count < 1 or seed < 0:
        raise ZooError(f"Expected count ≥ 1 and a seed ≥ 0; got {count} networks and seed {seed}.")
    source = source if isinstance(source, Source) else find_source(source)
    images = source.load("train"), source.load("test")
    train, test = (recipe.pictures.prepare(each, seed) for each in images)
    study = Study(train, test, seed)
    parts = recipe.parts(count, study)
    layouts = list(dict.fromkeys(part.layout for part in parts))
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
        done = sum(len(part.runs) for part in parts[:begun])
        left = parts[begun:]
        grown = (engine or Processes()).run(Growing(recipe, study), left)
        for part, rows in zip(left, grown, strict=True):
            if progress is not None:
                progress(done, count)
            writer.write(Rows(rows.values, rows.columns, layout=places[part.layout]))
            done += len(part.runs)
    if progress is not None:
        progress(count, count)
    return Zoo(path)
