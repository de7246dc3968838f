"""The rows of an experiment as a whole: in `experiments`, `runs` and `summaries`."""

from __future__ import annotations

import mmap
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from mlv.encoding import Huge
from mlv.lake.columns import GIT, MACHINE, schemas
from mlv.optional import package
from mlv.query.digest import Digest, read_digest
from mlv.query.metrics.schema import from_json_text, json_text
from mlv.query.metrics.summary import Summary, summary_of_tables
from mlv.query.rewinds import surviving_rows
from mlv.query.sql.arrow import nearest_float
from mlv.query.sql.arrow import text as text_of
from mlv.query.sql.views import fitted, with_children
from mlv.store import layout, opening
from mlv.store.reading import read_state

Rows = dict[str, list[tuple[Any, ...]]]


def digest_of(folder: Path, exp: str, meta: Mapping[str, Any], tables: Sequence[Any] | None) -> Digest:
    """Return the digest of an experiment; where `tables` hold all of its lines of metrics, these are not read again."""
    if tables is not None:
        state = read_state(folder)
        summaries = summary_of_tables([surviving_rows(table, state.rewinds) for table in tables], state)
        digest = None if summaries is None else Digest(folder, exp, meta, state, summaries)
    else:
        digest = read_digest(folder, exp, meta, by_columns=True)
    metrics = None if digest is None else _with_integers(folder, digest.metrics)
    return read_digest(folder, exp, meta) if digest is None or metrics is None else replace(digest, metrics=metrics)


def _with_integers(folder: Path, metrics: Mapping[str, Summary]) -> dict[str, Summary] | None:
    """Return summaries with the integers that were logged; None where some values of a metric are integers and others not.

    Columns hold 3 and 3.0 alike; only the lines say which of them was logged. To search them takes a tenth of parsing.
    """
    result = dict(metrics)
    for name, summary in metrics.items():
        if not any(type(value) is float and value.is_integer() for value in (summary.last, summary.min, summary.max)):
            continue
        kinds = _kinds(folder, name)
        if sum(kinds.values()) < summary.count or (kinds[True] and kinds[False]):
            return None
        if kinds[True]:
            taken = [stat for stat in EXACT if stat != "value" or summary.statistic in ("last", "min", "max", "best")]
            result[name] = replace(summary, **{stat: _integer(getattr(summary, stat)) for stat in taken})
    return result


def _kinds(folder: Path, name: str) -> Counter[bool]:
    """Return how many values behind the key of a metric are integers, and how many are not, in all lines."""
    segments = name.split("/")
    keys = [re.escape(orjson.dumps("/".join(segments[start:]))) for start in range(len(segments))]
    pattern = re.compile(rb"(?:" + b"|".join(keys) + rb"):\s*(-?\d+\s*[,}])?")
    kinds: Counter[bool] = Counter()
    for stream in layout.streams_in(folder):
        with (
            suppress(FileNotFoundError, ValueError),  # an empty file cannot be mapped
            opening.reading(folder / layout.stream_file(stream)) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            kinds.update(map(bool, pattern.findall(content)))
    return kinds


def _integer(value: Any) -> Any:
    return int(value) if type(value) is float else value


def add_rows(rows: Rows, digest: Digest, path: str, month: str, now: datetime) -> None:
    """Add the rows of an experiment to those of each table."""
    runs = digest.runs(now)
    latest = runs[-1] if runs else None
    git, machine = digest.captured("git"), digest.captured("machine")
    rows.setdefault("experiments", []).append((
        digest.id, digest.name, digest.made_as, digest.kind, digest.status(now), path,
        digest.created_at, latest.started if latest else None, latest.duration_s if latest else None, digest.total_s(now),
        list(digest.tags), list(digest.notes), digest.parent_id, digest.is_archived, _settings(digest.params),
        {name: git.get(name) for name in GIT}, {name: machine.get(name) for name in MACHINE}, month,
    ))  # fmt: skip
    rows.setdefault("runs", []).extend(
        (
            digest.id, run.id, run.status, run.started, run.ended, run.duration_s, run.paused, run.parent_run,
            (run.exception or {}).get("type"), (run.exception or {}).get("message"), (run.process or {}).get("host"),
            _settings(run.params), month,
        )
        for run in with_children(runs)
    )  # fmt: skip
    rows.setdefault("summaries", []).extend(
        (digest.id, name, *_values(own), position, _exact(own), _description(digest, name), month)
        for position, (name, own) in enumerate(digest.metrics.items())
    )


def _settings(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the items of a map from names to JSON."""
    return [(text_of(name), json_text(value)) for name, value in params.items()]


def _values(summary: Summary) -> tuple[Any, ...]:
    other = next((value for value in (summary.last, summary.value) if value is not None and not _is_number(value)), None)
    return (
        *(_number(getattr(summary, name)) for name in ("last", "min", "max", "best", "mean")), summary.count, summary.nans,
        *(_number(getattr(summary, name)) for name in ("last_step", "best_step", "value")), summary.statistic,
        None if other is None else json_text(other),
    )  # fmt: skip


EXACT = ("last", "min", "max", "best", "value")
"""Values of a summary that are given back as they were logged."""


def _exact(summary: Summary) -> str | None:
    """Return those values that are no floats as JSON: a whole number stays one, and any other value what it was."""
    others = {name: value for name in EXACT if (value := getattr(summary, name)) is not None and type(value) is not float}
    return json_text(others) if others else None


def exact_values(text: str | None) -> dict[str, Any]:
    """Return the values that the text of `exact` holds."""
    return dict(from_json_text(text)) if text else {}


def _description(digest: Digest, name: str) -> str | None:
    described = digest.state.descriptions.get(name)
    return json_text(dict(described)) if described else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, Huge)


def _number(value: Any) -> float | None:
    return nearest_float(value) if _is_number(value) else None


def table_of(name: str, rows: Sequence[tuple[Any, ...]]) -> Any:
    """Return rows as a table; values of other types, of somebody else's meta.json, become null."""
    pa, schema = package("pyarrow"), schemas()[name]
    cells = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([_column(list(values), field) for values, field in zip(cells, schema, strict=True)], schema=schema)


def _column(values: list[Any], field: Any) -> Any:
    pa = package("pyarrow")
    if not pa.types.is_struct(field.type):
        return fitted(values, field.type)
    children = [fitted([_fit(value[child.name], child.type) for value in values], child.type) for child in field.type]
    return pa.StructArray.from_arrays(children, fields=list(field.type))


def _fit(value: Any, type: Any) -> Any:
    """Return a text for a value of another type that stands where a text is expected."""
    is_text = package("pyarrow").types.is_string(type)
    return text_of(value) if is_text and value is not None else value
