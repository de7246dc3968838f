"""A text file that an output appends to, and that others may write as well."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from mlv import CannotResume
from mlv.compat.room import put_away, room_in


class TextFile:
    """Records of an output at the end of a file, each once: existing bytes are compared, and never cut off.

    After a kill, or where the output is built again, records that the file has are not written a second time.
    Lines of others stay, and new records follow them.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        """Go on behind the first `size` bytes, the result of the last `commit`; make the file where it is missing.

        Raises:
            CannotResume: The file is shorter.
            OSError: It cannot be opened.
        """
        self._path = path
        self._file = self._opened()
        if self._file.seek(0, os.SEEK_END) < size:
            self._file.close()
            raise CannotResume(f"{path} has lost what was written", path=str(path))
        self._size = self._file.seek(size)
        self._existing, self._compared = self._file.read(), 0
        self._new: list[bytes] = []
        self._begins_anew = False

    def add(self, record: bytes) -> None:
        """Append a record, unless the file has it at this place."""
        if self._compared == len(self._existing):
            self._new.append(record)
        elif self._existing.startswith(record, self._compared):
            self._compared += len(record)
        else:
            remainder = self._existing[self._compared :]
            self._compared = len(self._existing)
            # A record that was half written, or lines of somebody else.
            self._new.append(
                record[len(remainder) :]
                if record.startswith(remainder)
                else record
                if remainder.endswith(b"\n")
                else b"\n" + record
            )

    def clear(self) -> None:
        """Begin anew with an empty file."""
        self._begins_anew, self._new = True, []
        self._existing, self._compared = b"", 0

    def commit(self) -> int:
        """Hand everything to the system, and return how much of the file is compared or written."""
        if self._begins_anew:
            self._file.close()
            self._file = self._opened()  # again: it may have been deleted meanwhile, or be another one
            self._file.truncate(0)
            self._size, self._begins_anew = 0, False
        if self._new:
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"".join(self._new))
            self._file.flush()
            self._size, self._new = self._file.tell(), []
            self._existing, self._compared = b"", 0
        return self._size + self._compared

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _opened(self) -> BinaryIO:
        return open(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666), "rb+")


def discard(path: Path) -> None:
    """Move a file that has changed into the hidden folder beside it, so that it is built again."""
    with suppress(OSError):
        if path.stat().st_size:
            put_away(path, room_in(path.parent))


def committed(resume: Any) -> int:
    """Return the size from the last `commit` of an output, 0 where there was none."""
    return int(resume["size"]) if isinstance(resume, Mapping) else 0
