"""Training from a configuration: run folders, exact resume, testing, predicting, and what is refused."""

import json
import math
from argparse import ArgumentError
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lightning import Trainer
from lightning.fabric.utilities import move_data_to_device
from safetensors.torch import save_file

from neural_graphs.errors import CheckpointError, ConfigError, ZooError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.nn import Propagator
from neural_graphs.nn.baselines import FlatMLP
from neural_graphs.tasks import Classification, Muon, Run, ZooData, classify, fit, load_run, predict, test, validate
from neural_graphs.tasks.data import Batches, BatchSampler
from neural_graphs.tasks.fit import callbacks
from neural_graphs.tasks.logging import quiet
from neural_graphs.tasks.mixing import mix
from neural_graphs.zoo import Zoo, grow_inrs, preset
from neural_graphs.zoo.transforms import Noise

test.__test__ = False  # the library's function, not one of pytest's
BARE = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zoos") / "digits"
    grow_inrs(folder, "digits", replace(preset("fast"), steps=3), count=90, hidden=(4,), shares=(4, 1, 1))
    return folder


def configuration(zoo: Path, folder: Path, metanetwork: dict | None = None, **trainer) -> list[str]:
    mlp = {"class_path": "neural_graphs.nn.baselines.FlatMLP", "init_args": {"classes": 10, "hidden": [8]}}
    content = {
        "seed_everything": 1,
        "published": 91.4,
        "model": {"metanetwork": metanetwork or mlp, "warmup": 4},
        "data": {"zoo": str(zoo), "batch_size": 16},
        "trainer": {"max_epochs": 3, **trainer},
    }
    content["model"]["metanetwork"]["init_args"]["dropout"] = 0.3  # draws numbers that a resumed run must draw again
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return ["--config", str(folder / "config.yaml"), *BARE]


@pytest.fixture(scope="module")
def run(zoo, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    return fit(configuration(zoo, folder), folder / "run")


def weights(run: Run, file: Path | None = None) -> dict[str, torch.Tensor]:
    return run.checkpoint(file)["state_dict"]


# -- batches -----------------------------------------------------------------------------------------------------------


def test_an_epoch_holds_every_network_once_in_an_order_of_its_own() -> None:
    draws = BatchSampler(50, 16, shuffle=True, seed=3)
    first = list(draws)
    assert [len(draw.indices) for draw in first] == [16, 16, 16, 2]
    assert sorted(place for draw in first for place in draw.indices) == list(range(50))
    assert list(draws) == first
    draws.set_epoch(1)
    assert list(draws) != first
    assert len({draw.seed for draw in [*first, *draws]}) == 8


@given(st.integers(4, 90), st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_ranks_share_an_epoch_as_one_process_would_read_it(count: int, size: int, ranks: int, even: bool) -> None:
    work = np.arange(count) + 1 if even else None
    parts = [list(BatchSampler(count, size, shuffle=True, rank=rank, ranks=ranks, work=work)) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1  # or a rank would wait for ever
    assert sorted(place for part in parts for draw in part for place in draw.indices) == list(range(count))
    assert all(0 < len(draw.indices) <= size + 1 for part in parts for draw in part)
    if work is None:
        together = [[place for draw in draws for place in draw.indices] for draws in zip(*parts, strict=True)]
        alone = [draw.indices for draw in BatchSampler(count, size * ranks, shuffle=True)]
        if 0 < count % (size * ranks) < ranks:  # too few left for every rank: they join those before
            alone[-2:] = [[place for batch in alone[-2:] for place in batch]]
        assert together == alone


def test_ranks_share_what_is_read_in_order() -> None:
    in_order = [draw for rank in range(2) for draw in BatchSampler(70, 8, shuffle=False, rank=rank, ranks=2)]
    assert sorted(place for draw in in_order for place in draw.indices) == list(range(70))


def test_batches_are_rows_of_the_zoo_augmented_by_their_own_seed(zoo) -> None:
    train = Zoo(zoo).split("train")
    draw = next(iter(BatchSampler(len(train), 8, shuffle=True)))
    networks, labels = Batches(train, train.labels)[draw]
    assert torch.equal(networks.values, train.networks(draw.indices).values)
    assert torch.equal(labels, train.labels[draw.indices])
    noisy = Batches(train, train.labels, Noise())
    assert torch.equal(noisy[draw][0].values, noisy[draw][0].values)
    assert not torch.equal(noisy[draw][0].values, networks.values)
    assert not torch.equal(noisy[draw][0].values, noisy[draw._replace(seed=draw.seed + 1)][0].values)


def test_only_training_batches_are_augmented(zoo) -> None:
    data = ZooData(zoo, 16, Noise())
    (networks, _), *_ = data.val_dataloader()
    assert torch.equal(networks.values, Zoo(zoo).split("val").networks(slice(0, 16)).values)
    (networks, labels), *_ = data.train_dataloader()
    assert labels.shape == (16,)
    distances = torch.cdist(networks.values, Zoo(zoo).split("train").networks().values)
    assert distances.min() > 0


def test_lightning_moves_batches_to_its_device(zoo) -> None:
    networks, labels = next(iter(ZooData(zoo, 16).val_dataloader()))
    moved, targets = move_data_to_device((networks, labels), torch.device("meta"))
    assert moved.values.device == targets.device == torch.device("meta")
    assert moved.layout == networks.layout


# -- a run -------------------------------------------------------------------------------------------------------------


def test_a_run_keeps_what_it_was_made_with(run, zoo) -> None:
    assert run.config["model"]["lr"] == 1e-3  # defaults are resolved
    assert run.config["published"] == 91.4
    assert set(run.facts) >= {"versions", "commit", "layouts", "family", "classes", "recipe", "parameters"}
    assert run.layouts == Zoo(zoo).layouts
    assert run.family == ZooData(zoo).family
    rows = run.metrics_file.read_text().splitlines()
    assert rows[0].startswith("epoch,step,train_loss,train_accuracy,val_loss,val_accuracy")
    assert len(rows) == 4
    assert "nan" not in "".join(rows)


def test_the_best_checkpoint_is_the_one_of_the_best_validation_accuracy(run) -> None:
    found = validate(run.folder)
    column = [float(row.split(",")[5]) for row in run.metrics_file.read_text().splitlines()[1:]]
    assert found["accuracy"] == pytest.approx(max(column), abs=1e-6)


@pytest.mark.parametrize(
    "metanetwork",
    [
        {"class_path": "neural_graphs.nn.baselines.FlatMLP", "init_args": {"classes": 10, "hidden": [8]}},
        {"class_path": "neural_graphs.nn.NGGNN", "init_args": {"classes": 10, "width": 4, "depth": 2, "sigma": None}},
        {"class_path": "neural_graphs.nn.Propagator", "init_args": {"classes": 10, "width": 16, "depth": 2}},
    ],
    ids=["FlatMLP", "NGGNN", "Propagator"],
)
@pytest.mark.parametrize("optimizer", ["AdamW", "Muon"])
def test_a_resumed_run_ends_as_if_it_had_not_been_interrupted(metanetwork, optimizer, zoo, tmp_path) -> None:
    choice = ["--model.optimizer", f"neural_graphs.tasks.{optimizer}"]
    whole = fit([*configuration(zoo, tmp_path, metanetwork), *choice], tmp_path / "whole")
    part = fit([*configuration(zoo, tmp_path, metanetwork), *choice, "--trainer.max_epochs", "1"], tmp_path / "part")
    part = fit(["--trainer.max_epochs", "3", *BARE], part.folder, resume=True)
    for file, other in ((part.last, whole.last), (part.best, whole.best)):
        ours, theirs = weights(part, file), weights(whole, other)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    without_seconds = [
        [row.rsplit(",", 1)[0] for row in run.metrics_file.read_text().splitlines()] for run in (part, whole)
    ]
    assert without_seconds[0] == without_seconds[1]
    load_run(part.folder)  # the configuration it wrote builds the same metanetwork, null arguments included


def test_averaged_weights_are_validated_kept_and_resumed(zoo, tmp_path) -> None:
    """With a callback of Lightning's; what is trained is not moved by it, and its mean is made by hand here."""
    averaging = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.75}}
    words = configuration(zoo, tmp_path, callbacks=[averaging])
    whole = fit(words, tmp_path / "whole")
    part = fit([*words, "--trainer.max_epochs", "1"], tmp_path / "part")
    part = fit(["--trainer.max_epochs", "3", *BARE], part.folder, resume=True)
    plain = fit(configuration(zoo, tmp_path), tmp_path / "plain")
    for key in ("state_dict", "current_model_state", "averaging_state"):
        ours, theirs = part.checkpoint(part.last)[key], whole.checkpoint(whole.last)[key]
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    trained = whole.checkpoint(whole.last)["current_model_state"]
    assert all(torch.equal(trained[name], tensor) for name, tensor in weights(plain, plain.last).items())
    assert any(not torch.equal(trained[name], tensor) for name, tensor in weights(whole, whole.last).items())
    columns = [row.split(",") for row in whole.metrics_file.read_text().splitlines()]
    best = max(float(row[columns[0].index("val_accuracy")]) for row in columns[1:])
    assert validate(whole.folder)["accuracy"] == pytest.approx(best, abs=1e-6)
    read = load_run(whole.folder)[0].state_dict()
    assert all(torch.equal(tensor, weights(whole, whole.best)[f"metanetwork.{name}"]) for name, tensor in read.items())


def test_testing_agrees_with_classifying_by_hand(run, zoo) -> None:
    result = test(run.folder)
    metanetwork, config = load_run(run.folder)
    split = Zoo(zoo).split("test")
    scores = classify(metanetwork, split.networks(), batch_size=7)
    right = (scores.argmax(1) == split.labels).double().mean().item()
    assert result["accuracy"] == pytest.approx(right, abs=1e-6)
    confusion = np.array(result["confusion"])
    assert confusion.sum() == result["networks"] == len(split)
    assert np.trace(confusion) == round(right * len(split))
    assert json.loads(run.result_file.read_text()) == result == run.result
    assert config["model"]["classes"] == 10


def test_predicting_reads_files_of_several_kinds_and_names(run, zoo, tmp_path) -> None:
    networks = Zoo(zoo).split("test").networks([0, 1])
    states = [{name: tensor.clone() for name, tensor in state.items()} for state in networks.state_dicts()]
    save_file(states[0], tmp_path / "a.safetensors")
    torch.save({f"seq.{place}": tensor for place, tensor in enumerate(states[1].values())}, tmp_path / "b.pt")
    rows = predict(run.folder, [tmp_path / "a.safetensors", tmp_path / "b.pt"])
    expected = classify(load_run(run.folder)[0], networks).softmax(1)
    assert [row["class"] for row in rows] == expected.argmax(1).tolist()
    assert torch.allclose(torch.tensor([row["probabilities"] for row in rows]), expected)


def test_training_from_python_with_a_module_of_ones_own(zoo, tmp_path) -> None:
    data = ZooData(zoo, 16)
    run = Run(tmp_path)
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    with quiet():
        trainer = Trainer(max_epochs=1, callbacks=callbacks(run), **options)
        module = Classification(FlatMLP(data.family, 10, hidden=(8,)), warmup=2)
        trainer.fit(module, data)
    assert run.best.is_file() and run.last.is_file()
    assert module.metanetwork.standardise.spread.ne(1).any()  # the statistics were taken


def test_mixtures_are_of_networks_of_one_layout_and_of_their_classes() -> None:
    torch.manual_seed(0)
    layouts = [Layout.mlp((2, size, 1)) for size in (3, 5, 3, 3, 5)]
    networks = Networks.cat([Networks(torch.randn(1, layout.size).double(), layout) for layout in layouts])
    mixture, targets = mix(networks, torch.eye(5).double(), 0.75)
    assert mixture.layouts == networks.layouts
    torch.testing.assert_close(targets.diagonal().clamp(max=0.75), torch.full((5,), 0.75).double())
    for mixed, shares in zip(mixture.vectors(), targets, strict=True):
        parts = [share * networks.vectors()[place] for place, share in enumerate(shares) if share]
        torch.testing.assert_close(mixed, sum(parts))  # of two, or of one with itself
    assert any(len(row.nonzero()) == 2 for row in targets)


def test_training_on_mixtures_resumes_exactly(zoo, tmp_path) -> None:
    words = [*configuration(zoo, tmp_path), "--model.mixing", "0.4"]
    whole = fit(words, tmp_path / "whole")
    part = fit([*words, "--trainer.max_epochs", "1"], tmp_path / "part")
    part = fit(["--trainer.max_epochs", "3", *BARE], part.folder, resume=True)
    plain = fit([*words, "--model.mixing", "0"], tmp_path / "plain")
    assert all(torch.equal(weights(whole)[name], tensor) for name, tensor in weights(part).items())
    assert not all(torch.equal(weights(whole)[name], tensor) for name, tensor in weights(plain).items())


def test_the_learning_rate_warms_up_linearly_and_stays(zoo) -> None:
    module = Classification(FlatMLP(ZooData(zoo).family, 10), lr=0.1, warmup=4)
    chosen = module.configure_optimizers()
    assert chosen["optimizer"].defaults["amsgrad"]
    rates = []
    for _ in range(6):
        rates.append(chosen["optimizer"].param_groups[0]["lr"])
        chosen["optimizer"].step()
        chosen["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    falling = Classification(FlatMLP(ZooData(zoo).family, 10), warmup=4, steps=8)
    assert [falling.rate(step) for step in (3, 4, 6, 8, 9)] == pytest.approx([1, 1, 0.5, 0, 0])


def test_muon_moves_matrices_and_adamw_all_else(zoo) -> None:
    family = ZooData(zoo).family
    module, other = (Classification(Propagator(family, 10, 16, 2), lr=0.01, warmup=2, optimizer=Muon()) for _ in "ab")
    other.load_state_dict(module.state_dict())
    chosen = module.configure_optimizers()
    matrices = [w for w in other.parameters() if w.ndim == 2 and min(w.shape) >= 16]
    known = set(map(id, matrices))
    parts = [
        torch.optim.AdamW([p for p in other.parameters() if id(p) not in known], 5e-3, weight_decay=5e-4, amsgrad=True),
        torch.optim.Muon(matrices, 1e-2, weight_decay=5e-4, adjust_lr_fn="match_rms_adamw"),
    ]
    networks = Zoo(zoo).split("train").networks()[torch.arange(8)]
    for each in (module, other):
        each.metanetwork.read(networks).square().mean().backward()
    for optimizer in (chosen["optimizer"], *parts):
        optimizer.step()
    assert matrices and all(map(torch.equal, module.parameters(), other.parameters()))
    chosen["lr_scheduler"]["scheduler"].step()
    assert [group["lr"] for group in chosen["optimizer"].param_groups] == [0.01, 0.02]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["--model.learning_rate=1", "--data.zoos=x", "--trainer.epochs=1", "--modle.lr=1"])
def test_unknown_keys_are_refused(zoo, tmp_path, key) -> None:
    with pytest.raises(ArgumentError, match=key.split("=")[0].split(".")[-1]):
        fit([*configuration(zoo, tmp_path), key], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keys_of_the_metanetwork_can_be_overridden_and_are_checked(zoo, tmp_path) -> None:
    made = fit(
        [*configuration(zoo, tmp_path), "--model.metanetwork.hidden=[5]", "--trainer.max_epochs=1"], tmp_path / "run"
    )
    assert weights(made)["metanetwork.mlp.0.weight"].shape[0] == 5
    with pytest.raises(ArgumentError, match="wdth"):
        fit([*configuration(zoo, tmp_path), "--model.metanetwork.wdth=5"], tmp_path / "other")


def test_a_folder_is_neither_trained_into_twice_nor_resumed_from_nothing(run, zoo, tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(configuration(zoo, tmp_path), run.folder)
    with pytest.raises(ConfigError, match="not a run"):
        fit([], tmp_path / "nothing", resume=True)
    with pytest.raises(ConfigError, match="not a run"):
        load_run(tmp_path / "empty")
    with pytest.raises(ZooError):
        fit([*configuration(tmp_path / "no zoo", tmp_path), *BARE], tmp_path / "run")


def test_a_run_stopped_in_its_first_epoch_starts_again(zoo, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"best\.ckpt was not written"):
        fit([*configuration(zoo, tmp_path), "--trainer.max_epochs", "0"], tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"best\.ckpt is missing"):
        load_run(tmp_path / "run")
    again = fit(["--trainer.max_epochs", "1", *BARE], tmp_path / "run", resume=True)
    anew = fit([*configuration(zoo, tmp_path), "--trainer.max_epochs", "1"], tmp_path / "anew")
    assert all(torch.equal(tensor, weights(anew)[name]) for name, tensor in weights(again).items())


def test_damaged_checkpoints_are_named(run, zoo, tmp_path) -> None:
    copy = Run(tmp_path / "copy")
    copy.checkpoints.mkdir(parents=True)
    for file in (run.config_file, run.facts_file):
        (copy.folder / file.name).write_bytes(file.read_bytes())
    copy.best.write_bytes(run.best.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"best.ckpt cannot be read"):
        load_run(copy.folder)
    config = copy.config
    config["model"]["metanetwork"]["init_args"]["hidden"] = [9]
    copy.config_file.write_text(yaml.safe_dump(config))
    copy.best.write_bytes(run.best.read_bytes())
    with pytest.raises(CheckpointError, match=r"does not fit the metanetwork.*mlp.0.weight"):
        load_run(copy.folder)
    copy.config_file.write_text("model: [")
    with pytest.raises(ConfigError, match="not readable"):
        load_run(copy.folder)


def test_files_that_are_no_networks_of_the_zoo_are_named(run, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pt does not exist"):
        predict(run.folder, [tmp_path / "gone.pt"])
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(CheckpointError, match=r"text\.safetensors cannot be read"):
        predict(run.folder, [tmp_path / "text.safetensors"])
    torch.save({"model": {"x": torch.zeros(1)}}, tmp_path / "nested.pt")
    with pytest.raises(CheckpointError, match=r"nested\.pt: expected a network 2 → 4 → 1 · sine; got tensors x \(1,\)"):
        predict(run.folder, [tmp_path / "nested.pt"])
    torch.save({"epoch": 3}, tmp_path / "counter.pt")
    with pytest.raises(CheckpointError, match=r"counter\.pt"):
        predict(run.folder, [tmp_path / "counter.pt"])
    torch.save({"w": torch.zeros(3, 2), "b": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other.pt: expected a network 2 → 4 → 1 · sine; got tensors w \(3, 2\)"):
        predict(run.folder, [tmp_path / "other.pt"])
    state = {name: torch.full(shape, math.nan) for name, shape in run.layouts[0].shapes.items()}
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match=r"nan.safetensors: layers.0.weight holds NaN"):
        predict(run.folder, [tmp_path / "nan.safetensors"])


def test_code_in_a_checkpoint_is_never_run(run, tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"w": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointError, match=r"trap\.pt cannot be read"):
        predict(run.folder, [tmp_path / "trap.pt"])
    assert not (tmp_path / "sprung").exists()
