"""The hyperparameters that TensorBoard's page of that name shows: params, and how the run ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlv.encoding import digits, json_of_any, text_only
from mlv.errors import MlvError
from mlv.events import Event
from mlv.query.metrics.lines import microseconds
from mlv.query.unique_names import Keys, joined
from mlv.store.meta import read_meta

_GREATEST = sys.float_info.max
_ENDINGS = {"ok": "STATUS_SUCCESS", "running": "STATUS_RUNNING"}


@dataclass
class HparamsSession:
    """The row of one experiment on the page, as far as its log was read."""

    params: dict[str, Any] = field(default_factory=dict)
    """Flat: by name a number, a bool or a text."""
    run: str | None = None
    """The latest run that is no child of another."""
    started_s: float = 0.0
    ended_s: float | None = None
    status: str = "running"

    @classmethod
    def of(cls, folder: Path) -> HparamsSession:
        """Return the session of an experiment without a run."""
        try:
            return cls(dict(flat_params(read_meta(folder).content["params"])))
        except (MlvError, OSError, KeyError, TypeError):
            return cls()

    def to_data(self) -> dict[str, Any]:
        """Return a JSON form, of which `HparamsSession(**data)` is this again."""
        return asdict(self)

    def take(self, event: Event) -> None:
        """Apply an event."""
        data = event.data if isinstance(event.data, Mapping) else {}
        if event.type == "params":
            self.params.update(flat_params(data))
        elif event.type == "run_started" and not data.get("parent_run"):
            self.run, self.status, self.ended_s = event.run, "running", None
            self.started_s = self.started_s or microseconds(event.time) / 1e6
            self.params.update(flat_params(data.get("params")))
        elif event.type == "run_ended" and event.subject == self.run:
            self.status, self.ended_s = str(data.get("status")), microseconds(event.time) / 1e6

    def records(self, time_s: float) -> Iterator[bytes]:
        """Yield the records of the session.

        There is none of an `experiment` among them: TensorBoard would take the first that it meets in a tree for that of
        the whole tree. Without one it collects the params and metrics, and their ranges, of all runs.
        """
        from tensorboardX.proto.api_pb2 import Status
        from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

        start = SessionStartInfo(start_time_secs=self.started_s)
        for name, value in self.params.items():
            start.hparams[name].MergeFrom(_value(value))
        yield _record(time_s, "session_start_info", HParamsPluginData(session_start_info=start))
        if self.ended_s is not None:
            status = Status.Value(_ENDINGS.get(self.status, "STATUS_FAILURE"))
            end = SessionEndInfo(status=status, end_time_secs=self.ended_s)
            yield _record(time_s, "session_end_info", HParamsPluginData(session_end_info=end))


def flat_params(params: Any) -> Iterator[tuple[str, Any]]:
    """Yield params as the page takes them: nested names join with `/`; a value that is no number, bool or text is a text."""
    leaves = dict(_leaves(params))
    names = joined(leaves, "/")
    for path, value in leaves.items():
        name = names[path]
        if isinstance(value, bool):
            yield name, value
        elif isinstance(value, str):
            yield name, text_only(value)
        elif isinstance(value, (int, float)) and abs(value) <= _GREATEST:
            yield name, float(value)
        elif value is not None:
            yield name, _as_json(value)


def _leaves(params: Any, path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for key, value in params.items() if isinstance(params, Mapping) else ():
        below = (*path, text_only(str(key)))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, below)
        else:
            yield below, value


def _as_json(value: Any) -> str:
    if isinstance(value, int):
        return digits(value)
    return str(value) if isinstance(value, float) else json_of_any(value)


def _value(value: Any) -> Any:
    from google.protobuf.struct_pb2 import Value

    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    return Value(number_value=value)


def _record(time_s: float, kind: str, content: Any) -> bytes:
    from tensorboardX.proto.event_pb2 import Event as Record
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    # Mappings have no order of their own there.
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString(deterministic=True))
    value = Summary.Value(tag=f"_hparams_/{kind}", metadata=SummaryMetadata(plugin_data=plugin))
    record: bytes = Record(wall_time=time_s, summary=Summary(value=[value])).SerializeToString()
    return record
