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
"""Names of events: a backend was made; a Logger was made; a record that is no flat mapping; the metadata of a metric."""


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
        """Return the fields of the Logger that an event came from."""
        logger: Mapping[str, Any] = self._run(event)["loggers"].get(str(event.at.get("logger", 0)), {})
        return logger

    def _is_shown(self, event: Event) -> bool:
        most = self._logger_of(event).get("verbosity")
        return most is None or event.verbosity <= most

    def _others_write(self, opened: Event, gone: Collection[str]) -> bool:
        """Return whether another process than that of this run was still writing the file then.

        Times decide: events that two processes logged side by side may stand in the log one after the other.
        """
        mine, time = self._run(opened)["process"], opened.time.isoformat(timespec="microseconds")
        other_runs = [run for name, run in self._runs.items() if name not in gone and run["process"] != mine]
        return any(run["is_writing"] and (run["ended"] is None or run["ended"] > time) for run in other_runs)

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
        root = "/data" if record["type"] == "LOG" else "/metadata"
        named = {pointer.removeprefix(root): text for pointer, text in nonfinite.items()}
        line = json.dumps({**times, **body, **({"nonfinite": named} if named else {})}, allow_nan=False)
        return b"DLLL %s\n" % line.encode()


def _new_run() -> dict[str, Any]:
    return {"process": None, "loggers": {}, "is_writing": False, "ended": None}


def _record(event: Event, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields of a line beside its times; None where the event is no record."""
    type_, content = event.type, data
    if type_ == "rejected":  # its readable fields stand in its `rest`
        type_, content = str(data.get("type")), data["rest"] if isinstance(data.get("rest"), Mapping) else {}
    if type_ == "metrics" and not event.name:
        return {"type": "LOG", "step": event.step, "data": content}
    if type_ == "event" and event.name == RECORD:
        return {"type": "LOG", "step": event.step, "data": content.get("data")}
    if type_ == "event" and event.name == METADATA:
        return {"type": "METADATA", "metric": content.get("metric"), "metadata": content.get("metadata")}
    return None


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None


def _strict(value: Any, pointer: str, nonfinite: dict[str, str]) -> Any:
    """Return a value as JSON has it."""
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
        return [_strict(item, f"{pointer}/{index}", nonfinite) for index, item in enumerate(value)]
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
