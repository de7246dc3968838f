"""Console capture: what a process and its children print is shown as before, and handed on to the log by a tee of its own."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mlv.errors import MlvWarning
from mlv.notices import warn
from mlv.transport.launch import can_launch, launch_module

if TYPE_CHECKING:
    import socket

DESCRIPTORS = {1: "stdout", 2: "stderr"}
END, DONE = b"end", b"done"
"""What is said to the tee, and what it answers."""
_PIPE_BYTES = 1 << 20
"""What a process may print ahead of the tee; the system may allow less."""
_PIECE_BYTES = 1 << 16
_MOST_STARTS = 4
_FIRST_FREE = 10
"""Descriptors below this one are those that programs open by their number."""


@dataclass(frozen=True)
class Captured:
    """One way by which text comes out of the process."""

    name: str
    read: int
    """Where the tee reads what was printed. The process keeps it open too: nothing it prints into is ever broken."""
    shown: int
    """Where it is shown; -1 where that was done already."""


class Console:
    """Captures what is printed from its making to `end`. What goes wrong with it never reaches who prints.

    The tee is a process that belongs to nobody: it outlives this one until all is in the log, and is started again if it dies.
    """

    def __init__(self, folder: Path, exp_id: str, run: str, wishes: Mapping[str, Any]) -> None:
        """Begin to capture.

        Raises:
            OSError: The tee cannot be started; all is as it was.
        """
        self._about = {"folder": str(folder), "id": exp_id, "run": run, "wishes": dict(wishes)}
        self._captured: list[Captured] = []
        self._ends: dict[int, int] = {}
        """The writing ends, by the descriptor that each takes the place of."""
        self._inodes: dict[int, os.stat_result] = {}
        self._restore: list[Callable[[], None]] = []
        self._copies: list[int] = []
        self._is_done = threading.Event()
        self._is_ending = False
        self._starts = 0
        try:
            for fd in DESCRIPTORS:
                self._open(fd)
            self._open_copies()
            self._control = self._start()
        except OSError:
            self._let_go()
            raise
        self._take_over()
        threading.Thread(target=self._watch, name="mlv-console", daemon=True).start()

    def end(self, timeout_s: float) -> bool:
        """Print directly again; wait until all that was printed is in the log, and return whether it is in time."""
        self._is_ending = True
        _flush()
        for restore in self._restore:
            restore()
        self._restore.clear()
        for captured in list(self._captured):
            fd = next((fd for fd, name in DESCRIPTORS.items() if name == captured.name), -1)
            if captured.shown >= 0 and self._is_ours(fd):
                os.dup2(captured.shown, fd)
        self._close_copies()
        with suppress(OSError):
            self._control.send(END)
        return self._is_done.wait(timeout_s)

    def abandon(self) -> None:
        """In a forked child: leave all to the parent, and go on printing into what it captures."""
        self._restore.clear()
        self._copies.clear()
        self._let_go()
        self._control.close()

    # What takes the place of the descriptors.

    def _open(self, fd: int) -> None:
        import fcntl

        with suppress(OSError):  # closed: nothing is printed there
            os.fstat(fd)
            read, write = _terminal_like(fd) if os.isatty(fd) else _pipe()
            shown = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
            self._captured.append(Captured(DESCRIPTORS[fd], _moved(read), shown))
            self._ends[fd] = _moved(write)

    def _open_copies(self) -> None:
        """What a notebook or a test prints does not come by the descriptors: it is copied."""
        for fd, name in DESCRIPTORS.items():
            stream = getattr(sys, name)
            if stream is not None and _descriptor(stream) != fd:
                read, write = map(_moved, _pipe())
                self._captured.append(Captured(name, read, -1))
                self._copies.append(write)
                self._restore.append(_copying(stream, write))

    def _take_over(self) -> None:
        _flush()
        for fd, end in self._ends.items():
            self._inodes[fd] = os.fstat(end)
            os.dup2(end, fd)
            os.close(end)
        self._ends.clear()

    def _is_ours(self, fd: int) -> bool:
        """Whether nobody has put something else in the place of a descriptor since."""
        with suppress(OSError):
            return fd in self._inodes and os.path.samestat(os.fstat(fd), self._inodes[fd])
        return False

    def _descriptors(self) -> Iterator[int]:
        for captured in self._captured:
            yield from (fd for fd in (captured.read, captured.shown) if fd >= 0)
        yield from self._ends.values()

    def _close_copies(self) -> None:
        for copy in self._copies:
            os.close(copy)
        self._copies.clear()

    def _let_go(self) -> None:
        """Close what stands for the descriptors; where they were not taken over, nothing has happened."""
        for restore in self._restore:
            restore()
        self._close_copies()
        for fd in self._descriptors():
            with suppress(OSError):
                os.close(fd)
        self._captured.clear()
        self._ends.clear()

    # The tee.

    def _start(self) -> socket.socket:
        """Start a tee.

        Raises:
            OSError: It cannot be started.
        """
        import socket

        self._starts += 1
        ours, theirs = socket.socketpair()
        with theirs:
            sources = [[captured.name, captured.read, captured.shown] for captured in self._captured]
            about = orjson.dumps({**self._about, "sources": sources, "control": theirs.fileno()}).decode()
            fds = [fd for captured in self._captured for fd in (captured.read, captured.shown) if fd >= 0]
            try:
                launch_module("mlv.experiment.tee", [about], pass_fds=[*fds, theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def _watch(self) -> None:
        """Wait for the tee's word; where it is gone without one, start another, or show what is printed from here."""
        while True:
            try:
                word = self._control.recv(1 << 16)
            except OSError:
                word = b""  # it died before it read what it was told
            if word == DONE:
                break
            if not word and (self._starts >= _MOST_STARTS or not self._start_again()):
                self._give_up()
                break
        self._let_go()
        self._control.close()
        self._is_done.set()

    def _start_again(self) -> bool:
        before = self._control
        try:
            self._control = self._start()
        except OSError:
            return False
        before.close()
        if self._is_ending:
            with suppress(OSError):
                self._control.send(END)
        return True

    def _give_up(self) -> None:
        warn("what is printed is not captured any more: the process that did it was ended again and again", MlvWarning)
        for fd, name in DESCRIPTORS.items():
            for captured in self._captured:
                if captured.name == name and captured.shown >= 0 and self._is_ours(fd):
                    os.dup2(captured.shown, fd)
        pass_on([(captured.read, captured.shown) for captured in self._captured], self._is_done.set)


def pass_on(ways: Sequence[tuple[int, int]], when_idle: Callable[[], None] = lambda: None) -> None:
    """Show what comes, and no more, until nobody can print there any more."""
    import select

    poll, shown = select.poll(), dict(ways)
    for read in shown:
        poll.register(read, select.POLLIN)
    while shown:
        ready = poll.poll(0)
        if not ready:
            when_idle()
            ready = poll.poll()
        for read, _ in ready:
            piece = read_piece(read)
            if not piece:
                poll.unregister(read)
                del shown[read]
            elif not write_all(shown[read], piece):
                shown[read] = -1


def read_piece(fd: int) -> bytes:
    """What is there; nothing where nobody can print there any more."""
    try:
        return os.read(fd, _PIECE_BYTES)
    except OSError:  # EIO: no process has the terminal open
        return b""


def write_all(fd: int, data: bytes) -> bool:
    """Show bytes; whether somebody still looks there."""
    rest = memoryview(data)
    try:
        while rest and fd >= 0:
            rest = rest[os.write(fd, rest) :]
    except BlockingIOError:  # somebody has made the terminal non-blocking
        import select

        waiting = select.poll()
        waiting.register(fd, select.POLLOUT)
        waiting.poll()
        return write_all(fd, bytes(rest))
    except OSError:
        return False
    return fd >= 0


def begin(folder: Path, exp_id: str, run: str, wishes: Mapping[str, Any]) -> Console | None:
    """Capture what this process prints; where that is impossible say so, and return None."""
    if not can_launch():
        warn("console=True does nothing here: no process can be started that captures what is printed", MlvWarning)
        return None
    try:
        return Console(folder, exp_id, run, wishes)
    except OSError as error:
        warn(f"what is printed is not captured: {error}", MlvWarning)
        return None


def _terminal_like(fd: int) -> tuple[int, int]:
    """A terminal of the same kind and size, which hands on what is written as it is."""
    import fcntl
    import termios

    read, write = os.openpty()
    with suppress(OSError, termios.error):
        attributes = termios.tcgetattr(fd)
        attributes[1] &= ~termios.OPOST  # the real one makes a carriage return of each line's end
        termios.tcsetattr(write, termios.TCSANOW, attributes)
        fcntl.ioctl(write, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return read, write


def _pipe() -> tuple[int, int]:
    import fcntl

    read, write = os.pipe()
    with suppress(OSError, AttributeError):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


def _moved(fd: int) -> int:
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    os.close(fd)
    return moved


def _descriptor(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except Exception:
        return -1  # it has none, as in a notebook


def _copying(stream: Any, copy: int) -> Callable[[], None]:
    """Let a stream write a copy of everything; gives what undoes that."""
    write = stream.write

    def both(text: str) -> Any:
        result = write(text)
        with suppress(Exception):
            write_all(copy, text.encode(errors="replace"))
        return result

    def restore() -> None:
        with suppress(AttributeError):
            if stream.__dict__.get("write") is both:
                del stream.write

    with suppress(AttributeError):
        stream.write = both
    return restore


def _flush() -> None:
    for name in DESCRIPTORS.values():
        with suppress(Exception):
            stream: io.TextIOBase = getattr(sys, name)
            stream.flush()
