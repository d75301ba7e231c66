"""Questions to a metadata table: comparisons joined as in Python, and what cannot be read is said."""

import pyarrow as pa
import pytest

from neural_graphs.errors import ZooError
from neural_graphs.zoo.query import matches

TABLE = pa.table(
    {
        "split": ["train", "val", "test", "train"],
        "epoch": [1, 2, 16, 16],
        "ok": [True, False, None, True],
        "accuracy": [0.1, 0.2, 0.3, None],
        "images": ["fashion-mnist", "a b", "c", "fashion-mnist"],
    }
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("split == train or epoch == 16", [0, 2, 3]),
        ("split == train or epoch == 16 and accuracy > 0.1", [0, 2, 3]),  # `and` binds closer
        ("(split == 'train' or epoch == 16) and accuracy > 0", [0, 2]),
        ("0.1 < accuracy <= 0.2", [1]),
        ("epoch in [1, 2]", [0, 1]),
        ("split not in (train, 'val')", [2]),
        ("ok and epoch != 16", [0]),
        ("not ok", [1]),
        ("not (split == train)", [1, 2]),
        ("images == fashion-mnist", [0, 3]),
        ("epoch == -1 or accuracy == 2e-1", [1]),
        ("accuracy != 0.3", [0, 1]),
        (" images == 'a b' ", [1]),
    ],
)
def test_questions(query, expected):
    assert matches(TABLE, query).tolist() == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("epoch = 3", "Cannot read 'epoch = 3'"),
        ("", "Cannot read ''"),
        ("epoch == 3 or", "Cannot read 'epoch == 3 or'"),
        ("colour == 3", "no column 'colour' to ask for; there are split, epoch, ok, accuracy, images"),
        ("epoch == three", "query epoch == three does not fit this zoo"),
        ("split == 3", "query split == 3 does not fit this zoo"),
        ("epoch in [three]", "does not fit this zoo"),
        ("epoch in 3", "Cannot read '3' .a list such as"),
        ("epoch == [3]", r"Cannot read '\[3\]' .a list such as"),
        ("epoch", "query epoch does not fit this zoo"),
        ("epoch is 3", "use == and !="),
        ("epoch + 1 == 3", r"Cannot read 'epoch \+ 1'"),
        ("split == train & epoch == 3", "Cannot read 'train & epoch' .*joined by and, or"),
        ("__import__('os').abort()", "neither a column nor a comparison"),
        ("epoch == __import__('os').abort()", "neither a number nor a word"),
    ],
)
def test_bad_questions_are_refused(query, message):
    with pytest.raises(ZooError, match=message):
        matches(TABLE, query)
