"""Annotations: events about an experiment that belong to no run, such as tags, written at once by their author."""

from __future__ import annotations

from pathlib import Path

from mlv.capture.redaction import Redactor
from mlv.errors import NotAnnotated
from mlv.store import layout
from mlv.transport.censor import Censor
from mlv.transport.journal import Journal
from mlv.transport.settle import settle

WITHIN_S = 10.0  # another annotation holds the stream for as long as it takes to write a line


def annotate(folder: Path, payload: bytes, redactor: Redactor, *, within_s: float = WITHIN_S) -> None:
    """Append an event, encoded from its type on, to the stream of annotations; it is sealed and on the disk then.

    No `run_started` goes before it, so no reader takes its run for one that trained. The stream is its own, so that no writer
    of a run is disturbed. Another process that annotates at this moment is waited for, `within_s`.

    Raises:
        NotAnnotated: Nothing can be written there.
    """
    journal = Journal(folder, clean=Censor(redactor).event)
    try:
        journal.wait_for(layout.ANNOTATIONS, within_s)
        journal.put(payload, layout.ANNOTATIONS)
        settle(folder, journal, journal.stale_streams, alive=())
        journal.close()
    except BaseException as error:
        journal.surrender()
        if not isinstance(error, OSError):
            raise
        text = f"nothing can be said about {folder}: {error}. Make the folder writable, or annotate a copy"
        raise NotAnnotated(text, path=str(folder)) from error
