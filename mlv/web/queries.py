"""Queries in SQL for the page: under limits, and as rows of plain values."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any

from mlv.errors import QueryFailed
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.sql import engine
from mlv.query.sql.views import experiments
from mlv.web.index import PageIndex
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
        self._view: tuple[tuple[PageIndex, int], list[Digest], Any] | None = None
        """An index and its version, its experiments, and their view: that takes a second for ten thousand of them."""

    def matching(self, predicate: str, index: PageIndex) -> list[str]:
        """Return the IDs of the experiments for which a predicate holds; all for none.

        Raises:
            QueryFailed, MissingExtra: As `engine.matching`.
        """
        if not predicate:
            return [row.digest.id for row in index.rows()]
        digests, table = self._experiments(index)
        holds = engine.matching(predicate, digests, table, engine.Limits(SECONDS, len(digests)))
        return [digest.id for digest, is_match in zip(digests, holds, strict=True) if is_match]

    def answer(self, query: Mapping[str, str], index: PageIndex) -> dict[str, Any]:
        """Return the rows of a query, the first ones where they are many.

        Raises:
            QueryFailed: The query is none, is no reading one, or takes too long.
        """
        text = query.get("q", "")
        if not text.strip():
            raise QueryFailed("q= is missing: give a query, such as select name, params.lr from experiments", query=text)
        limit = whole(query, "limit", _ROWS, _MOST_ROWS)
        begin = monotonic()
        digests = [row.digest for row in index.rows()]
        result = engine.query(text, lambda _: digests, limits=engine.Limits(SECONDS, limit + 1))
        rows = result.rows()
        types = [_type(field.type) for field in result.arrow().schema]
        return as_text({
            "columns": [{"name": name, "type": kind} for name, kind in zip(result.columns, types, strict=True)],
            "rows": [[_cell(value) for value in row] for row in rows[:limit]],
            "more": len(rows) > limit, "skipped": result.skipped[:_MOST_SKIPPED], "seconds": round(monotonic() - begin, 3),
        })  # fmt: skip

    def _experiments(self, index: PageIndex) -> tuple[list[Digest], Any]:
        with self._lock:
            state = index, index.version
            if self._view is None or self._view[0] != state:
                digests = [row.digest for row in index.rows()]
                self._view = state, digests, experiments(digests)
            return self._view[1:]


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
