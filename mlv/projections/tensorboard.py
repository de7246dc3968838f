"""TensorBoard: the log as event files, which `tensorboard --logdir` shows."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

from mlv.encoding import parse_time, text_only
from mlv.errors import MlvError
from mlv.events import Event
from mlv.projections.appending import inside
from mlv.projections.batch import LineBatch
from mlv.projections.graphs import graph_def
from mlv.projections.hparams import HparamsSession
from mlv.projections.output import Output
from mlv.projections.points import points_and_events, whole_step
from mlv.projections.scalar_records import packed_value, scalar_head, step_field, time_field
from mlv.projections.step_axes import StepAxes
from mlv.projections.summaries import TYPES, shown_values, text_value
from mlv.projections.tfevents import EventFile, empty, first_record, own_files, reopened
from mlv.projections.tfrecords import framed
from mlv.query.metrics.lines import MetricsLine, metrics_line_of, microseconds
from mlv.store import layout
from mlv.store.blobs import replace_whole
from mlv.store.meta import read_meta

_MAIN = re.compile(r"\.mlv\d*(\.\w+)?$")
_SUMMARY_TEXT = "/text_summary"
"""Suffix that tensorboardX and torch add to the tag of a text."""


@dataclass(slots=True)
class TagSeries:
    """One curve, one row of pictures, or the like."""

    kind: str
    name: str
    file: EventFile
    tag: str
    head: bytes
    """The bytes of a scalar's record between its step and its value."""
    count: int = 0
    """Number of points so far; the next one without a step gets this as its step."""
    last_step: int | None = None


@dataclass(kw_only=True)
class TensorBoard(Output):
    """Event files: `log` in the output's folder, every other stream in a folder of its own name below it.

    A series has its full name as tag; where a series of that name has another kind of page in TensorBoard already, the kind
    follows, as in `loss/image`. A step that is a whole number stays what it is, a fraction is rounded down, a list or mapping
    with one number counts as that number. All else, and no step, is the position in the series, from 0, over all runs.
    Values are floats of 32 bits: beyond their range they are infinite. Texts among metrics are shown as texts. From the line of
    `log.describe(name, x=)` on, the whole number of that x is the step of the metric in that stream. Values of `exp.summarize`
    stand in a folder of their own, as those of the stream `summary`.

    Superseded lines are left out: a new rewind has the files written again, under names that come behind the old ones,
    which stay without content. The new begin with the record that `purge_step` leaves: a TensorBoard that is open forgets.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("tensorboardX",)
    EXTRA: ClassVar[str] = "tensorboard"

    name: str = field(default="tensorboard", repr=False)
    hparams: bool = True
    """Whether params and the end of the run go to TensorBoard's page for hyperparameters."""
    texts: bool = True
    """Whether messages, notes and events of other names are shown, as texts."""
    arrays: bool = False
    """Whether arrays are shown, as histograms of their values."""

    going_back: dict[str, None] = field(init=False, repr=False, compare=False, default_factory=dict)
    """Metrics of which a step came after a greater one since the output was opened: TensorBoard's line runs back there."""

    def open(self, place: Path, resume: Any) -> None:
        """Begin anew, or go on from the last `commit`.

        Raises:
            CannotResume: A file has become shorter, or is gone.
        """
        state = resume or {"exp": "", "created_s": 0.0, "files": {}, "series": {}, "session": None}
        self._folder, self._exp, self._created_s = place, state["exp"], state["created_s"]
        self._rewinds = state.get("rewinds", 0)
        self._streams: dict[str, dict[tuple[str, str], TagSeries]] = {}
        self._kinds: dict[tuple[str, str, str], str] = {}
        self._axes = {stream: StepAxes(*data) for stream, data in state.get("axes", {}).items()}
        self._session = HparamsSession(**state["session"]) if state["session"] else None
        self._hparams_content = b""
        self.going_back = {}
        for stream in state["series"]:
            inside(place, stream)
        self._files: dict[str, EventFile] = reopened(place, state["files"])
        if self._exp:
            self._clear({self._hparams_path(), *(file.path for file in self._files.values())})
        for stream, rows in state["series"].items():
            for kind, name, count, *last_step in rows:
                series = self._series(stream, kind, name)
                series.count, series.last_step = count, next(iter(last_step), None)

    def tag_of(self, name: str) -> str:
        """Return the tag of a series; called once for each."""
        return name

    def file_of(self, stream: str, name: str) -> str:
        """Return the event file of a series, relative to the output's folder; called once for each.

        The stream is named as its file is: `val@rk3v9x2m` for lines that a second writer added to `val`.
        """
        logical, _, writer = stream.partition("@")
        folder = "" if logical == layout.DEFAULT_STREAM else f"{logical}/"
        # A viewer that reads one file after the other has to meet the growing one last: `.hparams` sorts before it, and
        # `.mlv001`, of an experiment that was rewound once, behind `.mlv.rk3v9x2m`.
        return f"{folder}{self._main_name()}{f'.{writer}' if writer else ''}"

    def write(self, batch: LineBatch) -> None:
        """Add the events of the lines."""
        if self._session is None:
            self._begin(batch)
        for entry in points_and_events(batch):
            if type(entry) is MetricsLine:
                self._write_points(batch.file, entry)
            elif isinstance(entry, Event):
                self._write_event(batch, entry)
        for file in self._files.values():
            file.flush()

    def commit(self) -> dict[str, Any]:
        """Bring everything to the disk."""
        sizes = {path: file.commit() for path, file in self._files.items()}
        self._write_hparams()
        series = {
            stream: [[entry.kind, entry.name, entry.count, entry.last_step] for entry in entries.values()]
            for stream, entries in self._streams.items()
        }
        session = self._session.to_data() if self._session else None
        identity = {"exp": self._exp, "created_s": self._created_s, "rewinds": self._rewinds}
        axes = {stream: own.to_data() for stream, own in self._axes.items()}
        return {**identity, "files": sizes, "series": series, "session": session, **({"axes": axes} if axes else {})}

    def close(self) -> None:
        """Close the files."""
        for file in self.__dict__.pop("_files", {}).values():
            file.close()

    def discard(self, place: Path, resume: Any) -> None:
        """Remove everything that was written, as it is built again."""
        self._folder, self._exp, self._created_s, self._rewinds = place, resume["exp"], resume["created_s"], -1
        if self._exp:
            self._clear(set())

    def _clear(self, excepted: set[Path]) -> None:
        """Remove the files written of the experiment before, except some paths.

        A viewer reads on only where the file that it has come to still exists: those stay, without their content.
        """
        for path in own_files(self._folder, self._exp):
            if path not in excepted:
                empty(path) if _MAIN.search(path.name) and not self._is_needed(path) else path.unlink()

    def _is_needed(self, path: Path) -> bool:
        """Return whether a file of that name is written now."""
        return path.name == self._main_name() or path.name.startswith(f"{self._main_name()}.")

    def _begin(self, batch: LineBatch) -> None:
        folder = batch.folder
        self._exp, self._session, self._rewinds = layout.exp_id(folder), HparamsSession.of(folder), batch.rewinds
        with suppress(MlvError, KeyError, ValueError):  # a broken meta.json: the log is shown all the same
            self._created_s = microseconds(parse_time(str(read_meta(folder).content["created"]))) / 1e6
        self._clear(set())

    def _write_points(self, stream: str, points: MetricsLine) -> None:
        entries = self._streams.get(stream) or self._streams.setdefault(stream, {})
        time = time_field(points.time_us / 1e6)
        step = whole_step(points.step)
        head = None if step is None else time + step_field(step)
        moved = self._axes[stream].steps(points) if stream in self._axes else None
        prefix = points.prefix
        for key, value in points.data.items():
            kind = type(value)
            if kind is float or kind is int or kind is bool:
                # Nearly all values are such: a record is joined from prepared bytes, which costs less than protobuf.
                name = prefix + key
                series = entries.get(("scalar", name)) or self._series(stream, "scalar", name)
                packed = packed_value(value)
                own, begin = step, head
                if moved and name in moved:
                    own = moved[name]
                    begin = time + step_field(own)
                series.file.add((time + step_field(series.count) if begin is None else begin) + series.head + packed)
                series.count += 1
                if own is not None:
                    if series.last_step is not None and own < series.last_step:
                        self.going_back[name] = None
                    series.last_step = own
            elif kind is str:
                own = (moved or {}).get(prefix + key, step)
                self._add(stream, "text", prefix + key, text_value(value), points.time_us, own)

    def _write_event(self, batch: LineBatch, event: Event) -> None:
        if event.type in TYPES and (self.texts or event.type not in ("message", "note", "event")):
            step, time_us = whole_step(event.step), microseconds(event.time)
            for kind, name, value in shown_values(event, batch.folder, arrays=self.arrays):
                self._add(batch.file, kind, name, value, time_us, step)
        elif event.type == "graph":
            self._write_graph(batch, event)
        elif event.type == "summary" and isinstance(event.data, dict):
            values = replace(event, type="metrics")
            self._write_points(batch.file, cast("MetricsLine", metrics_line_of(values)))
        elif event.type == "metadata" and isinstance(event.data, dict) and "x" in event.data:
            self._axes.setdefault(batch.file, StepAxes()).describe(event.name, event.data["x"])
        elif self._session is not None and batch.stream == layout.DEFAULT_STREAM:
            self._session.take(event)

    def _add(self, stream: str, kind: str, name: str, value: Any, time_us: int, step: int | None) -> None:
        """Add a value that is no scalar."""
        from tensorboardX.proto.event_pb2 import Event as Record
        from tensorboardX.proto.summary_pb2 import Summary

        series = self._series(stream, kind, name)
        value.tag = series.tag
        position = series.count if step is None else step
        record = Record(wall_time=time_us / 1e6, step=position, summary=Summary(value=[value]))
        series.file.add(record.SerializeToString())
        series.count += 1

    def _write_graph(self, batch: LineBatch, event: Event) -> None:
        from tensorboardX.proto.event_pb2 import Event as Record

        with suppress(OSError, ValueError, KeyError, TypeError):  # its file is gone, or damaged
            graph = graph_def(event, batch.folder)
            record = Record(wall_time=microseconds(event.time) / 1e6, graph_def=graph)
            self._file(self.file_of(batch.file, event.name)).add(record.SerializeToString())

    def _series(self, stream: str, kind: str, name: str) -> TagSeries:
        entries = self._streams.setdefault(stream, {})
        if (kind, name) not in entries:
            path = self.file_of(stream, name)
            tag = self._free_tag(stream, os.path.dirname(path), kind, text_only(name))
            entries[kind, name] = TagSeries(kind, name, self._file(path), tag, scalar_head(tag))
        return entries[kind, name]

    def _free_tag(self, stream: str, folder: str, kind: str, name: str) -> str:
        """Return a tag that has only one kind among those of a stream in a folder: TensorBoard shows no second one."""
        tag = self.tag_of(name) + (_SUMMARY_TEXT if kind == "text" else "")
        while self._kinds.setdefault((stream, folder, tag), kind) != kind:
            tag = f"{tag}/{kind}"
        return tag

    def _file(self, path: str) -> EventFile:
        if path not in self._files:
            self._files[path] = EventFile.create(self._folder / path, self._created_s, self._exp)
            if self._rewinds and os.path.basename(path) == self._main_name():  # those of second writers are read behind it
                self._files[path].add(self._forget_all())
        return self._files[path]

    def _forget_all(self) -> bytes:
        """Return the record at which TensorBoard forgets all events read so far: its step is the lowest there is."""
        from tensorboardX.proto.event_pb2 import Event as Record
        from tensorboardX.proto.event_pb2 import SessionLog

        start = SessionLog(status=SessionLog.START)
        record: bytes = Record(wall_time=self._created_s, step=-(2**63), session_log=start).SerializeToString()
        return record

    def _main_name(self) -> str:
        return self._file_name(f"mlv{self._rewinds:03}" if self._rewinds else "mlv")

    def _file_name(self, suffix: str) -> str:
        return f"events.out.tfevents.{int(self._created_s)}.{self._exp[:8]}.{suffix}"

    def _hparams_path(self) -> Path:
        return self._folder / self._file_name("hparams")

    def _write_hparams(self) -> None:
        """Replace the file of the hyperparameters, whole: a viewer takes only the first that it finds in a file."""
        if self._session is None or not self.hparams:
            return
        content = framed([first_record(self._created_s, self._exp), *self._session.records(self._created_s)])
        if content != self._hparams_content:
            path = self._hparams_path()
            replace_whole(path, content)
            self._hparams_content = content
