"""The command line as a user meets it: help at once, hints for mistyped words, one line per error, JSON on request."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from neural_graphs.cli import build_parser, main
from neural_graphs.commands import show
from neural_graphs.commands.explain import explain
from neural_graphs.commands.parser import Parser
from neural_graphs.errors import NeuralGraphsError, ZooError
from neural_graphs.layout import Layout
from neural_graphs.networks import Networks
from neural_graphs.zoo import Zoo


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says when it exits with 2 before doing anything."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty networks of four hidden neurons, fitted to nothing in particular."""
    folder = tmp_path_factory.mktemp("zoos") / "digits"
    assert main(["zoo", "grow", "inr", *SMALL, "--out", str(folder)]) == 0
    return folder


SMALL = ["--images", "digits", "--preset", "fast", "--count", "20", "--hidden", "4", "--seed", "3"]


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["zooo", "info"], "did you mean zoo?"),
        (["zoo", "groww"], "did you mean grow?"),
        (["zoo", "grow", "inr", "--imges", "digits"], "--imges; did you mean --images?"),
        (["zoo", "grow", "inr", "--images", "digits", "--out", "z", "--sed", "1"], "--sed; did you mean --seed?"),
        (["zoo", "grow", "inr", "--images", "digits"], "required: --out"),
        (
            ["zoo", "grow", "inr", "--images", "digits", "--out", "z", "--count", "many"],
            "invalid positive value: 'many'",
        ),
        (["zoo", "grow", "inr", "--images", "digits", "--out", "z", "--count", "-5"], "expected at least 1, got -5"),
        (["demo", "--uot", "x"], "did you mean --out?"),
        (["zoo", "info", "a", "b"], "unknown argument b"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    said = refused(capsys, *words)
    assert hint in said
    assert "--help" in said


def test_nothing_near_gives_no_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in refused(capsys, "zoo", "info", "z", "--qqq")


@pytest.mark.parametrize("words", [["--help"], ["zoo", "grow", "inr", "--help"], ["zoo", "grow", "inr", "--imges"]])
def test_help_and_mistakes_answer_within_a_second(words: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "neural_graphs", *words], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime  # of work: the machine may be busy
    assert seconds < 1, f"neural-graphs {' '.join(words)} took {seconds:.2f} s"


def test_options_that_belong_to_others_are_handed_on() -> None:
    parser = Parser(prog="p", passes_on=("--model.", "--trainer."))
    parser.add_argument("--config")
    parsed = parser.parse_args(["--model.lr", "1e-3", "--config", "c", "--trainer.max_epochs=2"])
    assert (parsed.config, parsed.overrides) == ("c", ["--model.lr=1e-3", "--trainer.max_epochs=2"])


def test_an_option_that_belongs_to_others_needs_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Parser(prog="p", passes_on=("--model.",)).parse_args(["--model.lr"])
    assert "--model.lr=VALUE" in capsys.readouterr().err


# -- errors --------------------------------------------------------------------------------------------------------


def test_an_error_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["zoo", "info", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("neural-graphs: error: ") and str(tmp_path) in said and said.count("\n") == 1


@pytest.mark.parametrize("words", [["--debug", "zoo", "info"], ["zoo", "info", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ZooError):
        main([*words, str(tmp_path)])


def test_an_interrupt_is_not_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neural_graphs.zoo.Zoo", interrupt)
    assert main(["zoo", "info", str(tmp_path)]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(zoo: Path) -> None:
    program = f"import sys; from neural_graphs.cli import main; sys.exit(main(['zoo', 'info', '--json', {str(zoo)!r}]))"
    command = f'{sys.executable} -c "{program}" | head -n 1 > /dev/null; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_error_of_the_library_is_one_of_ours() -> None:
    import neural_graphs.errors as errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) >= 6
    assert all(issubclass(each, NeuralGraphsError) and each.__doc__ for each in classes)


# -- zoos ----------------------------------------------------------------------------------------------------------


def test_growing_again_changes_nothing(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in zoo.iterdir()}
    assert main(["zoo", "grow", "inr", *SMALL, "--out", str(zoo)]) == 0
    assert {path.name: path.read_bytes() for path in zoo.iterdir()} == before
    assert "20 networks" in capsys.readouterr().out


def test_another_recipe_in_the_same_folder_is_refused(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "grow", "inr", *SMALL[:-1], "4", "--out", str(zoo)]) == 2
    assert "seed is 3 there, 4 asked for" in capsys.readouterr().err


def test_an_unknown_preset_lists_the_known(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["zoo", "grow", "inr", "--images", "digits", "--preset", "fst", "--out", str(tmp_path / "z")]
    assert main(words) == 2
    assert "dws2023" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["zoo", "grow", "inr", "--images", "digits", "--device", "cuda:77", "--out", str(tmp_path / "z")]
    assert main(words) == 2
    assert "--device cuda:77 cannot be used" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["zoo", "grow", "inr", "--images", "digits", "--out", str(tmp_path / "file" / "zoo")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- benchmarks ----------------------------------------------------------------------------------------------------


def test_an_unknown_benchmark_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "reed_zoo"]) == 2
    assert "did you mean read_zoo?" in capsys.readouterr().err


def test_a_benchmark_gets_its_options(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "read_zoo", "--help"]) == 0
    assert "--zoo" in capfd.readouterr().out


def test_info_says_what_is_there(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "info", str(zoo)]) == 0
    said = capsys.readouterr().out
    assert "20 networks" in said and "2 → 4 → 1 · sine" in said and "preset: fast" in said and "PSNR" in said


def test_info_in_json(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "info", str(zoo), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["networks"] == 20 and sum(facts["splits"].values()) == 20


def test_check_finds_a_changed_byte(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "check", str(zoo)]) == 0
    shard = next(zoo.glob("*.safetensors"))
    content = shard.read_bytes()
    try:
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert main(["zoo", "check", str(zoo)]) == 2
        assert shard.name in capsys.readouterr().err
    finally:
        shard.write_bytes(content)


def test_show_draws_a_sheet(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["zoo", "show", str(zoo), "--out", str(sheet), "--count", "5", "--where", "psnr > 0"]) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "5 of 20 networks" in capsys.readouterr().out


def test_show_of_nothing_says_so(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "show", str(zoo), "--where", "label == 77"]) == 2
    assert "label == 77" in capsys.readouterr().err


def test_import_converts_and_says_what_it_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout.mlp((2, 32, 32, 1), activation="sine", names="seq.{}", scale=30.0, offset=0.5)
    values = torch.randn(12, layout.size, generator=torch.Generator().manual_seed(0)) / 30
    for number, state in enumerate(Networks(values, layout).state_dicts()):
        split = "training" if number < 8 else "testing"
        file = tmp_path / "published" / f"mnist_png_{split}_{number % 3}_{number}" / "checkpoints" / "model_final.pth"
        file.parent.mkdir(parents=True)
        torch.save({name: tensor.clone() for name, tensor in state.items()}, file)
    file.write_bytes(b"not a checkpoint")
    out = tmp_path / "zoo"
    assert main(["zoo", "import", "navon", str(tmp_path / "published"), str(out)]) == 0
    assert "files skipped: 1;" in capsys.readouterr().out
    assert main(["zoo", "info", str(out)]) == 0
    said = capsys.readouterr().out
    assert "11 networks," in said and "skipped    mnist_png_testing_2_11" in said
    assert main(["zoo", "show", str(out), "--count", "3"]) == 0
    assert (tmp_path / "zoo-sheet.png").is_file()


# -- runs ----------------------------------------------------------------------------------------------------------

CONFIG = """
model:
  warmup: 0
  metanetwork:
    class_path: neural_graphs.nn.baselines.FlatMLP
    init_args: {classes: 10, hidden: [8]}
trainer: {max_epochs: 1, accelerator: cpu}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Path:
    file = tmp_path_factory.mktemp("configs") / "tiny.yaml"
    file.write_text(CONFIG + f"data: {{zoo: {zoo}, batch_size: 8}}\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["fit", "--config", str(config), "--run", str(folder), "--model.lr", "1e-2"]) == 0
    return folder


def test_fit_keeps_the_overridden_configuration(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "lr: 0.01" in (run / "config.yaml").read_text(encoding="utf-8")
    assert (run / "checkpoints" / "best.ckpt").is_file()


def test_fit_resumes(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--run", str(folder)]) == 0
    assert main(["fit", "--config", str(config), "--run", str(folder)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["fit", "--run", str(folder), "--resume", "--trainer.max_epochs", "2"]) == 0
    assert len((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert f"test --run {folder}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--model.metanetwork.hiden", "[4]"],
            "metanetwork.hiden of neural_graphs.nn.baselines.FlatMLP; did you mean hidden?",
        ),
        (["--model.metanetwork.class_path", "neural_graphs.nn.baselines.FlatMPL"], "did you mean FlatMLP?"),
        (
            ["--model.metanetwork.hidden", "x"],
            "model.metanetwork.hidden: Expected a <class 'collections.abc.Sequence'>",
        ),
        (["--model.lrr", "1"], "unknown key model.lrr; did you mean lr?"),
        (["--data.batch_siz", "1"], "unknown key data.batch_siz; did you mean batch_size?"),
        (["--trainer.max_epochss", "1"], "unknown key trainer.max_epochss; did you mean max_epochs?"),
        (["--model.lr", "fast"], "model.lr"),
        (["--data.zoo", "nowhere"], "nowhere is not a zoo"),
        (["--trainer.logger", "lightning.pytorch.loggers.WandbLogger"], "pip install 'neural-graphs[wandb]'"),
        (
            ["--trainer.logger", "lightning.pytorch.loggers.TensorBoardLogger", "--trainer.logger.save_dir", "t"],
            "needs",
        ),
        (["--trainer.accelerator", "cuda", "--trainer.devices", "64"], "neural-graphs: error: "),
    ],
)
def test_fit_refuses_a_wrong_configuration(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "r"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "r" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "fit needs --config FILE"),
        (["--resume"], "fit --resume needs --run DIR"),
        (["--config", "nowhere.yaml"], "nowhere.yaml is no file"),
    ],
)
def test_fit_says_what_it_needs(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["fit", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_mistyped_head_of_a_key_is_answered_before_anything_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean --model?" in refused(capsys, "fit", "--config", "c.yaml", "--modle.lr", "1")


@pytest.mark.parametrize(("command", "networks"), [("validate", "val"), ("test", "test")])
def test_measuring_in_json(run: Path, capsys: pytest.CaptureFixture[str], command: str, networks: str) -> None:
    assert main([command, "--run", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["split"] == networks and 0 <= result["accuracy"] <= 1


def test_measuring_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--run", str(run)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("accuracy ") and "true \\ said" in said


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> list[str]:
    """The same two networks in both formats."""
    folder = tmp_path_factory.mktemp("networks")
    states = Zoo(zoo).networks([0, 1]).state_dicts()
    save_file({name: tensor.contiguous() for name, tensor in states[0].items()}, folder / "a.safetensors")
    torch.save({name: tensor.clone() for name, tensor in states[1].items()}, folder / "b.pt")
    return [str(folder / "a.safetensors"), str(folder / "b.pt")]


def test_predict_in_all_formats(run: Path, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--run", str(run), *files, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in rows] == files
    assert all(abs(sum(row["probabilities"]) - 1) < 1e-5 for row in rows)
    assert main(["predict", "--run", str(run), *files, "--csv"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("file,class,p0,p1") and [line.split(",")[0] for line in table[1:]] == files
    assert main(["predict", "--run", str(run), *files]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == [str(row["class"]) for row in rows]


def test_predict_names_the_file_it_cannot_read(
    run: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(Path(files[0]).read_bytes()[:50])
    assert main(["predict", "--run", str(run), files[0], str(broken)]) == 2
    assert "broken.safetensors" in capsys.readouterr().err


# -- what jsonargparse says ----------------------------------------------------------------------------------------

NESTED = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'lightning.pytorch.core.module.LightningModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'argparse.ArgumentParser':
        {}
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {{'some': 'thing'}}"""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            NESTED.format("Option 'eplog' is not accepted"),
            "model.eplog of argparse.ArgumentParser; did you mean epilog?",
        ),
        (
            NESTED.format("module 'json' has no attribute 'JSONDecode'"),
            "model: json has no class JSONDecode; did you mean JSONDecoder?",
        ),
        (
            "Group 'trainer' does not accept option 'max_epoch'",
            "unknown key trainer.max_epoch; did you mean max_epochs?",
        ),
        ("unrecognized arguments: --trainer.max_epoch=7", "unknown key trainer.max_epoch; did you mean max_epochs?"),
        (
            "Option 'dtaa.class_path' is not accepted",
            "unknown key dtaa; did you mean data? (known: model, data, trainer)",
        ),
        (
            "Parser key \"data.n\":\n  Expected a <class 'int'>. Got value: many",
            "data.n: Expected a <class 'int'>. Got value: many",
        ),
        ("Problems parsing config: while parsing\n  line 2", "Problems parsing config: while parsing line 2"),
    ],
)
def test_a_wrong_configuration_names_the_key_and_the_nearest(message: str, expected: str) -> None:
    assert expected in str(explain(message, {"model": None, "data": None, "trainer": "lightning.pytorch.Trainer"}))


# -- tables --------------------------------------------------------------------------------------------------------


def test_csv_has_a_header_and_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_csv([{"file": "a,b", "label": 1}, {"file": "c", "label": 2}])
    assert capsys.readouterr().out == 'file,label\n"a,b",1\nc,2\n'


def test_a_table_of_nothing_is_empty() -> None:
    assert show.table([]) == ""


def test_the_parser_knows_its_commands() -> None:
    text = build_parser().format_help()
    assert all(f"    {command} " in text for command in ("demo", "zoo", "bench"))
