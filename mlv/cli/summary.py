"""`mlv summary`: each metric of an experiment in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from mlv import words
from mlv.cli.choose import logical_stream_of
from mlv.cli.chosen import show_columns
from mlv.cli.screen import MOST_ROWS, passed_over, print_json, say, say_more
from mlv.query.digest import STATS, read_digest
from mlv.query.events import Events
from mlv.query.metrics.summary import Summary, summary
from mlv.state import State, fold
from mlv.store.meta import read_meta
from mlv.store.streams import Skipped


def run(path: Path, as_json: bool) -> None:
    """Print a row per metric of an experiment, or of a log file that belongs to none.

    Raises:
        NotAnExperiment: There is no readable meta.json.
    """
    metrics, state, skipped = _of_file(path) if path.is_file() else _of_experiment(path)
    if skipped:
        say(passed_over(path.parent if path.is_file() else path, skipped))
    if as_json:
        print_json({name: asdict(metric) for name, metric in metrics.items()})
        return
    if not metrics:
        say(f"no metrics in {str(path)!r}")
        return
    stats = [stat for stat in STATS if stat in _ALWAYS or any(getattr(metric, stat) for metric in metrics.values())]
    if state.is_summarized:
        stats.insert(0, "value")
    rows = []
    for name, metric in islice(metrics.items(), MOST_ROWS):
        shape = state.descriptions.get(name, {}).get("format")
        cells = {stat: _cell(getattr(metric, stat), None if stat in _COUNTS else shape) for stat in stats}
        rows.append({"metric": name, **cells})
    show_columns(rows, ["metric", *stats], as_json=False, right=stats)
    say_more(len(metrics))


_Summaries = tuple[Mapping[str, Summary], State, list[Skipped]]


def _of_experiment(folder: Path) -> _Summaries:
    meta = read_meta(folder)
    skipped: list[Skipped] = []
    digest = read_digest(folder, meta.id, meta.content, skipped=skipped)
    return digest.metrics, digest.state, skipped


def _of_file(path: Path) -> _Summaries:
    stream = logical_stream_of(path)
    state = fold(Events(path.parent, ["metadata", "summary"], stream=stream))
    events = Events(path.parent, "metrics", stream=stream)
    return summary(events, state), state, events.skipped


_ALWAYS, _COUNTS = ("last", "min", "max", "mean", "count"), ("count", "nans")


def _cell(value: Any, shape: Any) -> str:
    return "" if value is None else words.number(value, shape if isinstance(shape, str) else None)
