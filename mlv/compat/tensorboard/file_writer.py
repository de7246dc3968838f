"""The FileWriter of a log_dir: summaries and records become events of an experiment, and its output writes the event file."""

from __future__ import annotations

import os
from base64 import b64encode
from itertools import count
from pathlib import Path
from socket import gethostname
from time import time
from types import TracebackType
from typing import Any

from mlv import Exp, InvalidArgument, Logger
from mlv.compat.scalars import number_in
from mlv.compat.tensorboard import experiments
from mlv.compat.tensorboard.event_files import PREFIX, EventFiles, checked_name
from mlv.compat.tensorboard.guarding import Reporter, guarded
from mlv.compat.tensorboard.names import FILE, RECORD, SUMMARY, WALLTIME
from mlv.compat.tensorboard.summaries import log_histogram, log_value

_MOST_INLINE = 48 << 10  # a longer one would make a line that is no pleasure to read
_numbers = count()


class FileWriter:
    """Takes serialized summaries and records, as the original does, and keeps each as an event.

    It begins an experiment in `<log_dir>/.mlv-experiments`, and an event file in `log_dir`.
    """

    exp: Exp
    """The experiment."""
    log: Logger
    """Its logger."""
    profile_tag = "step1"
    """The name of the statistics beside a graph."""

    def __init__(self, log_dir: Any, max_queue: int = 10, flush_secs: float = 120, filename_suffix: str = "") -> None:
        """Begin an event file; `max_queue` and `flush_secs` have no effect: what was logged outlives the process.

        Raises:
            InvalidArgument: The folder is no local one.
            SavedirUnusable, OSError: It cannot be written.
            MissingExtra: tensorboardX is not installed.
        """
        self._begin(log_dir, filename_suffix)

    @classmethod
    def going_back(cls, log_dir: Any, filename_suffix: str, purge_step: Any) -> FileWriter:
        """Go on with the latest experiment of the folder from a step: what it had from there on is superseded."""
        writer = cls.__new__(cls)
        writer._begin(log_dir, filename_suffix, int(purge_step))
        return writer

    def get_logdir(self) -> str:
        """Return the folder of the event file."""
        return self._logdir

    @property
    def event_writer(self) -> FileWriter:
        """The writer itself, which takes records as well."""
        return self

    @guarded
    def add_summary(self, summary: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Add a summary, at a step and a time that default to none and now."""
        log, step = self.at(walltime), whole(global_step)
        others = [value for value in summary.value if not log_value(log, value, step)]
        if others:
            self._log_content(log, SUMMARY, type(summary)(value=others).SerializeToString(), step)
        for value in others:
            if value.HasField("histo"):
                log_histogram(log, value, step)

    @guarded
    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        """Add a record."""
        if event.HasField("summary"):
            self.add_summary(event.summary, (event.step or None) if step is None else step, walltime)
            return
        event.wall_time = time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self._log_content(self.at(walltime), RECORD, event.SerializeToString(), event.step or None)

    @guarded
    def add_graph(self, graph_profile: Any, walltime: float | None = None) -> None:
        """Add a graph and its statistics."""
        graph, stepstats = graph_profile
        records = self._records()
        self.add_event(records.Event(graph_def=graph.SerializeToString()), None, walltime)
        profile = records.TaggedRunMetadata(tag=self.profile_tag, run_metadata=stepstats.SerializeToString())
        self.add_event(records.Event(tagged_run_metadata=profile), None, walltime)

    @guarded
    def add_onnx_graph(self, graph: Any, walltime: float | None = None) -> None:
        """Add a graph."""
        self.add_event(self._records().Event(graph_def=graph.SerializeToString()), None, walltime)

    def flush(self) -> None:
        """Return when the event file holds everything that was logged."""
        self.exp.flush(outputs=True)

    def close(self) -> None:
        """End the run, and return when the event file is complete."""
        self.end(None, None, None)

    def end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the run, which failed if there is an error."""
        self._is_closed = True
        self.exp.__exit__(kind, error, trace)

    def reopen(self) -> None:
        """Begin another run in the experiment, and another event file, after `close`; before it, do nothing."""
        if self._is_closed:
            self._go_on(Exp.open(self.exp.path, outputs=self._outputs(), ranks="apart"))

    def at(self, walltime: float | None) -> Logger:
        """Return the logger of values with a time that the script chose; None is the usual one."""
        return self.log if walltime is None else self.log.at(**{WALLTIME: float(walltime)})

    def folder_below(self, path: str) -> str:
        """Return the folder of another run relative to this one's, with an empty event file: nothing stands in its way later.

        Raises:
            ValueError: It leads out of the folder.
            OSError: It cannot be written.
        """
        # Scripts join the real path of their own folder and log_dir, so that the run is that of log_dir itself.
        is_absolute = os.path.isabs(path)
        folder = checked_name(os.path.relpath(os.path.realpath(path), os.path.realpath(self.folder)) if is_absolute else path)
        if folder and self._is_stored():
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.folder / folder / self._file, os.O_WRONLY | os.O_CREAT, 0o666))
        return folder

    def without_credentials(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return params as the experiment stores them."""
        redacted: dict[str, Any] = self.exp._redactor.params(params)
        return redacted

    def report(self, text: str) -> None:
        """Tell of a call that was left out."""
        self._reporter(text, self.log)

    def _begin(self, log_dir: Any, suffix: str, purge_step: int | None = None) -> None:
        self._logdir, self._suffix, self._reporter = str(log_dir), suffix, Reporter()
        if "://" in self._logdir:
            raise InvalidArgument(
                f"log_dir={self._logdir!r} is no local folder: give one, and copy it there afterwards", log_dir=self._logdir
            )
        self.folder = Path(os.path.abspath(self._logdir))
        self.folder.mkdir(parents=True, exist_ok=True)
        exp = None if purge_step is None else experiments.go_back(self.folder, purge_step, self._outputs())
        self._go_on(exp or experiments.begin(self.folder, self._outputs()), purge_step)

    def _go_on(self, exp: Exp, purge_step: int | None = None) -> None:
        """Log into an experiment, whose output begins an event file."""
        self.exp, self.log, self._is_closed = exp, exp.log, False
        purging = {} if purge_step is None else {"purge_step": purge_step}
        self._file = self._new_file()
        self.log(FILE, {"file": self._file, **purging})

    def _new_file(self) -> str:
        """Make an empty file, so that whoever looks for it finds it at once, and no other writer takes its name."""
        for number in count():
            name = f"{PREFIX}{self._file_stem()}{f'.{number}' if number else ''}{self._suffix}"
            try:
                if self._is_stored():
                    os.close(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
                return name
            except FileExistsError:
                continue
        raise AssertionError("the numbers never end")

    def _is_stored(self) -> bool:
        """Return whether files are written; not where MLV_DISABLED is set."""
        return self.exp.path.is_relative_to(self.folder)

    def _file_stem(self) -> str:
        return f"{int(time()):010d}.{gethostname()}.{os.getpid()}.{next(_numbers)}"

    def _outputs(self) -> list[EventFiles]:
        return [EventFiles(path=self.folder)]

    def _log_content(self, log: Logger, name: str, content: bytes, step: Any) -> None:
        """Log serialized bytes: in the line, or in a file where they are many."""
        if len(content) <= _MOST_INLINE:
            log(name, {"content": b64encode(content).decode()}, step=step)
        else:
            import numpy

            log.array(name, numpy.frombuffer(content, numpy.uint8), step=step)

    def _records(self) -> Any:
        """Return the module of the class of records."""
        from tensorboard.compat.proto import event_pb2

        return event_pb2


def checked_number(value: Any) -> Any:
    """Return the number of a scalar, also of one in a text, or in a tensor or array of one element.

    Raises:
        TypeError: There is none.
    """
    number = number_in(value)
    if not isinstance(number, (int, float)):
        raise TypeError(f"a value of type {type(number).__name__} is no number")
    return number


def whole(step: Any) -> Any:
    """Return a step as the whole number that an event file has room for; what is none stays, and is rejected by name."""
    if type(step) is int or step is None:
        return step
    try:
        return int(step)
    except Exception:  # of another library: the event says it
        return step
