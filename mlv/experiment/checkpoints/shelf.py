"""The files of a portfolio: put into their places, let go, and put in order after a process that was killed."""

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
from mlv.experiment.checkpoints.savers import Saver, summary
from mlv.experiment.opening.setup import recover_if_needed
from mlv.experiment.session import Session
from mlv.notices import warn
from mlv.query.events import Events
from mlv.retention import PORTFOLIO_TYPES, Decision, Kept, Policy, Saved, choose, fold, places_of, told
from mlv.store import attached
from mlv.store.blobs import TEMPORARY, content_of, link_or_copy, make_durable, reference, remove, unlock_folders
from mlv.store.files import move_new, sync_folder
from mlv.store.owners import process_is_gone
from mlv.store.reading import read_state

_READ_OWN_WRITES_S = 10.0
_DURABLE_WITHIN_S = 10.0
_PRIVATE = re.compile(re.escape(TEMPORARY) + r"(r[0-9a-z]+)-[0-9a-f]+")
_MADE = "checkpoint"
_FINAL = re.compile(r"\d{6}")

DEFAULT_FOLDER = "models"
_MEMORY = "portfolio "


class Shelf:
    """What one run keeps in one folder; to be used by one thread at a time, within `with shelf:`.

    A save writes into a private folder, `.tmp-<run>-...`, where the file has its final name before it is linked into its
    places. The events follow, then the log is flushed, and only then the private folder and what was let go are removed. So
    whatever moment a process is killed at, what is there and what the log says show how far it came.
    """

    def __init__(self, exp_folder: Path, name: str, kept: Kept) -> None:
        self.name, self.kept = name, kept
        self._exp_folder, self._folder = exp_folder, exp_folder / name
        self._lock, self._pid = threading.RLock(), os.getpid()
        self._doomed: list[Path] = []
        """What may be removed as soon as the log that says so is on the disk."""

    def move_to(self, exp_folder: Path) -> None:
        """Go on where the experiment is by now."""
        self._doomed = [exp_folder / path.relative_to(self._exp_folder) for path in self._doomed]
        self._exp_folder, self._folder = exp_folder, exp_folder / self.name

    def __enter__(self) -> Shelf:
        if self._pid != os.getpid():  # a forked child goes on from what it inherited; a thread of its parent's has the lock
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
        return self.kept.policy or Policy()

    def set_policy(self, session: Session, policy: Policy) -> None:
        """Say the policy in an event, unless it is in force already. What is kept stays until the next save."""
        if policy != self.kept.policy:
            self._say(session, {"action": "policy", "folder": self.name, **policy.to_data()})

    def save(self, session: Session, saver: Saver, step: float | None, metrics: Mapping[str, Any]) -> Saved | None:
        """Save one checkpoint, and let go what the policy does not keep beside it; None if it keeps the new one nowhere.

        Raises:
            CheckpointNotSaved: It could not be written; what was kept is kept, and nothing of it is left behind.
        """
        session.start()
        if session.is_closed:
            raise self._not_saved("the run has ended. Save before close(), or open the experiment again")
        if session.is_gone:
            raise self._not_saved("the experiment was removed or replaced during the run")
        new = Saved(self.kept.saves + 1, step, metrics)
        decision = choose(self.kept, new, self.policy)
        private: Path | None = None
        if decision.sections:
            private = self._folder / f"{TEMPORARY}{session.run}-{os.urandom(6).hex()}"
            try:
                new, decision = self._make(saver, private, new)
            except BaseException as error:
                _clear(private, self._folder, self.kept)
                if isinstance(error, MlvError) or not isinstance(error, Exception):
                    raise
                # A full disk, or whatever the function of the user raised.
                raise self._not_saved(f"{summary(error)}. Those before are as they were", error) from error
        # Interrupted from here on, it is as after a kill: what the log says decides what the next run finds.
        for data in told(self.name, new, decision):
            self._say(session, data, new.step if data["action"] == "saved" else None)
            self._doomed += self._places(data) if data["action"] == "removed" else []
        self._doomed += [private] if private else []
        # A machine that dies may take what is not flushed with it: then what is let go here is all there is.
        if self._doomed and session.flush(_DURABLE_WITHIN_S) and not session.is_closed:
            _remove_all(self._doomed)
            self._doomed.clear()
        return new if decision.sections else None

    def _places(self, data: Mapping[str, Any]) -> Iterator[Path]:
        """The places that an event lets go; none behind a link, which another may have made."""
        for place in data["places"]:
            with suppress(FileUnusable):
                yield attached.checked(self._exp_folder, place)

    def _not_saved(self, reason: str, error: Exception | None = None) -> CheckpointNotSaved:
        text = f"no checkpoint was saved in {self._folder}: {reason}"
        return CheckpointNotSaved(text, path=str(self._folder), errno=getattr(error, "errno", None))

    def _make(self, saver: Saver, private: Path, new: Saved) -> tuple[Saved, Decision]:
        """Write the file and put it into its places; the checkpoint as it became, and the decision that it was."""
        self._folder.mkdir(exist_ok=True)
        private.mkdir()
        made = _written(saver, private)
        unlock_folders(made)
        make_durable(made)
        content = content_of(made)
        suffix = made.name[len(_MADE) :] if made.name.startswith(_MADE) else made.suffix
        for save in count(self.kept.saves + 1):
            new = replace(new, save=save, name=_file_name(save, new.step, suffix))
            decision = choose(self.kept, new, self.policy)
            made = made.rename(made.with_name(new.name))
            sync_folder(private)
            places = [self._folder / section / new.name for section in decision.sections]
            if _put_all(made, places):
                break
        file = reference(self._exp_folder, places[0], content) if places else {}
        return replace(new, file=file), decision

    def _say(self, session: Session, data: Mapping[str, Any], step: float | None = None) -> None:
        """Emit an event, and go on by it as a reader of the log will."""
        session.emit("checkpoint", data, step=step)
        self.kept.take(data, step)


def shelf_of(session: Session, name: str) -> Shelf:
    """The shelf that this run has in a folder; the first time it is read from the log, and put in order."""
    if session.is_silent:
        return Shelf(session.read_from, name, fold(_events(session, session.read_from)).get(name, Kept()))
    key = _MEMORY + name
    if key not in session.memory:
        session.memory.setdefault(key, _opened(session, name))
    found: Shelf = session.memory[key]
    if found.exp_folder != (folder := session.folder):
        found.move_to(folder)
    return found


def shelves_of(session: Session) -> dict[str, Shelf]:
    """All shelves, to read: those that this run saves into from its memory, the others from the log."""
    here = {shelf.name: shelf for shelf in list(session.memory.values()) if isinstance(shelf, Shelf)}
    if DEFAULT_FOLDER in here:
        return here
    there = fold(_events(session, session.read_from))
    return {**{name: Shelf(session.read_from, name, kept) for name, kept in there.items()}, **here}


def forget_shelves(session: Session) -> None:
    """Have the shelves read from the log anew, which says something that no save said."""
    for key in [key for key in session.memory if key.startswith(_MEMORY)]:
        session.memory.pop(key, None)


def _opened(session: Session, name: str) -> Shelf:
    """Read a shelf from the log, and finish or undo what killed processes were doing there."""
    folder = session.folder / name
    unfinished = [path for path in _entries(folder) if _PRIVATE.fullmatch(path.name)]
    if unfinished:
        recover_if_needed(session.folder)  # what a killed process said may wait in its ring
    session.drain(_READ_OWN_WRITES_S)
    found = [event for event in _events(session, session.folder) if isinstance(event.data, Mapping)]
    events = [event for event in found if event.type != "checkpoint" or event.data.get("folder") == name]
    kept = fold(events).get(name, Kept())
    runs = read_state(session.folder).runs if unfinished else {}
    for private in unfinished:
        run = runs.get(private.name[len(TEMPORARY) :].partition("-")[0])
        # One that lives may be saving at this moment. Without a verdict, not all that it said need be in the log.
        if run is not None and (run.verdict or run.status(datetime.now(timezone.utc), process_is_gone) == "lost"):
            for place in _clear(private, folder, kept):
                warn(f"{place} was removed: the process that saved it was killed before the save was complete", MlvWarning)
    for section, file in (row for event in events if event.data.get("action") == "removed" for row in places_of(event.data)):
        if file not in kept.sections[section]:
            with suppress(FileUnusable):  # a link on the way: what it leads to is not ours to remove
                remove(attached.checked(session.folder, f"{name}/{section}/{file}"))
    return Shelf(session.folder, name, kept)


def _clear(private: Path, folder: Path, kept: Kept) -> list[Path]:
    """Remove what a save left that did not come to its event; which places it had already."""
    places = [
        folder / section / made.name
        for made in _entries(private)
        if _FINAL.match(made.name)  # else it had no place yet
        for section, known in kept.sections.items()
        if made.name not in known and _is_same(made, folder / section / made.name)
    ]
    _remove_all([*places, private])
    return places


def _is_same(made: Path, place: Path) -> bool:
    """Whether a place has this file: a user's own of that name is not ours to remove."""
    with suppress(OSError):
        return os.path.samefile(made, place) or content_of(made) == content_of(place)
    return False


def _events(session: Session, folder: Path) -> Events:
    return Events(folder, PORTFOLIO_TYPES, before=lambda: session.drain(_READ_OWN_WRITES_S))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _written(saver: Saver, private: Path) -> Path:
    """The one file or folder that the saver makes in the private folder."""
    path = private / f"{_MADE}{saver.suffix}"
    saver.write(path)
    made = _entries(private)
    if len(made) != 1 or made[0].is_symlink():
        found = ", ".join(f"{entry.name}{' (a symbolic link)' if entry.is_symlink() else ''}" for entry in made) or "nothing"
        raise InvalidArgument(
            f"saving to {path.name} made {found}: write one file, or make a folder, at the path that is given",
            made=[entry.name for entry in made],
        )
    return made[0]


def _file_name(save: int, step: float | None, suffix: str) -> str:
    return f"{save:06d}" + (f"-step{step}" if step is not None else "") + suffix


def _put_all(made: Path, places: list[Path]) -> bool:
    """Put a file into all places, or into none where one is taken: by another run that lives, or by a user."""
    for number, place in enumerate(places):
        place.parent.mkdir(exist_ok=True)
        try:
            _put(made, place)
        except FileExistsError:
            _remove_all(places[:number])
            return False
    return True


def _put(made: Path, place: Path) -> None:
    """Give a finished file or folder another name, in one step and without replacing what is there.

    Raises:
        FileExistsError: The place is taken.
        OSError: It could not be done; nothing is there.
    """
    if os.path.lexists(place):
        raise FileExistsError(f"{place} exists")
    staged = made.with_name(f"{made.name}~{place.parent.name}")  # where links are impossible, a copy takes its time
    link_or_copy(made, staged)
    try:
        if staged.is_dir():
            os.rename(staged, place)
        else:
            move_new(staged, place)
    except OSError:
        if os.path.lexists(place):
            raise FileExistsError(f"{place} exists") from None
        raise
    sync_folder(place.parent)


def _remove_all(paths: list[Path]) -> None:
    for path in paths:
        remove(path)
