"""The lines of an imported experiment: they follow from its items alone, to the byte, seals included."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mlv.audit.format_check import check_data
from mlv.capture.redaction import Redactor
from mlv.encoding import DATA, DEEPEST, STEP, BadLine, Conversion, dumps, event_from_line, head, step_number, tail
from mlv.errors import FileUnusable, InvalidArgument, InvalidStep
from mlv.events import Rejected, Rewound, RunEnded, RunStarted, Seal
from mlv.experiment.importing.batches import PlainMetrics, data_of_points, data_of_rows
from mlv.experiment.importing.runs import ImportedRun, Line, RecordedEnds, nanoseconds, run_id_of
from mlv.experiment.importing.source import Item, RunBegins, RunEnds, SourceEvent, SourceFile, SourcePoints, SourceRows
from mlv.store import layout
from mlv.store.seals import Chain
from mlv.transport.censor import Censor

_FLAT = ("metrics", "summary")
"""Types whose data are values by full names."""
_OF_A_RUN = (layout.SYSTEM_STREAM, layout.CONSOLE_STREAM)
"""Streams whose events name the run that they are about."""
_NUMBERS = frozenset({int, float})

Publish = Callable[[SourceFile, SourceEvent, str], Any]
"""Makes a file of the experiment for an event, whose run and number make a text, and returns the reference to it.

It may raise FileUnusable, where the source's own file cannot be read.
"""


class ImportedLines:
    """Makes the lines of one experiment, item by item.

    A run that has ended is sealed, as a writer does: by a run of its own that says nothing else. Where a source grew behind
    the end that an earlier import recorded, that end stays, and another run goes on from there.
    """

    def __init__(self, exp_id: str, redactor: Redactor, publish: Publish, recorded: RecordedEnds) -> None:
        """Prepare; an earlier import may have recorded ends."""
        self._exp_id, self._redactor, self._publish = exp_id, redactor, publish
        self._recorded, self._recorded_seals, self._recorded_after = recorded.ends, recorded.seals, recorded.after
        self._runs: dict[str, ImportedRun] = {}
        self._generation: dict[str, int] = {}
        self._begun: dict[str, RunBegins] = {}
        self._ids: dict[str, dict[str, int]] = {}
        """IDs of the runs of each name, with the number of their events when they were over."""
        self._ends: dict[str, str] = {}
        """Digests of the final seals that the streams end with, by stream."""
        self._streams: set[str] = set()
        self._plain: dict[tuple[str, str], PlainMetrics] = {}
        """By stream and name of the event."""
        self.run_ids: set[str] = set()
        """IDs of the runs that have begun."""
        self.rejected: list[str] = []
        """The reasons why events are stored as `rejected`."""
        self.differing_ends: list[str] = []
        """Runs whose recorded end is another one than the source tells now."""

    def of_all(self, items: Iterable[Item]) -> Iterator[Line]:
        """Yield the lines of items, of points several at once.

        Raises:
            InvalidArgument: As `of`.
        """
        for item in items:
            line = self._quick_lines(item) if isinstance(item, (SourcePoints, SourceRows)) else self._quick_line(item)
            if line is not None:
                yield line
            elif isinstance(item, (SourcePoints, SourceRows)):
                yield from self.of_all(item.events())
            else:
                yield from self.of(item)

    @property
    def waiting(self) -> set[str]:
        """Streams with lines of runs that have not ended."""
        return {stream for run in self._runs.values() for stream in run.chains}

    def of(self, item: Item) -> Iterator[Line]:
        """Yield the lines of an item.

        Raises:
            InvalidArgument: It is of a run that has not begun, or has ended, or that a run began which has not; or a time has
                no zone.
        """
        if isinstance(item, (SourcePoints, SourceRows)):
            yield from self.of_all([item])
            return
        if isinstance(item, RunBegins):
            if item.run in self._begun:
                raise InvalidArgument(f"run {item.run!r} of the source has begun already: name another", run=item.run)
            if item.parent is not None and item.parent not in self._begun:
                raise InvalidArgument(f"run {item.parent!r}, which began {item.run!r}, has not begun itself", run=item.parent)
            self._begun[item.run] = item
            yield self._start(item, item.time)
            return
        run = self._runs.get(item.run)
        if run is None:
            raise InvalidArgument(f"run {item.run!r} of the source has not begun, or is over", run=item.run)
        recorded = self._recorded.get(run.id)
        if recorded is not None and run.seq + 1 == recorded[0]:
            yield from self._end_as_recorded(item, run, recorded[1])
            if isinstance(item, RunEnds):
                return
            yield self._start(self._begun[item.run], item.time)
            run = self._runs[item.run]
        if isinstance(item, RunEnds):
            yield self._end(run, item)
            yield from self._sealed(item.run, item.time)
        else:
            yield from self._event(run, item)

    def _start(self, begins: RunBegins, moment: datetime) -> Line:
        generation = self._generation[begins.run] = self._generation.get(begins.run, 0) + 1
        run = self._runs[begins.run] = ImportedRun(self._id(begins.run, generation), Censor(self._redactor))
        self.run_ids.add(run.id)
        self._ids.setdefault(begins.run, {})[run.id] = 0
        started = RunStarted(
            self._exp_id,
            self._id(begins.parent, 1) if begins.parent is not None else None,
            params=self._redactor.params(dict(begins.params)) if begins.params else None,
            rank=begins.rank or None,
            after=self._recorded_after.get(run.id, dict(self._ends) or None),
        )
        return run.record(self._stream_of(begins.run), moment, started)

    def _id(self, name: str, generation: int) -> str:
        return run_id_of(self._exp_id, name, *([str(generation)] if generation > 1 else []))

    def _stream_of(self, name: str) -> str:
        """Return the stream in which a run begins and ends."""
        rank = self._begun[name].rank
        return layout.rank_stream(rank) if rank else layout.DEFAULT_STREAM

    def _end(self, run: ImportedRun, item: RunEnds) -> Line:
        exception = dict(item.exception) if item.exception else None
        return run.record(self._stream_of(item.run), item.time, RunEnded(item.status, exception=exception))

    def _end_as_recorded(self, item: Item, run: ImportedRun, line: bytes) -> Iterator[Line]:
        """Yield the end of a run that an earlier import recorded, as it stands there."""
        if isinstance(item, RunEnds) and self._end(ImportedRun(run.id, run.censor, run.seq), item)[1] != line:
            self.differing_ends.append(item.run)
        run.seq += 1
        yield run.take(self._stream_of(item.run), line)
        yield from self._sealed(item.run, event_from_line(line, "").time)

    def _event(self, run: ImportedRun, event: SourceEvent) -> Iterator[Line]:
        stream = self._checked_stream(layout.SUMMARY if _chooses_values(event) else event.stream)
        if event.stream in _OF_A_RUN and isinstance(event.data, Mapping):
            event = event._replace(data={"of": run.id, **event.data})
        elif event.type == Rewound.TYPE:
            stream, event = layout.REWOUND, event._replace(data=self._rewound(event.data))
        key = f"{run.id}-{run.seq + 1}"
        step, at, problem = _coordinates(event)
        data = event.data
        try:
            data = _replaced(data, lambda file: self._publish(file, event, key)) if not problem else data
        except FileUnusable as error:
            problem = str(error)
        if problem:
            data = _replaced(event.data, _path_text)
        conversion = Conversion()
        is_flat = event.type in _FLAT and isinstance(data, Mapping)
        form = conversion.metrics(data) if is_flat else conversion.value(data)
        problem, problems = problem or _problem_of_data(event.type, form), _words(conversion)
        if problem or (problems and not is_flat):
            reason = "; ".join(filter(None, [problem, problems]))
            yield self._reject(run, stream, event, step, reason, form, conversion.nonfinite)
            return
        good, bad = conversion.nonfinite_by_use() if is_flat else (conversion.nonfinite, {})
        if form or not problems:
            yield run.line(stream, event.time, head(event.type, event.name) + tail(step, at, dumps(form), good))
        if problems:
            yield self._reject(run, stream, event, step, problems, conversion.unusable, bad)

    def _rewound(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data of a rewind: what the named runs have logged so far is superseded."""
        running = {run.id: run.seq for run in self._runs.values()}
        ids = {id_: running.get(id_, seq) for name in data["last"] for id_, seq in self._ids.get(name, {}).items()}
        return {"step": data["step"], "last": ids}

    def _quick_line(self, event: Item) -> Line | None:
        """Return the line of finite numbers whose names are harmless, at once: nearly all items of a source are such.

        None stands for any other item. A test proves that the line is the one of the long way, which takes 20 us.
        """
        if type(event) is not SourceEvent or event.type != "metrics":
            return None
        run, data, step = self._runs.get(event.run), event.data, event.step
        if run is None or ((recorded := self._recorded.get(run.id)) is not None and run.seq + 1 == recorded[0]):
            return None
        if (
            type(data) is not dict
            or not data
            or event.at
            or not (step is None or (type(step) is int and -(2**63) <= step < 2**63))
        ):
            return None
        if not _NUMBERS.issuperset(map(type, data.values())):
            return None
        plain = self._plain_metrics(event.stream, event.name)
        if not plain.keys.issuperset(data) and not plain.learn(data):
            return None
        try:
            payload = dumps(data)
        except TypeError:  # an integer beyond 64 bits
            return None
        if b"null" in payload:  # NaN, or an infinity
            return None
        run.seq += 1
        kind = DATA if step is None else STEP
        line = run.composer.clean_line(run.seq, nanoseconds(event.time), plain.head, kind, step or 0, payload)
        return run.take(event.stream, line)

    def _plain_metrics(self, stream: str, name: str) -> PlainMetrics:
        plain = self._plain.get((stream, name))
        if plain is None:
            self._checked_stream(stream)
            plain = self._plain[stream, name] = PlainMetrics(name, self._redactor)
        return plain

    def _quick_lines(self, batch: SourcePoints | SourceRows) -> Line | None:
        """Return the lines of finite numbers with harmless names, as bytes; None where one of them needs a look of its own."""
        run, count = self._runs.get(batch.run), len(batch.steps)
        if run is None or ((recorded := self._recorded.get(run.id)) is not None and run.seq < recorded[0] <= run.seq + count):
            return None
        plain = self._plain_metrics(layout.DEFAULT_STREAM, "")
        names = set(batch.names) if isinstance(batch, SourcePoints) else set().union(*batch.rows)
        if not count or not (plain.keys.issuperset(names) or plain.learn(names)):
            return None
        try:
            payloads = data_of_points(batch) if isinstance(batch, SourcePoints) else data_of_rows(batch)
        except TypeError:  # an integer beyond 64 bits, or a value that is none of JSON
            return None
        if payloads is None or min(batch.steps) < -(2**63) or max(batch.steps) >= 2**63:
            return None
        lines = run.composer.stepped(run.seq + 1, batch.times_us, plain.head, batch.steps, payloads)
        run.seq += count
        run.chains.setdefault(layout.DEFAULT_STREAM, Chain()).add(lines)
        return layout.DEFAULT_STREAM, b"".join(lines)

    def _checked_stream(self, stream: str) -> str:
        if stream not in self._streams:
            self._streams.add(layout.check_stream(stream))
        return stream

    def _reject(
        self,
        run: ImportedRun,
        stream: str,
        event: SourceEvent,
        step: Any,
        reason: str,
        readable: Any,
        nonfinite: Mapping[str, str],
    ) -> Line:
        self.rejected.append(f"{event.type} {event.name!r}: {reason}" if event.name else f"{event.type}: {reason}")
        record = dumps(Rejected(event.type, reason, readable).to_data())
        pointers = {f"/rest{pointer}": text for pointer, text in nonfinite.items()}
        return run.line(stream, event.time, head("rejected", event.name) + tail(step, {}, record, pointers))

    def _sealed(self, name: str, moment: datetime) -> Iterator[Line]:
        """Yield the seals of a run in its streams, and those of the run that seals it."""
        run = self._runs.pop(name)
        self._ids[name][run.id] = run.seq
        writer = ImportedRun(run_id_of(run.id, "seals"), None)
        recorded = self._recorded_seals.get(writer.id, [])
        if len(recorded) == 2 * len(run.chains):
            # As they stand there: they tell of the ends of that time, and more runs may have ended since in another order.
            for stream, line in recorded[len(run.chains) :]:
                self._ends[stream] = hashlib.sha256(line).hexdigest()
            yield from recorded
            return
        for stream, chain in _default_last(run.chains):
            yield writer.record(stream, moment, Seal(run.id, stream, chain.lines, chain.hexdigest()))
        for stream, chain in _default_last(writer.chains):
            after = dict(self._ends) or None
            seal = Seal(writer.id, stream, chain.lines, chain.hexdigest(), after=after)
            _, line = writer.record(stream, moment, seal)
            self._ends[stream] = hashlib.sha256(line).hexdigest()
            yield stream, line


def _default_last(chains: Mapping[str, Chain]) -> list[tuple[str, Chain]]:
    """Return the chains in the order of their streams, the default one last: its end tells of the others."""
    return sorted(chains.items(), key=lambda pair: (pair[0] == layout.DEFAULT_STREAM, pair[0]))


def _chooses_values(event: SourceEvent) -> bool:
    """Return whether an event is about what stands for a metric: such have a stream of their own."""
    return event.type == "summary" or (event.type == "metadata" and isinstance(event.data, Mapping) and "summary" in event.data)


def _coordinates(event: SourceEvent) -> tuple[Any, Any, str]:
    """Return step and coordinates as they are stored, and the problem of one that cannot be."""
    try:
        step = step_number(event.step)
    except InvalidStep as error:
        return None, {}, str(error)
    if not event.at:
        return step, {}, ""
    conversion = Conversion()
    at = conversion.value(dict(event.at))
    not_finite = [f"{pointer[1:]} is not finite" for pointer in conversion.nonfinite]
    problem = "; ".join(filter(None, [_words(conversion), *not_finite]))
    return step, {} if problem else at, f"coordinate {problem}" if problem else ""


def _problem_of_data(type_: str, form: Any) -> str:
    """Return the reason why an event of a type of format 1 cannot have data of that form; empty if it can."""
    try:
        check_data(type_, form)
    except BadLine as error:
        return str(error)
    return ""


def _words(conversion: Conversion) -> str:
    return "; ".join(f"{path or 'the value'} {reason}" for path, reason in conversion.problems)


def _replaced(data: Any, replacement: Callable[[SourceFile], Any], level: int = 0) -> Any:
    """Return data with something else in place of each `SourceFile`; the conversion refuses what lies deeper than it looks."""
    if isinstance(data, SourceFile):
        return replacement(data)
    if level > DEEPEST:
        return data
    if isinstance(data, Mapping):
        return {key: _replaced(value, replacement, level + 1) for key, value in data.items()}
    return [_replaced(value, replacement, level + 1) for value in data] if isinstance(data, (list, tuple)) else data


def _path_text(file: SourceFile) -> str:
    return f"{len(file.content)} bytes" if isinstance(file.content, bytes) else str(file.content)
