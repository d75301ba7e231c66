"""What the page on zoos shows is true: its Python runs, its questions can be asked, its table can be read."""

import re
from pathlib import Path

from neural_graphs.zoo import Zoo
from neural_graphs.zoo.importers.metrics_table import join, read_table

PAGE = (Path(__file__).parents[2] / "docs" / "zoos.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)  # language, text


def block(start):
    """Return the block of the page that starts so."""
    return next(text for _, text in BLOCKS if text.startswith(start))


def test_python_and_questions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "zoos.md", "exec"), names)
    assert len(names["networks"]) == 4 and len(names["networks"].layouts) == 4
    zoo = Zoo("zoos/few")
    columns = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## The table")[2], re.MULTILINE)
    assert len(columns) == 6 and {*columns, "fate", "channels", "skips"} <= set(zoo.table.column_names)
    answers = [
        len(zoo.subset(question)) for question in block("epoch == 86").splitlines() if "optimizer" not in question
    ]
    assert answers[0] == 0 and all(answers[1:])


def test_the_table_of_a_user(tmp_path):
    (tmp_path / "metrics.csv").write_text(block("file,test_accuracy"), encoding="utf-8")
    files = [f"runs/{run}/epoch_{epoch}.pt" for run, epoch in ((0, 10), (0, 20), (1, 10))]
    rows, left = join(read_table(tmp_path / "metrics.csv"), files)
    assert [rows[file]["test_accuracy"] for file in files] == [0.71, 0.78, 0.43] and not left
