"""The rendezvous of the ranks of a launch: the main rank makes an experiment and announces it, the others wait for that.

The announcement is `<savedir>/.mlv/launches/<hash>.json`, written whole. The hash is that of the launch's key, of the
description of the experiment, and of how often this launch made it before. There are no collective calls, and nothing but
the savedir is shared.
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
from mlv.experiment.opening.ranks import LaunchRank, go_apart, this_launch_rank
from mlv.experiment.opening.setup import Differences, ExpComponents, translated_os_errors
from mlv.frozen import FrozenDict, FrozenRecord
from mlv.notices import warn
from mlv.store import layout, opening
from mlv.store.files import sync_folder, temporary_beside
from mlv.store.owners import Owner
from mlv.store.reading import read_state

_POLL_S, _POLL_MOST_S = 0.01, 0.5  # thousands of ranks look at one folder, maybe of a network file system
_RECENT_S = 600.0
"""Ranks of one launch begin within this time of each other."""
_GRACE_S = 5.0
"""How long the announcement of a run that is over is ignored: a new launch may be about to replace it."""
_KEPT_S = 7 * 86400.0  # no rank comes later than the longest time in a queue
_OTHERS_FOR_S = 10.0
"""How long rank 0 may make other experiments only, until a rank takes itself for an independent task."""
_LOOK_EVERY_S = 1.0  # reads the folders beside the savedir
_MOST_BESIDE = 1000  # a savedir may be one of a million folders
_LAUNCHES = Path(layout.HOUSEKEEPING, "launches")
_BEGAN = time()
"""When this process began, approximately."""
_counts: dict[tuple[str, str, str], int] = {}
_joined: set[str] = set()
"""Keys of launches whose main rank this process has joined."""
_lock = threading.Lock()


def together(
    savedir: Path,
    description: str,
    make: Callable[[], ExpComponents],
    join: Callable[[Path, int, str | None], ExpComponents],
    exact: Path | None = None,
    differences: Callable[[Path], Differences] = lambda folder: Differences((), ()),
    ranks: str = "main",
) -> ExpComponents:
    """Make an experiment on the main rank of this launch, and join it on the others.

    Launchers also start independent tasks. One that asks for another experiment than rank 0 makes is taken for such a task,
    unless the ranks have a rendezvous, and said to be: from then on it makes its own.

    Args:
        savedir: The folder that the ranks share.
        description: Names the experiment, in the same words on all ranks.
        make: Called by the main rank, and by a process that was launched alone.
        join: Called by the others with the folder, their rank, and the main rank's run if it is known.
        exact: The folder, where it is known before: then the ranks meet without a launch key.
        differences: Returns from the folder the arguments of this rank that differ from those of the main one.
        ranks: With `apart` each process makes its own, and meets nobody.

    Raises:
        InvalidArgument: Nothing tells which processes were launched together.
        RanksNotMet: The main rank makes no experiment, or does not say so in time.
        SavedirUnusable: The system refuses something.
    """
    launch_rank = this_launch_rank(ranks)
    with translated_os_errors(description, exact or savedir):
        if launch_rank.variable is None or settings.DISABLED.get():
            components = make()  # without storing anything there is no need to meet
            components.session.is_apart = ranks == "apart"
            return components
        if launch_rank.is_main:
            return _make_and_announce(Meeting(launch_rank, savedir, description), make)
        if launch_rank.key is None and exact is not None:
            folder, run = exact, None
        else:
            announcement = Meeting(launch_rank, savedir, description).wait()
            if announcement is None:
                return _make_alone(
                    launch_rank, f"makes {description} in {savedir}, while rank 0 makes another experiment", make
                )
            folder, run = savedir / announcement.folder, announcement.run
        _wait_for_meta(folder)  # the file systems of other hosts show it later
        decisive, minor = differences(folder)
        if decisive and may_be_apart(launch_rank):
            return _make_alone(launch_rank, f"gives {_some_of(decisive)}", make)
        if decisive or minor:
            warn(
                f"rank {launch_rank.rank} gives {_some_of([*decisive, *minor])}: that is not stored, for {folder.name!r} is "
                f"the experiment of all ranks. MLV_RANKS=apart gives each process one of its own",
                MlvWarning,
            )
        if launch_rank.key is not None:
            _joined.add(launch_rank.key)
        return join(folder, launch_rank.rank, run)


def may_be_apart(launch_rank: LaunchRank) -> bool:
    """Return whether a process may be an independent task instead of a rank: nothing has decided it so far."""
    return not launch_rank.is_joint and launch_rank.key not in _joined and settings.RANKS.get() == "auto"


def _make_alone(launch_rank: LaunchRank, reason: str, make: Callable[[], ExpComponents]) -> ExpComponents:
    """Make an experiment as a process that was launched alone."""
    go_apart(launch_rank)
    warn(
        f"{launch_rank.variable}={launch_rank.rank}: this process {reason}. So it is taken for a task of its own, and not for "
        f"a rank of several: it makes its own experiments. MLV_RANKS=apart says so at once, MLV_RANKS=together that it is a "
        f"rank",
        MlvWarning,
    )
    return make()


def _some_of(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _make_and_announce(meeting: Meeting, make: Callable[[], ExpComponents]) -> ExpComponents:
    try:
        components = make()
    except (MlvError, OSError) as error:
        meeting.announce_failure(error)
        raise
    meeting.announce(components.folder, components.meta.id, components.session.run)
    return components


class Announcement(FrozenRecord):
    """The main rank's announcement of the experiment that it made, or of the reason why it made none."""

    made: float
    """Seconds since 1970."""
    folder: str = ""
    """Relative to the savedir."""
    id: str = ""
    run: str | None = None
    process: Mapping[str, Any] = FrozenDict()
    """The process of the main rank."""
    failed: str | None = None
    token: str = ""
    """Distinguishes this announcement from all others."""
    launch: str = ""
    """Hash of the launch's key, equal in all announcements of a launch."""


class Meeting:
    """One experiment that the ranks of a launch make, or open, together."""

    def __init__(self, launch_rank: LaunchRank, savedir: Path, description: str) -> None:
        """Prepare the meeting; `description` names the experiment, in the same words on all ranks."""
        self._launch_rank, self._savedir, self._description = launch_rank, savedir, description
        with _lock:
            counter = (str(launch_rank.key), str(savedir), description)
            _counts[counter] = _counts.get(counter, 0) + 1
            name = sha256("\0".join((*counter[::2], str(_counts[counter]))).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self._path = savedir / _LAUNCHES / f"{name}.json"
        self._launch = sha256(str(launch_rank.key).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    # The main rank.

    def announce(self, folder: Path, id: str, run: str | None) -> None:
        """Announce the experiment to the other ranks."""
        self._write(Announcement(time(), os.path.relpath(folder, self._savedir), id, run))

    def announce_failure(self, error: Exception) -> None:
        """Announce to the other ranks that there will be none, instead of letting them wait."""
        self._write(Announcement(time(), failed=f"{type(error).__name__}: {error}"))

    def _write(self, announcement: Announcement) -> None:
        if self._launch_rank.key is None:
            return
        announcement = announcement.replace(process=Owner.current().to_data(), token=os.urandom(8).hex(), launch=self._launch)
        temporary = temporary_beside(self._path)
        try:
            opening.make_folders(self._savedir, self._path.parent)
            _forget_old(self._path.parent, time() - _KEPT_S)
            with opening.new(temporary) as file:
                file.write(orjson.dumps(announcement.to_dict()))
                file.flush()
                os.fsync(file.fileno())
            # Whole when it has its name: the other ranks read it as soon as that is there.
            os.replace(temporary, self._path)
            sync_folder(self._path.parent)
        except OSError as error:  # the experiment is there, and training goes on
            with suppress(OSError):
                temporary.unlink()
            warn(
                f"the other ranks are not told where {announcement.folder!r} is: {self._path.parent}: {error.strerror}",
                MlvWarning,
            )

    # The others.

    def wait(self, timeout_s: float | None = None) -> Announcement | None:
        """Wait for the main rank's announcement; return None if it has made other experiments only, and need not make this one.

        Raises:
            InvalidArgument: Nothing tells which processes were launched together.
            RanksNotMet: It made no experiment, or does not say so in time.
        """
        if self._launch_rank.key is None:
            variable = self._launch_rank.variable
            raise InvalidArgument(
                f"{variable}={self._launch_rank.rank}: this rank cannot tell which experiment rank 0 makes, because "
                f"nothing names the launch. Set MLV_LAUNCH to the same new text for all ranks, or MASTER_ADDR and MASTER_PORT, "
                f"give a name with on_exists='open', or unset {variable} where the process is none of several",
                rank=self._launch_rank.rank,
            )
        began = monotonic()
        timeout_s = settings.RANKS_TIMEOUT.get() if timeout_s is None else timeout_s
        pause_s = _POLL_S
        others_since, next_look = math.inf, began
        while True:
            announcement = self._read(self._path)
            if announcement is not None and self._accepts(announcement, monotonic() - began):
                self._remember(announcement)
                if announcement.failed is not None:
                    raise RanksNotMet(f"rank 0 made no {self._description}: {announcement.failed}", rank=self._launch_rank.rank)
                return announcement
            if monotonic() - began > timeout_s:
                raise self._not_met(timeout_s, announcement)
            # Rank 0 makes others, and not this one: this process is more likely a task of its own.
            if monotonic() - others_since > min(_OTHERS_FOR_S, timeout_s / 30):
                return None
            if others_since == math.inf and monotonic() >= next_look and may_be_apart(self._launch_rank):
                next_look = monotonic() + _LOOK_EVERY_S
                others_since = monotonic() if self._makes_others() else math.inf
            sleep(pause_s)
            pause_s = min(1.5 * pause_s, _POLL_MOST_S)

    def _makes_others(self) -> bool:
        """Return whether the main rank of this launch has made an experiment, here or in a folder beside this one."""
        for folder in (self._savedir, *_sibling_folders(self._savedir)):
            with suppress(OSError):
                for path in (folder / _LAUNCHES).iterdir():
                    announcement = self._read(path) if path.suffix == ".json" else None
                    if announcement is not None and announcement.launch == self._launch and self._is_recent(announcement):
                        return True
        return False

    def _is_recent(self, announcement: Announcement) -> bool:
        is_recent = announcement.made > _BEGAN - _RECENT_S
        return is_recent and (self._launch_rank.is_unique or not Owner.from_data(announcement.process).is_gone())

    def _read(self, path: Path) -> Announcement | None:
        try:
            fields = opening.json_content(path)
            announcement = Announcement(**{name: value for name, value in fields.items() if name in Announcement.FIELDS})
            Owner.from_data(announcement.process)
            return announcement
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _accepts(self, announcement: Announcement, waited_s: float) -> bool:
        """Return whether an announcement is of this launch, and not of an earlier one that had the same key."""
        is_going_on = announcement.failed is None and self._is_going_on(announcement)
        is_recent = announcement.made > _BEGAN - _RECENT_S
        if self._launch_rank.is_unique:
            return is_going_on or is_recent
        if self._mark(announcement).exists() or not is_recent:
            return False  # this rank joined that experiment before, in an earlier launch
        return is_going_on or waited_s >= _GRACE_S

    def _is_going_on(self, announcement: Announcement) -> bool:
        owner, process = Owner.from_data(announcement.process), Owner.current()
        if owner.is_gone():
            return False
        if (owner.machine, owner.boot, owner.pidns) == (process.machine, process.boot, process.pidns):
            return True
        run = (
            read_state(self._savedir / announcement.folder).runs.get(str(announcement.run))
            if self._is_there(announcement)
            else None
        )
        return run is None or run.status(datetime.now(timezone.utc)) == "running"

    def _is_there(self, announcement: Announcement) -> bool:
        return layout.is_experiment(self._savedir / announcement.folder)

    def _mark(self, announcement: Announcement) -> Path:
        return self._path.with_name(f"{self._path.stem}.{announcement.token}.{self._launch_rank.rank}")

    def _remember(self, announcement: Announcement) -> None:
        if not self._launch_rank.is_unique:
            with suppress(OSError):  # only a later call of this launch looks for it
                os.close(opening.writing(self._mark(announcement), os.O_WRONLY | os.O_CREAT))

    def _not_met(self, timeout_s: float, announcement: Announcement | None) -> RanksNotMet:
        reason = "There is no word of it" if announcement is None else "There is only word of an earlier launch"
        return RanksNotMet(
            f"rank {self._launch_rank.rank} waited {timeout_s:g} s for rank 0 to make {self._description} in {self._savedir}. "
            f"{reason} in {self._path}: see whether rank 0 runs, sees the same folder there, calls Exp with the same savedir "
            f"and name, and has the same launch variables. Set MLV_RANKS=apart where each process makes its own; "
            f"MLV_RANKS_TIMEOUT_S sets the time",
            path=str(self._path),
            rank=self._launch_rank.rank,
        )


def _wait_for_meta(folder: Path) -> None:
    timeout_s = settings.RANKS_TIMEOUT.get()
    deadline = monotonic() + timeout_s
    while not layout.is_experiment(folder):
        if monotonic() > deadline:
            text = f"waited {timeout_s:g} s for {folder / layout.META}: see whether rank 0 runs, and whether savedir is shared"
            raise RanksNotMet(text, path=str(folder))
        sleep(_POLL_S)


def _sibling_folders(savedir: Path) -> list[Path]:
    """Return the folders beside a savedir: independent tasks often have one each."""
    with suppress(OSError), os.scandir(savedir.parent) as entries:
        return [Path(entry.path) for entry in islice(entries, _MOST_BESIDE) if entry.is_dir() and entry.path != str(savedir)]
    return []


def _forget_old(folder: Path, before: float) -> None:
    """Remove the announcements of launches of long ago."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            with suppress(OSError):
                if entry.stat().st_mtime < before:
                    os.unlink(entry.path)
