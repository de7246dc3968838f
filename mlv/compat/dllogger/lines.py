"""The output that writes DLLogger's file: a line `DLLL {...}` for each record."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from mlv import Event
from mlv.compat.textfile import TextFile, committed, discard
from mlv.projections import Output

OPENED, STARTED, RECORD, METADATA = "dllogger/opened", "dllogger/started", "dllogger/record", "dllogger/metadata"
"""Names of events: a backend was made; a Logger was made; a record that is no flat mapping; what a metric is."""


@dataclass(kw_only=True)
class DLLLines(Output):
    """One line per record, in the order of the log: those whose verbosity is not above that of their backend.

    `timestamp` and `datetime` are the time of the event, `elapsedtime` is that time less the start of the Logger, all three as
    text. The line is JSON: NaN and infinities are null, and named beside the data as `"nonfinite": {"/loss": "nan"}`.

    A backend made without `append` empties the file, unless another process is writing into it at that time.
    """

    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    name = "dllogger"

    file: str = "log.json"
    """Its name in the output's folder."""

    _text: TextFile = field(init=False, repr=False, compare=False)
    _runs: dict[str, dict[str, Any]] = field(init=False, repr=False, compare=False)

    def open(self, place: Path, resume: Any) -> None:
        """Go on with the file, or begin it."""
        self._runs = dict(resume["runs"]) if resume else {}
        self._text = TextFile(place / self.file, committed(resume))

    def write(self, batch: Any) -> None:
        """Add the records."""
        for event in batch:
            self._take(event)

    def commit(self) -> Any:
        """Hand everything to the system."""
        return {"size": self._text.commit(), "runs": self._runs}

    def close(self) -> None:
        """Close the file."""
        self._text.close()

    def discard(self, place: Path, resume: Any) -> None:
        """Move the file aside."""
        discard(place / self.file)

    def _take(self, event: Event) -> None:
        data = event.data if isinstance(event.data, Mapping) else {}
        if event.type == "run_started":
            parent = self._runs.get(str(data.get("parent_run")), {})
            loggers = dict(parent.get("loggers", {}))  # a forked child goes on with those of its parent
            self._runs[event.run] = {**_new_run(), "process": data.get("process"), "loggers": loggers}
        elif event.type == "run_ended":
            self._runs.setdefault(event.subject, _new_run())["ended"] = event.time.isoformat(timespec="microseconds")
        elif event.type == "event" and event.name == OPENED:
            if not data.get("append") and not self._others_write(event, data.get("gone") or ()):
                self._text.clear()
            self._run(event)["is_writing"] = True
        elif event.type == "event" and event.name == STARTED:
            self._run(event)["loggers"][str(event.at.get("logger", 0))] = dict(data)
        else:
            record = _record(event, data)
            if record is not None and (record["type"] == "METADATA" or self._is_shown(event)):
                self._text.add(self._line(event, record))

    def _run(self, event: Event) -> dict[str, Any]:
        return self._runs.setdefault(event.run, _new_run())

    def _logger_of(self, event: Event) -> Mapping[str, Any]:
        """What was said of the Logger that an event came from."""
        found: Mapping[str, Any] = self._run(event)["loggers"].get(str(event.at.get("logger", 0)), {})
        return found

    def _is_shown(self, event: Event) -> bool:
        most = self._logger_of(event).get("verbosity")
        return most is None or event.verbosity <= most

    def _others_write(self, opened: Event, gone: Collection[str]) -> bool:
        """Whether the file belongs to a process that was still at work then, and is another one than that of this run.

        Times decide: what two processes say may stand in the log one after the other, though they said it side by side.
        """
        mine, time = self._run(opened)["process"], opened.time.isoformat(timespec="microseconds")
        others = [one for name, one in self._runs.items() if name not in gone and one["process"] != mine]
        return any(one["is_writing"] and (one["ended"] is None or one["ended"] > time) for one in others)

    def _line(self, event: Event, record: Mapping[str, Any]) -> bytes:
        moment = _moment(event.at.get("timestamp")) or event.time
        elapsed_s = event.at.get("elapsedtime")
        if elapsed_s is None:
            started = _moment(self._logger_of(event).get("start")) or event.time
            elapsed_s = max(timedelta(), event.time - started).total_seconds()
        nonfinite: dict[str, str] = {}
        body = {key: _strict(value, f"/{key}", nonfinite) for key, value in record.items()}
        times = {"timestamp": str(moment.timestamp()), "datetime": str(moment), "elapsedtime": str(elapsed_s)}
        if record["type"] == "METADATA":
            times = {key: times[key] for key in ("timestamp", "elapsedtime", "datetime")}
        where = "/data" if record["type"] == "LOG" else "/metadata"
        named = {pointer.removeprefix(where): text for pointer, text in nonfinite.items()}
        line = json.dumps({**times, **body, **({"nonfinite": named} if named else {})}, allow_nan=False)
        return b"DLLL %s\n" % line.encode()


def _new_run() -> dict[str, Any]:
    return {"process": None, "loggers": {}, "is_writing": False, "ended": None}


def _record(event: Event, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a line says beside its times; None where the event is no record."""
    type_, found = event.type, data
    if type_ == "rejected":  # what could be read of it stands in its `rest`
        type_, found = str(data.get("type")), data["rest"] if isinstance(data.get("rest"), Mapping) else {}
    if type_ == "metrics" and not event.name:
        return {"type": "LOG", "step": event.step, "data": found}
    if type_ == "event" and event.name == RECORD:
        return {"type": "LOG", "step": event.step, "data": found.get("data")}
    if type_ == "event" and event.name == METADATA:
        return {"type": "METADATA", "metric": found.get("metric"), "metadata": found.get("metadata")}
    return None


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None


def _strict(value: Any, pointer: str, nonfinite: dict[str, str]) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        nonfinite[pointer] = "nan" if value != value else "inf" if value > 0 else "-inf"
        return None
    if isinstance(value, Mapping):
        if value.get("_mlv") == "unstorable":
            return value.get("repr")
        return {
            key: _strict(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", nonfinite)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_strict(item, f"{pointer}/{place}", nonfinite) for place, item in enumerate(value)]
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
