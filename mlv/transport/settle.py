"""Verdicts and seals for the runs in the streams whose process, and whose writer, died."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from mlv.encoding import BadLine, event_from_line
from mlv.state import Run, fold, in_order
from mlv.store import layout
from mlv.store.origins import is_copy
from mlv.store.owners import process_is_gone
from mlv.store.seals import chains_of
from mlv.store.streams import read_digests
from mlv.transport.journal import Journal
from mlv.wire import type_filter


def settle(folder: Path, journal: Journal, streams: Collection[str], alive: Collection[str]) -> None:
    """Give a verdict and seals to every run in the streams that is over and has none.

    `alive` are the runs whose rings are being drained, which settles them. Runs that may go on elsewhere are left alone.

    Raises:
        OSError: Something could not be appended; calling again goes on.
    """
    runs, beginnings = _runs(folder)
    for stream in streams:
        for run, chain in chains_of(journal.path(stream)).items():
            if not chain.lines or run in alive or run == journal.run:
                continue
            state = runs.get(run)
            if state is not None and state.verdict is None:
                if state.process is None or not process_is_gone(state.process) or is_copy(folder, state.folder, state.process):
                    continue
                journal.end(run, "killed", beginnings.get(run, stream))
                # In the other streams of the run only the seal is missing.
                del runs[run]
            journal.adopt(run, stream)
            journal.seal(run)


def _runs(folder: Path) -> tuple[dict[str, Run], Mapping[str, str]]:
    """Return the runs in the streams, with their verdicts; and the stream in which each began."""
    events = []
    for stream in layout.streams_in(folder):
        for line, _ in read_digests(folder / layout.stream_file(stream)):
            if _may_be_about_runs(line):
                with suppress(BadLine):
                    events.append(event_from_line(line, stream))
    beginnings = {event.run: layout.logical_stream(event.stream) for event in events if event.type == "run_started"}
    return dict(fold(in_order(events)).runs), beginnings


_may_be_about_runs = type_filter(("run_started", "run_ended"))
