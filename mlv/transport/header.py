"""The header of a ring, for processes that only look: also while another one drains it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mlv.store.owners import Owner, process_start
from mlv.transport import frames as f
from mlv.transport import spool

_WORDS = struct.Struct("<32Q")


@dataclass(frozen=True)
class Header:
    """A ring's header at one moment."""

    info: dict[str, Any]
    """Run, experiment and process."""
    words: tuple[int, ...]

    @property
    def owner(self) -> Owner:
        """The process that logs."""
        return Owner.from_data(self.info["process"])

    @property
    def is_over(self) -> bool:
        """Whether no more events can come."""
        return self.words[f.W_ENDED] != 0 or self.owner.is_gone()

    @property
    def is_attended(self) -> bool:
        """Whether the ring has a writer that lives."""
        pid = self.words[f.W_WRITER_PID]
        return pid != 0 and process_start(pid) == str(self.words[f.W_WRITER_START])

    @property
    def refusal(self) -> str:
        """The system's last error for a writer that could not write; empty where it could."""
        number = self.words[f.W_ERRNO]
        return os.strerror(number) if number else ""

    @property
    def is_held_up(self) -> bool:
        """Whether the ring has a writer that lives, and cannot write."""
        return self.words[f.W_ERRNO] != 0 and self.is_attended


def parse_header(data: bytes, path: Path) -> Header:
    """Read the first bytes of a ring.

    Raises:
        ValueError: It is no ring, or names no owner.
    """
    if len(data) < f.CURSOR_OFFSET or int.from_bytes(data[:8], "little") != f.MAGIC:
        raise ValueError(f"{path} is no ring of this version")
    words = _WORDS.unpack_from(data)
    info = orjson.loads(data[f.INFO_OFFSET : f.INFO_OFFSET + words[f.W_INFO_BYTES]])
    header = Header(info, words)
    try:
        is_whole = spool.is_run(info["run"]) and type(info["exp"]) is type(info["id"]) is str and header.owner.pid > 0
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} lacks {error}") from None
    if not is_whole or info["run"] != path.name.removesuffix(spool.RING_SUFFIX):
        raise ValueError(f"{path} is the ring of no run")
    return header


def look(path: Path) -> Header | None:
    """Read the header of a ring; None if it is gone, or is none."""
    try:
        fd = spool.opened(spool.target_of(path), os.O_RDONLY)
        try:
            return parse_header(os.pread(fd, f.CURSOR_OFFSET, 0), path)
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return None
