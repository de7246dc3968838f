"""Verdicts and seals for runs whose process, and whose writer, died: what the next writer finds in the streams."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from mlv.store.owners import process_is_gone
from mlv.store.reading import read_state
from mlv.store.seals import chains_of
from mlv.transport.journal import Journal


def settle(folder: Path, journal: Journal, streams: Collection[str], alive: Collection[str]) -> None:
    """Give a verdict and seals to every run in the streams that is over and has none.

    `alive` are the runs whose rings are being drained: they are looked after there. What may go on elsewhere is left alone.

    Raises:
        OSError: Something could not be appended; calling again goes on.
    """
    runs = read_state(folder).runs
    for stream in streams:
        for run, chain in chains_of(journal.path(stream)).items():
            if not chain.lines or run in alive or run == journal.run:
                continue
            known = runs.get(run)
            if known is not None and known.verdict is None:
                if known.process is None or not process_is_gone(known.process):
                    continue
                journal.end(run, "killed")
                runs = {**runs, run: replace(known, verdict="killed")}
            journal.adopt(run, stream, chain)
            journal.seal(run)
