"""tensorboardX's SummaryWriter and FileWriter."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from socket import gethostname
from time import time
from typing import Any

from mlv.compat.tensorboard.calls import Calls
from mlv.compat.tensorboard.file_writer import FileWriter as FileWriterOfTorch
from mlv.compat.tensorboard.file_writer import checked_number, whole
from mlv.compat.tensorboard.guarding import guarded
from mlv.compat.tensorboard.installing import original
from mlv.compat.tensorboard.names import WALLTIME

_NO_TAG = re.compile(r"[^-/\w.]")


class FileWriter(FileWriterOfTorch):
    """The FileWriter of tensorboardX: the names of its files have no number of a process, and it has defaults for a block."""

    profile_tag = "profiler"
    _defaults: tuple[Any, float | None]

    def __init__(self, logdir: Any, max_queue: int = 10, flush_secs: float = 120, filename_suffix: str = "") -> None:
        """Begin an event file; `max_queue` and `flush_secs` have no effect.

        Raises:
            InvalidArgument: The folder is no local one.
            SavedirUnusable, OSError: It cannot be written.
            MissingExtra: tensorboardX is not installed.
        """
        super().__init__(logdir, max_queue, flush_secs, filename_suffix)

    def add_summary(self, summary: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Add a summary, at a step and a time that default to those of `use_metadata`."""
        super().add_summary(summary, *self.defaults(global_step, walltime))

    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        """Add a record, at a step and a time that default to those of `use_metadata`."""
        super().add_event(event, *self.defaults(step, walltime))

    def add_openvino_graph(self, graph: Any, walltime: float | None = None) -> None:
        """Add a graph."""
        self.add_onnx_graph(graph, walltime)

    @contextmanager
    def use_metadata(self, *, global_step: Any = None, walltime: float | None = None) -> Iterator[FileWriter]:
        """Give all that is added in a block a step, a time, or both."""
        self._defaults = (global_step, walltime)
        try:
            yield self
        finally:
            self._defaults = (None, None)

    @property
    def has_defaults(self) -> bool:
        """Whether a block of `use_metadata` goes on."""
        return self._defaults != (None, None)

    def defaults(self, step: Any, walltime: float | None) -> tuple[Any, float | None]:
        """Return a step and a time, those of the block where there are none."""
        own_step, own_walltime = self._defaults
        return own_step if step is None else step, own_walltime if walltime is None else walltime

    def _begin(self, log_dir: Any, suffix: str, purge_step: int | None = None) -> None:
        self._defaults = (None, None)
        super()._begin(log_dir, suffix, purge_step)

    def _file_stem(self) -> str:
        return f"{int(time()):010d}.{gethostname()}"

    def _records(self) -> Any:
        from tensorboardX.proto import event_pb2

        return event_pb2


class _Nothing:
    """Stands for an experiment and its loggers where nothing is kept: takes every call."""

    def __call__(self, *_: Any, **__: Any) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __getattr__(self, name: str) -> _Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class _Silence(FileWriter):
    """A FileWriter of which nothing is on the disk."""

    def _begin(self, log_dir: Any, suffix: str, purge_step: int | None = None) -> None:
        nothing: Any = _Nothing()
        self._logdir, self._defaults, self._reporter = str(log_dir), (None, None), nothing
        self.exp, self.log, self.folder = nothing, nothing, Path(self._logdir)

    def without_credentials(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the params: nothing is stored."""
        return params

    def _is_stored(self) -> bool:
        return False

    def at(self, walltime: float | None) -> Any:
        """Return a logger that keeps nothing."""
        return self.log

    def reopen(self) -> None:
        """Do nothing."""


class SummaryWriter(Calls):
    """The SummaryWriter of tensorboardX, whose calls are events of an experiment as well: `writer.exp`.

    The arguments and the files are those of the original. A call that cannot be logged is left out with a warning.
    """

    file_writer: FileWriter | None

    def __init__(
        self,
        logdir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
        write_to_disk: bool = True,
        log_dir: Any = None,
        comet_config: dict[str, Any] = {"disabled": True},  # noqa: B006 - the original's, and never changed
        **kwargs: Any,
    ) -> None:
        """Begin an event file in `logdir`, and an experiment in `<logdir>/.mlv-experiments`.

        Args:
            logdir: A local folder; None is `log_dir`, or else `runs/<time>_<host><comment>`.
            comment: The end of that name.
            purge_step: Go on with the latest experiment of the folder from this step: what it had from there on is superseded,
                and TensorBoard hides it.
            max_queue: Without effect: what was logged outlives the process.
            flush_secs: Without effect, as well.
            filename_suffix: The end of the event file's name.
            write_to_disk: False keeps nothing.
            log_dir: See `logdir`.
            comet_config: As with the original: values go to Comet as well where it is not disabled.
            kwargs: Kept as `kwargs`, without effect.

        Raises:
            InvalidArgument: The folder is no local one.
            SavedirUnusable, OSError: It cannot be written.
            MissingExtra: tensorboardX is not installed.
        """
        self.kwargs, self._is_kept, self._comet_config = kwargs, write_to_disk, comet_config or {"disabled": True}
        self._comet: Any = None
        self._has_comet = self._comet_config.get("disabled") is not True
        self._main_tags: dict[str, tuple[str, str]] = {}
        self._exported = 0
        self.logdir = self._prepare(logdir or log_dir, comment, purge_step, filename_suffix)

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        display_name: str = "",
        summary_description: str = "",
    ) -> None:
        """Add a number; the log keeps all its digits, the event file those of 32 bits."""
        writer = self.file_writer
        # The path of nearly all calls: little more than a call of the logger.
        try:
            if (
                writer is None
                or walltime is not None
                or display_name
                or summary_description
                or self._forms
                or self._has_comet
                or writer.has_defaults
            ):
                self._add_other_scalar(tag, scalar_value, global_step, walltime, display_name, summary_description)
                return
            if type(scalar_value) is not float and type(scalar_value) is not int:
                scalar_value = checked_number(scalar_value)
            if type(global_step) is not int:
                global_step = whole(global_step)
            writer.log({clean_tag(tag): scalar_value}, step=global_step)
        except Exception as error:  # as `guarded`, without the time of its call
            self.report(f"add_scalar was left out: {type(error).__name__}: {error}")

    def _add_other_scalar(self, tag: Any, value: Any, step: Any, walltime: Any, name: str, description: str) -> None:
        form = {"display_name": name, "summary_description": description} if name or description else {}
        own_step, own_walltime = self._get_file_writer().defaults(step, walltime)
        self._add_scalar(clean_tag(tag), value, own_step, own_walltime, form)
        if self._has_comet:
            self._get_comet_logger().log_metric(tag, name, value, step)

    @guarded
    def add_scalars(self, main_tag: str, tag_scalar_dict: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Add numbers that belong together: the series `<main_tag>/<tag>` of the same run, and one event."""
        own_step, own_walltime = self._get_file_writer().defaults(global_step, walltime)
        numbers = {clean_tag(f"{main_tag}/{tag}"): value for tag, value in tag_scalar_dict.items()}
        self._main_tags.update(zip(numbers, ((main_tag, tag) for tag in tag_scalar_dict), strict=True))
        self._add_scalars(numbers, own_step, own_walltime)
        if self._has_comet:
            self._get_comet_logger().log_metrics(tag_scalar_dict, main_tag, step=global_step)

    @property
    def scalar_dict(self) -> dict[str, list[list[Any]]]:
        """What `add_scalars` added since the last export: time, step and value of each, by folder and tags."""
        return self._scalars()[0]

    @guarded
    def export_scalars_to_json(self, path: Any) -> None:
        """Write `scalar_dict` into a file, and begin it anew."""
        content, self._exported = self._scalars()
        with open(path, "w") as file:
            json.dump(content, file)

    def _scalars(self) -> tuple[dict[str, list[list[Any]]], int]:
        """Read from the log what `add_scalars` added since the last export, and how many events of metrics there are."""
        content: dict[str, list[list[Any]]] = {}
        number = 0
        for number, event in enumerate(self.exp.events(type="metrics") if self._is_kept else (), 1):
            for key, value in event.data.items() if number > self._exported else ():
                if key in self._main_tags:
                    place = os.path.join(str(self.logdir), *self._main_tags[key])
                    row = [event.at.get(WALLTIME, event.time.timestamp()), event.step, value]
                    content.setdefault(place, []).append(row)
        return content, number

    @guarded
    def add_hparams(
        self, hparam_dict: dict[str, Any], metric_dict: dict[str, Any], name: str | None = None, global_step: Any = None
    ) -> None:
        """Add hyperparameters and their metrics, to the run itself; a `name` puts them into a run in a folder below."""

        def summaries(hparam_dict: dict[str, Any], _domain: Any) -> Any:
            from tensorboardX.summary import hparams

            return hparams(hparam_dict, metric_dict)

        self._add_hparams(hparam_dict, metric_dict, summaries, global_step, name=name, is_stepped=False, tag_of=clean_tag)
        if self._has_comet:
            self._get_comet_logger().log_parameters(hparam_dict, step=global_step)

    @guarded
    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
        labels: Any = None,
        **kwargs: Any,
    ) -> None:
        """Add an image with boxes drawn into it."""
        self._call("add_image_with_boxes", tag, img_tensor, box_tensor, global_step, walltime, dataformats, labels, **kwargs)

    @guarded
    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: Any = None,
        fps: float = 4,
        walltime: float | None = None,
        dataformats: str = "NTCHW",
    ) -> None:
        """Add a video; it needs moviepy, as the original does."""
        self._call("add_video", tag, vid_tensor, global_step, fps, walltime, dataformats)

    @guarded
    def add_onnx_graph(self, onnx_model_file: Any) -> None:
        """Add the graph of an ONNX file, and keep the file."""
        self._call("add_onnx_graph", onnx_model_file)
        self._get_file_writer().exp.attach(onnx_model_file)

    @guarded
    def add_openvino_graph(self, xmlname: Any) -> None:
        """Add the graph of an OpenVINO file, and keep the file."""
        self._call("add_openvino_graph", xmlname)
        self._get_file_writer().exp.attach(xmlname)

    @contextmanager
    def use_metadata(self, *, global_step: Any = None, walltime: float | None = None) -> Iterator[SummaryWriter]:
        """Give all that is added in a block a step, a time, or both."""
        with self._get_file_writer().use_metadata(global_step=global_step, walltime=walltime):
            yield self

    def _end(self, kind: Any, error: Any, trace: Any) -> None:
        super()._end(kind, error, trace)
        if self._comet is not None:
            self._comet.end()
            self._comet = None

    def _get_comet_logger(self) -> Any:
        """Return the original's logger for Comet, which does nothing where that is disabled."""
        if self._comet is None:
            from tensorboardX.comet_utils import CometLogger

            self._comet = CometLogger(self._comet_config)
        return self._comet

    def _file_writer_class(self) -> type[FileWriterOfTorch]:
        return FileWriter if self._is_kept else _Silence

    def _original(self) -> Any:
        return original("tensorboardX.writer")


@lru_cache(maxsize=10_000)
def clean_tag(tag: str) -> str:
    """Return a tag as tensorboardX writes it: with `_` for all but letters, digits and `-_./`, and no slash at its begin."""
    return _NO_TAG.sub("_", tag).lstrip("/")
