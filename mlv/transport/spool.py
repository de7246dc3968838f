"""Spool folders: private places on this machine, outside any network mount, for rings and large events.

Others may write beside them, in shared memory say. So nothing of a spool is read, run, moved or removed unless it is a folder
that this user alone can enter, below one that is so too, and its files are regular ones of this user.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mlv import settings
from mlv.digests import sha256
from mlv.store import layout
from mlv.store.owners import Owner

LOCK = "writer.lock"
WAKE = "wake"
ERRORS = "writer.err"
"""The errors of a writer, for people."""
RING_SUFFIX = ".ring"
BIG_SUFFIX = ".big"
JOB_SUFFIX = ".job"

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_WAITING = r"[0-9a-f.]{1,99}(?:\.big|\.job)"  # compiled where it is needed: `import mlv` does without
_NETWORK = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "fuse", "glusterfs", "panfs", "wekafs")


def bases(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """List folders that may hold spools, best first: `MLV_SPOOL`, shared memory, the temporary folder; none on a network."""
    import tempfile  # costs 2 ms, which `import mlv` shall not

    if not hasattr(os, "getuid"):
        return []  # a system whose processes cannot share a ring as these do: the inline twin serves
    explicit = chosen(environ)
    defaults = [Path(base) for base in ("/dev/shm", tempfile.gettempdir(), "/var/tmp")]  # noqa: S108 - made private below
    local = [base for base in defaults if not _is_on_network(base)]
    return [base for base in dict.fromkeys([*([explicit] if explicit else []), *local]) if base.is_dir()]


def chosen(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that the setting names (`MLV_SPOOL`), which the user answers for; None if it names none."""
    return settings.SPOOL.look_up(environ).value


def root_of(base: Path) -> Path:
    """Return the user's own folder below a base."""
    return base / f"mlv-{os.getuid()}"


def key_of(folder: Path, owner: Owner) -> str:
    """Return the name of the spool of an experiment: the same for all processes of one process namespace.

    The ID goes in too: events that wait for a removed experiment are not for a new one at its path.
    """
    text = "\0".join((owner.machine, owner.pidns, os.path.realpath(folder), layout.exp_id(folder)))
    return sha256(os.fsencode(text)).hexdigest()[:20]


def candidates(folder: Path, owner: Owner) -> list[Path]:
    """List the possible spools of an experiment, best first; nothing is made but the folder that `MLV_SPOOL` names."""
    if (base := chosen()) is not None:
        with suppress(OSError):
            base.mkdir(parents=True, exist_ok=True)
    key = key_of(folder, owner)
    return [root_of(base) / key for base in bases()]


def prepare(spool: Path) -> None:
    """Make a spool that only this user can enter, unless it is there.

    Raises:
        OSError: It cannot be made, or is somebody else's.
    """
    _private(spool.parent)
    _private(spool)


def is_private(spool: Path) -> bool:
    """Return whether a spool exists, and nobody but this user can have put anything into it."""
    return _is_private_folder(spool.parent) and _is_private_folder(spool)


def existing(environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Yield every existing spool of this user."""
    for base in bases(environ):
        with suppress(OSError):
            yield from sorted(path for path in root_of(base).iterdir() if is_private(path))


def find(folder: Path, owner: Owner) -> list[Path]:
    """List the existing spools of one experiment."""
    spools = [root_of(base) / key_of(folder, owner) for base in bases()]
    return [spool for spool in spools if is_private(spool)]


def rings_in(spool: Path) -> list[Path]:
    """Return paths of the rings that a spool lists."""
    try:
        names = sorted(os.listdir(spool)) if is_private(spool) else []
    except OSError:
        return []
    return [spool / name for name in names if name.endswith(RING_SUFFIX) and is_run(name.removesuffix(RING_SUFFIX))]


def new_run_id() -> str:
    """Make a run ID: `r` and nine random letters or digits."""
    return "r" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in os.urandom(9))


def is_run(text: object) -> bool:
    """Return whether a text may be the ID of a run: it becomes a part of names of files."""
    return isinstance(text, str) and _RUN.match(text) is not None


def big_files(run: str, key: str) -> list[Path]:
    """List the files of large events and jobs of a run that wait in any spool of that key."""
    spools = (root_of(base) / key for base in bases())
    return [path for spool in spools if is_private(spool) for path in spool.glob(f"{run}.*") if _is_waiting(path, run)]


def _is_waiting(path: Path, run: str) -> bool:
    """Return whether a file may hold a large event or a job of a run, by its name."""
    return path.name.startswith(run + ".") and re.fullmatch(_WAITING, path.name[len(run) + 1 :]) is not None


def own_file(name: bytes, run: str, ring: Path) -> Path:
    """Return the file of a spool that a frame of a ring names.

    Raises:
        FileNotFoundError: It is none of that run, or lies in no spool of the experiment.
    """
    path = Path(os.fsdecode(name))
    of_key = path.parent.name == ring.parent.name and path.parent.parent.name == f"mlv-{os.getuid()}"
    if not (_is_waiting(path, run) and (of_key or path.parent == ring.parent) and is_private(path.parent)):
        raise FileNotFoundError(errno.ENOENT, "is no file of this run in a spool of its experiment", str(path))
    return path


def target_of(ring: Path) -> Path:
    """Return the path of a ring that a spool lists: there, or in another spool of the experiment that a link points to.

    Raises:
        FileNotFoundError: It points elsewhere.
    """
    if not ring.is_symlink():
        return ring
    target = Path(os.readlink(ring))
    if (target.name, target.parent.name) != (ring.name, ring.parent.name) or not is_private(target.parent):
        raise FileNotFoundError(errno.ENOENT, "is no ring in a spool of this user", str(target))
    return target


def opened(path: Path, flags: int) -> int:
    """Open a file of a spool: one that this user alone can write, which is no link, and no pipe that would be waited for.

    Raises:
        OSError: It is none, or cannot be opened.
    """
    if not is_private(path.parent):
        raise PermissionError(errno.EPERM, "lies in no private folder of this user", str(path))
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        os.close(fd)
        raise PermissionError(errno.EPERM, "is no regular file of this user, private to it", str(path))
    return fd


def waiting_bytes(run: str, spools: Iterable[Path]) -> int:
    """Return the bytes of large events and jobs of a run that wait in some spools."""
    total = 0
    for spool in spools:
        with suppress(OSError), os.scandir(spool) as entries:
            for entry in entries:
                if entry.name.startswith(run + ".") and entry.name.endswith((BIG_SUFFIX, JOB_SUFFIX)):
                    with suppress(OSError):  # it is done meanwhile
                        total += entry.stat().st_size
    return total


class Queued(NamedTuple):
    """A job that the writer has taken from its ring: its file's name holds all fields of its frame."""

    run: str
    seq: int
    time_ns: int
    cursor: int
    path: Path

    @classmethod
    def of_path(cls, path: Path) -> Queued | None:
        """Parse the name of a file; None if the job still has the name that the ring knows."""
        run, *numbers = path.name.removesuffix(JOB_SUFFIX).split(".")
        if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
            return None
        seq, time_ns, cursor = map(int, numbers)
        return cls(run, seq, time_ns, cursor, path)


def enqueue(path: Path, run: str, seq: int, time_ns: int, cursor: int) -> Queued:
    """Rename a job's file to hold the fields of its frame, so that the ring can go on without it; repeatable.

    Raises:
        FileNotFoundError: It is gone.
        OSError: It cannot be renamed.
    """
    queued = Queued(run, seq, time_ns, cursor, path.with_name(f"{run}.{seq}.{time_ns}.{cursor}{JOB_SUFFIX}"))
    try:
        path.rename(queued.path)
    except FileNotFoundError:
        if not queued.path.exists():  # else an earlier writer renamed it, and died before the ring let go of it
            raise
    return queued


def queued_jobs(run: str, key: str) -> list[Queued]:
    """List the jobs of a run that a writer has taken and that are not done, in order."""
    jobs = (Queued.of_path(path) for path in big_files(run, key) if path.suffix == JOB_SUFFIX)
    return sorted(job for job in jobs if job is not None)


def remove(spool: Path) -> None:
    """Remove a spool that lists no ring; one that does, or is in use again, stays. The caller holds its lock."""
    if not is_private(spool) or rings_in(spool):
        return
    with suppress(OSError):
        for name in (WAKE, LOCK, ERRORS):
            with suppress(FileNotFoundError):
                (spool / name).unlink()
        spool.rmdir()
    for base in bases():
        with suppress(OSError):
            (root_of(base) / spool.name).rmdir()


def wake(spool: Path) -> None:
    """Wake the writer that waits in the spool; nothing happens if none does."""
    with suppress(OSError):
        fd = os.open(spool / WAKE, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(fd, b"!")
        finally:
            os.close(fd)


def _private(folder: Path) -> None:
    with suppress(FileExistsError):  # checked below, whoever made it
        folder.mkdir(mode=0o700)
    if not _is_private_folder(folder):
        raise PermissionError(f"{folder} is not a private folder of this user: remove it, or set MLV_SPOOL")


def _is_private_folder(folder: Path) -> bool:
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _is_on_network(path: Path) -> bool:
    """Return whether the path lies on a network mount, as far as the system shows."""
    return is_network(file_system_of(path))


def is_network(kind: str) -> bool:
    """Return whether a type of file system is one of those that lie on other machines."""
    return kind.startswith(_NETWORK)


def file_system_of(path: Path) -> str:
    """Return the type of the file system that a path lies on, such as `ext4` or `nfs4`; empty where it is unknown."""
    try:
        mounts = [line.split(" ")[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:  # only Linux lists them there
        return ""
    real = os.path.realpath(path)
    under = [(point, kind) for point, kind in mounts if real == point or real.startswith(point.rstrip("/") + "/")]
    return max(under, key=lambda mount: len(mount[0]))[1] if under else ""
