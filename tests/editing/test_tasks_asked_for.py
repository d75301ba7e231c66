"""Which task a configuration asks for: the last one that is named, of files and of the command line."""

from pathlib import Path

import pytest

from neural_graphs.errors import ConfigError
from neural_graphs.tasks import Classification, Editing, Run, Task, asked_task, find_task

OURS = "neural_graphs.tasks."


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Configurations by the task they name."""
    contents = {"editing": f"task: {OURS}Editing", "classification": f"task: {OURS}Classification", "none": "model: {}"}
    contents |= {"damaged": "model: [", "list": "- 1"}
    for name, content in contents.items():
        (tmp_path / f"{name}.yaml").write_text(content, encoding="utf-8")
    return {name: str(tmp_path / f"{name}.yaml") for name in contents}


def test_the_last_task_named_wins(files: dict[str, str]) -> None:
    def asked(*words: str) -> str:
        return asked_task([files.get(word, word) for word in words]).removeprefix(OURS)

    assert asked() == asked("--config", "none") == "Classification"
    assert asked("--config", "editing") == asked("--config=" + files["editing"]) == "Editing"
    assert asked("--config", "editing", "--config", "none") == "Editing"
    assert asked("--config", "editing", "--config", "classification") == "Classification"
    assert asked("--config", "classification", "--task", "mine.Task") == "mine.Task"
    assert asked("--task=mine.Task", "--config", "editing") == "Editing"
    for unreadable, said in (("damaged", "is no YAML"), ("list", "holds a list")):
        with pytest.raises(ConfigError, match=said):
            asked("--config", unreadable, "--task=mine.Task")
    assert asked("--model.lr", "--config", "--config", "editing") == "Editing"


def test_a_resumed_run_keeps_its_task(run: Run, files: dict[str, str]) -> None:
    assert asked_task([], run.folder) == f"{OURS}Editing"
    assert asked_task(["--config", files["classification"]], run.folder) == f"{OURS}Classification"
    with pytest.raises(ConfigError, match="not a run"):
        asked_task([], Path(files["none"]).parent)


def test_tasks_are_found_by_name() -> None:
    assert (
        find_task(f"{OURS}Editing") is Editing and find_task(f"{OURS}classification.Classification") is Classification
    )
    assert issubclass(Editing, Task)


@pytest.mark.parametrize(
    "path", ["Editing", "", f"{OURS}Edits", f"{OURS}Run", "nowhere.Task", "neural_graphs.nn.NGGNN", ".x"]
)
def test_what_is_no_task_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=f"task: {path} is no task; try neural_graphs.tasks.Classification"):
        find_task(path)
