"""The event files of a writer: an output that leaves what the original would have written, record by record."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from mlv import Event
from mlv.compat.tensorboard.names import FILE, FORM, HPARAMS, RECORD, SIZES, SUMMARY, WALLTIME
from mlv.projections import Output, open_attached
from mlv.projections.points import points_and_events, whole_step
from mlv.projections.scalar_records import packed_value, scalar_head, step_field, summary_field, time_field
from mlv.projections.summaries import shown_values
from mlv.projections.tfevents import EventFile, removed, reopened

_SHOWN = ("audio", "image", "text", "video")
"""Types of events from which a summary is made; any other summary is logged as such."""
_NUMBERS = (float, int, bool)

PREFIX = "events.out.tfevents."
"""Begin of the names of event files."""


@dataclass(kw_only=True)
class EventFiles(Output):
    """`events.out.tfevents.*` in the folder: one for each run, with the records that the original would have written.

    Superseded lines stay in it: as the original does, a run that went back says so by a record, at which TensorBoard forgets.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("tensorboardX",)
    EXTRA: ClassVar[str] = "tensorboard"
    NOTES_IN_EXPERIMENT: ClassVar[bool] = True
    KEEPS_SUPERSEDED: ClassVar[bool] = True

    name: str = field(default="summary-writer", repr=False)

    def open(self, place: Path, resume: Any) -> None:
        """Begin anew, or go on from the last `commit`.

        Raises:
            CannotResume: A file has become shorter, or is gone.
        """
        state = resume or {"exp": "", "files": {}, "runs": {}, "latest": "", "forms": {}, "steps": {}, "early": []}
        self._folder, self._exp, self._latest = place, state["exp"], state["latest"]
        self._runs: dict[str, str] = dict(state["runs"])
        self._forms: dict[str, dict[str, Any]] = dict(state["forms"])
        self._steps: dict[str, int] = dict(state["steps"])
        self._early = [b64decode(record) for record in state["early"]]
        self._heads: dict[str, bytes] = {}
        self._files: dict[str, EventFile] = reopened(place, state["files"])

    def write(self, batch: Any) -> None:
        """Add the records of the lines."""
        if batch.stream != "log":  # the others are no calls of a writer
            return
        for entry in points_and_events(batch):
            if isinstance(entry, Event):
                self._write_event(batch.folder, entry)
            else:
                self._write_points(entry)
        for file in self._files.values():
            file.flush()

    def commit(self) -> dict[str, Any]:
        """Bring everything to the disk."""
        return {
            "exp": self._exp,
            "files": {path: file.commit() for path, file in self._files.items()},
            "runs": self._runs,
            "latest": self._latest,
            "forms": self._forms,
            "steps": self._steps,
            "early": [b64encode(record).decode() for record in self._early],
        }

    def close(self) -> None:
        """Close the files."""
        for file in self.__dict__.pop("_files", {}).values():
            file.close()

    def discard(self, place: Path, resume: Any) -> None:
        """Remove the files, as they are written again."""
        removed(place, resume["files"])

    def _write_points(self, points: Any) -> None:
        add = self._adding(points.run)
        time = time_field(_time_s(points.at, points.time_us / 1e6))
        step = whole_step(points.step) or 0
        begin = time + step_field(step)
        for key, value in points.data.items():
            if type(value) in _NUMBERS:
                tag = points.prefix + key
                if tag in self._forms:
                    add(begin + summary_field(_formed(tag, value, self._forms[tag])))
                else:
                    add(begin + self._head(tag) + packed_value(value))
                self._steps[tag] = step

    def _write_event(self, folder: Path, event: Event) -> None:
        if event.type == "run_started" and isinstance(event.data, Mapping):
            self._exp = str(event.data.get("exp"))
        elif event.type == "event" and isinstance(event.data, Mapping):
            with suppress(AttributeError, KeyError, TypeError, ValueError):  # a user's own event of that name
                self._write_named(event, event.data)
        elif event.type == "array" and event.name in (SUMMARY, RECORD):
            with suppress(Exception):  # its file is gone, or is another one
                self._write_ready(event, _bytes_of(folder, event.data["file"]))
        elif event.type in _SHOWN:
            sizes = {name: size for name, size in event.at.items() if name in SIZES}
            sized = replace(event, data={**event.data, **sizes}) if sizes and isinstance(event.data, Mapping) else event
            for summary in _summaries(sized, folder):
                self._add_summary(event, summary)

    def _write_named(self, event: Event, data: Mapping[str, Any]) -> None:
        if event.name == FILE:
            self._begin_file(event, data["file"], data.get("purge_step"))
        elif event.name in (SUMMARY, RECORD):
            self._write_ready(event, b64decode(data["content"], validate=True))
        elif event.name == FORM:
            tag, form = str(data["tag"]), dict(data["form"])
            _formed(tag, 0.0, form)  # it raises for what is no form
            self._forms.pop(tag, None)
            if form:
                self._forms[tag] = form
        elif event.name == HPARAMS:
            self._write_hparams(event, data)

    def _begin_file(self, event: Event, name: str, purge_step: Any) -> None:
        if not name.startswith(PREFIX):
            raise ValueError(name)
        name = checked_name(name)
        purging = () if purge_step is None else _purging(int(purge_step), event.time.timestamp())
        file = self._file(name, event.time.timestamp())
        self._runs[event.run] = self._latest = name
        for record in (*purging, *self._early):
            file.add(record)
        self._early.clear()

    def _write_ready(self, event: Event, content: bytes) -> None:
        if event.name == SUMMARY:
            self._add_summary(event, content)
        else:
            self._adding(event.run)(content)

    def _write_hparams(self, event: Event, data: Mapping[str, Any]) -> None:
        """Add the records of `add_hparams` to the run's file, or to one of its name in a folder of their own.

        In the run's own file a metric without a step stands at the latest one of its tag: its curve does not run back.
        """
        main, folder = self._runs.get(event.run, self._latest), checked_name(data.get("folder") or "")
        summaries, metrics = [b64decode(content, validate=True) for content in data["summaries"]], dict(data["metrics"])
        time_s = event.time.timestamp()
        file = self._file(os.path.join(folder, main), time_s)
        time, step = time_field(time_s), whole_step(event.step)
        for summary in summaries:
            file.add(time + step_field(step or 0 if data.get("is_stepped") else 0) + summary_field(summary))
        for tag, value in metrics.items():
            if type(value) in _NUMBERS:
                own = (0 if folder else self._steps.get(tag, 0)) if step is None else step
                file.add(time + step_field(own) + self._head(tag) + packed_value(value))
                if not folder:
                    self._steps[tag] = own

    def _add_summary(self, event: Event, summary: bytes) -> None:
        time = time_field(_time_s(event.at, event.time.timestamp()))
        self._adding(event.run)(time + step_field(whole_step(event.step) or 0) + summary_field(summary))

    def _head(self, tag: str) -> bytes:
        if tag not in self._heads:
            self._heads[tag] = scalar_head(tag.encode("utf-8", "backslashreplace").decode())
        return self._heads[tag]

    def _adding(self, run: str) -> Callable[[bytes], None]:
        """Return a function that adds a record of a run; a child has no file of its own, and writes into the latest.

        The first lines of a child may come before those of the process that began the experiment: they wait for its file.
        """
        path = self._runs.get(run) or self._latest
        return self._files[path].add if path else self._early.append

    def _file(self, path: str, time_s: float) -> EventFile:
        if path not in self._files:
            self._files[path] = EventFile.create(self._folder / path, time_s, self._exp)
        return self._files[path]


def checked_name(path: str) -> str:
    """Return a path that leads to a place in its folder, the same for every way to write it; empty for the folder itself.

    Raises:
        ValueError: It leads elsewhere.
    """
    if os.path.isabs(path) or ".." in Path(path).parts:
        raise ValueError(f"{path!r} does not lead into the folder")
    # Two paths of one file would be two files to write, and the second one would begin with cutting off what is in the first.
    normal = os.path.normpath(path)
    return "" if normal == "." else normal


def _time_s(at: Mapping[str, Any] | None, time_s: float) -> float:
    """Return the time that the script chose for a value, or else that of its event."""
    chosen = at.get(WALLTIME) if at else None
    return float(chosen) if isinstance(chosen, (int, float)) else time_s


def _formed(tag: str, value: float, form: Mapping[str, Any]) -> bytes:
    """Return the summary of a scalar that has another form than usual.

    Raises:
        TypeError, ValueError: There is no such form.
    """
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    if form.get("new_style"):
        is_double = bool(form.get("double_precision"))
        numbers = {"double_val": [value]} if is_double else {"float_val": [value]}
        plugin = SummaryMetadata.PluginData(plugin_name="scalars")
        tensor = TensorProto(dtype="DT_DOUBLE" if is_double else "DT_FLOAT", **numbers)
        own = Summary.Value(tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin))
    else:
        own = Summary.Value(tag=tag, simple_value=value, metadata=SummaryMetadata(**form))
    content: bytes = Summary(value=[own]).SerializeToString()
    return content


def _summaries(event: Event, folder: Path) -> Iterator[bytes]:
    from tensorboardX.proto.summary_pb2 import Summary

    for kind, name, value in shown_values(event, folder):
        value.tag = f"{name}/text_summary" if kind == "text" else name
        yield Summary(value=[value]).SerializeToString()


def _purging(step: int, time_s: float) -> Iterator[bytes]:
    """Yield the records at which TensorBoard forgets what stands at a step and above."""
    from tensorboardX.proto.event_pb2 import Event as Record
    from tensorboardX.proto.event_pb2 import SessionLog

    yield Record(wall_time=time_s, step=step, file_version="brain.Event:2").SerializeToString()
    yield Record(wall_time=time_s, step=step, session_log=SessionLog(status=SessionLog.START)).SerializeToString()


def _bytes_of(folder: Path, reference: Mapping[str, Any]) -> bytes:
    import numpy

    with open_attached(folder, reference) as file:
        content: bytes = numpy.load(file, allow_pickle=False).tobytes()
    return content
