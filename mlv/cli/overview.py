"""One experiment, read for a row of a list or for a page; nothing is written, and damage is reported, not raised."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlv import words
from mlv.cli.ends import row_from_ends
from mlv.cli.row import METRICS_SHOWN, Row, row_of
from mlv.encoding import utc_text
from mlv.query.digest import read_digest
from mlv.query.runs import RunView
from mlv.query.tail import Latest, latest_metrics
from mlv.query.view import ExperimentView
from mlv.store import layout
from mlv.store import meta as meta_
from mlv.store.identities import known_ids
from mlv.store.reading import read_state
from mlv.store.streams import Skipped

BROKEN = "broken"
"""The status of an experiment that cannot be read."""
_NEAR_THE_END = 1 << 18


@dataclass(frozen=True)
class Overview:
    """An experiment as it stands at a moment."""

    view: ExperimentView
    now: datetime
    error: str | None = None
    """The reason why it cannot be read, or is not to be believed."""
    status: str = BROKEN
    runs: Sequence[RunView] = ()
    """The runs without a parent run, the latest last."""
    metrics: Mapping[str, Latest] = field(default_factory=dict)
    """The value that stands for each metric: the latest one, unless a description or a summary names another."""
    damage: Sequence[Skipped] = ()
    """Damaged lines that were skipped, in the part of the log that was read."""

    def format_of(self, metric: str) -> str | None:
        """Return the format that `log.describe` gave to a metric."""
        form = self.view.state.descriptions.get(metric, {}).get("format")
        return form if isinstance(form, str) else None

    def first_metrics(self, count: int) -> dict[str, Latest]:
        """Return the values of so many metrics, the described ones first."""
        names = sorted(self.metrics, key=lambda name: name not in self.view.state.descriptions)
        return {name: self.metrics[name] for name in names[:count]}

    def row(self, is_whole: bool) -> Row:
        """Return the row of the experiment; if it is not to be whole, without what the ends of a log do not show."""
        latest_run = self.runs[-1] if self.runs else None
        created = None if self.status == BROKEN else self.view.created_at
        started = latest_run.started if latest_run else created
        whole: dict[str, Any] = {
            "tags": list(self.view.tags),
            "metrics": {name: latest.value for name, latest in self.metrics.items()},
        }
        return row_of(
            self.view,
            status=self.status,
            started=utc_text(started) if started else None,
            duration_s=run_duration_s(latest_run, self.now) if latest_run else None,
            error=self.error,
            metric_texts=[
                [name, words.number(latest.value, self.format_of(name))]
                for name, latest in self.first_metrics(METRICS_SHOWN).items()
            ],
            damaged=list(map(str, self.damage)),
            **(whole if is_whole else {}),
        )


def look_at(folder: Path, now: datetime, *, within_bytes: int | None = _NEAR_THE_END) -> Overview:
    """Read an experiment; the overview of an unreadable one has an `error`.

    Only metrics near the end of each stream are read, within so many bytes; with None, all.
    """
    try:
        meta = meta_.read_meta(folder)
    except Exception as error:  # one broken experiment must not hide the others
        return Overview(ExperimentView(folder, "", {}), now, str(error))
    try:
        skipped: list[Skipped] = []
        view = ExperimentView(folder, meta.id, meta.content, read_state(folder, skipped=skipped))
        heard = {run.id: run.last_heard for run in view.state.runs.values()}
        metrics = _chosen(view, latest_metrics(folder, within_bytes, skipped, heard))
        status, runs = view.status(now), view.runs(now)
    except Exception as error:
        return Overview(ExperimentView(folder, meta.id, meta.content), now, str(error) or repr(error))
    return Overview(view, now, _meta_problem(view), status, runs, metrics, _in_order(skipped))


def _chosen(view: ExperimentView, latest: Mapping[str, Latest]) -> Mapping[str, Latest]:
    """Return for each metric with a latest value, and for each summary, the value that stands for it."""
    if not view.state.is_summarized:
        return latest
    summaries = read_digest(view.path, view.id, view.meta).metrics
    times = {name: value.time for values in (view.state.summaries, latest) for name, value in values.items()}
    return {
        name: Latest(summary.value, summary.value_step, times[name])
        for name, summary in summaries.items()
        if name in times and summary.has_value
    }


def _in_order(holes: Iterable[Skipped]) -> list[Skipped]:
    """Return the damaged lines in order, without duplicates: some are read twice."""
    by_start = {(hole.stream, hole.start): hole for hole in holes}
    return [by_start[start] for start in sorted(by_start)]


def _meta_problem(view: ExperimentView) -> str | None:
    others = {run.exp: None for run in view.state.runs.values() if run.exp not in (None, view.id)}  # each once, in order
    # A redaction of meta.json gives another ID, and the log says so.
    unknown = [exp for exp in others if exp not in known_ids(view.path)]
    return f"{layout.META} was edited: its ID is {view.id}, its runs recorded {unknown[0]}" if unknown else None


def run_duration_s(run: RunView, now: datetime) -> float | None:
    """Return the seconds that a run took, until now if it goes on."""
    if run.status == "running" and run.started is not None:
        return (now - run.started).total_seconds()
    return run.duration_s


def read_row(folder: str | os.PathLike[str], files: Sequence[str] | None, now: datetime, *, is_whole: bool = False) -> Row:
    """Read the row of an experiment: all of it, or the fields that the ends of a log show, from these where they suffice.

    The row of an unreadable experiment has an `error`. `files` are the names of meta.json and of the streams, if the caller
    has them. Only metrics near the end of each stream are read: within 256 KiB, or where the ends suffice, within 4.
    """
    row = None if is_whole else row_from_ends(folder, files)
    return row or look_at(Path(folder), now).row(is_whole)


def rows_below(root: Path, *, is_whole: bool = False) -> Iterator[Row]:
    """Yield the row of every experiment at or below a folder, read now."""
    for folder in layout.walk(root):
        yield read_row(folder, None, datetime.now(timezone.utc), is_whole=is_whole)
