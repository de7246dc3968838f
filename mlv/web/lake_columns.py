"""Rows of a lake as columns of plain values, made of the columns of its tables and of no object for each experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from mlv.lake.listing import Listing, Settings, by_name
from mlv.lake.summaries import EXACT as EXACT_STATS
from mlv.lake.summaries import exact_values
from mlv.optional import package
from mlv.query.many.table import leaves_of
from mlv.query.metrics.schema import EXACT
from mlv.query.unique_names import Keys, joined
from mlv.web.columns import LONGEST_TEXT, MOST_CELLS, MOST_NAMES, STATS
from mlv.web.plain import as_text, plain, shortened


def within_limit(listing: Listing, rows: Any) -> Any:
    """Return the first of some rows, as many as an answer has cells for; always one."""
    count = len(rows)
    while count > 1 and count * _names(listing, rows[:count]) * len(STATS) > MOST_CELLS:
        count //= 2
    return rows[:count]


def _names(listing: Listing, rows: Any) -> int:
    """Return the number of params and metrics that some rows have."""
    compute = package("pyarrow.compute")
    params = listing.experiments["params"].take(rows).combine_chunks()
    codes = listing.summaries["name"].combine_chunks().indices.take(_of_rows(listing, rows)[0])
    return len(compute.unique(params.keys)) + len(compute.unique(codes))


def _of_rows(listing: Listing, rows: Any) -> tuple[Any, Any]:
    """Return the positions of the summaries of some rows, and for each the position of its row among these."""
    np = package("numpy")
    starts, ends = listing.starts[rows], listing.starts[rows + 1]
    counts = np.minimum(ends - starts, MOST_NAMES)
    owners = np.repeat(np.arange(len(rows)), counts)
    return np.arange(len(owners)) + np.repeat(starts - (np.cumsum(counts) - counts), counts), owners


def columns(listing: Listing, rows: Any, archived: frozenset[str]) -> dict[str, Any]:
    """Return rows as `mlv.web.columns.columns` does.

    An experiment counts as archived that is, or that lies below one of the archived paths.
    """
    table = listing.experiments.take(rows)
    values = {name: table[name].to_pylist() for name in ("id", "name", "path", "kind", "parent", "status", "archived")}
    created, started = (_seconds(table[name]) for name in ("created", "started"))
    durations = table["duration_s"].to_pylist()
    return {
        **values,
        "archived": [
            bool(own) or (bool(archived) and not archived.isdisjoint(map(str, PurePosixPath(path).parents)))
            for own, path in zip(values["archived"], values["path"], strict=True)
        ],
        "created": created,
        "started": started,
        # The last line of the latest run, as far as the lake knows it.
        "age": [
            made if begun is None else begun + (duration or 0.0)
            for made, begun, duration in zip(created, started, durations, strict=True)
        ],
        "duration": [
            # Whether it went on longer the lake cannot tell.
            max(duration or 0.0, listing.as_of.timestamp() - begun) if state == "running" and begun is not None else duration
            for duration, begun, state in zip(durations, started, values["status"], strict=True)
        ],
        "tags": table["tags"].to_pylist(),
        "notes": [[shortened(note, LONGEST_TEXT) for note in notes or ()] for notes in table["notes"].to_pylist()],
        "error": [None] * len(rows),
        "params": _params(table["params"].to_pylist()),
        "metrics": _metrics(listing, rows),
    }  # fmt: skip


def _seconds(moments: Any) -> list[float | None]:
    pa = package("pyarrow")
    # A float holds the microseconds of any moment since 1970 exactly.
    return [None if number is None else number / 1e6 for number in moments.cast(pa.int64()).to_pylist()]


def _params(rows: list[list[tuple[str, str]] | None]) -> dict[str, list[Any]]:
    """Return params by their dotted names; what many rows have, a value or names that stand together, is made once."""
    settings = Settings()
    forms: dict[tuple[str, str], list[tuple[Keys, Any]]] = {}
    spelled: dict[tuple[Keys, ...], list[str]] = {}
    result: dict[str, list[Any]] = {}
    for row, items in enumerate(rows):
        cells: list[tuple[Keys, Any]] = []
        for item in items or ():
            if item not in forms:
                name, text = item
                forms[item] = [(path, _form(value)) for path, value in leaves_of({name: settings.value(text)})]
            cells += forms[item]
        paths = tuple([path for path, _ in cells])
        if paths not in spelled:
            spelled[paths] = [as_text(name) for name in joined(paths).values()]
        for name, (_, cell) in zip(spelled[paths][:MOST_NAMES], cells[:MOST_NAMES], strict=True):
            if name not in result:
                result[name] = [None] * len(rows)
            result[name][row] = cell
    return result


def _form(value: Any) -> Any:
    form = plain(value)
    return form if type(form) in (float, int, bool) else as_text(shortened(form, LONGEST_TEXT))


def _metrics(listing: Listing, rows: Any) -> dict[str, dict[str, Any]]:
    positions, owners = _of_rows(listing, rows)
    summaries = listing.summaries.take(positions)
    names = summaries["name"].combine_chunks()
    result = {}
    for name, own in by_name(names.dictionary.to_pylist(), names.indices.to_numpy()) if len(positions) else ():
        table = summaries.take(own)
        exact = table["exact"].to_pylist() if table["exact"].null_count < len(own) else [None] * len(own)
        result[as_text(name)] = {stat: _cells(table[stat], exact, stat, owners[own], len(rows)) for stat in STATS}
    return result


def _cells(values: Any, exact: list[str | None], stat: str, owners: Any, count: int) -> Any:
    """Return the values of a number of a metric as a column, in which rows without it have none.

    Most are finite numbers, of which numpy and orjson make JSON in a tenth of the time that lists take: NaN becomes null.
    """
    np = package("numpy")
    numbers, is_there = values.to_numpy().astype(float), ~np.asarray(values.is_null())
    column = np.full(count, np.nan)
    column[owners] = numbers
    has_exact = np.array([text is not None for text in exact]) & (stat in EXACT_STATS)
    odd = (is_there & ~np.isfinite(numbers)) | (has_exact & (~is_there | (abs(numbers) > EXACT)))
    if not odd.any():
        return column
    cells = [None if number != number else number for number in column.tolist()]
    for position in np.flatnonzero(odd):
        value: Mapping[str, Any] = exact_values(exact[position])
        cells[owners[position]] = _form(value.get(stat, float(numbers[position]) if is_there[position] else None))
    return cells
