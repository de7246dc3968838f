"""Descriptors that stand in for those of the console: terminals and pipes, and passing on what comes through them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

_PIPE_BYTES = 1 << 20
"""Bytes that a process may print ahead of the tee; the system may allow less."""
_CHUNK_BYTES = 1 << 16  # as much as a pipe holds by default
FIRST_FREE = 10
"""Descriptors below this one are left to programs that open them by number."""


def relay(routes: Sequence[tuple[int, int]], when_idle: Callable[[], None] = lambda: None) -> None:
    """Display output without logging it, until nobody can print any more; `routes` are pairs of descriptors, from and to."""
    import select

    poll, displays = select.poll(), dict(routes)
    for read in displays:
        poll.register(read, select.POLLIN)
    while displays:
        ready = poll.poll(0)
        if not ready:
            when_idle()
            ready = poll.poll()
        for read, _ in ready:
            chunk = read_chunk(read)
            if not chunk:
                poll.unregister(read)
                del displays[read]
            elif not write_all(displays[read], chunk):
                displays[read] = -1


def read_chunk(fd: int) -> bytes:
    """Read the output that is ready; empty if nobody can print there any more."""
    try:
        return os.read(fd, _CHUNK_BYTES)
    except OSError:  # EIO: no process has the terminal open
        return b""


def write_all(fd: int, data: bytes) -> bool:
    """Write all bytes to a display; return whether somebody still reads it."""
    remaining = memoryview(data)
    try:
        while remaining and fd >= 0:
            remaining = remaining[os.write(fd, remaining) :]
    except BlockingIOError:  # somebody has made the terminal non-blocking
        import select

        waiting = select.poll()
        waiting.register(fd, select.POLLOUT)
        waiting.poll()
        return write_all(fd, bytes(remaining))
    except OSError:
        return False
    return fd >= 0


def terminal_like(fd: int) -> tuple[int, int]:
    """Return the two ends of a terminal of the same kind and size, which passes text on unchanged."""
    import fcntl
    import termios

    read, write = os.openpty()
    with suppress(OSError, termios.error):
        attributes = termios.tcgetattr(fd)
        attributes[1] &= ~termios.OPOST  # the real one makes a carriage return of each line's end
        termios.tcsetattr(write, termios.TCSANOW, attributes)
        fcntl.ioctl(write, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return read, write


def wide_pipe() -> tuple[int, int]:
    """Return the two ends of a pipe that takes as much as the system allows, up to 1 MiB."""
    import fcntl

    read, write = os.pipe()
    with suppress(OSError, AttributeError):  # only Linux has this, and it limits each user
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


def moved_up(fd: int) -> int:
    """Move a descriptor above those that programs open by number."""
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    os.close(fd)
    return moved
