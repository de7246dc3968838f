"""The tee: a process that displays the output of another one, and logs it to `console.log.jsonl` as a run of its own."""

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
from mlv.experiment.console.capture import DONE, END, SYNC, SYNCED
from mlv.experiment.console.descriptors import read_chunk, relay, write_all
from mlv.experiment.session import Session
from mlv.store.layout import CONSOLE_STREAM
from mlv.transport.wishes import Wishes

_LOOK_EVERY_S = 0.25  # people may change the size of the terminal
_BYTES_AT_A_TIME = 4096
"""Bytes of output per turn; even if all were empty lines, their events have room in `_FREE_BYTES` of a ring."""
_FREE_BYTES = 1 << 20
_WAIT_FOR_ROOM_S = 0.005  # the writer makes room every 20 ms
_PACE_S = 0.0002
"""Pause between two polls during output: each write that wakes a waiting tee costs the printing process time."""
_LOG_EVERY_S = 0.01
"""Interval of logging during continuous output: a terminal's buffer is small, so displaying comes first."""
_MOST_WAITING_BYTES = 64 << 20
"""Bytes that may be displayed before they are logged; above that, the printing process waits for the log."""
_LONGEST = 1 << 20
"""Bytes of a line that become one event; a longer one becomes several."""
_HELD_S = 1.0
"""How long a line is held back once lines are rewritten."""
_HELD_LINES = 128  # a progress bar of several lines goes up by fewer
_LAST_WORDS_S = 1.0
"""How long the tee reads on after the end of the run, while children still print."""

_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[PX^_][^\x1b]{0,4096}\x1b\\|[ -/]+[0-~]|[0-~])"
)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,4096}\x1b?|[ -/]*)\Z")
_KEY = b"PRIVATE KEY"
_UP = re.compile(rb"\x1b\[(\d*)[AF]")


class TerminalLines:
    """Converts the output to a terminal into lines: an overwritten line yields its last state, without colours."""

    def __init__(self) -> None:
        self._unfinished = b""
        self._held: deque[tuple[float, str]] = deque()
        self._are_rewritten = False
        """Whether the cursor has gone up: then finished lines may be rewritten."""

    def add(self, chunk: bytes, now: float) -> Iterator[str]:
        """Take a chunk of output, and yield the lines that are complete."""
        *lines, unfinished = (self._unfinished + chunk).split(b"\n")
        for line in lines:
            yield from self._complete(line, now)
        self._unfinished = _shortened(unfinished) if b"\r" in unfinished else unfinished
        while len(self._unfinished) > _LONGEST:
            line, self._unfinished = self._unfinished[:_LONGEST], self._unfinished[_LONGEST:]
            yield from self._complete(line, now)

    def due(self, now: float) -> Iterator[str]:
        """Yield the lines that were held back, and are final by now."""
        while self._held and (now - self._held[0][0] >= _HELD_S or len(self._held) > _HELD_LINES):
            yield self._held.popleft()[1]

    def last(self) -> Iterator[str]:
        """Yield the remaining lines at the end, also one without a line end."""
        if self._unfinished:
            yield from self._complete(self._unfinished, 0.0)
        self._unfinished = b""
        yield from self.due(float("inf"))

    @property
    def is_holding(self) -> bool:
        """Whether lines are held back."""
        return bool(self._held)

    def _complete(self, line: bytes, now: float) -> Iterator[str]:
        if b"\x1b" in line:
            # A progress bar went up to write its lines anew: those that are held back were not final.
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
    """Return the last state of an overwritten line."""
    states = line.split(b"\r")
    return next((state for state in reversed(states) if state.strip()), states[-1])


def _shortened(line: bytes) -> bytes:
    """Return an unfinished line without its overwritten states; the position of the cursor is preserved."""
    if b"\x1b" in line and _UP.search(line):
        return line if len(line) < _LONGEST else line[-_LONGEST:]
    *states, last = line.split(b"\r")
    if _shows(last):
        return last
    return next((state for state in reversed(states) if _shows(state)), b"") + b"\r" + last


def _shows(state: bytes) -> bool:
    """Return whether a state has visible text beside escape sequences, of which the last may be incomplete."""
    return bool(_ESCAPE.sub(b"", _UNFINISHED.sub(b"", state)).replace(b"\b", b"").strip())


class TeeSource:
    """One stream of output: its descriptors for reading and displaying, and its lines."""

    def __init__(self, name: str, read: int, display: int, run: str) -> None:
        self.read, self.display = read, display
        self.lines = TerminalLines()
        self.waiting: deque[bytes] = deque()
        """Chunks that were displayed and are not logged yet."""
        data = orjson.dumps({"of": run, "level": "info", "message": ""}).decode()
        self.before = head("message", name) + b'"data":' + data.removesuffix('""}').encode()


class Tee:
    """Displays output first, and logs it in a pause or after a while: the printing process waits for neither."""

    def __init__(self, session: Session, sources: list[TeeSource], control: socket.socket) -> None:
        self._session, self._sources, self._control = session, sources, control
        self._open = {source.read: source for source in sources}
        self._poll = select.poll()
        for fd in (*self._open, control.fileno()):
            self._poll.register(fd, select.POLLIN)
        self._cursor = session.cursor((CONSOLE_STREAM, b"")) or 0
        self._waiting_bytes = 0
        self._next_match = self._next_log = 0.0
        self._is_over = False
        self._is_quiet = self._is_logging = self._is_connected = True

    def serve(self) -> None:
        """Display and log until nobody can print any more, or the run has ended; then only display."""
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
        relay([(source.read, source.display) for source in self._open.values()])

    def _drain(self) -> None:
        """Display the output so far."""
        deadline = monotonic() + _LAST_WORDS_S
        while self._open and self._turn(0) and monotonic() < deadline:
            pass

    def _turn(self, wait_s: float) -> bool:
        """Display the output that is ready, or else log some that waits; return whether there was output."""
        is_loggable = getattr(self._session.channel, "free_bytes", _FREE_BYTES) >= _FREE_BYTES
        if self._waiting_bytes:
            wait_s = 0 if is_loggable and self._is_quiet else _WAIT_FOR_ROOM_S
        # The display comes first: nobody waits for the log, but somebody may watch the terminal.
        ready = self._poll.poll(wait_s * 1000)
        has_output = False
        for fd, _ in ready:
            if fd == self._control.fileno():
                self._answer_request()
            # Else the pipe fills, and the printing process waits, rather than this one taking all memory.
            elif self._waiting_bytes < _MOST_WAITING_BYTES:
                has_output |= self._show(self._open[fd])
        self._is_quiet = not has_output
        if has_output:
            sleep(_PACE_S)
        now = monotonic()
        if (not has_output or now >= self._next_log) and (is_loggable or self._waiting_bytes >= _MOST_WAITING_BYTES):
            self._log_some()
            self._next_log = now + _LOG_EVERY_S
        self._match_sizes(now)
        return has_output

    def _answer_request(self) -> None:
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
        elif not word:  # the process is gone, or needs the tee no more; its children may print on
            self._is_connected = False
            self._poll.unregister(self._control.fileno())

    def _show(self, source: TeeSource) -> bool:
        chunk = read_chunk(source.read)
        if not chunk:
            self._poll.unregister(source.read)
            del self._open[source.read]
            return False
        if source.display >= 0 and not write_all(source.display, chunk):
            source.display = -1  # nobody reads the display any more: the log goes on
        if self._is_logging:
            source.waiting.append(chunk)
            self._waiting_bytes += len(chunk)
        return True

    def _next(self, source: TeeSource) -> bytes:
        """Return some of the waiting output: not so much that the printing process would have to wait for it."""
        chunk = source.waiting.popleft()
        if len(chunk) > _BYTES_AT_A_TIME:
            source.waiting.appendleft(chunk[_BYTES_AT_A_TIME:])
            chunk = chunk[:_BYTES_AT_A_TIME]
        self._waiting_bytes -= len(chunk)
        return chunk

    def _log_some(self) -> None:
        now = monotonic()
        # Log the stream with the header of a private key first: a key may go to both streams in turns, and the lines after
        # its header are masked.
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

    def _match_sizes(self, now: float) -> None:
        """Give the captured terminals the size of the real ones."""
        if now < self._next_match:
            return
        self._next_match = now + _LOOK_EVERY_S
        import fcntl
        import termios

        for source in self._open.values():
            if source.display >= 0 and os.isatty(source.read):
                with suppress(OSError):
                    size = fcntl.ioctl(source.display, termios.TIOCGWINSZ, bytes(8))
                    if fcntl.ioctl(source.read, termios.TIOCGWINSZ, bytes(8)) != size:
                        fcntl.ioctl(source.read, termios.TIOCSWINSZ, size)


def main(about: str) -> None:
    """Run the tee; `about` is its order as JSON."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # it goes when all is logged
    order: dict[str, Any] = orjson.loads(about)
    wishes = Wishes.from_info(order["wishes"])
    session = Session(Path(order["folder"]), order["id"], parent_run=order["run"], wishes=wishes)
    sources = [TeeSource(name, read, display, order["run"]) for name, read, display in order["sources"]]
    Tee(session, sources, socket.socket(fileno=order["control"])).serve()
