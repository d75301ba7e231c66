"""``neural-graphs info`` and ``completion``: what a bug report says, and scripts that a shell understands."""

import json
import shutil
import subprocess
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

from neural_graphs.commands import info
from neural_graphs.commands.cli import main

ROOT = Path(__file__).parents[2]


def test_info_tells_versions_devices_extras_and_places(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(info, "find_spec", lambda name: None if name == "ray" else name)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert main(["info", "--json"]) == 0
    said = capsys.readouterr().out
    facts = json.loads(said)
    assert facts["extras"]["ray"] == "missing: pip install 'neural-graphs[ray]'" and facts["extras"]["hub"] == "there"
    assert facts["machine"]["threads of torch"] >= 1 and facts["variables"]["HF_ENDPOINT"] == "http://127.0.0.1"
    assert "secret" not in said
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "versions:" in lines and any(line.startswith("  torch: ") for line in lines)


def test_info_knows_every_extra() -> None:
    declared = set(metadata("neural-graphs").get_all("Provides-Extra") or ()) - {"dev"}
    written = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]\n")[2]
    named = {line.partition(" = ")[0] for line in written.partition("\n\n")[0].splitlines() if line[0].isalpha()}
    assert set(info.EXTRAS) == named - {"dev"} and declared <= named


def test_a_bug_report_asks_for_it() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8"))
    assert any("neural-graphs info" in each["attributes"]["label"] for each in form["body"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_every_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    pytest.importorskip("shtab", reason="needs the extra completion: pip install 'neural-graphs[completion]'")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--pretrained" in script and "neural-graphs" in script


def test_bash_completes_commands_options_and_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab", reason="needs the extra completion: pip install 'neural-graphs[completion]'")
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    (tmp_path / "network.safetensors").touch()

    def completed(*words: str) -> list[str]:
        asked = f"COMP_WORDS=(neural-graphs {' '.join(words)}); COMP_CWORD={len(words)}"
        program = f"source ./script; {asked}; _shtab_neural_graphs; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert completed("pre") == ["predict"]
    assert completed("predict", "--pre") == ["--pretrained"]
    assert completed("predict", "--run", "x", "netw") == ["network.safetensors"]
    assert completed("zoo", "gr") == ["grow"]


def test_completion_without_its_package_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'neural-graphs[completion]'" in capsys.readouterr().err
