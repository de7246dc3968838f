"""Lines of one stream on their way to a projection."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from mlv.encoding import BadLine, event_from_line
from mlv.events import Event
from mlv.projections.selecting import Selection
from mlv.query.rewinds import is_superseded_line
from mlv.state import Rewind
from mlv.store import layout, opening
from mlv.store.streams import Overlong, whole_line

_BLOCK_BYTES = 1 << 20  # read at once, however long the log is


@dataclass(frozen=True)
class LineBatch:
    """Whole lines of one stream, as `protocols.Batch` says; a line that is no event is passed over."""

    folder: Path
    """The experiment's folder: paths of attachments in the events are relative to it."""
    file: str
    """The stream as its file is called: `val@rk3v9x2m` for lines that a second writer added to `val`."""
    start: int
    """Offset of the first line in the file."""
    lines: bytes
    """Without those that a rewind superseded."""
    selection: Selection
    superseded_bytes: int = 0
    """Bytes of the file that the lines left out take."""
    rewinds: int = 0
    """Number of rewinds of the experiment; no batch holds a line that they supersede."""
    inode: int = 0
    """Number of the file: a log that was replaced, as by `mlv redact`, has another one."""

    @property
    def stream(self) -> str:
        """The stream's name."""
        return layout.logical_stream(self.file)

    @property
    def end(self) -> int:
        """Offset in the file behind the last line."""
        return self.start + len(self.lines) + self.superseded_bytes

    def __iter__(self) -> Iterator[Event]:
        of, stream = self.selection.of, self.stream
        for line in BytesIO(self.lines):
            try:
                event = of(event_from_line(line, stream))
            except BadLine:
                continue
            if event is not None:
                yield event


def whole_lines(folder: Path, file: str, start: int, selection: Selection, rewinds: Sequence[Rewind] = ()) -> LineBatch:
    """Return about a MiB of the next whole lines of a stream from an offset on; it ends where it starts if nothing is new."""
    try:
        with opening.reading(folder / layout.stream_file(file)) as stream:
            stream.seek(start)
            inode = os.fstat(stream.fileno()).st_ino
            content = stream.read(_BLOCK_BYTES)
            if b"\n" not in content:  # a line longer than a block
                content = whole_line(stream, content)
    except FileNotFoundError:  # removed, or merged into another, since the streams were listed
        content, inode = b"", 0
    if isinstance(content, Overlong):
        return LineBatch(
            folder, file, start, b"", selection, content.size if content.endswith(b"\n") else 0, len(rewinds), inode
        )
    content = content[: content.rfind(b"\n") + 1]
    remaining = content
    if rewinds:
        remaining = b"".join(line for line in BytesIO(content) if not is_superseded_line(rewinds, line))
    return LineBatch(folder, file, start, remaining, selection, len(content) - len(remaining), len(rewinds), inode)
