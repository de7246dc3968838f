"""Copies: the name of the one folder that holds these files, kept in `.mlv/copy` with what tells it from a clone of it.

Segments in a bucket are ranges of the bytes of one folder's files, so they bear the name of the folder. A clone of the folder
brings the name along, and not its inode; a stream that was redacted, restored or replaced has another inode than the one that
was shipped. Either begins another copy, under a name of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from mlv.bucket.names import is_copy, new_copy
from mlv.digests import sha256
from mlv.encoding import loads
from mlv.frozen import FrozenRecord
from mlv.store import layout, opening
from mlv.store.blobs import replace_whole
from mlv.store.locks import alone_in
from mlv.store.owners import Owner
from mlv.transport.spool import file_system_of, is_network

_LONGEST = 1 << 20
"""Bytes of the file; a thousand streams take a tenth."""


class Copy(FrozenRecord):
    """A folder of an experiment, as it is named in buckets."""

    name: str
    machine: str
    boot: str
    device: int
    inode: int
    streams: Mapping[str, int] = {}
    """Inode of each stream's file that was shipped."""
    former: tuple[str, ...] = ()
    """Copies of this very folder before a file in it was replaced: their segments may hold what was redacted."""
    is_new: bool = False
    """Whether nothing was shipped under the name."""

    def is_in(self, here: Copy, folder: Path) -> bool:
        """Return whether a record describes the folder that `here` describes, as this process sees it."""
        if self.inode != here.inode:
            return False
        # Devices are numbered anew with each boot. The containers of one see the same ones, though each is a machine by its ID.
        if self.boot and self.boot == here.boot:
            return self.device == here.device
        # A disk that several machines see, not one that was cloned.
        return self.machine == here.machine or is_network(file_system_of(folder))

    def agrees_with(self, streams: Mapping[str, int]) -> bool:
        """Return whether the files are those that were shipped, as far as they were."""
        return all(self.streams.get(stream, inode) == inode for stream, inode in streams.items())


def copy_path(folder: Path) -> Path:
    """Return the path of the file that names the copy."""
    return folder / layout.HOUSEKEEPING / "copy"


def peek(folder: Path, streams: Mapping[str, int]) -> Copy | None:
    """Return the copy that a folder is, None where nothing of it was shipped as it is now. Nothing is written."""
    record = recorded(folder)
    return record if record is not None and record.agrees_with(streams) else None


def recorded(folder: Path) -> Copy | None:
    """Return the copy that a folder was when it was shipped last; None where it never was, or is a clone."""
    record = _read(folder)
    return record if record is not None and record.is_in(_here(folder), folder) else None


def current(folder: Path, streams: Mapping[str, int]) -> Copy:
    """Return the copy that a folder is, with these inodes of its streams; begins another where it is none yet.

    Raises:
        OSError: The folder is gone.
    """
    with alone_in(folder):
        record, here = _read(folder), _here(folder)
        if record is None or not record.is_in(here, folder):
            return _begun(folder, here.replace(streams=dict(streams)))
        if not record.agrees_with(streams):
            return _renewed(folder, record, here, streams)
        now = here.replace(name=record.name, streams={**record.streams, **streams}, former=record.former)
        if now != record:
            _keep(folder, now)
        return now


def renew(folder: Path, streams: Mapping[str, int], name: str) -> Copy:
    """Begin another copy in place of the one of that name, whose segments hold other bytes than the files.

    Raises:
        OSError: The folder is gone.
    """
    with alone_in(folder):
        record, here = _read(folder), _here(folder)
        if record is not None and record.name != name:
            return record  # another process was faster
        return _renewed(folder, record or here.replace(name=name), here, streams)


def forget(folder: Path, name: str) -> None:
    """Drop a former copy, whose segments are settled."""
    with alone_in(folder):
        record = _read(folder)
        if record is not None and name in record.former:
            _keep(folder, record.replace(former=tuple(former for former in record.former if former != name)))


def _renewed(folder: Path, record: Copy, here: Copy, streams: Mapping[str, int]) -> Copy:
    former = tuple(dict.fromkeys([*record.former, record.name]))
    replaced = sorted(inode for stream, inode in streams.items() if record.streams.get(stream, inode) != inode)
    return _begun(folder, here.replace(streams=dict(streams), former=former), record.name, *replaced)


def _here(folder: Path) -> Copy:
    owner, status = Owner.current(), folder.stat()
    return Copy("", owner.machine, owner.boot, status.st_dev, status.st_ino)


def _begun(folder: Path, copy: Copy, *reason: Any) -> Copy:
    """Give a copy a random name; where it cannot be kept, one that follows from the folder, and is the same the next time."""
    begun = copy.replace(name=new_copy(), is_new=True)
    if _keep(folder, begun):
        return begun
    # Not new: the bucket tells whether anything was shipped under the name.
    name = sha256(repr((copy.machine, copy.inode, os.path.realpath(folder), *reason)).encode()).hexdigest()[:16]
    return copy.replace(name=name)


def _read(folder: Path) -> Copy | None:
    try:
        with opening.reading(copy_path(folder), follows=False) as file:
            data: dict[str, Any] = loads(file.read(_LONGEST))
        name, machine, boot = (str(data[key]) for key in ("copy", "machine", "boot"))
        streams = {str(stream): int(inode) for stream, inode in data["streams"].items()}
        former = tuple(str(former) for former in data.get("former", ()))
        record = Copy(name, machine, boot, int(data["device"]), int(data["inode"]), streams, former)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if all(map(is_copy, (name, *former))) else None


def _keep(folder: Path, copy: Copy) -> bool:
    """Keep the record; return whether that was possible: the folder may be read-only, or the disk full."""
    data = {"copy": copy.name, **{key: value for key, value in copy.to_dict().items() if key not in ("name", "is_new")}}
    path = copy_path(folder)
    with suppress(OSError):
        opening.make_folders(folder, path.parent)
        replace_whole(path, orjson.dumps(data))
        return True
    return False
