"""Console capture: output of a process and its children is displayed as before, and logged by a tee, a process of its own."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import orjson

from mlv.errors import MlvWarning
from mlv.experiment.console import taps
from mlv.experiment.console.descriptors import FIRST_FREE, moved_up, relay, terminal_like, wide_pipe, write_all
from mlv.notices import warn
from mlv.transport.launch import can_launch, launch_module

if TYPE_CHECKING:
    import socket

DESCRIPTORS = {1: "stdout", 2: "stderr"}
END, DONE = b"e", b"d"
SYNC, SYNCED = b"s", b"S"
"""Requests to the tee, of one byte each, and its answers: to end, and to pass on the output so far."""
_MOST_STARTS = 4  # something kills it each time, such as a limit of memory
_PAUSE_WITHIN_S = 1.0  # a fork waits for it; too late, and Python only warns of threads


@dataclass(frozen=True)
class Captured:
    """One captured stream of the process."""

    name: str
    read: int
    """Descriptor from which the tee reads. The process keeps it open too, so that printing never meets a broken pipe."""
    display: int
    """Descriptor on which it is displayed; -1 if that was done already."""


class ConsoleCapture:
    """Captures output from its creation to `end`. Its faults never reach the code that prints.

    The tee is a detached process: it outlives this one until all output is logged, and is started again if it dies.
    """

    def __init__(self, folder: Path, exp_id: str, run: str, wishes: Mapping[str, Any]) -> None:
        """Begin to capture.

        Raises:
            OSError: The tee cannot be started; all is as it was.
        """
        self._about = {"folder": str(folder), "id": exp_id, "run": run, "wishes": dict(wishes)}
        self._captured: list[Captured] = []
        self._ends: dict[int, int] = {}
        """The writing ends, by the descriptor that each replaces."""
        self._inodes: dict[int, os.stat_result] = {}
        self._taps: list[Callable[[], None]] = []
        self._tapped: list[Any] = []
        self._copies: dict[str, int] = {}
        """The writing ends for streams without a descriptor, by their name."""
        self._is_done, self._is_synced = threading.Event(), threading.Event()
        self._is_ending = self._has_given_up = self._is_released = False
        self._starts = 0
        self._watcher: threading.Thread | None = None
        self._pause: tuple[int, ...] = ()
        """A pipe that tells the watching thread to end, for the moment of a fork."""
        try:
            for fd in DESCRIPTORS:
                self._open(fd)
            self._open_copies()
            self._pause = tuple(map(moved_up, os.pipe()))
            self._control = self._start()
        except OSError:
            self._close_replacements()
            raise
        # Only now that a tee reads: output would fill the pipes and hold up the script.
        self._take_over()
        _active.append(self)
        self.watch()

    def end(self, timeout_s: float) -> bool:
        """Print directly again; wait until all output is in the log, and return whether it is in time."""
        until = monotonic() + timeout_s
        self._is_ending = True
        _flush()
        self._untap()
        # What a later capture holds passes through this one, and belongs in front of its end.
        for above in reversed(_active[_active.index(self) + 1 :] if self in _active else ()):
            above.pass_on(until - monotonic())
        for captured in list(self._captured):
            fd = next((fd for fd, name in DESCRIPTORS.items() if name == captured.name), -1)
            if captured.display >= 0 and self._is_ours(fd):
                os.dup2(self._display_at_last(fd, captured.display), fd)
        self._close_copies()
        self.watch()
        with suppress(OSError):  # the process that captures is gone: another one is started, and told
            self._control.send(END)
        is_done = self._is_done.wait(max(0.0, until - monotonic()))
        _release()
        return is_done

    @property
    def is_over(self) -> bool:
        """Whether all output is in the log."""
        return self._is_done.is_set()

    def outlook(self) -> str:
        """Return a text about the future of output that is not in the log yet."""
        try:
            self._control.send(END)  # a tee that gets it twice ends once
        except OSError:
            return "its tee is gone, and what that had read is lost"
        return "its tee goes on with it"

    def pass_on(self, timeout_s: float) -> None:
        """Wait until the output so far has arrived at its display, such as a console capture that began earlier."""
        if self._has_given_up:
            return
        self._is_synced.clear()
        self.watch()
        with suppress(OSError):
            self._control.send(SYNC)
        self._is_synced.wait(max(0.0, timeout_s))

    def release(self) -> None:
        """Let the tee go on alone: it displays the output of children."""
        self._is_released = True
        if not self._has_given_up:
            self.pause()
            self._close_replacements()
            self._control.close()

    def abandon(self) -> None:
        """Leave all to the parent, in a forked child, and go on printing into the descriptors that it captures."""
        self._taps.clear()
        self._copies.clear()
        self._close_replacements()
        self._control.close()

    def follow(self, *_: object) -> None:
        """Copy the text of streams that have replaced others since, if they have no descriptor."""
        for name, copy in self._copies.items():
            stream = getattr(sys, name)
            if stream is not None and not taps.reaches(stream, DESCRIPTORS):
                self._tap(stream, copy)

    # Replacing the descriptors.

    def _open(self, fd: int) -> None:
        import fcntl

        with suppress(OSError):  # closed: nothing is printed there
            os.fstat(fd)
            read, write = terminal_like(fd) if os.isatty(fd) else wide_pipe()
            display = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
            self._captured.append(Captured(DESCRIPTORS[fd], moved_up(read), display))
            self._ends[fd] = moved_up(write)

    def _open_copies(self) -> None:
        """Copy the output of a notebook or a test: it does not go through the descriptors."""
        for name in DESCRIPTORS.values():
            stream = getattr(sys, name)
            if stream is not None and not taps.reaches(stream, DESCRIPTORS):
                read, write = map(moved_up, wide_pipe())
                self._captured.append(Captured(name, read, -1))
                self._copies[name] = write
                self._tap(stream, write)
        if self._copies:
            self._taps.append(_before_each_cell(self.follow))

    def _tap(self, stream: Any, copy: int) -> None:
        if all(tapped is not stream for tapped in self._tapped):
            self._tapped.append(stream)
            self._taps.append(taps.tap(stream, partial(write_all, copy)))

    def _untap(self) -> None:
        for untap in self._taps:
            untap()
        self._taps.clear()
        self._tapped.clear()

    def _take_over(self) -> None:
        _flush()
        for fd, end in self._ends.items():
            self._inodes[fd] = os.fstat(end)
            os.dup2(end, fd)  # in one step: a descriptor that is closed first might become a file of another thread
            os.close(end)
        self._ends.clear()

    def _is_ours(self, fd: int) -> bool:
        """Return whether a descriptor is still ours: nobody has replaced it since."""
        with suppress(OSError):
            return fd in self._inodes and os.path.samestat(os.fstat(fd), self._inodes[fd])
        return False

    def _display_at_last(self, fd: int, display: int) -> int:
        """Return the display of a descriptor, past the captures below that have ended and only pass it on."""
        for below in reversed(_active[: _active.index(self)] if self in _active else ()):
            following = next(
                (
                    captured.display
                    for captured in below._captured
                    if captured.name == DESCRIPTORS[fd] and captured.display >= 0
                ),
                -1,
            )
            if not below._is_ending or following < 0 or not os.path.samestat(os.fstat(display), below._inodes[fd]):
                break
            display = following
        return display

    def _descriptors(self) -> Iterator[int]:
        for captured in self._captured:
            yield from (fd for fd in (captured.read, captured.display) if fd >= 0)
        yield from self._ends.values()
        yield from self._pause

    def _close_copies(self) -> None:
        for copy in self._copies.values():
            os.close(copy)
        self._copies.clear()

    def _close_replacements(self) -> None:
        """Close the replacements of the descriptors; if they were not installed yet, nothing has changed."""
        self._untap()
        self._close_copies()
        descriptors = list(self._descriptors())
        self._captured.clear()
        self._ends.clear()
        self._pause = ()
        for fd in descriptors:
            with suppress(OSError):
                os.close(fd)

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
            sources = [[captured.name, captured.read, captured.display] for captured in self._captured]
            about = orjson.dumps({**self._about, "sources": sources, "control": theirs.fileno()}).decode()
            fds = [fd for captured in self._captured for fd in (captured.read, captured.display) if fd >= 0]
            try:
                launch_module("mlv.experiment.console.tee", [about], pass_fds=[*fds, theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def watch(self) -> None:
        """Ensure that a thread listens to the tee, as long as answers may come."""
        with _lock:
            is_listening = self._watcher is not None and self._watcher.is_alive()
            if not is_listening and not self._is_released and not self._has_given_up:
                self._watcher = threading.Thread(target=self._watch, name="mlv-console", daemon=True)
                self._watcher.start()

    def pause(self) -> bool:
        """End the listening thread until `watch` begins another; return whether there was one that could be ended."""
        watcher = self._watcher
        if watcher is None or watcher is threading.current_thread() or not watcher.is_alive() or self._has_given_up:
            return False
        with suppress(OSError, IndexError):
            os.write(self._pause[1], b"p")
            watcher.join(_PAUSE_WITHIN_S)
            _wait_until_gone(watcher)
            return True
        return False

    def _watch(self) -> None:
        """Wait for answers of the tee; if it is gone without one, start another, or display the output from here."""
        import select

        while True:
            poll = select.poll()
            poll.register(self._control, select.POLLIN)
            poll.register(self._pause[0], select.POLLIN)
            if any(fd == self._pause[0] for fd, _ in poll.poll()):
                os.read(self._pause[0], 1)
                return
            try:
                answer = self._control.recv(1 << 16)
            except OSError:
                answer = b""  # it died before it read the request
            if SYNCED in answer:
                self._is_synced.set()
            if DONE in answer:
                self._is_done.set()
                _release()
            if self._is_released:
                return
            if not answer and (self._is_done.is_set() or self._starts >= _MOST_STARTS or not self._start_again()):
                break
        self._has_given_up = True
        self._is_synced.set()
        self._give_up()
        self._is_done.set()
        self._close_replacements()
        self._control.close()

    def _start_again(self) -> bool:
        before = self._control
        try:
            self._control = self._start()
        except OSError:
            return False
        before.close()
        with suppress(OSError):
            self._control.send(SYNC + END if self._is_ending else SYNC)
        return True

    def _give_up(self) -> None:
        if not self._is_done.is_set():
            warn("what is printed is not captured any more: the process that did it was ended again and again", MlvWarning)
        for fd, name in DESCRIPTORS.items():
            for captured in self._captured:
                if captured.name == name and captured.display >= 0 and self._is_ours(fd):
                    os.dup2(captured.display, fd)
        relay([(captured.read, captured.display) for captured in self._captured], self._is_done.set)


def begin(folder: Path, exp_id: str, run: str, wishes: Mapping[str, Any]) -> ConsoleCapture | None:
    """Capture the output of this process; if that is impossible, warn and return None."""
    if not can_launch():
        warn("console=True does nothing here: no process can be started that captures what is printed", MlvWarning)
        return None
    try:
        return ConsoleCapture(folder, exp_id, run, wishes)
    except OSError as error:
        warn(f"what is printed is not captured: {error}", MlvWarning)
        return None


def _before_each_cell(call: Callable[..., None]) -> Callable[[], None]:
    """Have a function called before each cell of a notebook; return a function that stops it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if shell is None:
        return lambda: None

    def end() -> None:
        with suppress(ValueError):
            shell.events.unregister("pre_run_cell", call)

    shell.events.register("pre_run_cell", call)
    return end


def _flush() -> None:
    for name in DESCRIPTORS.values():
        with suppress(Exception):
            stream: io.TextIOBase = getattr(sys, name)
            stream.flush()


def _wait_until_gone(thread: threading.Thread) -> None:
    """Wait until the system has forgotten an ended thread: `fork` counts the threads of the system."""
    until = monotonic() + _PAUSE_WITHIN_S
    while os.path.exists(f"/proc/self/task/{thread.native_id}") and monotonic() < until:
        sleep(0)  # only lets others run


def _before_fork() -> None:
    """End the listening threads, so that a fork has no reason to warn of threads."""
    _paused.extend(console for console in _active if console.pause())


def _after_fork_in_parent() -> None:
    """Listen again as soon as the fork is over: up to its very end it may look for threads."""
    if not _paused:
        return
    if threading.current_thread() is threading.main_thread():
        with suppress(Exception):  # a Python without ctypes
            import ctypes

            if ctypes.pythonapi.Py_AddPendingCall(_pending_watch(), None) == 0:
                return
    _watch_paused()


def _watch_paused(*_: object) -> int:
    while _paused:
        _paused.pop().watch()
    return 0


@lru_cache(maxsize=1)  # kept, too: the interpreter calls it when nobody else holds it any more
def _pending_watch() -> Any:
    import ctypes

    return ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_watch_paused)


def _release() -> None:
    """Release captures that have ended, and have none above them whose text they pass on."""
    over = []
    with _lock:
        while _active and _active[-1].is_over:
            over.append(_active.pop())
    for console in over:
        console.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for console in _active:
        console.abandon()
    _active.clear()
    _paused.clear()


_active: list[ConsoleCapture] = []
"""The active captures, each on top of the one before it."""
_paused: list[ConsoleCapture] = []
_lock = threading.Lock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
