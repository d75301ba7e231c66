"""Tables of results are joined to files by what names them."""

import pyarrow as pa
import pytest

from neural_graphs.errors import ZooError
from neural_graphs.zoo.importers.metrics_table import join


@pytest.mark.parametrize("names", [["a/x.pt", "b/x.pt"], ["/data/a/x.pt", "/data/b/x.pt"], ["a/x", "b/x"], ["a", "b"]])
def test_a_name_is_a_path_or_an_end_of_it(names):
    files = ["/data/a/x.pt", "/data/b/x.pt"]
    table = pa.table({"optimizer": ["data", "data"], "file": names, "lr": [1.0, 2.0]})
    rows, left = join(table, files)
    assert [rows[file]["lr"] for file in files] == [1.0, 2.0] and left == []


@pytest.mark.parametrize("names", [["/cluster/data/a/x.pt", "/cluster/data/b/x.pt"], ["../data/a", "../data/b"]])
def test_a_name_may_be_a_longer_path(names):
    files = ["data/a/x.pt", "data/b/x.pt", "data/c/x.pt"]
    rows, left = join(pa.table({"file": names, "lr": [1.0, 2.0]}), files)
    assert {file: row["lr"] for file, row in rows.items()} == {"data/a/x.pt": 1.0, "data/b/x.pt": 2.0} and left == []


def test_columns_name_a_file_together():
    table = pa.table({"run": ["07", "07", "8"], "epoch": [1, 2, 1], "lr": [1.0, 2.0, 3.0]})
    rows, left = join(table, ["runs/07/epoch_2.pt", "runs/07/epoch_1.pt"], "{run}/epoch_{epoch}")
    assert rows["runs/07/epoch_2.pt"] == {"run": "07", "epoch": 2, "lr": 2.0} and left == ["8/epoch_1"]


def test_a_name_that_fits_two_files_or_stands_twice_is_refused():
    with pytest.raises(ZooError, match=r"'x\.pt' of the table fits both a/x\.pt and b/x\.pt"):
        join(pa.table({"file": ["x.pt"]}), ["a/x.pt", "b/x.pt"])
    with pytest.raises(ZooError, match=r"has 'a' in two rows of its column 'file'"):
        join(pa.table({"file": ["a", "a"]}), ["a.pt"])


def test_a_file_that_two_names_end_in_has_no_row():
    with pytest.raises(ZooError, match=r"No column of the table names the files: 'x\.pt', for example, .* file \(/a/x"):
        join(pa.table({"file": ["/a/x.pt", "/b/x.pt"]}), ["x.pt"])
