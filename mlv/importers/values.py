"""Values of sources in the form that the log has for them: tables, histograms, moments."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from mlv.encoding import Conversion, dumps, json_of_any
from mlv.experiment.importing.source import EPOCH, SourceFile
from mlv.media.table import INLINE_BYTES
from mlv.optional import package

_BEGINNING = 5
_FRACTION = re.compile(r"\.\d+")


def moment(seconds: float) -> datetime | None:
    """Return the moment of a count of seconds since 1970, to the microsecond; None where there is no such."""
    try:
        return EPOCH + timedelta(microseconds=round(seconds * 1e6))
    except (ValueError, OverflowError, TypeError):
        return None


def moment_ms(milliseconds: float) -> datetime | None:
    """Return the moment of a count of milliseconds since 1970; None where there is no such."""
    try:
        return moment(milliseconds / 1000)
    except OverflowError:  # an integer that no float holds
        return None


def time_of(value: Any) -> datetime | None:
    """Return the moment in a text of ISO 8601, in UTC where it names no zone; None where it is none."""
    try:
        # Python 3.10 takes three or six digits of a second only.
        text = _FRACTION.sub(lambda digits: digits[0][:7].ljust(7, "0"), str(value), count=1)
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)


def rows_of_moment(pairs: Iterable[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of metrics of one moment; one that has several values there stands in as many rows."""
    row: dict[str, Any] = {}
    for name, value in pairs:
        if name in row:
            yield row
            row = {}
        row[name] = value
    if row:
        yield row


def params_added(params: dict[str, Any], more: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Put more params beside those that there are, and return type and data of the events that say so."""
    added = {key: value for key, value in more.items() if key not in params}
    changed = {key: value for key, value in more.items() if key in params and params[key] != value}
    params.update(more)
    return [(type_, data) for type_, data in (("params", added), ("params_changed", changed)) if data]


def table(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the data of a table: a large one goes into a file of CSV, which has the same bytes whatever is installed."""
    names = unique(columns)
    cells = [[*row[: len(names)], *[None] * (len(names) - len(row))] for row in rows]
    data = {"columns": names, "rows": cells}
    if _has_files(cells) or len(dumps(Conversion().value(data))) <= INLINE_BYTES:
        return data
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in cells)
    content = text.getvalue().encode("utf-8", "backslashreplace")
    return {"columns": names, "file": SourceFile(content, ".csv"), "count": len(cells), "beginning": cells[:_BEGINNING]}


def _has_files(rows: Iterable[Iterable[Any]]) -> bool:
    return any(isinstance(value, (SourceFile, dict, list)) for row in rows for value in row)


def _cell(value: Any) -> Any:
    return "" if value is None else value if isinstance(value, (str, int, float)) else json_of_any(value)


def array(value: Any) -> dict[str, Any]:
    """Return the data of an array of numpy."""
    file = io.BytesIO()
    package("numpy", "hdf5").save(file, value, allow_pickle=False)
    return {"file": SourceFile(file.getvalue(), ".npy"), "shape": list(value.shape), "dtype": str(value.dtype)}


def unique(names: Iterable[Any]) -> list[str]:
    """Return names as texts, each once: a later one of the same name gets a number."""
    result: dict[str, None] = {}  # which finds one of tens of thousands at once
    numbers: dict[str, int] = {}
    for name in map(str, names):
        candidate, number = name, numbers.get(name, 2)
        while candidate in result:
            candidate, number = f"{name}_{number}", number + 1
        result[candidate], numbers[name] = None, number
    return list(result)


def histogram(counts: Sequence[float], edges: Sequence[float]) -> dict[str, Any] | None:
    """Return the data of a histogram, None where counts and edges do not fit each other."""
    if not counts or len(edges) != len(counts) + 1:
        return None
    return {"counts": list(counts), "edges": list(edges), "count": sum(counts)}
