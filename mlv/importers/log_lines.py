"""Files of Python's `logging`: a head with time and level, a message, and lines that go on with it; and of what was printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from mlv.experiment.console.tee import TerminalLines
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent
from mlv.importers.endings import end_of
from mlv.importers.reading import SourceReading
from mlv.store import layout

_LOOKED_AT, _CHUNK_BYTES = 1 << 16, 1 << 18
_LONGEST = 1 << 20
"""Characters of a message: a file without heads must not become one of gigabytes."""
_DIGIT = re.compile(r"\d")
_LEVELS = {"DEBUG": "debug", "WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}


class PrintedFile:
    """A file of any length that has what was printed to a terminal, beside others of its run, which grow as it does."""

    def __init__(self, path: Path) -> None:
        self._path, self._lines = path, TerminalLines()

    def items(self, parent: str, time: datetime, reading: SourceReading) -> Iterator[Item]:
        """Yield its whole lines as those of a run of their own, a microsecond apart: the file has no times."""
        run = f"{parent} console"
        yield RunBegins(run, time, parent=parent)
        for number, line in enumerate(self._whole_lines()):
            yield _printed_line(run, time + timedelta(microseconds=number), line)
        reading.advance(self._path.stat().st_size)
        yield from end_of(run, time, None, lambda _: [], reading, length="", has_ends=False)

    def _whole_lines(self) -> Iterator[str]:
        with open(self._path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield from self._lines.add(chunk, 0.0)

    def last(self, run: str, time: datetime) -> Iterator[SourceEvent]:
        """Yield what its end has without a line end, once the whole lines were yielded."""
        for line in self._lines.last():
            yield _printed_line(run, time, line)


def _printed_line(run: str, time: datetime, line: str) -> SourceEvent:
    data = {"level": "info", "message": line}
    return SourceEvent(run, time, "message", data, "stdout", stream=layout.CONSOLE_STREAM)


class Message(NamedTuple):
    """A message of a file."""

    time: datetime
    level: str
    """As mlv names it."""
    name: str
    """Of its logger; empty where the file has none."""
    text: str


class LogForm(NamedTuple):
    """The form of the lines of a logger."""

    head: re.Pattern[str]
    """Groups `time`, `level` and `text`, and perhaps `name`."""
    time: str
    """As in `strptime`; a file says no zone, and is read as UTC."""

    def first(self, path: Path) -> Message | None:
        """Return the first message near the beginning of a file, None where there is none: it is of another form."""
        try:
            with open(path, "rb") as file:
                beginning = file.read(_LOOKED_AT).decode("utf-8", "replace")
        except OSError:
            return None
        return next(filter(None, map(self._message, beginning.splitlines())), None)

    def messages(self, path: Path, reading: SourceReading) -> Iterator[Message]:
        """Yield the messages of a file; lines before the first head are left behind, and a last line without an end waits."""
        message: Message | None = None
        head = ""
        with open(path, "rb") as file:
            for line in file:
                reading.advance(len(line))
                text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
                following = self._message(text)
                if not line.endswith(b"\n"):
                    is_head = following is not None or (message is None) or self._may_begin(text, head)
                    is_torn = following is None and is_head and not reading.options.is_whole
                    if not reading.takes_open_line(is_torn=is_torn):
                        if not is_head:
                            message = None  # waits with this line of it: what is recorded stays as it is
                        break
                if following is not None:
                    if message is not None:
                        yield message
                    message, head = following, text
                elif message is not None and len(message.text) < _LONGEST:
                    message = message._replace(text=f"{message.text}\n{text}")
                else:
                    reading.leave("lines of a log that belong to no message")
        if message is not None:
            yield message

    def _may_begin(self, line: str, head: str) -> bool:
        """Return whether the beginning of a line may be that of a head, as a whole one shows."""
        match = self.head.match(head)
        whole, own = (_DIGIT.sub("0", text) for text in (head[: match.start("level")] if match else "", line))
        return whole.startswith(own) or (bool(whole) and own.startswith(whole))

    def _message(self, line: str) -> Message | None:
        match = self.head.match(line)
        if match is None:
            return None
        with suppress(ValueError):
            time = datetime.strptime(match["time"], self.time).replace(tzinfo=timezone.utc)
            name = match.groupdict().get("name") or ""
            return Message(time, _LEVELS.get(match["level"], "info"), name, match["text"])
        return None
