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
    """Without what a rewind superseded."""
    selection: Selection
    superseded_bytes: int = 0
    """What the lines that were left out took in the file."""
    rewinds: int = 0
    """How many rewinds the experiment had: what they supersede is in no batch."""
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


def whole_lines(folder: Path, file: str, start: int, chosen: Selection, rewinds: Sequence[Rewind] = ()) -> Lines:
    """The next whole lines of a stream from an offset on, about a MiB of them; it ends where it starts if nothing is new."""
    try:
        with opening.reading(folder / layout.stream_file(file)) as stream:
            stream.seek(start)
            inode = os.fstat(stream.fileno()).st_ino
            content = stream.read(_PIECE)
            if b"\n" not in content:  # a line longer than a piece
                content = whole_line(stream, content)
    except FileNotFoundError:  # removed, or merged into another, since the streams were listed
        content, inode = b"", 0
    if isinstance(content, Overlong):
        return Lines(folder, file, start, b"", chosen, content.size if content.endswith(b"\n") else 0, len(rewinds), inode)
    content = content[: content.rfind(b"\n") + 1]
    left = content
    if rewinds:
        left = b"".join(line for line in BytesIO(content) if not is_superseded_line(rewinds, line))
    return Lines(folder, file, start, left, chosen, len(content) - len(left), len(rewinds), inode)
