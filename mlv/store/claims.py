"""Claims: the right of one process to append to a stream. No file ever has two writers."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mlv.errors import ExperimentBusy
from mlv.store import layout, opening
from mlv.store.files import temporary_beside
from mlv.store.owners import Owner

_LOCK_TIMEOUT_S = 1.0  # on a network file system a lock may never come; it is for order only
_CHANGING = ".changing"
"""The name claimed to change files of the experiment as a whole. It begins with a dot, as no stream does."""
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim on a stream, as stored on the disk."""

    owner: Owner
    run: str
    """The writer's own run."""

    def to_bytes(self) -> bytes:
        """Return the content of the claim's file."""
        return orjson.dumps({"run": self.run, **self.owner.to_data()})


FOR_MERGES = Claim(Owner("", "", "", 0, ""), "merge")
"""The claim on a stream that holds lines from another copy, and waits for more of them: no process writes there."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A granted claim."""

    stream: str
    """The stream to write: the one asked for, or `NAME@WRITER` where that one belongs to somebody else."""
    was_stale: bool
    """Whether the stream's last writer died: its runs may want verdicts and seals."""


def read(folder: Path, stream: str) -> Claim | None:
    """Read the claim on a stream, None if there is none; an unreadable one has an owner that cannot be judged."""
    return _read(layout.claim_path(folder, stream))


def _read(path: Path) -> Claim | None:
    try:
        data: Mapping[str, Any] = opening.json_content(path)
        return Claim(Owner.from_data(data), str(data["run"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Claim(Owner("", "", "", 0, ""), "")


def claim(folder: Path, stream: str, mine: Claim) -> Granted:
    """Make the stream ours; where it has a living owner, or one that cannot be judged from here, a stream beside it.

    Raises:
        OSError: The claim's file cannot be written.
    """
    if claim_exactly(folder, stream, mine):
        return Granted(stream, was_stale=False)
    if take_over(folder, stream, mine):
        return Granted(stream, was_stale=True)
    beside = f"{stream}@{mine.run}"
    if read(folder, beside) != mine:
        _create(layout.claim_path(folder, beside), mine)
    return Granted(beside, was_stale=False)


def claim_exactly(folder: Path, stream: str, mine: Claim) -> bool:
    """Make the stream ours if it is nobody's; return whether it is ours.

    Raises:
        OSError: The claim's file cannot be written.
    """
    path = layout.claim_path(folder, stream)
    opening.make_folders(folder, path.parent)  # not the experiment's own folder: a deleted one stays deleted
    return read(folder, stream) == mine or _create(path, mine)


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Be the one process that merges into an experiment, or redacts it, while the block lasts.

    Raises:
        ExperimentBusy: Another process does so, or died at it where that cannot be proven from here.
        OSError: The claim's file cannot be written.
    """
    mine = Claim(Owner.current(), "changing")
    path = layout.claim_path(folder, _CHANGING)
    if not (_create_within(folder, mine) or take_over(folder, _CHANGING, mine)):
        held = read(folder, _CHANGING)
        who = f"process {held.owner.pid} on {held.owner.machine}" if held is not None else "another process"
        text = f"{who} merges into {folder}, or redacts it, at this moment. Try again later; if it died, remove {path}"
        raise ExperimentBusy(text, path=str(folder))
    try:
        yield
    finally:
        release(folder, _CHANGING, mine)


def is_changing(folder: Path) -> bool:
    """Return whether a process that may live merges into an experiment, or redacts it, at this moment."""
    held = read(folder, _CHANGING)
    return held is not None and not held.owner.is_gone()


def _create_within(folder: Path, mine: Claim) -> bool:
    # Not `claim_exactly`: two threads of one process are two as well.
    path = layout.claim_path(folder, _CHANGING)
    opening.make_folders(folder, path.parent)
    return _create(path, mine)


def take_over(folder: Path, stream: str, mine: Claim) -> bool:
    """Replace the claim of an owner that is provably gone; False if there is none such, or somebody else was faster.

    Raises:
        OSError: The claim's file cannot be written.
    """
    path = layout.claim_path(folder, stream)
    held = _read(path)
    if held is None or not held.owner.is_gone():
        return False
    from filelock import FileLock

    opening.check_folders(folder, path.parent)
    lock = FileLock(path.parent / ".lock")
    # For order only: the others wait, and then see a living claim. Where locks do not work, `_succeed` alone is as safe.
    with suppress(OSError, NotImplementedError):  # filelock's Timeout is an OSError too
        lock.acquire(timeout=_LOCK_TIMEOUT_S)
    try:
        return _succeed(path, held, mine)
    finally:
        with suppress(OSError, NotImplementedError):
            lock.release()


def release(folder: Path, stream: str, mine: Claim) -> None:
    """Give the stream back; does nothing if it is not ours, or the folder is gone."""
    with suppress(OSError):
        if read(folder, stream) == mine:
            layout.claim_path(folder, stream).unlink()


def surrender(folder: Path, stream: str, mine: Claim) -> None:
    """Leave the stream to the next process, to finish its runs: the claim then reads as that of a dead process."""
    dead = Claim(mine.owner.replace(start="0" * len(mine.owner.start)), mine.run)
    with suppress(OSError):
        if read(folder, stream) == mine:
            with opening.changing(layout.claim_path(folder, stream)) as file:
                file.write(dead.to_bytes())  # as long as before: needs no space, of which there may be none


def claimed(folder: Path) -> list[str]:
    """Return the names of the claimed streams."""
    try:
        names = sorted(os.listdir(layout.claim_path(folder, layout.DEFAULT_STREAM).parent))
    except OSError:
        return []
    return [name[: -len(".json")] for name in names if name.endswith(".json") and not name.startswith(".")]


def stale(folder: Path) -> list[str]:
    """Return the streams whose claim's owner is provably gone."""
    return [stream for stream in claimed(folder) if (held := read(folder, stream)) is not None and held.owner.is_gone()]


def _create(path: Path, mine: Claim) -> bool:
    """Make the claim's file with its content in one step; False if there is one of somebody else."""
    temporary = temporary_beside(path)
    try:
        _write_new(temporary, mine)
        os.link(temporary, path)  # unlike rename, it refuses to replace another claim
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_without_links(path, mine)
    finally:
        with suppress(OSError):
            temporary.unlink()
    return True


def _create_without_links(path: Path, mine: Claim) -> bool:
    """Create the file exclusively, with the content a moment later: until then the claim cannot be judged."""
    try:
        _write_new(path, mine)
        return True
    except FileExistsError:
        return False


def _write_new(path: Path, mine: Claim) -> None:
    with opening.new(path) as file:
        try:
            file.write(mine.to_bytes())
            # On the disk before it has its name: a claim that a power cut empties would be held for ever.
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                path.unlink()  # half a claim would be one that nobody can judge
            raise


def _succeed(path: Path, held: Claim, mine: Claim) -> bool:
    """Replace a claim of a dead process; only the maker of the file that marks it as succeeded may do so.

    That file is a claim as well: should its maker die in the middle, another one succeeds to it in the same way.
    """
    marker = path.with_name(f".{hashlib.sha256(held.to_bytes()).hexdigest()[:16]}.successor")
    if not _create(marker, mine):
        rival = _read(marker)
        if rival is None or (rival != mine and not (rival.owner.is_gone() and _succeed(marker, rival, mine))):
            return False
    try:
        # Read again under the marker: the claim may have had a successor before this process made it.
        if _read(path) != held:
            return False  # somebody else was faster
        temporary = temporary_beside(path)
        # The content first: a claim without one would belong to nobody who could be judged.
        _write_new(temporary, mine)
        # One step: at no moment is the stream nobody's.
        os.replace(temporary, path)
        return True
    finally:
        marker.unlink()
