"""The tee: a process that shows what another one prints, and writes it into `console.log.jsonl` as a run of its own."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import orjson

from mlv.encoding import TAIL, head
from mlv.experiment.console.capture import DONE, END, SYNC, SYNCED, pass_on, read_piece, write_all
from mlv.experiment.session import Session
from mlv.store.layout import CONSOLE_STREAM
from mlv.transport.wishes import Wishes

_LOOK_EVERY_S = 0.25
_BYTES_AT_A_TIME = 4096
"""Of what was printed; as many empty lines have room in `_FREE_BYTES` of a ring."""
_FREE_BYTES = 1 << 20
_WAIT_FOR_ROOM_S = 0.005
_PACE_S = 0.0002
"""Between two looks while something is printed: each write that wakes a waiting tee costs who prints."""
_LOG_EVERY_S = 0.01
"""How often something is logged while what is printed never pauses: a terminal's buffer is small, and showing comes first."""
_MOST_WAITING_BYTES = 64 << 20
"""What may be shown before it is logged; then who prints waits for the log."""
_LONGEST = 1 << 20
"""Bytes of a line that become one event; a longer one becomes several."""
_HELD_S = 1.0
"""How long a line is held back where lines are rewritten."""
_HELD_LINES = 128
_LAST_WORDS_S = 1.0
"""How long the tee reads on, when the run ends, while children still print."""

_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[PX^_][^\x1b]{0,4096}\x1b\\|[ -/]+[0-~]|[0-~])"
)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,4096}\x1b?|[ -/]*)\Z")
_KEY = b"PRIVATE KEY"
_UP = re.compile(rb"\x1b\[(\d*)[AF]")


class TerminalLines:
    """Makes lines of what a terminal is sent: of a line that is written over and over, its last state, without colours."""

    def __init__(self) -> None:
        self._rest = b""
        self._held: deque[tuple[float, str]] = deque()
        self._are_rewritten = False
        """Whether the cursor has gone up: then lines that are finished may be written again."""

    def add(self, piece: bytes, now: float) -> Iterator[str]:
        """Take what was printed; gives the lines that are complete."""
        *lines, rest = (self._rest + piece).split(b"\n")
        for line in lines:
            yield from self._complete(line, now)
        self._rest = _shortened(rest) if b"\r" in rest else rest
        while len(self._rest) > _LONGEST:
            line, self._rest = self._rest[:_LONGEST], self._rest[_LONGEST:]
            yield from self._complete(line, now)

    def due(self, now: float) -> Iterator[str]:
        """Lines that were held back, and are final by now."""
        while self._held and (now - self._held[0][0] >= _HELD_S or len(self._held) > _HELD_LINES):
            yield self._held.popleft()[1]

    def last(self) -> Iterator[str]:
        """What is left at the end, also a line that was not ended."""
        if self._rest:
            yield from self._complete(self._rest, 0.0)
        self._rest = b""
        yield from self.due(float("inf"))

    @property
    def is_holding(self) -> bool:
        """Whether lines are held back."""
        return bool(self._held)

    def _complete(self, line: bytes, now: float) -> Iterator[str]:
        if b"\x1b" in line:
            for up in _UP.finditer(line):
                self._are_rewritten = True
                for _ in range(min(int(up[1] or 1), len(self._held))):
                    self._held.pop()
            line = _ESCAPE.sub(b"", _UP.sub(b"\r", line))
        if b"\b" in line:
            line = re.sub(b"\b+", b"\r", line)
        if b"\r" in line:
            line = _last_state(line)
        text = line.decode(errors="replace")
        if self._are_rewritten:
            self._held.append((now, text))
            yield from self.due(now)
        else:
            yield text


def _last_state(line: bytes) -> bytes:
    """What was written last over a line."""
    states = line.split(b"\r")
    return next((state for state in reversed(states) if state.strip()), states[-1])


def _shortened(rest: bytes) -> bytes:
    """The beginning of a line without what was written over; where the cursor stands is kept."""
    if b"\x1b" in rest and _UP.search(rest):
        return rest if len(rest) < _LONGEST else rest[-_LONGEST:]
    *states, last = rest.split(b"\r")
    if _shows(last):
        return last
    return next((state for state in reversed(states) if _shows(state)), b"") + b"\r" + last


def _shows(state: bytes) -> bool:
    """Whether there is something to see, apart from escape sequences, of which the last may not be whole yet."""
    return bool(_ESCAPE.sub(b"", _UNFINISHED.sub(b"", state)).replace(b"\b", b"").strip())


class TeeSource:
    """One way by which text comes: where it is read, shown, and made to lines."""

    def __init__(self, name: str, read: int, shown: int, run: str) -> None:
        self.read, self.shown = read, shown
        self.lines = TerminalLines()
        self.waiting: deque[bytes] = deque()
        """What was shown and is not logged yet."""
        data = orjson.dumps({"of": run, "level": "info", "message": ""}).decode()
        self.before = head("message", name) + b'"data":' + data.removesuffix('""}').encode()


class Tee:
    """Shows first, logs when nothing more comes or it has waited long enough: who prints waits for neither."""

    def __init__(self, session: Session, sources: list[TeeSource], control: socket.socket) -> None:
        self._session, self._sources, self._control = session, sources, control
        self._open = {source.read: source for source in sources}
        self._poll = select.poll()
        for fd in (*self._open, control.fileno()):
            self._poll.register(fd, select.POLLIN)
        self._cursor = session.cursor((CONSOLE_STREAM, b"")) or 0
        self._waiting_bytes = 0
        self._next_look = self._next_log = 0.0
        self._is_over = False
        self._is_quiet = self._is_logging = self._is_connected = True

    def serve(self) -> None:
        """Show and log until nobody can print any more, or the run has ended; then only show."""
        while self._open and not self._is_over:
            self._turn(_LOOK_EVERY_S)
        self._drain()
        for source in self._sources:
            while source.waiting:
                self._log(source, source.lines.add(self._next(source), monotonic()))
            self._log(source, source.lines.last())
        self._session.close("ok")
        self._is_logging = False
        with suppress(OSError):
            self._control.send(DONE)
        while self._open and self._is_connected:
            self._turn(_LOOK_EVERY_S)
        pass_on([(source.read, source.shown) for source in self._open.values()])

    def _drain(self) -> None:
        """Show what was printed so far."""
        deadline = monotonic() + _LAST_WORDS_S
        while self._open and self._turn(0) and monotonic() < deadline:
            pass

    def _turn(self, wait_s: float) -> bool:
        """Show what is there, else log some of what was; whether there was something."""
        is_loggable = getattr(self._session.channel, "free_bytes", _FREE_BYTES) >= _FREE_BYTES
        if self._waiting_bytes:
            wait_s = 0 if is_loggable and self._is_quiet else _WAIT_FOR_ROOM_S
        ready = self._poll.poll(wait_s * 1000)
        found = False
        for fd, _ in ready:
            if fd == self._control.fileno():
                self._hear()
            elif self._waiting_bytes < _MOST_WAITING_BYTES:
                found |= self._show(self._open[fd])
        self._is_quiet = not found
        if found:
            sleep(_PACE_S)
        now = monotonic()
        if (not found or now >= self._next_log) and (is_loggable or self._waiting_bytes >= _MOST_WAITING_BYTES):
            self._log_some()
            self._next_log = now + _LOG_EVERY_S
        self._look(now)
        return found

    def _hear(self) -> None:
        try:
            word = self._control.recv(64)
        except OSError:
            word = b""
        if SYNC in word:
            self._drain()
            with suppress(OSError):
                self._control.send(SYNCED)
        if END in word:
            self._is_over = True
        elif not word:  # the process is gone, or needs us no more; its children may print on
            self._is_connected = False
            self._poll.unregister(self._control.fileno())

    def _show(self, source: TeeSource) -> bool:
        piece = read_piece(source.read)
        if not piece:
            self._poll.unregister(source.read)
            del self._open[source.read]
            return False
        if source.shown >= 0 and not write_all(source.shown, piece):
            source.shown = -1  # nobody looks any more: the log goes on
        if self._is_logging:
            source.waiting.append(piece)
            self._waiting_bytes += len(piece)
        return True

    def _next(self, source: TeeSource) -> bytes:
        """Some of what waits: not so much that who prints would have to wait for it."""
        piece = source.waiting.popleft()
        if len(piece) > _BYTES_AT_A_TIME:
            source.waiting.appendleft(piece[_BYTES_AT_A_TIME:])
            piece = piece[:_BYTES_AT_A_TIME]
        self._waiting_bytes -= len(piece)
        return piece

    def _log_some(self) -> None:
        now = monotonic()
        # A private key that goes to both in turns is to begin before it goes on: what follows its header is masked.
        for source in sorted(self._sources, key=lambda source: not source.waiting or _KEY not in source.waiting[0]):
            if source.waiting:
                self._log(source, source.lines.add(self._next(source), now))
            elif source.lines.is_holding:
                self._log(source, source.lines.due(now))

    def _log(self, source: TeeSource, lines: Iterator[str]) -> None:
        put, cursor, before = self._session.channel.put, self._cursor, source.before
        for line in lines:
            put(cursor, TAIL, 0, before + orjson.dumps(line) + b"}}")
            put = self._session.channel.put  # the first event begins the run

    def _look(self, now: float) -> None:
        """Give our terminals the size of those that they stand for."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_S
        import fcntl
        import termios

        for source in self._open.values():
            if source.shown >= 0 and os.isatty(source.read):
                with suppress(OSError):
                    size = fcntl.ioctl(source.shown, termios.TIOCGWINSZ, bytes(8))
                    if fcntl.ioctl(source.read, termios.TIOCGWINSZ, bytes(8)) != size:
                        fcntl.ioctl(source.read, termios.TIOCSWINSZ, size)


def main(about: str) -> None:
    """Run as the tee."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # it goes when all is logged
    told: dict[str, Any] = orjson.loads(about)
    wishes = Wishes.from_info(told["wishes"])
    session = Session(Path(told["folder"]), told["id"], parent_run=told["run"], wishes=wishes)
    sources = [TeeSource(name, read, shown, told["run"]) for name, read, shown in told["sources"]]
    Tee(session, sources, socket.socket(fileno=told["control"])).serve()
