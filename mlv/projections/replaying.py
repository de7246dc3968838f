"""Bringing a projection up to date with the log: the same for a live output, a later rebuild, and after a kill."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from mlv.errors import CannotResume, InvalidArgument, NotAnExperiment
from mlv.projections import position as position_
from mlv.projections.batch import LineBatch, whole_lines
from mlv.projections.output import OPTIONS, Output
from mlv.projections.position import Position, mark_of
from mlv.projections.selecting import selection
from mlv.protocols import Projection
from mlv.query.rewinds import rewinds_of
from mlv.state import Rewind
from mlv.store import layout, opening
from mlv.store.home import Home

_COMMIT_EVERY_S = 1.0  # a kill costs the work of a second; to commit takes an fsync
_UNUSABLE = (CannotResume, AttributeError, LookupError, TypeError, ValueError)
"""Errors of a projection whose earlier output is gone, or whose position file was damaged."""


def folder_of(folder: Path, projection: Projection) -> Path:
    """Return the folder that a projection of an experiment goes to."""
    path = getattr(projection, "path", None)
    return folder / projection.name if path is None else layout.absolute(path)


def position_path(folder: Path, projection: Projection) -> Path:
    """Return the file that says how far a projection of an experiment has come: beside the output, or among mlv's own notes."""
    if _notes_in_experiment(projection):
        return layout.errors_path(folder, projection.name).with_suffix(".json")
    return folder_of(folder, projection) / layout.position_name(projection.name)


def _supersedes(projection: Projection) -> bool:
    """Return whether superseded lines are left out, so that a new rewind has the output built again."""
    return not getattr(projection, "KEEPS_SUPERSEDED", False)


def _notes_in_experiment(projection: Projection) -> bool:
    return bool(getattr(projection, "NOTES_IN_EXPERIMENT", False))


class Replay:
    """One projection of one experiment, from its last commit on; only one process at a time."""

    def __init__(self, folder: Path, projection: Projection, exp: str = "") -> None:
        """Prepare; nothing is touched before `begin`. With `exp`, only the experiment of that ID is meant.

        Raises:
            InvalidPattern, InvalidArgument: The projection's options cannot be used.
        """
        self._folder, self._projection = folder, projection
        self._selection = selection(*(getattr(projection, name, None) for name in OPTIONS))
        self._output_folder = folder_of(folder, projection)
        self._path = position_path(folder, projection)
        self._lock: int | None = None
        self._offsets: dict[str, int] = {}
        self._rewinds: list[Rewind] = []
        self._inodes: dict[str, int] = {}
        self._exp = exp
        self._home: Home | None = None
        self._position = Position(layout.exp_id(folder), made_by(folder, projection))
        self._is_dirty = self._is_open = False
        self._committed = monotonic()

    def begin(self) -> bool:
        """Make the output ours and open it; False if another process has it.

        Raises:
            NotAnExperiment: There is none any more.
            InvalidArgument: The folder holds the output of another experiment.
            Exception: Whatever the projection raises.
        """
        self._home = Home(self._folder, self._exp or layout.exp_id(self._folder))
        self._check_experiment()
        for folder in (self._output_folder, self._path.parent):
            self._make(folder)
        position = position_.read(self._path)
        if position is not None and position.exp != self._position.exp and not _notes_in_experiment(self._projection):
            raise InvalidArgument(
                f"{self._output_folder} holds the output {self._projection.name!r} of another experiment ({position.exp[:8]}): "
                f"give another folder, or delete that one",
                path=str(self._output_folder),
            )
        self._lock = _locked(_lock_path(self._path))
        if self._lock is None:
            return False
        self._open(position_.read(self._path))  # again: who had it meanwhile has gone on with it
        return True

    def _make(self, folder: Path) -> None:
        """Make a folder, within an experiment not through links; elsewhere it is the user's own choice."""
        if folder.is_relative_to(self._folder):
            opening.make_folders(self._folder, folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)

    def catch_up(self) -> bool:
        """Take the new lines of the streams to their ends, and return whether there were any.

        After a new rewind the output is built again without the superseded lines: no output can take back single values.

        Raises:
            CannotResume: A log was replaced meanwhile: the output has to be built again, by another `Replay`.
            Exception: Whatever the projection raises.
        """
        self._check_experiment()
        has_new = False
        # The stream of rewinds first: the lines that a new one supersedes are then left out of the others.
        for file in sorted(layout.streams_in(self._folder), key=_is_rewound, reverse=True):
            while (batch := self._next(file)).end > batch.start:
                if self._inodes.setdefault(file, batch.inode) != batch.inode:
                    position_.write(self._path, replace(self._position, made_by=""))
                    raise CannotResume(f"{file} of {self._folder} was replaced", path=str(self._folder))
                if _is_rewound(file) and self._current_rewinds() != self._rewinds:
                    self._begin_again()
                    continue
                if batch.lines:
                    self._projection.write(batch)
                self._offsets[file] = batch.end
                self._is_dirty = has_new = True
                if monotonic() - self._committed > _COMMIT_EVERY_S:
                    self.commit()
        return has_new

    def _check_experiment(self) -> None:
        """See that the folder still holds the experiment: nothing is made for one that was moved, removed or replaced.

        Raises:
            NotAnExperiment: It does not.
        """
        if not layout.is_experiment(self._folder) or self._home is None or self._home.where() != self._folder:
            text = f"{self._folder} holds no experiment, or another one: was it moved?"
            raise NotAnExperiment(text, path=str(self._folder))

    def _next(self, file: str) -> LineBatch:
        return whole_lines(self._folder, file, self._offsets.get(file, 0), self._selection, self._rewinds)

    def commit(self) -> None:
        """Record how far the output has come; after a kill it goes on from here.

        Raises:
            CannotResume: Somebody deleted it.
            Exception: Whatever the projection raises.
        """
        if self._is_dirty:
            if self._offsets and not self._path.exists():
                raise CannotResume(f"{self._output_folder} was deleted", path=str(self._output_folder))
            # The output first: one that is ahead of its position is cut back, one behind it would miss lines for good.
            resume = self._projection.commit()
            marks = {file: mark_of(self._folder, file, offset) for file, offset in self._offsets.items()}
            existing_marks = {file: mark for file, mark in marks.items() if mark is not None}
            self._position = Position(
                self._position.exp, self._position.made_by, existing_marks, resume, rewinds=len(self._rewinds)
            )
            position_.write(self._path, self._position)
            self._is_dirty = False
        self._committed = monotonic()

    def is_deleted(self, error: Exception) -> bool:
        """Return whether an error tells that the output was deleted: another `Replay` builds it again."""
        is_gone = not self._path.exists() and layout.is_experiment(self._folder)
        return isinstance(error, CannotResume) or (is_gone and isinstance(error, FileNotFoundError))

    def fail(self, reason: str) -> None:
        """Record why the output stopped; earlier commits stand."""
        with suppress(OSError, NotAnExperiment):
            self._check_experiment()
            _check_folder(self._folder, self._path.parent)
            position_.write(self._path, replace(position_.read(self._path) or self._position, failed=reason))

    def close(self) -> None:
        """Close the projection, and release the lock."""
        try:
            if self._is_open:
                self._is_open = False
                self._projection.close()
                with suppress(NotAnExperiment):
                    self._check_experiment()
                    position = position_.read(self._path)
                    if position is not None and position.failed is None:
                        position_.write(self._path, position.closed())
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _open(self, position: Position | None) -> None:
        self._rewinds = self._current_rewinds()
        if position is not None and self._goes_on(position):
            with suppress(*_UNUSABLE):  # then it is built again
                self._position = position.opened()
                self._projection.open(self._output_folder, position.resume)
                self._is_open = True
                self._offsets = {file: mark.offset for file, mark in position.streams.items()}
                position_.write(self._path, self._position)
                return
        self._build(position.resume if position is not None else None)

    def _current_rewinds(self) -> list[Rewind]:
        """Return the rewinds that the output heeds."""
        return _rewinds(self._folder) if _supersedes(self._projection) else []

    def _goes_on(self, position: Position) -> bool:
        """Return whether the earlier output can stay: it is of these options, this log, and these rewinds."""
        is_ours = (position.exp, position.made_by) == (self._position.exp, self._position.made_by)
        return is_ours and position.rewinds == len(self._rewinds) and position.is_true_of(self._folder)

    def _begin_again(self) -> None:
        """Close the output, and build it again from the start of the log with the rewinds that there are now."""
        self.commit()
        self._is_open = False
        self._projection.close()
        self._rewinds = self._current_rewinds()
        self._build(self._position.resume)

    def _build(self, resume: Any) -> None:
        """Begin the output anew, in place of the one written up to a commit."""
        self._position, self._offsets = Position(self._position.exp, self._position.made_by), {}
        discard = getattr(self._projection, "discard", None)
        if resume is not None and discard is not None:
            with suppress(*_UNUSABLE):
                discard(self._output_folder, resume)
        # Before `open`: after a kill in the middle it begins anew. After `discard`: from here on all files are its own.
        position_.write(self._path, self._position)
        self._projection.open(self._output_folder, None)
        self._is_open = True
        self._is_dirty = True
        self.commit()


def _is_rewound(file: str) -> bool:
    return layout.logical_stream(file) == layout.REWOUND


def _rewinds(folder: Path) -> list[Rewind]:
    """Return the rewinds that supersede anything."""
    return [rewind for rewind in rewinds_of(folder) if rewind.last]


def is_up_to_date(folder: Path, projection: Projection) -> bool:
    """Return whether an output holds all that is in the log now, and was made with these options."""
    position = position_.read(position_path(folder, projection))
    sizes = {file: os.path.getsize(folder / layout.stream_file(file)) for file in layout.streams_in(folder)}
    return (
        position is not None
        and position.made_by == made_by(folder, projection)
        and position.failed is None
        and position.has_all_of(sizes)
    )


def is_kept(folder: Path, projection: Projection) -> bool:
    """Return whether some process keeps the output at this moment; also where there are no locks, so that nobody can tell."""
    position = position_path(folder, projection)
    try:
        _check_folder(folder, position.parent)
        fd = _opened(_lock_path(position))
    except OSError:  # nobody has begun it
        return False
    try:
        return _lock(fd) is not True
    finally:
        os.close(fd)


def _check_folder(folder: Path, inner: Path) -> None:
    """See that a folder lies within an experiment, not behind a link; elsewhere it is the user's own choice.

    Raises:
        OSError: It does not.
    """
    if inner.is_relative_to(folder):
        opening.check_folders(folder, inner)


def made_by(folder: Path, projection: Projection) -> str:
    """Return class and options of a projection as text; with its path only where the position file does not lie beside it."""
    kind = type(projection)
    # Of an output that is open, the options alone: made again with them it is the same.
    state: Mapping[str, Any] = (
        projection.__getstate__() if isinstance(projection, Output) else getattr(projection, "__dict__", {})
    )
    options = {name: value for name, value in sorted(state.items()) if name != "path" and not name.startswith("_")}
    shown = ", ".join(f"{name}={_plain(value)!r}" for name, value in options.items())
    # Relative: an experiment that is moved together with its output goes on with it.
    path = f" in {os.path.relpath(folder_of(folder, projection), folder)}" if _notes_in_experiment(projection) else ""
    return f"{kind.__module__}.{kind.__qualname__}({shown}){path}"


def _plain(value: Any) -> Any:
    """Return a value whose text is the same in every process; a set is sorted for that."""
    return sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value


def _lock_path(position: Path) -> Path:
    return position.with_name(f"{position.name.removesuffix('.json')}.lock")


def _locked(path: Path) -> int | None:
    """Return a lock that ends with the process; None if another one has it. Where there are no locks, nobody is kept out."""
    fd = _opened(path)
    if _lock(fd) is False:
        os.close(fd)
        return None
    return fd


def _opened(path: Path) -> int:
    return opening.writing(path, os.O_RDWR | os.O_CREAT)


def _lock(fd: int) -> bool | None:
    """Lock a file; False if another process has it locked, None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except (OSError, ImportError):
        return None
