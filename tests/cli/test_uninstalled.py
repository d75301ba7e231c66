"""A source tree that is not installed runs, and says so where versions are written down."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import neural_graphs
from neural_graphs import versions
from neural_graphs.commands.cli import main
from neural_graphs.zoo import Zoo


def absent(name: str) -> str:
    raise PackageNotFoundError(name)


def test_every_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(versions, "version", absent)
    assert neural_graphs.__version__ == "not installed"
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert "neural-graphs not installed" in capsys.readouterr().out
    words = "zoo grow inr --images digits --preset same-start --hidden 3 --count 3 --shares 1 1 1 --workers 1 --out"
    assert main([*words.split(), str(tmp_path / "zoo")]) == 0
    assert Zoo(tmp_path / "zoo").manifest.versions["neural-graphs"] == "not installed"
