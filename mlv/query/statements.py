"""Which statements of SQL are run: one at a time, and only such as read."""

from __future__ import annotations

from typing import Any

from mlv.errors import QueryFailed

_READING = ("SELECT", "EXPLAIN")
"""With `SELECT` are `with`, `from`, `values`, `table`, `describe`, `summarize`, `show` and `unpivot`."""
_ADVICE = "give a select, from, with, values, describe, summarize, show, pivot or explain"


def refuse_unless_reading(statements: list[Any], text: str) -> None:
    """Accept what DuckDB took for one statement that reads.

    Raises:
        QueryFailed: There is none, there are several, or it would change something.
    """
    kinds = [statement.type.name for statement in statements]
    if is_pivot(statements):
        return
    if len(kinds) != 1:
        what = f"{len(kinds)} statements" if kinds else "no statement"
        raise QueryFailed(f"the query has {what}: give one", query=text)
    if kinds[0] not in _READING:
        raise QueryFailed(f"the query is a statement of type {kinds[0]}, and only reading ones are run: {_ADVICE}", query=text)


def is_pivot(statements: list[Any]) -> bool:
    """Whether it is a pivot whose columns are found by a statement of DuckDB's own."""
    kinds = [statement.type.name for statement in statements]
    if kinds == ["MULTI"]:
        return "pivot" in statements[0].query.lower()
    # Up to DuckDB 1.4 the statements that it adds are told apart, and none of them has a text.
    is_added = not any(statement.query for statement in statements)
    return is_added and len(kinds) > 1 and kinds[-1] == "SELECT" and set(kinds[:-1]) == {"CREATE"}
