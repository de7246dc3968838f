"""The files of a portfolio: linked into their folders, removed, and put in order after a process was killed."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

from mlv.errors import CheckpointNotSaved, FileUnusable, InvalidArgument, MlvError, MlvWarning
from mlv.experiment.checkpoints.savers import Saver, error_summary
from mlv.experiment.opening.setup import recover_if_needed
from mlv.experiment.session import DRAIN_TIMEOUT_S, Session
from mlv.notices import warn
from mlv.query.events import Events
from mlv.retention import PORTFOLIO_TYPES, Decision, Policy, PortfolioState, Saved, choose, events_of, fold, section_files
from mlv.store import attached
from mlv.store.blobs import TEMPORARY, make_durable, remove, unlock_folders
from mlv.store.contents import content_of, reference
from mlv.store.copying import link_or_copy
from mlv.store.files import move_new, sync_folder
from mlv.store.owners import process_is_gone
from mlv.store.reading import read_state

_DURABLE_WITHIN_S = 10.0  # training goes on meanwhile; what could not be removed is removed with the next one
_PRIVATE = re.compile(re.escape(TEMPORARY) + r"(r[0-9a-z]+)-[0-9a-f]+")
_BASENAME = "checkpoint"
_FINAL = re.compile(r"\d{6}")

DEFAULT_FOLDER = "models"
_MEMORY = "portfolio "


class Shelf:
    """The portfolio of one run in one folder; to be used by one thread at a time, within `with shelf:`.

    A save writes into a private folder, `.tmp-<run>-...`. The file gets its final name there, and is linked into its folders
    afterwards. The events follow, then the log is flushed, and only then are the private folder and the released files
    removed. So the files and the log together show how far a killed process came.
    """

    def __init__(self, exp_folder: Path, name: str, state: PortfolioState) -> None:
        self.name, self.state = name, state
        self._exp_folder, self._folder = exp_folder, exp_folder / name
        self._lock, self._pid = threading.RLock(), os.getpid()
        self._pending_removals: list[Path] = []
        """Paths to remove as soon as the events that release them are on the disk."""

    def move_to(self, exp_folder: Path) -> None:
        """Go on in the folder to which the experiment was moved."""
        self._pending_removals = [exp_folder / path.relative_to(self._exp_folder) for path in self._pending_removals]
        self._exp_folder, self._folder = exp_folder, exp_folder / self.name

    def __enter__(self) -> Shelf:
        if (
            self._pid != os.getpid()
        ):  # a forked child goes on with the inherited state; a thread of its parent's may hold the lock
            self._lock, self._pid = threading.RLock(), os.getpid()
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def exp_folder(self) -> Path:
        """Folder of the experiment."""
        return self._exp_folder

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.state.policy or Policy()

    def set_policy(self, session: Session, policy: Policy) -> None:
        """Record the policy in an event, unless it is in force already. Checkpoints stay until the next save."""
        if policy != self.state.policy:
            data = {"action": "policy", "folder": self.name, **policy.to_data()}
            if not session.is_closed:  # after that it is the save that cannot be, and says so
                session.emit("checkpoint", data)
            self.state.take(data, None)

    def save(self, session: Session, saver: Saver, step: float | None, metrics: Mapping[str, Any]) -> Saved | None:
        """Save one checkpoint, and remove those that the policy no longer keeps; None if it keeps the new one nowhere.

        Raises:
            CheckpointNotSaved: It could not be written; earlier checkpoints are untouched, and no part of it is left behind.
        """
        session.start()
        if session.is_closed:
            raise self._not_saved("the run has ended. Save before close(), or open the experiment again")
        if session.is_gone:
            raise self._not_saved("the experiment was removed or replaced during the run")
        new = Saved(self.state.saves + 1, step, metrics)
        decision = choose(self.state, new, self.policy)
        private: Path | None = None
        if decision.sections:
            private = self._folder / f"{TEMPORARY}{session.run}-{os.urandom(6).hex()}"
            try:
                new, decision = self._make(saver, private, new)
            except BaseException as error:
                _clear(private, self._folder, self.state)
                if isinstance(error, MlvError) or not isinstance(error, Exception):
                    raise
                # A full disk, or an exception of the user's function.
                raise self._not_saved(f"{error_summary(error)}. Those before are as they were", error) from error
        # An interruption from here on is like a kill: the next run goes by what the log says.
        for data in events_of(self.name, new, decision):
            self._emit(session, data, new.step if data["action"] == "saved" else None)
            self._pending_removals += self._removed_paths(data) if data["action"] == "removed" else []
        self._pending_removals += [private] if private else []
        # Flush before removing: if the machine dies with the events unflushed, the old files are all there is.
        if self._pending_removals and session.flush(_DURABLE_WITHIN_S) and not session.is_closed:
            _remove_all(self._pending_removals)
            self._pending_removals.clear()
        return new if decision.sections else None

    def _removed_paths(self, data: Mapping[str, Any]) -> Iterator[Path]:
        """Yield the paths that an event releases; none behind a link, which somebody else may have made."""
        for path in data["places"]:
            with suppress(FileUnusable):
                yield attached.checked(self._exp_folder, path)

    def _not_saved(self, reason: str, error: Exception | None = None) -> CheckpointNotSaved:
        text = f"no checkpoint was saved in {self._folder}: {reason}"
        return CheckpointNotSaved(text, path=str(self._folder), errno=getattr(error, "errno", None))

    def _make(self, saver: Saver, private: Path, new: Saved) -> tuple[Saved, Decision]:
        """Write the file and link it into its folders; return the checkpoint and the decision as they came out.

        The save number is raised until no folder has a file of that name: another run may be saving here too.
        """
        self._folder.mkdir(exist_ok=True)
        private.mkdir()
        written = _written(saver, private)
        unlock_folders(written)
        # Before it has a name that anybody may load.
        make_durable(written)
        content = content_of(written)
        suffix = written.name[len(_BASENAME) :] if written.name.startswith(_BASENAME) else written.suffix
        for save in count(self.state.saves + 1):
            new = replace(new, save=save, name=_file_name(save, new.step, suffix))
            decision = choose(self.state, new, self.policy)
            written = written.rename(written.with_name(new.name))
            # Its final name on the disk first: it tells a next run which links belong to an unfinished save.
            sync_folder(private)
            paths = [self._folder / section / new.name for section in decision.sections]
            if _put_all(written, paths):
                break
        file = reference(self._exp_folder, paths[0], content) if paths else {}
        return replace(new, file=file), decision

    def _emit(self, session: Session, data: Mapping[str, Any], step: float | None = None) -> None:
        """Emit an event, and apply it as a reader of the log will."""
        session.emit("checkpoint", data, step=step)
        self.state.take(data, step)


def shelf_of(session: Session, name: str) -> Shelf:
    """Return this run's shelf in a folder; the first call reads it from the log and puts the folder in order."""
    if session.is_silent:
        return Shelf(session.read_from, name, fold(_events(session, session.read_from)).get(name, PortfolioState()))
    key = _MEMORY + name
    if key not in session.memory:
        session.memory.setdefault(key, _opened(session, name))
    shelf: Shelf = session.memory[key]
    if shelf.exp_folder != (folder := session.folder):
        shelf.move_to(folder)
    return shelf


def shelves_of(session: Session) -> dict[str, Shelf]:
    """Return all shelves, for reading: those that this run saves into from its memory, the others from the log."""
    own = {shelf.name: shelf for shelf in list(session.memory.values()) if isinstance(shelf, Shelf)}
    if DEFAULT_FOLDER in own:
        return own
    logged = fold(_events(session, session.read_from))
    return {**{name: Shelf(session.read_from, name, state) for name, state in logged.items()}, **own}


def forget_shelves(session: Session) -> None:
    """Have the shelves read from the log anew, after an event that no save emitted."""
    for key in [key for key in session.memory if key.startswith(_MEMORY)]:
        session.memory.pop(key, None)


def _opened(session: Session, name: str) -> Shelf:
    """Read a shelf from the log, and finish or undo the saves of killed processes."""
    folder = session.folder / name
    unfinished = [path for path in _entries(folder) if _PRIVATE.fullmatch(path.name)]
    if unfinished:
        recover_if_needed(session.folder)  # events of a killed process may wait in its ring
    session.drain(DRAIN_TIMEOUT_S)
    records = [event for event in _events(session, session.folder) if isinstance(event.data, Mapping)]
    events = [event for event in records if event.type != "checkpoint" or event.data.get("folder") == name]
    state = fold(events).get(name, PortfolioState())
    runs = read_state(session.folder).runs if unfinished else {}
    for private in unfinished:
        run = runs.get(private.name[len(TEMPORARY) :].partition("-")[0])
        # A live run may be saving at this moment. Without a verdict, its last events may be missing from the log.
        if run is not None and (run.verdict or run.status(datetime.now(timezone.utc), process_is_gone) == "lost"):
            for path in _clear(private, folder, state):
                warn(f"{path} was removed: the process that saved it was killed before the save was complete", MlvWarning)
    removals = [event.data for event in events if event.data.get("action") == "removed"]
    for section, file in (row for data in removals for row in section_files(data)):
        if file not in state.sections[section]:
            with suppress(FileUnusable):  # a link on the way: its target is not ours to remove
                remove(attached.checked(session.folder, f"{name}/{section}/{file}"))
    return Shelf(session.folder, name, state)


def _clear(private: Path, folder: Path, state: PortfolioState) -> list[Path]:
    """Remove the files of a save that has no event; return the paths it had linked already."""
    paths = [
        folder / section / entry.name
        for entry in _entries(private)
        if _FINAL.match(entry.name)  # else it was not linked anywhere yet
        for section, files in state.sections.items()
        if entry.name not in files and _is_same(entry, folder / section / entry.name)
    ]
    _remove_all([*paths, private])
    return paths


def _is_same(file: Path, path: Path) -> bool:
    """Return whether a path holds this file: a user's own file of that name is not ours to remove."""
    with suppress(OSError):
        return os.path.samefile(file, path) or content_of(file) == content_of(path)
    return False


def _events(session: Session, folder: Path) -> Events:
    return Events(folder, PORTFOLIO_TYPES, before=lambda: session.drain(DRAIN_TIMEOUT_S))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _written(saver: Saver, private: Path) -> Path:
    """Let the saver write into the private folder, and return the one file or folder that it made."""
    path = private / f"{_BASENAME}{saver.suffix}"
    saver.write(path)
    entries = _entries(private)
    if len(entries) != 1 or entries[0].is_symlink():
        texts = [f"{entry.name}{' (a symbolic link)' if entry.is_symlink() else ''}" for entry in entries]
        raise InvalidArgument(
            f"saving to {path.name} made {', '.join(texts) or 'nothing'}: "
            f"write one file, or make a folder, at the path that is given",
            made=[entry.name for entry in entries],
        )
    return entries[0]


def _file_name(save: int, step: float | None, suffix: str) -> str:
    return f"{save:06d}" + (f"-step{step}" if step is not None else "") + suffix


def _put_all(file: Path, paths: list[Path]) -> bool:
    """Link a file to all paths, or to none if one exists: another live run's, or a user's."""
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        try:
            _put(file, path)
        except FileExistsError:
            _remove_all(paths[:number])
            return False
    return True


def _put(file: Path, path: Path) -> None:
    """Give a finished file or folder another name, in one step and without replacing an existing one.

    Raises:
        FileExistsError: The path exists.
        OSError: It could not be done; the path does not exist.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists")
    staged = file.with_name(f"{file.name}~{path.parent.name}")  # where links are impossible, a copy is not one step
    link_or_copy(file, staged)
    try:
        if staged.is_dir():
            os.rename(staged, path)  # a folder cannot be linked
        else:
            move_new(staged, path)
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists") from None
        raise
    sync_folder(path.parent)  # before the event that names it


def _remove_all(paths: list[Path]) -> None:
    for path in paths:
        remove(path)
