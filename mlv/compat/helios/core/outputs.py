"""The files of a run of helios: a text file of its messages, and the event files of its writer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mlv import Event
from mlv.compat.textfile import TextFile, committed, discard
from mlv.projections import Output, TensorBoard

SCALARS = "add_scalars"
"""Beginning of the names of series that `add_scalars` logs; each of them has a folder of its own."""
HPARAMS = "hparams"
"""The name of the event that `add_hparams` logs."""


@dataclass(kw_only=True)
class LogFile(Output):
    """A line `[2026-11-21 03:40:24,927] [INFO]: hello` for each message above `debug`, in local time; tracebacks follow."""

    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    name = "helios-log"

    file: str = "run.log"
    """Its name in the output's folder."""

    _text: TextFile = field(init=False, repr=False, compare=False)

    def open(self, place: Path, resume: Any) -> None:
        """Go on with the file, or begin it."""
        self._text = TextFile(place / self.file, committed(resume))

    def write(self, batch: Any) -> None:
        """Add the messages."""
        for event in batch:
            if (
                event.type == "message"
                and not event.name
                and isinstance(event.data, Mapping)
                and event.data.get("level") != "debug"
            ):
                self._text.add(_shown(event, event.data).encode("utf-8", "backslashreplace"))

    def commit(self) -> Any:
        """Hand everything to the system."""
        return {"size": self._text.commit()}

    def close(self) -> None:
        """Close the file."""
        self._text.close()

    def discard(self, place: Path, resume: Any) -> None:
        """Move the file aside."""
        discard(place / self.file)


def _shown(event: Event, data: Mapping[str, Any]) -> str:
    extra, exception = data.get("extra") or {}, data.get("exception") or {}
    moment = event.time.astimezone()
    time = extra.get("said") or f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03d}"
    level = extra.get("level_name") or str(data.get("level")).upper()
    more = (str(text).rstrip("\n") for text in (exception.get("traceback"), extra.get("stack")) if text)
    return "\n".join([f"[{time}] [{level}]: {data.get('message')}", *more]) + "\n"


@dataclass(kw_only=True)
class EventFiles(TensorBoard):
    """The event files that helios' writer leaves: those of the experiment's metrics and media, and one for each `add_hparams`.

    `add_scalars(main, {tag: ...})` logs the series `main` of a folder `<main>_<tag>`.
    """

    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    name: str = field(default="helios-tensorboard", repr=False)
    hparams: bool = False
    texts: bool = False

    def open(self, place: Path, resume: Any) -> None:
        """Begin anew, or go on from the last `commit`."""
        self._hparams_folder = place
        super().open(place, resume)

    def tag_of(self, name: str) -> str:
        """Return the tag of a series."""
        main, _ = _of_add_scalars(name)
        return main or name

    def file_of(self, stream: str, name: str) -> str:
        """Return the event file of a series."""
        path = super().file_of(stream, name)
        main, tag = _of_add_scalars(name)
        return f"{main.replace('/', '_')}_{tag}/{os.path.basename(path)}" if main else path

    def write(self, batch: Any) -> None:
        """Add the events of the lines."""
        super().write(batch)
        if b'"hparams"' in batch.lines:
            for event in batch:
                if event.name == HPARAMS and event.type in ("event", "rejected"):
                    parameters = event.data if event.type == "event" else event.data.get("rest")
                    with suppress(AttributeError, KeyError, TypeError, ValueError):  # a user's event of that name
                        self._write_hparams_of(event, parameters)

    def _write_hparams_of(self, event: Event, parameters: Mapping[str, Any]) -> None:
        """Write a file, whole: a viewer takes only the first parameters that it finds in a file, and it sorts before others."""
        folder = self._hparams_folder / str(parameters.get("run_name") or ".")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.0000000000.hparams.{event.run}.{event.seq:09d}"
        temporary = folder / f".tmp-{event.run}-{event.seq}"
        _write_records(temporary, event, parameters)
        os.replace(temporary, path)


def _of_add_scalars(name: str) -> tuple[str, str]:
    """Return main tag and tag of a series of `add_scalars`; empty for all others."""
    begin, _, series = name.partition("/")
    main, _, tag = series.rpartition("/")
    return (main, tag) if begin == SCALARS else ("", "")


def _write_records(path: Path, event: Event, parameters: Mapping[str, Any]) -> None:
    from tensorboardX.proto.event_pb2 import Event as Record
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import RecordWriter

    time_s = event.time.timestamp()
    step = event.step if isinstance(event.step, int) else 0
    writer = RecordWriter(str(path))
    writer.write(Record(wall_time=time_s, file_version="brain.Event:2").SerializeToString())
    for value in _parameters(parameters["hparams"], parameters["metrics"], parameters.get("domain") or {}):
        writer.write(Record(wall_time=time_s, summary=Summary(value=[value])).SerializeToString())
    for tag, number in parameters["metrics"].items():
        if isinstance(number, (int, float)):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=number)])
            writer.write(Record(wall_time=time_s, step=step, summary=summary).SerializeToString())
    writer.close()


def _parameters(hparams: Mapping[str, Any], metrics: Iterable[str], domain: Mapping[str, Any]) -> Iterable[Any]:
    """Yield the values that TensorBoard's page of hyperparameters reads."""
    from google.protobuf.struct_pb2 import ListValue
    from tensorboardX.proto import api_pb2, plugin_hparams_pb2
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    present = {name: value for name, value in hparams.items() if value is not None}
    infos = []
    for name, value in present.items():
        info = api_pb2.HParamInfo(name=name, type=api_pb2.DataType.Value(f"DATA_TYPE_{_kind(value)}"))
        if name in domain:
            info.domain_discrete.MergeFrom(ListValue(values=[_value(choice) for choice in domain[name]]))
        infos.append(info)
    metric_infos = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    start = plugin_hparams_pb2.SessionStartInfo()
    for name, value in present.items():
        start.hparams[name].MergeFrom(_value(value))
    end = plugin_hparams_pb2.SessionEndInfo(status=api_pb2.Status.Value("STATUS_SUCCESS"))
    contents = {
        "experiment": plugin_hparams_pb2.HParamsPluginData(
            experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=metric_infos)
        ),
        "session_start_info": plugin_hparams_pb2.HParamsPluginData(session_start_info=start),
        "session_end_info": plugin_hparams_pb2.HParamsPluginData(session_end_info=end),
    }
    for name, content in contents.items():
        text = content.SerializeToString(deterministic=True)  # mappings have no order of their own there
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=text)
        yield Summary.Value(tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=plugin))


def _kind(value: Any) -> str:
    return "BOOL" if isinstance(value, bool) else "FLOAT64" if isinstance(value, (int, float)) else "STRING"


def _value(value: Any) -> Any:
    from google.protobuf.struct_pb2 import Value

    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(number_value=value) if isinstance(value, (int, float)) else Value(string_value=str(value))
