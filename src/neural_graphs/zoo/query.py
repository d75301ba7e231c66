"""Questions to a metadata table in one line: `label == 3 and psnr > 20`."""

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neural_graphs.errors import ZooError

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
CLAUSE = re.compile(r"\s*(\w+)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*")


def matches(table: pa.Table, query: str | pc.Expression) -> NDArray[np.int64]:
    """Return the rows of a table for which a query holds; missing values never match.

    A query is `column comparison value`, several joined by `and`, or an expression of `pyarrow.compute`. Raises
    `ZooError` for a query that cannot be read, an unknown column, or a value that does not compare to the column.
    """
    expression = _parse(table, query) if isinstance(query, str) else query
    numbered = table.append_column("", pa.array(np.arange(len(table))))
    try:
        chosen = numbered.filter(expression)[""].to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
        raise ZooError(f"The query {query} does not fit this zoo: {error}") from error
    return chosen


def _parse(table: pa.Table, query: str) -> pc.Expression:
    result = None
    for clause in re.split(r"\s+and\s+", query):
        match = CLAUSE.fullmatch(clause)
        if match is None:
            raise ZooError(f'Cannot read {clause!r}; a query looks like "label == 3 and psnr > 20".')
        column, comparison, text = match.groups()
        if column not in table.column_names:
            raise ZooError(f"There is no column {column!r} to ask for; there are {', '.join(table.column_names)}.")
        part = COMPARISONS[comparison](pc.field(column), _literal(text))
        result = part if result is None else result & part
    return result


def _literal(text: str) -> Any:
    """Read a number, a quoted string or a bare word."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
