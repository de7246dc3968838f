"""The rows of a run, read back from the lines of its experiment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from mlv import Exp


def rows_of(exp: Exp) -> list[dict[str, Any]]:
    """Return the rows in the order of their steps: `_step`, `_timestamp`, `_runtime`, and metrics by name.

    Lines of one step are one row, in which the later value counts; a line without a step is a row by itself, numbered by its
    position. What a rewind superseded is left out.
    """
    rows: dict[Any, dict[str, Any]] = {}
    """By their steps; those without one by a mark of their own, as a step may have their number."""
    began: float | None = None
    for event in exp.events(("run_started", "metrics", "rewound")):
        if event.type == "run_started":
            began = began if began is not None else event.time.timestamp()
        elif event.type == "rewound":
            step = event.data["step"]
            rows = {key: row for key, row in rows.items() if not _is_number(row["_step"]) or row["_step"] <= step}
        else:
            prefix = f"{event.name}/" if event.name else ""
            key, number = (object(), len(rows)) if event.step is None else (event.step, event.step)
            row = rows.setdefault(key, {"_step": number})
            row.update((f"{prefix}{key}", value) for key, value in event.data.items())
            row["_timestamp"] = event.time.timestamp()
            row["_runtime"] = row["_timestamp"] - (began if began is not None else row["_timestamp"])
    numbered = sorted((row for row in rows.values() if _is_number(row["_step"])), key=itemgetter("_step"))
    return numbered + [row for row in rows.values() if not _is_number(row["_step"])]


def _is_number(step: Any) -> bool:
    return isinstance(step, (int, float))


def between(rows: list[dict[str, Any]], first: float, behind: float | None) -> list[dict[str, Any]]:
    """Return the rows of a range of steps; steps that are texts are in all of them."""
    return [
        row
        for row in rows
        if not _is_number(row["_step"]) or (first <= row["_step"] and (behind is None or row["_step"] < behind))
    ]


def chosen(rows: list[dict[str, Any]], keys: Collection[str] | None) -> Iterator[dict[str, Any]]:
    """Yield the rows that have values for all of these keys, with these alone."""
    for row in rows:
        if not keys:
            yield dict(row)
        elif all(key in row for key in keys):
            yield {key: row[key] for key in keys}


def sampled(rows: list[dict[str, Any]], samples: int) -> list[dict[str, Any]]:
    """Return so many rows at most, evenly spread, with the first and the last."""
    if len(rows) <= samples:
        return rows
    if samples < 2:
        return rows[-1:] if samples == 1 else []
    last = len(rows) - 1
    return [rows[round(number * last / (samples - 1))] for number in range(samples)]


def as_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as a data frame of pandas; as they are where it is not installed."""
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame.from_records(rows)
