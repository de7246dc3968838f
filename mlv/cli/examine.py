"""The checks of `mlv doctor`: each reports a finding and the change to make; nothing is left on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from math import ceil
from pathlib import Path

from mlv import settings, words
from mlv.bucket import positions
from mlv.bucket.positions import ShippedPosition
from mlv.store import blobs, layout
from mlv.transport import spool
from mlv.transport.header import look
from mlv.transport.launch import can_launch
from mlv.transport.new_rings import CAPACITY
from mlv.transport.spills import BIG_BUDGET

OK, NOTE, CHANGE = "ok", "note", "change"

_LEAST_FREE = 1 << 30  # a few checkpoints of a small model
_FSYNCS = 7  # their median is that of a disk at rest, also if one or two meet other work
_FSYNC_SHARE = 0.25
"""The largest share of its time that the writer should spend in fsync."""
_MOST_LATE = 10
"""Experiments that are named of those that are behind in one bucket."""
_STUCK_S = 600.0
"""Seconds behind from which on a process that ships is thought to be gone: some streams it ships every five minutes alone."""
_SKEW_S = 2.0  # file systems keep times of a second or two
_IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True, slots=True)
class Check:
    """The finding of one check."""

    part: str
    name: str
    text: str
    verdict: str = OK
    """`ok`, `note` for something worth knowing, `change` for something that is wrong."""
    advice: str = ""
    """The change to make, empty if there is none."""


def examine(folder: Path) -> Iterator[Check]:
    """Yield all checks, for experiments in a folder."""
    yield from _settings()
    yield from _folder(folder)
    if can_launch():  # else there is no spool
        yield from _spool()
    yield _writer()
    yield from _buckets(folder)


# Settings.


def _settings() -> Iterator[Check]:
    """Yield findings about the settings, only where something is wrong or worth knowing."""
    for setting in settings.SETTINGS:
        problem = setting.look_up().problem
        if problem is not None:
            yield Check("settings", setting.key, f"the default serves: {settings.value_text(setting.default)}", CHANGE, problem)
    file = settings.project_file()
    for problem in file.problems if file is not None else ():
        yield Check("settings", settings.PROJECT_FILE, "something in it is passed over", CHANGE, problem)
    names = [setting.env for setting in settings.SETTINGS]
    for name in sorted(name for name in os.environ if name.startswith("MLV_") and name not in names):
        for close in get_close_matches(name, names, 1, cutoff=0.85):
            yield Check("settings", name, "is no setting", CHANGE, f"did you mean {close}?")
    disabled = settings.DISABLED.look_up()
    if disabled.value:
        yield Check("settings", "disabled", f"nothing is stored, because of {disabled.source}", NOTE)


# The folder of experiments.


def _folder(folder: Path) -> Iterator[Check]:
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    if existing != folder:
        yield Check("folder", "there", f"it is made when it is needed; looked at is {existing}", NOTE)
    try:
        with _scratch(existing) as scratch:
            yield Check("folder", "writable", "files can be made")
            yield _kind(existing)
            yield _space(existing)
            yield _exclusive(scratch)
            yield _links(scratch)
            yield _renames(scratch)
            yield _locks(scratch)
            yield _fsync(scratch)
            yield _clock(scratch)
    except OSError as error:
        yield Check(
            "folder", "writable", f"no: {error.strerror or error}", CHANGE,
            f"give yourself the right to write into {existing}, or name another folder with {settings.DIR.env}",
        )  # fmt: skip


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield a folder for trials, and remove it at the end, along with those that killed processes left."""
    scratch = blobs.temporary_beside(folder / "doctor")
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        blobs.remove(scratch)


def _kind(folder: Path) -> Check:
    kind = spool.file_system_of(folder)
    if kind in _IN_MEMORY:
        return Check("folder", "file system", f"{kind}: in memory, gone when the machine stops", NOTE)
    if spool.is_network(kind):
        return Check("folder", "file system", f"{kind}: on other machines, as far as its name tells", NOTE)
    return Check("folder", "file system", kind or "the system does not tell")


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        advice = f"make room, or name another folder with {settings.DIR.env}"
        return Check("folder", "space", f"{words.size(free)} free", CHANGE, advice)
    return Check("folder", "space", f"{words.size(free)} free")


def _exclusive(scratch: Path) -> Check:
    for _ in range(2):
        try:
            os.close(os.open(scratch / "exclusive", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return Check("folder", "O_EXCL", "one process only makes a file")
    advice = "two writers may take one stream for theirs here: write from one process at a time, or elsewhere"
    return Check("folder", "O_EXCL", "a file that is there is made again", CHANGE, advice)


def _links(scratch: Path) -> Check:
    source, link = _create(scratch / "link"), scratch / "linked"
    try:
        os.link(source, link)
    except OSError as error:
        text = f"none ({_name_of(error)}): what has several names is copied, and takes so much more space"
        return Check("folder", "links", text, NOTE)
    try:
        os.link(source, link)
    except FileExistsError:
        return Check("folder", "links", "a file has several names, and no link replaces one")
    advice = "two processes may publish one file at once here: write from one process at a time, or elsewhere"
    return Check("folder", "links", "a link replaces what is there", CHANGE, advice)


def _renames(scratch: Path) -> Check:
    new, old = _create(scratch / "new", b"new"), _create(scratch / "old", b"old")
    try:
        os.replace(new, old)
        if old.read_bytes() == b"new" and not new.exists():
            return Check("folder", "rename", "replaces in one step")
        problem = "leaves the old content"
    except OSError as error:
        problem = f"fails ({_name_of(error)})"
    return Check("folder", "rename", problem, CHANGE, "files cannot be published whole here: use another folder")


def _locks(scratch: Path) -> Check:
    """Check that `flock` keeps a second process out."""
    without = "writers of one machine find each other by their claims alone"
    try:
        import fcntl
    except ImportError:
        return Check("folder", "flock", f"this system has none: {without}", NOTE)
    path = _create(scratch / "lock")
    with open(path, "rb") as first, open(path, "rb") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Check("folder", "flock", f"does not work ({_name_of(error)}): {without}", NOTE)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return Check("folder", "flock", "keeps a second one out")
    return Check("folder", "flock", f"lets everybody in: {without}", NOTE)


def _fsync(scratch: Path) -> Check:
    took_s = []
    with open(scratch / "fsync", "wb", buffering=0) as file:
        for _ in range(_FSYNCS):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took_s.append(time.perf_counter() - began)
    median_s, interval_s = statistics.median(took_s), settings.FSYNC_INTERVAL.look_up().value
    text = f"{1000 * median_s:.3g} ms, the median of {_FSYNCS}"
    if median_s > _FSYNC_SHARE * interval_s:
        advice = f"set {settings.FSYNC_INTERVAL.env}={ceil(median_s / _FSYNC_SHARE)} or more; it is {interval_s:g} s"
        return Check("folder", "fsync", text, CHANGE, advice)
    return Check("folder", "fsync", text)


def _clock(scratch: Path) -> Check:
    before = time.time()
    modified = _create(scratch / "clock").stat().st_mtime
    skew_s = max(before - modified, modified - time.time(), 0.0)
    if skew_s > _SKEW_S:
        advice = "set the clocks of both machines by NTP: times in logs of several hosts would be in no order"
        return Check("folder", "clock", f"differs by {words.duration(skew_s)} from the one that dates files", CHANGE, advice)
    return Check("folder", "clock", f"{words.full_time(datetime.now(timezone.utc))}, as files are dated")


# The spool and the writer.


def _spool() -> Iterator[Check]:
    chosen, problems = settings.SPOOL.look_up().value, []
    bases = [*([chosen] if chosen is not None else []), *(base for base in spool.bases() if base != chosen)]
    for base in bases:
        try:
            free = _usable_bytes(base)
        except OSError as error:
            problems.append(f"{base}: {error.strerror or error}")
            continue
        yield _spool_check(base, free, chosen, problems)
        break
    else:
        reasons = f" ({'; '.join(problems)})" if problems else ""
        text = f"no local folder has room for {words.size(CAPACITY)}{reasons}: the training process writes by itself"
        yield Check("spool", "place", text, CHANGE, f"name a local folder with {settings.SPOOL.env}")
    yield from _waiting()


def _usable_bytes(base: Path) -> int:
    """Reserve the space of a ring in a folder, release it, and return the free bytes.

    Raises:
        OSError: There is too little space, or the folder cannot be made private.
    """
    root = spool.root_of(base) / f"doctor-{os.getpid()}"
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        base.mkdir(parents=True, exist_ok=True)
        spool.prepare(root)
    except OSError:
        _remove(missing)
        raise
    try:
        with open(root / "ring", "xb") as file:
            os.posix_fallocate(file.fileno(), 0, CAPACITY)
        return shutil.disk_usage(root).free
    finally:
        with suppress(OSError):
            (root / "ring").unlink()
        _remove(missing)


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # another process uses it by now
            folder.rmdir()


def _spool_check(base: Path, free: int, chosen: Path | None, problems: list[str]) -> Check:
    kind = spool.file_system_of(base)
    text = f"{base}, {kind + ', ' if kind else ''}{words.size(free)} free"
    if chosen is not None and base != chosen:
        advice = f"{problems[0]}: name a local folder of your own with {settings.SPOOL.env}, or none"
        return Check("spool", "place", f"{text}, not the one that was named", CHANGE, advice)
    if spool.is_network(kind):
        advice = f"name a folder of this machine with {settings.SPOOL.env}: memory is mapped there"
        return Check("spool", "place", f"{text}, on other machines", CHANGE, advice)
    if free < BIG_BUDGET:
        return Check("spool", "place", f"{text}; large images and arrays may wait for room", NOTE)
    return Check("spool", "place", text)


def _waiting() -> Iterator[Check]:
    """Yield the experiments with events of ended processes that no writer attends to."""
    headers = [look(ring) for folder in spool.existing() for ring in spool.rings_in(folder)]
    waiting = {str(header.info.get("exp")) for header in headers if header and header.is_over and not header.is_attended}
    for path in sorted(waiting):
        if os.path.isdir(path):
            yield Check("spool", "waiting", f"events of {path}", CHANGE, f"write them: mlv recover {path}")


def _writer() -> Check:
    if settings.INLINE.look_up().value:
        return Check("writer", "process", "none is wanted: the training process writes by itself, slower", NOTE)
    if not can_launch():
        text = f"cannot be started from {sys.executable or 'here'}: the training process writes by itself, slower"
        return Check("writer", "process", text, NOTE)
    return Check("writer", "process", "can be started")


def _create(path: Path, content: bytes = b"") -> Path:
    path.write_bytes(content)
    return path


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


# Buckets.


def _buckets(folder: Path) -> Iterator[Check]:
    """Yield how far the copies in each bucket are behind, where experiments are shipped."""
    now = datetime.now(timezone.utc)
    lags: dict[str, list[tuple[float, str, ShippedPosition]]] = {}
    for exp in layout.walk(folder):
        for position in positions.positions_of(exp):
            lags.setdefault(position.url, []).append((positions.lag_s(exp, position, now), str(exp), position))
    for url, entries in sorted(lags.items()):
        late = sorted(
            (entry for entry in entries if entry[0] > 0 or entry[2].problem), key=lambda entry: entry[:2], reverse=True
        )
        if not late:
            yield Check("buckets", url, f"it has all lines of {words.counted(len(entries), 'experiment')}")
        for lag_s, path, position in late[:_MOST_LATE]:
            problem = f": {position.problem}" if position.problem else ""
            is_stuck = bool(problem) or lag_s > _STUCK_S
            text = f"{path} is {words.duration(lag_s)} behind{problem}"
            advice = f"`mlv push {path} {url}` ships what the folder has" if is_stuck else ""
            yield Check("buckets", url, text, CHANGE if is_stuck else NOTE, advice)
        if len(late) > _MOST_LATE:
            yield Check("buckets", url, f"{len(late) - _MOST_LATE} more experiments are behind", NOTE)
