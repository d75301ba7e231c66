"""Zoos of CNNs on disk: what the table says of a network is true of it, the same seed gives the same bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neural_graphs.errors import ConfigError, ZooError
from neural_graphs.zoo import Zoo, check_zoo, info
from neural_graphs.zoo.engines import Processes
from neural_graphs.zoo.images import Images, Source
from neural_graphs.zoo.recipes import RECIPES, cnn_recipe, grow_cnns
from neural_graphs.zoo.recipes.training_data import Pictures
from tests.cnn.recipes import PARK, SMALL, data, files

ALONE = Processes(1)
COUNTS = {"small": 12, "park": 5}


@pytest.fixture(scope="module", params=["small", "park"])
def grown(request, tmp_path_factory):
    recipe = {"small": SMALL, "park": PARK}[request.param]
    folder = tmp_path_factory.mktemp("zoos") / request.param
    return recipe, grow_cnns(folder, "digits", recipe, count=COUNTS[request.param], engine=ALONE)


def test_the_table_is_true_of_the_networks(grown):
    recipe, zoo = grown
    test = data(recipe).test
    pixels, labels = test.tensors()
    for place, record in enumerate(zoo):
        logits = record.network.run(pixels)[0]
        accuracy = (logits.argmax(1) == labels).double().mean().item()
        assert record.metadata["test_accuracy"] == pytest.approx(accuracy, abs=1 / len(labels) + 1e-9)
        loss = torch.nn.functional.cross_entropy(logits, labels).item()
        assert record.metadata["test_loss"] == pytest.approx(loss, rel=1e-4, abs=1e-5), place
    check_zoo(zoo)
    facts = info(zoo)
    assert facts["runs"] == len(set(zoo.column("network"))) and sum(facts["fates"].values()) == len(zoo)


def test_splits_are_by_network_and_every_network_has_all_its_checkpoints(grown):
    recipe, zoo = grown
    rows = zoo.table.to_pylist()
    assert len({(row["network"], row["split"]) for row in rows}) == len({row["network"] for row in rows})
    for run in {row["network"] for row in rows}:
        epochs = tuple(row["epoch"] for row in rows if row["network"] == run)
        if recipe is SMALL:
            assert epochs == SMALL.checkpoints
        else:
            species = PARK.draw(run, 0)
            assert epochs == tuple(range(PARK.every, species.epochs + 1, PARK.every))


def test_the_same_seed_gives_the_same_bytes_and_a_larger_count_goes_on(grown, tmp_path):
    recipe, zoo = grown
    count = len(set(zoo.column("network")))
    begun = grow_cnns(tmp_path / "zoo", "digits", recipe, count=count - 2, engine=ALONE)
    assert len(begun) < len(zoo)
    again = grow_cnns(tmp_path / "zoo", "digits", recipe, count=count, engine=ALONE)
    assert files(again.path) == files(zoo.path) and again.layouts == zoo.layouts
    other = grow_cnns(tmp_path / "other", "digits", recipe, count=2, seed=1, engine=ALONE)
    assert not np.array_equal(other[0].values[:10], zoo[0].values[:10])


def test_a_zoo_of_one_network_grows_further_though_it_lacks_the_first_activation(tmp_path):
    begun = grow_cnns(tmp_path, "digits", SMALL, count=1, engine=ALONE)
    assert set(begun.column("activation")) == {"tanh"}
    grown = grow_cnns(tmp_path, "digits", SMALL, count=4, engine=ALONE)
    assert len(grown) == 4 * len(begun) and set(grown.column("activation")) == {"relu", "tanh"}


def test_growing_goes_on_after_the_last_whole_shard(grown, tmp_path):
    recipe, zoo = grown
    count, seen = len(set(zoo.column("network"))), []

    class Interrupt(Exception):
        pass

    def stop(done, planned):
        seen.append((done, planned))
        if done:
            raise Interrupt

    with pytest.raises(Interrupt):
        grow_cnns(tmp_path, "digits", recipe, count=count, engine=ALONE, progress=stop)
    with pytest.raises(ZooError, match="unfinished"):
        Zoo(tmp_path)
    whole = len(Zoo(tmp_path, partial=True))
    assert 0 < whole < len(zoo)
    with pytest.raises(ZooError, match=r"recipe\.batch is"):
        grow_cnns(tmp_path, "digits", replace(recipe, batch=8), count=count, engine=ALONE)
    assert files(grow_cnns(tmp_path, "digits", recipe, count=count, engine=ALONE).path) == files(zoo.path)


def test_networks_learn():
    recipe = replace(SMALL, pictures=replace(SMALL.pictures, train=600), optimizers=("adam",), dropout=(0.0, 0.0))
    recipe = replace(recipe, checkpoints=(0, 12), learning_rate=(5e-3, 5e-3), l2=(1e-8, 1e-8), train_fractions=(1.0,))
    recipe = replace(recipe, initializers=("he_normal",), channels=(8, 8, 8))
    lessons = data(recipe)
    (part, *_) = recipe.parts(3, lessons)
    rows = recipe.grow(part, lessons).columns
    before, after = np.array(rows["test_accuracy"]).reshape(-1, 2).T
    assert (before < 0.4).all() and (after > 0.7).all(), (before, after)


def test_runs_that_diverged_are_kept_and_marked(tmp_path):
    wild = replace(SMALL, learning_rate=(1e30, 1e31), optimizers=("sgd",))
    zoo = grow_cnns(tmp_path, "digits", wild, count=6, engine=ALONE)
    ended = zoo.subset("epoch == 2")
    assert set(ended.column("fate")) == {"diverged"} and not ended.column("ok").any()
    check_zoo(zoo)  # they are what they were written as
    with pytest.raises(ZooError, match=r"subset\(.ok.\)"):
        ended.networks()
    started = zoo.subset("ok == True")
    assert len(started) and started.networks().values.isfinite().all()


def test_a_network_that_gives_one_answer_only_is_marked_as_collapsed():
    still = replace(SMALL, initializers=("normal",), init_std=(1e-12, 1e-12), checkpoints=(0,))
    lessons = data(still)
    rows = still.grow(still.parts(4, lessons)[0], lessons)
    assert set(rows.columns["fate"]) == {"collapsed"} and all(rows.columns["ok"])


def test_skips_of_the_park_obey_its_rules():
    for run in range(200):
        species = RECIPES["wild-park"].draw(run, 0)
        assert 2 <= len(species.channels) <= 5 and 200 <= species.epochs <= 1000
        assert all(-1 <= source < max(layer - 1, 0) for layer, source in enumerate(species.skips))
    assert any(source >= 0 for run in range(20) for source in RECIPES["wild-park"].draw(run, 0).skips)


def test_colour_becomes_grey_and_images_shrink():
    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    pixels[:, :2, :2] = 255
    images = Images(pixels, np.arange(3), "squares", "train")
    made = Pictures(train=2, shrink=2).prepare(images, seed=0)
    assert made.pixels.shape == (2, 1, 2, 2)
    np.testing.assert_allclose(made.pixels, np.broadcast_to([[1, -1], [-1, -1]], (2, 1, 2, 2)), atol=1e-6)
    with pytest.raises(ConfigError, match="cannot be shrunk by 3"):
        Pictures(shrink=3).prepare(images, seed=0)
    with pytest.raises(ConfigError, match="has 3 train images"):
        Pictures(train=4).prepare(images, seed=0)


def test_images_of_one_class_are_refused(tmp_path):
    class Same(Source):
        def read(self, split):
            return np.zeros((100, 9, 9, 1), np.uint8), np.zeros(100, np.int64)

    with pytest.raises(ConfigError, match="of one class"):
        grow_cnns(tmp_path, Same("same"), SMALL, count=2)


def test_unknown_recipes_are_refused_by_name():
    with pytest.raises(ConfigError, match="wild-park-mini"):
        cnn_recipe("wild")
