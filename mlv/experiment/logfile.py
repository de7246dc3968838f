"""A log file without an experiment: `log_to` writes one, `read` reads it, and any other log of mlv."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mlv import settings
from mlv.encoding import TAIL, BadLine, event_from_line
from mlv.errors import FileUnusable, InvalidArgument, InvalidName, SavedirUnusable
from mlv.experiment.active_run import ActiveRun
from mlv.experiment.logger import Logger, MutedLogger
from mlv.experiment.null_sessions import DisabledSession, temporary_folder
from mlv.experiment.opening.captures import make_redactor
from mlv.experiment.opening.setup import recover_if_needed
from mlv.experiment.session import DRAIN_TIMEOUT_S, Session
from mlv.query.events import Events
from mlv.store import layout, opening
from mlv.store.paths import checked_path
from mlv.transport.wishes import Wishes

_MOST_LOOKED_AT = 1 << 20  # it may be any file, with no line in it at all


class FileCalls:
    """The calls of a Logger into a file of its own, beside logging."""

    __slots__ = ()

    _session: Session
    _stream: str

    @property
    def path(self) -> Path:
        """The file."""
        return self._session.folder / layout.stream_file(self._stream)

    def flush(self, timeout: float = 30) -> bool:
        """Wait until all events logged here are on the disk; if the time is too short, warn and return False."""
        return self._session.flush(timeout)

    def close(self, status: str = "ok") -> None:
        """End the run: `run_ended` with the status, then wait until the file is complete, sealed and fsynced.

        Logging afterwards stores nothing and warns once. Closing again does nothing.
        """
        self._session.close(status) if status != "ok" else self._session.end()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session.end(error)

    def __reduce__(self) -> tuple[Any, ...]:
        pattern = getattr(self, "_filter", None)
        session, of = self._session, self._coordinates()  # type: ignore[attr-defined]
        where = (self._name, of, pattern.pattern if pattern else None, self._verbosity)  # type: ignore[attr-defined]
        return _travelled, (str(self.path), session.run or session.parent_run, session.wishes, *where)


class FileLogger(FileCalls, Logger):
    """A Logger into a log file outside any experiment; loggers derived from it write into the same run of the same file."""

    __slots__ = ()


class _MutedFileLogger(FileCalls, MutedLogger):
    """A Logger into a log file where nothing is to be stored."""

    __slots__ = ()


class FileSession(Session):
    """The run of this process in one log file."""

    def __init__(self, folder: Path, stream: str, **options: Any) -> None:
        """Prepare a run; nothing is on the disk before the first event."""
        self._own_stream = stream
        super().__init__(folder, "", **options)
        self._note()

    @property
    def stream(self) -> str:
        """The stream of the file."""
        return self._own_stream

    @property
    def summary_stream(self) -> str:
        """The stream of the file: it is all there is."""
        return self._own_stream

    def put_summary(self, payload: bytes) -> None:
        """Write an encoded event as any other: it may begin the run."""
        self.channel.put(0, TAIL, 0, payload)

    def _target(self) -> tuple[str, str]:
        return os.path.realpath(self._folder / layout.stream_file(self._own_stream)), ""

    def after_fork(self, run: ActiveRun | None) -> None:
        """Leave the parent's run, in a forked child, as any session does."""
        super().after_fork(run)
        self._note()

    def _note(self) -> None:
        _of_file[os.getpid(), str(self._folder / layout.stream_file(self._own_stream))] = self


_of_file: weakref.WeakValueDictionary[tuple[int, str], FileSession] = weakref.WeakValueDictionary()


def log_to(
    path: str | os.PathLike[str], *, redact: Iterable[str] = (), redact_except: Iterable[str] = (), keep: Iterable[str] = ()
) -> FileLogger:
    """Return a Logger into a file of its own, without an experiment: `mlv.log_to("train.log.jsonl")({"loss": 0.3}, step=3)`.

    The lines, their writer and their promises are those of an experiment's log: calls never raise, what they accepted outlives
    the process, each process is a run with a `run_started` and a `run_ended`, and what a run wrote is sealed when it ends: with
    `close()`, with the `with` block, with the last reference to the Logger and those made of it, or with the process. A file
    that is there is appended to, by as many processes at once as there are; one Logger for each of them and each file.

    On the disk are the file, made at the first event with the folders above it, the folder `.mlv` beside it (who may append,
    and half lines that a crash left), and `files` beside it for images and the like. `mlv.read(path)`, `mlv tail PATH`,
    `mlv summary PATH` and `mlv verify PATH` read it, `mlv recover FOLDER` finishes what killed processes left.

    Args:
        path: Its name is `log.jsonl` or `<name>.log.jsonl`; a relative one is taken from the current folder, once.
        redact: Regular expressions over credentials, as in `Exp`.
        redact_except: Regular expressions over what is none, as in `Exp`.
        keep: The former name of `redact_except`.

    Raises:
        InvalidName: The file has another name, or one that mlv has a meaning for.
        InvalidArgument: The folder is that of an experiment, which has its own loggers.
        FileUnusable: The file is there, and holds something else.
        SavedirUnusable: The folder cannot be made.
    """
    file = Path(os.path.realpath(checked_path(path, "path")))
    stream = _checked_stream(file)
    if layout.is_experiment(file.parent):
        text = f"{file.parent} is the folder of an experiment: give another one, or use Exp.open(...).logger(stream=...)"
        raise InvalidArgument(text, path=str(file))
    wishes = Wishes(None, (redactor := make_redactor(redact, [*redact_except, *keep])).patterns, redactor.exceptions)
    session = _of_file.get((os.getpid(), str(file)))
    if session is not None and not session.is_closed:
        return FileLogger(session, stream)
    if settings.DISABLED.get():
        return _MutedFileLogger(DisabledSession(temporary_folder(file.name), "", b"", wishes=wishes), stream)  # type: ignore[return-value]
    _check_content(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"no log can be written in {file.parent}: {error.strerror or error}. Give a folder that can be made"
        raise SavedirUnusable(text, path=str(file.parent)) from error
    recover_if_needed(file.parent)
    return FileLogger(FileSession(file.parent, stream, wishes=wishes), stream)


def read(path: str | os.PathLike[str], type: str | Iterable[str] | None = None, name: str | None = None) -> Events:
    """Return the events of a log file in order, read anew each time: of `mlv.log_to`, an experiment, or all logs of a folder.

    What this process logged there is waited for, and what killed processes left is written first. A line that cannot be read
    is passed over; the byte ranges stand in `.skipped` of what is returned.

    Args:
        path: The file, or a folder for all its logs.
        type: One type of events, or several.
        name: A pattern over names, as in `Exp.events`.

    Raises:
        FileUnusable: There is no such file or folder.
        InvalidName: It is no log by its name.
        InvalidArgument, InvalidPattern: As `Exp.events`.
    """
    file = Path(os.path.realpath(checked_path(path, "path")))
    stream = layout.stream_of(file.name)
    recover_if_needed(file if file.is_dir() else file.parent)
    if not file.exists() and (os.getpid(), str(file)) not in _of_file:
        raise FileUnusable(f"there is no log {str(file)!r}: give the path that was given to mlv.log_to", path=str(file))
    if file.is_dir():
        return Events(file, type, name)
    if not stream:
        raise _misnamed(file)
    return Events(file.parent, type, name, layout.logical_stream(stream), lambda: _drain(file))


def _drain(file: Path) -> None:
    session = _of_file.get((os.getpid(), str(file)))
    if session is not None:
        session.drain(DRAIN_TIMEOUT_S)


def _travelled(
    path: str, run: str | None, wishes: Wishes, name: str, at: Mapping[str, Any], filter: str | None, verbosity: int
) -> FileLogger:
    """Rebuild a pickled Logger: with the same run in its own process, elsewhere with one that names the run it came from."""
    file = Path(path)
    stream = layout.stream_of(file.name) or layout.DEFAULT_STREAM
    session = _of_file.get((os.getpid(), path))
    if session is None or session.is_closed:
        session = FileSession(file.parent, stream, parent_run=run, wishes=wishes)
    return FileLogger(session, stream, name, at, filter, verbosity)


def _checked_stream(file: Path) -> str:
    stream = layout.stream_of(file.name)
    if not stream:
        raise _misnamed(file)
    return stream if stream == layout.DEFAULT_STREAM else layout.check_label(stream, "log")


def _misnamed(file: Path) -> InvalidName:
    stem = file.name.partition(".")[0] or "train"
    return InvalidName(
        f"a log is called log.jsonl or <name>.log.jsonl, and not {file.name!r}: give such a name, as {stem}.log.jsonl",
        name=file.name,
    )


def _check_content(file: Path) -> None:
    """Refuse an existing file that is no log; a half line at its end is set aside before anything is appended.

    Raises:
        FileUnusable: It is none.
    """
    try:
        if file.exists() and not file.is_file():
            raise FileUnusable(f"{file} is no regular file: give the path of a new one, or of a log", path=str(file))
        with opening.reading(file) as content:
            line = content.readline(_MOST_LOOKED_AT)
        if line.endswith(b"\n"):
            event_from_line(line, "")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise FileUnusable(f"{file} cannot be read: {error.strerror or error}", path=str(file)) from error
    except BadLine as error:
        raise FileUnusable(
            f"{file} holds something else than a log of mlv: {error}. Give another path", path=str(file)
        ) from None
