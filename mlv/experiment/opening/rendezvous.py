"""How the ranks of a launch meet in one experiment: the main rank makes it and leaves word, the others wait for the word.

The word is `<savedir>/.mlv/launches/<hash>.json`, written whole; the hash is that of the launch's key, of what is made and of
how often this launch made it before. There are no collective calls, and nothing but the savedir is shared.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import orjson

from mlv import settings
from mlv.digests import sha256
from mlv.errors import InvalidArgument, MlvError, MlvWarning, RanksNotMet
from mlv.experiment.opening.ranks import LaunchRank, go_apart, this_place
from mlv.experiment.opening.setup import Differences, Parts, explained
from mlv.frozen import FrozenDict, FrozenRecord
from mlv.notices import warn
from mlv.store import layout, opening
from mlv.store.files import sync_folder, temporary_beside
from mlv.store.owners import Owner
from mlv.store.reading import read_state

_POLL_S, _POLL_MOST_S = 0.01, 0.5
_RECENT_S = 600.0
"""Ranks of one launch begin within this time of each other."""
_GRACE_S = 5.0
"""How long a word from a run that is over is left aside, lest a new launch is about to replace it."""
_KEPT_S = 7 * 86400.0
_OTHERS_FOR_S = 10.0
"""How long rank 0 may have made other experiments only until a rank takes itself for a task of its own."""
_LOOK_EVERY_S = 1.0
_MOST_BESIDE = 1000
_LAUNCHES = Path(layout.HOUSEKEEPING, "launches")
_BEGAN = time()
"""When this process began, nearly."""
_counts: dict[tuple[str, str, str], int] = {}
_joined: set[str] = set()
"""Keys of launches whose main rank this process has met."""
_lock = threading.Lock()


def together(
    savedir: Path,
    what: str,
    make: Callable[[], Parts],
    join: Callable[[Path, int, str | None], Parts],
    exact: Path | None = None,
    differences: Callable[[Path], Differences] = lambda folder: Differences((), ()),
) -> Parts:
    """Make an experiment on the main rank of this launch, and join it on the others.

    Launchers also start independent tasks. One that asks for another experiment than rank 0 makes is taken for such a task,
    unless the ranks have a rendezvous, and said to be: from then on it makes its own.

    Args:
        savedir: What the ranks share.
        what: What is made, in the same words on all ranks.
        make: What the main rank does, and a process that was launched alone.
        join: What the others do; it is given the folder, their rank, and the main rank's run if it is known.
        exact: The folder, where it is known before: then the ranks find each other without a launch key.
        differences: Tells from the folder what this rank was given otherwise than the main one.

    Raises:
        InvalidArgument: Nothing tells which processes were launched together.
        RanksNotMet: The main rank makes no experiment, or does not say so in time.
        SavedirUnusable: The system refuses something.
    """
    place = this_place()
    with explained(what, exact or savedir):
        if place.variable is None or settings.DISABLED.get():
            return make()  # who stores nothing has nobody to meet
        if place.is_main:
            return _led(Meeting(place, savedir, what), make)
        if place.key is None and exact is not None:
            folder, run = exact, None
        else:
            word = Meeting(place, savedir, what).wait()
            if word is None:
                return _apart(place, f"makes {what} in {savedir}, while rank 0 makes another experiment", make)
            folder, run = savedir / word.folder, word.run
        _wait_for_meta(folder)  # the file systems of other hosts show it later
        decisive, beside = differences(folder)
        if decisive and may_be_apart(place):
            return _apart(place, f"gives {_some(decisive)}", make)
        if decisive or beside:
            warn(
                f"rank {place.rank} gives {_some([*decisive, *beside])}: that is not stored, for {folder.name!r} is the "
                f"experiment of all ranks. MLV_RANKS=apart gives each process one of its own",
                MlvWarning,
            )
        if place.key is not None:
            _joined.add(place.key)
        return join(folder, place.rank, run)


def may_be_apart(place: LaunchRank) -> bool:
    """Whether a process may be a task of its own instead of a rank: nothing says which, so far."""
    return not place.is_joint and place.key not in _joined and settings.RANKS.get() == "auto"


def _apart(place: LaunchRank, reason: str, make: Callable[[], Parts]) -> Parts:
    """Make an experiment as a process that was launched alone."""
    go_apart(place)
    warn(
        f"{place.variable}={place.rank}: this process {reason}. So it is taken for a task of its own, and not for a rank of "
        f"several: it makes its own experiments. MLV_RANKS=apart says so at once, MLV_RANKS=together that it is a rank",
        MlvWarning,
    )
    return make()


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _led(meeting: Meeting, make: Callable[[], Parts]) -> Parts:
    try:
        parts = make()
    except (MlvError, OSError) as error:
        meeting.say_failed(error)
        raise
    meeting.say(parts.folder, parts.meta.id, parts.session.run)
    return parts


class Word(FrozenRecord):
    """What the main rank says about the experiment that it made, or why it made none."""

    made: float
    """Seconds since 1970."""
    folder: str = ""
    """Relative to the savedir."""
    id: str = ""
    run: str | None = None
    process: Mapping[str, Any] = FrozenDict()
    """The main rank's."""
    failed: str | None = None
    token: str = ""
    """Tells this word from every other one."""
    launch: str = ""
    """The same in all words of a launch."""


class Meeting:
    """One experiment that the ranks of a launch make, or open, together."""

    def __init__(self, place: LaunchRank, savedir: Path, what: str) -> None:
        """Prepare the meeting; `what` says what is made, in the same words on all ranks."""
        self._place, self._savedir, self._what = place, savedir, what
        with _lock:
            spot = (str(place.key), str(savedir), what)
            _counts[spot] = _counts.get(spot, 0) + 1
            name = sha256("\0".join((*spot[::2], str(_counts[spot]))).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self._path = savedir / _LAUNCHES / f"{name}.json"
        self._launch = sha256(str(place.key).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    # The main rank.

    def say(self, folder: Path, id: str, run: str | None) -> None:
        """Let the other ranks know which experiment it is."""
        self._write(Word(time(), os.path.relpath(folder, self._savedir), id, run))

    def say_failed(self, error: Exception) -> None:
        """Let the other ranks know that there will be none, instead of letting them wait."""
        self._write(Word(time(), failed=f"{type(error).__name__}: {error}"))

    def _write(self, word: Word) -> None:
        if self._place.key is None:
            return
        word = word.replace(process=Owner.current().to_data(), token=os.urandom(8).hex(), launch=self._launch)
        temporary = temporary_beside(self._path)
        try:
            opening.make_folders(self._savedir, self._path.parent)
            _forget_old(self._path.parent, time() - _KEPT_S)
            with opening.new(temporary) as file:
                file.write(orjson.dumps(word.to_dict()))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            sync_folder(self._path.parent)
        except OSError as error:  # the experiment is there, and training goes on
            with suppress(OSError):
                temporary.unlink()
            warn(f"the other ranks are not told where {word.folder!r} is: {self._path.parent}: {error.strerror}", MlvWarning)

    # The others.

    def wait(self, timeout_s: float | None = None) -> Word | None:
        """What the main rank says, as soon as it does; None where it has only made others, and need not make this one.

        Raises:
            InvalidArgument: Nothing tells which processes were launched together.
            RanksNotMet: It made no experiment, or does not say so in time.
        """
        if self._place.key is None:
            raise InvalidArgument(
                f"{self._place.variable}={self._place.rank}: this rank cannot tell which experiment rank 0 makes, because "
                f"nothing names the launch. Set MLV_LAUNCH to the same new text for all ranks, or MASTER_ADDR and MASTER_PORT, "
                f"give a name with on_exists='open', or unset {self._place.variable} where the process is none of several",
                rank=self._place.rank,
            )
        began = monotonic()
        timeout_s = settings.RANKS_TIMEOUT.get() if timeout_s is None else timeout_s
        pause_s = _POLL_S
        others_since, next_look = math.inf, began
        while True:
            word = self._read(self._path)
            if word is not None and self._believes(word, monotonic() - began):
                self._remember(word)
                if word.failed is not None:
                    raise RanksNotMet(f"rank 0 made no {self._what}: {word.failed}", rank=self._place.rank)
                return word
            if monotonic() - began > timeout_s:
                raise self._not_met(timeout_s, word)
            if monotonic() - others_since > min(_OTHERS_FOR_S, timeout_s / 30):
                return None
            if others_since == math.inf and monotonic() >= next_look and may_be_apart(self._place):
                next_look = monotonic() + _LOOK_EVERY_S
                others_since = monotonic() if self._makes_others() else math.inf
            sleep(pause_s)
            pause_s = min(1.5 * pause_s, _POLL_MOST_S)

    def _makes_others(self) -> bool:
        """Whether the main rank of this launch has made an experiment, here or in a folder beside this one."""
        for folder in (self._savedir, *_beside(self._savedir)):
            with suppress(OSError):
                for path in (folder / _LAUNCHES).iterdir():
                    word = self._read(path) if path.suffix == ".json" else None
                    if word is not None and word.launch == self._launch and self._is_of_now(word):
                        return True
        return False

    def _is_of_now(self, word: Word) -> bool:
        return word.made > _BEGAN - _RECENT_S and (self._place.is_unique or not Owner.from_data(word.process).is_gone())

    def _read(self, path: Path) -> Word | None:
        try:
            given = opening.json_content(path)
            word = Word(**{name: value for name, value in given.items() if name in Word.FIELDS})
            Owner.from_data(word.process)
            return word
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _believes(self, word: Word, waited_s: float) -> bool:
        """Whether a word is of this launch, and not of an earlier one that had the same key."""
        is_going_on = word.failed is None and self._is_going_on(word)
        is_recent = word.made > _BEGAN - _RECENT_S
        if self._place.is_unique:
            return is_going_on or is_recent
        if self._mark(word).exists() or not is_recent:
            return False  # this rank came to that meeting before, in an earlier launch
        return is_going_on or waited_s >= _GRACE_S

    def _is_going_on(self, word: Word) -> bool:
        owner, here = Owner.from_data(word.process), Owner.current()
        if owner.is_gone():
            return False
        if (owner.machine, owner.boot, owner.pidns) == (here.machine, here.boot, here.pidns):
            return True
        run = read_state(self._savedir / word.folder).runs.get(str(word.run)) if self._is_there(word) else None
        return run is None or run.status(datetime.now(timezone.utc)) == "running"

    def _is_there(self, word: Word) -> bool:
        return layout.is_experiment(self._savedir / word.folder)

    def _mark(self, word: Word) -> Path:
        return self._path.with_name(f"{self._path.stem}.{word.token}.{self._place.rank}")

    def _remember(self, word: Word) -> None:
        if not self._place.is_unique:
            with suppress(OSError):
                os.close(opening.writing(self._mark(word), os.O_WRONLY | os.O_CREAT))

    def _not_met(self, timeout_s: float, word: Word | None) -> RanksNotMet:
        seen = "There is no word of it" if word is None else "There is only word of an earlier launch"
        return RanksNotMet(
            f"rank {self._place.rank} waited {timeout_s:g} s for rank 0 to make {self._what} in {self._savedir}. {seen} in "
            f"{self._path}: see whether rank 0 runs, calls Exp with the same savedir and name, and has the same launch "
            f"variables. Set MLV_RANKS=apart where each process makes its own; MLV_RANKS_TIMEOUT_S sets the time",
            path=str(self._path),
            rank=self._place.rank,
        )


def _wait_for_meta(folder: Path) -> None:
    timeout_s = settings.RANKS_TIMEOUT.get()
    deadline = monotonic() + timeout_s
    while not layout.is_experiment(folder):
        if monotonic() > deadline:
            text = f"waited {timeout_s:g} s for {folder / layout.META}: see whether rank 0 runs, and whether savedir is shared"
            raise RanksNotMet(text, path=str(folder))
        sleep(_POLL_S)


def _beside(savedir: Path) -> list[Path]:
    """Folders beside a savedir: independent tasks often have one each."""
    with suppress(OSError), os.scandir(savedir.parent) as entries:
        return [Path(entry.path) for entry in islice(entries, _MOST_BESIDE) if entry.is_dir() and entry.path != str(savedir)]
    return []


def _forget_old(folder: Path, before: float) -> None:
    """Remove what launches of long ago left."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            with suppress(OSError):
                if entry.stat().st_mtime < before:
                    os.unlink(entry.path)
