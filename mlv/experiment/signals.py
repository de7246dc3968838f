"""Signals that ask the process to end: SIGTERM, and under SLURM SIGUSR1, leave a notice in the log of a run.

Apart from that the process does what it would have done: the handler that was there before is called, and one that was set
later decides alone. Where nobody has a handler, SIGTERM ends the run as `preempted` and kills the process as it would have.
Handlers are there only while a run goes on, and only where the main thread began one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep
from types import FrameType
from typing import Any, Protocol

_NOTICE_WITHIN_S = 1.0  # the handler that the user installed waits behind it
_END_WITHIN_S = 3.0  # a batch system soon kills what does not die of its signal
_SHIP_WITHIN_S = 5.0  # the end of the first process of a container ends those that ship as well
_AGAIN_AFTER_S = 0.02  # by then the call that the signal interrupted has gone on
_ACTION_BYTES = 512
"""Room for a `struct sigaction` of any system."""


class Preemptible(Protocol):
    """A run that can be notified that the process is asked to end."""

    def notice(self, signal: str, timeout_s: float) -> None:
        """Leave a notice in the log, and wait until it is on the disk."""

    def end_preempted(self, timeout_s: float) -> bool:
        """End the run as preempted; return whether all of it is written. May be called again to wait on."""

    def wait_for_shipping(self, timeout_s: float) -> None:
        """Wait until the bucket that the run is shipped to has all of it, if it is shipped."""


def watch(runs: Callable[[], Sequence[Preemptible]]) -> None:
    """Install the handlers, unless they are there; `runs` gives the runs that are going on when a signal comes.

    A signal that is ignored stays ignored, and so does one that a C library handles: to Python it looks like one without a
    handler. SIGUSR1 without a handler is left alone: who requeues jobs takes it only where it is free. Elsewhere than in the
    main thread nothing can be installed.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _signals(os.environ):
        before = signal.getsignal(number)
        if isinstance(before, _Handler):
            continue
        if callable(before) or (before == signal.SIG_DFL and number == signal.SIGTERM and _is_default(number)):
            handler = _Handler(before, runs)
            if _set(number, handler, keeps_action=callable(before)):
                handler.action = _action(number)
                _installed[number] = handler


def unwatch() -> None:
    """Put back the handlers that were there before, where ours are the latest."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in list(_installed):
        handler = _installed.pop(number)
        if not _is_latest(handler, number):
            continue
        if callable(handler.before):
            _set(number, handler.before, keeps_action=True)
        elif _address(_action(number)) == _address(handler.action):
            _set(number, handler.before, keeps_action=False)
        # Else a C library has installed a handler over ours, and may call ours: it stays, and acts like the default.


def _signals(environ: Mapping[str, str]) -> list[int]:
    """Return the signals to handle: SIGUSR1 asks a process to end only where SLURM sends it (`--signal=USR1@60`)."""
    names = ["SIGTERM", *(["SIGUSR1"] if environ.get("SLURM_JOB_ID") else [])]
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _set(number: int, handler: Any, *, keeps_action: bool) -> bool:
    """Set Python's handler of a signal; return whether that was possible.

    `signal.signal` also replaces what the system calls: a C library's handler before Python's own, and whether system calls
    are restarted. With `keeps_action` that is put back: it leads to Python's handler, whichever that is.
    """
    action = _action(number) if keeps_action else None
    try:
        signal.signal(number, handler)
    except (ValueError, OSError):  # not the main interpreter
        return False
    if action is not None:
        with suppress(Exception):
            _libc().sigaction(number, action, None)
    return True


def _is_latest(handler: object, number: int) -> bool:
    """Return whether Python calls this handler, and none that was set later."""
    return signal.getsignal(number) is handler


def _is_default(number: int) -> bool:
    """Return whether nobody handles a signal, no C library such as faulthandler either."""
    return not _address(_action(number))


def _action(number: int) -> Any:
    """Return the system's action on a signal, as a `struct sigaction`; None where that cannot be asked."""
    try:
        import ctypes  # `import mlv` does without

        action = ctypes.create_string_buffer(_ACTION_BYTES)
        return action if _libc().sigaction(number, None, action) == 0 else None
    except Exception:  # a Python without ctypes, a system without sigaction
        return None


def _address(action: Any) -> int:
    """Return the function that the system calls, the first field of an action; 0 for the default."""
    if action is None:
        return 0
    import ctypes

    return ctypes.c_void_p.from_buffer(action).value or 0


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None)


class _Handler:
    """A handler of one signal."""

    action: Any = None
    """The system's action on the signal since this handler was set."""

    def __init__(self, before: Any, runs: Callable[[], Sequence[Preemptible]]) -> None:
        self.before, self._runs = before, runs
        self._ending: list[Preemptible] = []
        self._until: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        is_first = number not in _handled
        if is_first and self._until is None:
            self._notice(number)
        if callable(self.before):
            _handled.add(number)  # a handler between this one and another of ours may call that one
            try:
                self.before(number, frame)
            finally:
                if is_first:
                    _handled.discard(number)
        elif _is_latest(self, number) and os.getpid() != 1:
            # A handler that was set later and calls this one decides about the process. The system protects the first
            # process of a container from signals without a handler.
            self._die(number)

    def _notice(self, number: int) -> None:
        until = monotonic() + _NOTICE_WITHIN_S
        with suppress(Exception):  # what the user's handler does matters more
            for run in self._runs():
                run.notice(signal.Signals(number).name, max(0.0, until - monotonic()))

    def _die(self, number: int) -> None:
        """End the runs, then die of the signal."""
        if self._until is None:
            self._until = monotonic() + _END_WITHIN_S
            self._ending = list(self._runs())
        is_done = True
        for run in self._ending:
            with suppress(Exception):  # the other runs have to end as well, and then the process
                is_done = run.end_preempted(max(0.0, self._until - monotonic())) and is_done
        if not is_done and monotonic() < self._until:
            # The signal came in the middle of a call that logs: it has to go on before the run can end.
            threading.Thread(target=_send_again, args=(number,), daemon=True).start()
            return
        for run in self._ending:
            with suppress(Exception):
                run.wait_for_shipping(max(0.0, self._until + _SHIP_WITHIN_S - monotonic()))
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _send_again(number: int) -> None:
    sleep(_AGAIN_AFTER_S)
    os.kill(os.getpid(), number)


_installed: dict[int, _Handler] = {}
_handled: set[int] = set()
"""Signals whose notice is given, while the handlers that were there before are called."""
