"""Questions to a metadata table in one line: `label == 3 and (psnr > 20 or split != train)`."""

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neural_graphs.errors import ZooError

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.In: lambda column, values: column.isin(values),
    ast.NotIn: lambda column, values: ~column.isin(values),
}
LISTS = (ast.List, ast.Tuple, ast.Set)
WORD = re.compile(r"[\w./-]+")  # needs no quotes


def matches(table: pa.Table, query: str | pc.Expression) -> NDArray[np.int64]:
    """Return the rows of a table for which a query holds; comparisons with a missing value never hold.

    A query compares columns with numbers and words, as Python would: `==`, `!=`, `<`, `<=`, `>`, `>=`, `in [a, b]` and
    `not in`, joined by `and`, `or`, `not` and parentheses; a column of truths stands alone (`ok and epoch == 86`). Or
    it is an expression of `pyarrow.compute`. Raises `ZooError` for a query that cannot be read, an unknown column, or a
    value that does not compare to the column.
    """
    numbered = table.append_column("", pa.array(np.arange(len(table))))
    try:
        expression = _parse(table, query) if isinstance(query, str) else query
        return numbered.filter(expression)[""].to_numpy()
    except pa.ArrowException as error:
        raise ZooError(f"The query {query} does not fit this zoo: {error}") from error


def _parse(table: pa.Table, query: str) -> pc.Expression:
    try:
        tree = ast.parse(query.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise _unreadable(query, error.args[0]) from error
    return _Question(query.strip(), tuple(table.column_names)).read(tree.body)


def _unreadable(part: str, reason: str) -> ZooError:
    return ZooError(
        f'Cannot read {part!r} ({reason}); a query looks like "label == 3 and (psnr > 20 or split == val)".'
    )


@dataclass(frozen=True)
class _Question:
    """The text of a query, and the columns that it may ask for."""

    text: str
    columns: tuple[str, ...]

    def read(self, node: ast.expr) -> pc.Expression:
        """Return the expression that a part of the query stands for."""
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return reduce(join, map(self.read, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.read(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return reduce(operator.and_, map(self._compare, sides, node.ops, sides[1:]))
        return self._column(node)

    def _compare(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> pc.Expression:
        if type(comparison) not in COMPARISONS:
            raise _unreadable(self.text, "use == and !=, not is")
        compare, listed = COMPARISONS[type(comparison)], isinstance(comparison, ast.In | ast.NotIn)
        if listed != isinstance(right, LISTS):
            raise _unreadable(self._part(right), "a list such as [train, val] follows in, and in only")
        if isinstance(left, ast.Constant) and not listed:  # 20 < psnr
            return compare(pc.scalar(left.value), self._column(right))
        return compare(self._column(left), self._value(right))

    def _column(self, node: ast.expr) -> pc.Expression:
        if not isinstance(node, ast.Name):
            raise _unreadable(self._part(node), "neither a column nor a comparison of one")
        if node.id not in self.columns:
            raise ZooError(f"There is no column {node.id!r} to ask for; there are {', '.join(self.columns)}.")
        return pc.field(node.id)

    def _value(self, node: ast.expr) -> Any:
        """Read a number, a word with or without quotes, or a list of these."""
        if isinstance(node, LISTS):
            return [self._value(each) for each in node.elts]
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            if WORD.fullmatch(part := self._part(node)):
                return part
            raise _unreadable(
                part, "neither a number nor a word; other texts need quotes, comparisons are joined by and, or"
            ) from error

    def _part(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or self.text
