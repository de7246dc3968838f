"""An experiment as earlier imports of its source recorded it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.audit.merge import Tree
from mlv.encoding import BadLine, event_from_line
from mlv.errors import NotAnExperiment
from mlv.events import Event
from mlv.experiment.importing.runs import run_id_of
from mlv.experiment.importing.source import SourceExperiment
from mlv.experiment.opening.captures import make_redactor
from mlv.store import layout
from mlv.store import meta as meta_
from mlv.store.identities import known_ids
from mlv.store.streams import read_lines


@dataclass(frozen=True)
class EarlierImport:
    """What the tree has of a source."""

    folder: Path
    meta: Mapping[str, Any]
    """Content of meta.json.

    A source without times has that of its file, which changes while it grows: the first one stays. Params that were added
    since become events.
    """

    def metrics(self, run: str) -> Iterator[Event]:
        """Yield the events of type `metrics` of a run of the source, in their order, those that came after an end included."""
        exp_id, path = known_ids(self.folder)[-1], self.folder / layout.stream_file(layout.DEFAULT_STREAM)
        for number in count(1) if path.exists() else ():
            run_id = run_id_of(exp_id, run, *([str(number)] if number > 1 else []))
            # Passed over once for each: in memory, millions of them would take gigabytes.
            own = (line for _, line in read_lines(path) if (wire.run_and_seq(line) or (b"",))[0] == run_id.encode())
            first = next(own, None)
            if first is None:
                return
            for line in chain([first], own):
                if wire.METRICS in line:
                    with suppress(BadLine):
                        event = event_from_line(line, layout.DEFAULT_STREAM)
                        if event.type == "metrics":
                            yield event


def earlier_import(source: SourceExperiment, tree: Tree) -> EarlierImport | None:
    """Return what earlier imports recorded of an experiment, None where there was none."""
    redactor = make_redactor(source.redact, source.redact_except)
    copy = tree.imported_from(redactor.params(dict(source.identity), "source"), tree.root)
    try:
        return None if copy is None else EarlierImport(copy, meta_.read_meta(copy).content)
    except NotAnExperiment:
        return None
