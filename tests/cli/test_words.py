"""The command line as a user meets it: help at once, hints for mistyped words, one line per error."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from neural_graphs.commands import show
from neural_graphs.commands.cli import build_parser, main
from neural_graphs.commands.parser import Parser
from neural_graphs.errors import NeuralGraphsError, ZooError


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says when it exits with 2 before doing anything."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    return capsys.readouterr().err


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
        (["align", "a", "b", "--seed", "-1"], "expected a number from 0 to 2⁶³ − 1, got -1"),
        (["zoo", "grow", "inr", "--images", "digits", "--out", "z", "--seed", "9" * 20], f"2⁶³ − 1, got {'9' * 20}"),
        (["edit", "--run", "r", "zoo", "--out", "x.pt"], "x.pt should end in .safetensors"),
        (["align", "a", "b", "--out", "x.pt"], "x.pt should end in .safetensors"),
        (["align", "a", "b", "--count", "0"], "expected at least 1, got 0"),
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


# -- errors -------------------------------------------------------------------------------------------------------


def test_an_error_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["zoo", "info", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("neural-graphs: error: ") and str(tmp_path) in said and said.count("\n") == 1


@pytest.mark.parametrize("words", [["--debug", "zoo", "info"], ["zoo", "info", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ZooError):
        main([*words, str(tmp_path)])


def test_a_reader_that_leaves_is_no_error(zoo: Path) -> None:
    words = ["zoo", "info", "--json", str(zoo)]
    program = f"import sys; from neural_graphs.commands import cli; sys.exit(cli.main({words!r}))"
    command = f'{sys.executable} -c "{program}" | head -n 1 > /dev/null; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_error_of_the_library_is_one_of_ours() -> None:
    import neural_graphs.errors as errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) >= 6
    assert all(issubclass(each, NeuralGraphsError) and each.__doc__ for each in classes)


# -- benchmarks ---------------------------------------------------------------------------------------------------


def test_an_unknown_benchmark_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "reed_zoo"]) == 2
    assert "did you mean read_zoo?" in capsys.readouterr().err


def test_a_benchmark_gets_its_options(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "read_zoo", "--help"]) == 0
    assert "--zoo" in capfd.readouterr().out


def test_demo_is_told_where_and_how_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[object] = []
    monkeypatch.setattr("neural_graphs.commands.demonstration.run", lambda out, quick: told.extend((out, quick)))
    assert main(["demo", "--quick", "--out", str(tmp_path)]) == 0
    assert told == [tmp_path, True]


# -- tables -------------------------------------------------------------------------------------------------------


def test_csv_has_a_header_and_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_csv([{"file": "a,b", "label": 1}, {"file": "c", "label": 2}])
    assert capsys.readouterr().out == 'file,label\n"a,b",1\nc,2\n'


def test_a_table_of_nothing_is_empty() -> None:
    assert show.table([]) == ""


def test_the_parser_knows_its_commands() -> None:
    text = build_parser().format_help()
    assert all(f"    {command} " in text for command in ("demo", "zoo", "bench"))
