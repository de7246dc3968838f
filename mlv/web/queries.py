"""Queries in SQL for the page: under limits, and as rows of plain values."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any

from mlv.errors import QueryFailed
from mlv.optional import package
from mlv.query.sql import engine
from mlv.web.lists import ExperimentList
from mlv.web.plain import as_text, plain, shortened, whole

SECONDS = 2.0
"""How long DuckDB may work on one query."""
_MOST_ROWS, _ROWS = 10_000, 1000
_LONGEST_CELL = 2000
_MOST_SKIPPED = 20


class Queries:
    """Runs queries over the experiments of an index."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._view: tuple[tuple[ExperimentList, int], Any] | None = None
        """An index and its version, and the view of its experiments: that takes a second for ten thousand of them."""

    def matching(self, predicate: str, index: ExperimentList) -> list[str]:
        """Return the IDs of the experiments for which a predicate holds; all for none.

        Raises:
            QueryFailed, MissingExtra: As `engine.matching`.
        """
        if not predicate:
            return index.ids()
        table = self._experiments(index)
        holds = engine.matching(predicate, index.digests(), table, engine.Limits(SECONDS, table.num_rows), index.views)
        return [identity for identity, is_match in zip(table["id"].to_pylist(), holds, strict=True) if is_match]

    def answer(self, query: Mapping[str, str], index: ExperimentList) -> dict[str, Any]:
        """Return the rows of a query, the first ones where they are many.

        Raises:
            QueryFailed: The query is none, is no reading one, or takes too long.
        """
        text = query.get("q", "")
        if not text.strip():
            raise QueryFailed("q= is missing: give a query, such as select name, params.lr from experiments", query=text)
        limit = whole(query, "limit", _ROWS, _MOST_ROWS)
        begin = monotonic()
        limits = engine.Limits(SECONDS, limit + 1)
        result = engine.query(text, lambda _: index.digests(), limits=limits, long_views=index.views)
        rows = result.rows()
        types = [_type(field.type) for field in result.arrow().schema]
        return as_text({
            "columns": [{"name": name, "type": kind} for name, kind in zip(result.columns, types, strict=True)],
            "rows": [[_cell(value) for value in row] for row in rows[:limit]],
            "more": len(rows) > limit, "skipped": result.skipped[:_MOST_SKIPPED], "seconds": round(monotonic() - begin, 3),
        })  # fmt: skip

    def _experiments(self, index: ExperimentList) -> Any:
        with self._lock:
            state = index, index.version
            if self._view is None or self._view[0] != state:
                self._view = state, index.experiments()
            return self._view[1]


def _cell(value: Any) -> Any:
    if hasattr(value, "nanoseconds"):  # an interval of DuckDB
        units = {"months": value.months, "days": value.days, "s": value.nanoseconds / 1e9}
        return " ".join(f"{number:g} {unit}" for unit, number in units.items() if number) or "0 s"
    return shortened(plain(value), _LONGEST_CELL)


def _type(arrow: Any) -> str:
    """Return a type of Arrow in a word."""
    types = package("pyarrow", "sql").types
    if types.is_boolean(arrow):
        return "truth"
    if types.is_integer(arrow) or types.is_floating(arrow) or types.is_decimal(arrow):
        return "number"
    if types.is_temporal(arrow):
        return "time"
    return "text" if types.is_string(arrow) or types.is_large_string(arrow) else "other"
