"""Lines of one stream on their way to a projection."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from mlv.encoding import BadLine, event_from_line
from mlv.events import Event
from mlv.projections.selecting import Selection
from mlv.store import layout

_PIECE = 1 << 20


@dataclass(frozen=True)
class Lines:
    """Whole lines of one stream, as `protocols.Batch` says; a line that is no event is passed over."""

    folder: Path
    """The experiment's folder: paths of attachments in the events are relative to it."""
    file: str
    """The stream as its file is called: `val@rk3v9x2m` for what a second writer added to `val`."""
    start: int
    """Offset of the first line in the file."""
    lines: bytes
    selection: Selection
    inode: int = 0
    """Number of the file: a log that was replaced, as by `mlv redact`, has another one."""

    @property
    def stream(self) -> str:
        """The stream's name."""
        return layout.logical_stream(self.file)

    @property
    def end(self) -> int:
        """Offset behind the last line."""
        return self.start + len(self.lines)

    def __iter__(self) -> Iterator[Event]:
        of, stream = self.selection.of, self.stream
        for line in BytesIO(self.lines):
            try:
                event = of(event_from_line(line, stream))
            except BadLine:
                continue
            if event is not None:
                yield event


def whole_lines(folder: Path, file: str, start: int, chosen: Selection) -> Lines:
    """The next whole lines of a stream from an offset on, about a MiB of them; none where there is nothing new."""
    try:
        with open(folder / layout.stream_file(file), "rb", buffering=0) as stream:
            stream.seek(start)
            inode = os.fstat(stream.fileno()).st_ino
            pieces = [stream.read(_PIECE)]
            while pieces[-1] and b"\n" not in pieces[-1]:  # a line longer than a piece
                pieces.append(stream.read(_PIECE))
            content = b"".join(pieces)
    except FileNotFoundError:  # removed, or merged into another, since the streams were listed
        content, inode = b"", 0
    return Lines(folder, file, start, content[: content.rfind(b"\n") + 1], chosen, inode)
