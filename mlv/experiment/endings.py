"""The ends of runs that nobody closes, inferred from the end of the process, or of the scope that made the experiment.

At the end of a process there is an exception that Python shows, or `sys.exit` was called, or the outermost frame came to its
end. A `SystemExit` that is raised without `sys.exit` leaves nothing but that frame, which stopped in the middle: how it ended
is not known then.

Within a process a run ends with the last reference to its experiment. That is a good end where it can be shown that the
scope which made the experiment returned, or let go of a name; a failure where the exception that left the scope goes with it;
and otherwise not known. What is not known is called `ended`.
"""

from __future__ import annotations

import gc
import operator
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType
from typing import Any, NamedTuple

from mlv.interrupts import pass_on

UNKNOWN = "ended"
"""The status of a run that is over, if its outcome is unknown."""
_BY_CODE = {128 + 15: "preempted", 128 + 2: "interrupted"}
"""Exit codes of a process that ends by itself after SIGTERM or SIGINT, as shells report them."""


class Ending(NamedTuple):
    """The end of a block, a process or a run: its status, and the exception if there was one."""

    status: str
    error: BaseException | None = None


OK = Ending("ok")


def ending_of(error: BaseException | None) -> Ending:
    """Return the end of a block or a process that an exception left, or none."""
    status = status_of(error)
    return Ending(status, None if status in ("ok", "preempted", UNKNOWN) else error)


def status_of(error: BaseException | None) -> str:
    """Return the status of a run that an exception ended."""
    if error is None:
        return "ok"
    if isinstance(error, SystemExit):
        return _status_of_code(error.code)
    if isinstance(error, GeneratorExit):
        return UNKNOWN  # the consumer of the generator needs no more of it
    return "interrupted" if isinstance(error, (KeyboardInterrupt, *_cancellations())) else "failed"


def _status_of_code(code: Any) -> str:
    if code is None:
        return "ok"
    if not isinstance(code, int):
        return "failed"  # a text, which Python prints
    return _BY_CODE.get(code & 0xFF, "failed") if code & 0xFF else "ok"


def _cancellations() -> Iterator[type[BaseException]]:
    """Yield the exception that asyncio cancels a task with, where somebody uses asyncio."""
    module = sys.modules.get("asyncio.exceptions")
    if module is not None:
        yield module.CancelledError


def described(error: BaseException) -> dict[str, str]:
    """Return type, message and traceback of an exception, as text."""
    try:
        message = str(error)
    except Exception as problem:
        pass_on(problem)
        message = "(its message cannot be read)"
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception as problem:
        pass_on(problem)
        text = "".join(traceback.format_tb(error.__traceback__))
    return {"type": type(error).__qualname__, "message": message, "traceback": text}


# The process.


class Process:
    """The traces of this process from which its end is inferred."""

    def __init__(self) -> None:
        self._outermost: FrameType | None = None
        self._exit: tuple[tuple[Any, ...], int] | None = None
        """Arguments of the last `sys.exit` in the main thread, and the position of the outermost frame."""
        self._original: Any = None
        self._hook: Any = None
        self.ended_a_child: list[BaseException] = []
        """The exception that ended this process, where it is a child of multiprocessing."""

    def watch(self) -> None:
        """Begin to watch, unless that is done: `sys.exit` works as before."""
        if self._outermost is None:
            self._outermost = _outermost_of(sys._current_frames().get(threading.main_thread().ident or 0))
        if self._hook is not None and sys.exit is self._hook:
            return
        original = self._original = sys.exit

        def noting(*status: Any) -> Any:
            if threading.get_ident() == threading.main_thread().ident and self._outermost is not None:
                self._exit = status, self._outermost.f_lasti
            return original(*status)

        noting.__name__ = noting.__qualname__ = "exit"
        noting.__doc__, noting.__module__ = original.__doc__, "sys"
        self._hook = sys.exit = noting

    def unwatch(self) -> None:
        """Put `sys.exit` back, unless somebody else has put one there since."""
        if self._hook is not None and sys.exit is self._hook:
            sys.exit = self._original
        self._hook = None

    @property
    def is_interactive(self) -> bool:
        """Whether somebody types its statements, or the cells of a notebook."""
        return hasattr(sys, "ps1") or bool(sys.flags.interactive)

    def ending(self) -> Ending:
        """Return the ending of the process, at its end."""
        if self.is_interactive:
            return OK  # a statement or a cell failed, not the process
        # Within multiprocessing's child the exception is on its way, or was shown; elsewhere the interpreter has kept it.
        error = sys.exc_info()[1] or next(iter(self.ended_a_child), None) or getattr(sys, "last_value", None)
        if error is None and (code := _code_of_child()) is not None:
            error = SystemExit(code)
        if error is None and self._outermost is not None and _ended_by_exception(self._outermost):
            if self._exit is None or not self._may_have_ended_by(self._exit[1], self._outermost):
                return Ending(UNKNOWN)
            error = SystemExit(*self._exit[0])
        return ending_of(error)

    @staticmethod
    def _may_have_ended_by(position: int, frame: FrameType) -> bool:
        """Return whether an exception raised at a position of a frame may have ended it, also from a handler."""
        return position == frame.f_lasti or _operation(frame) == "RERAISE" or _is_bare_raise(frame)


def _code_of_child() -> int | None:
    """Return the exit code of a forked child of multiprocessing that is about to leave; Python 3.13 keeps no other trace."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != "multiprocessing.popen_fork":
        if frame.f_code.co_name == "_bootstrap":
            return None  # it is not known yet there
        frame = frame.f_back
    code = frame.f_locals.get("code") if frame is not None else None
    return code if isinstance(code, int) else None


def _outermost_of(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_bare_raise(frame: FrameType) -> bool:
    return _operation(frame) == "RAISE_VARARGS" and frame.f_code.co_code[frame.f_lasti + 1] == 0


_WAITING = ("YIELD", "SEND", "RESUME", "GEN_START", "COPY_FREE")
"""Beginnings of the instructions at which a generator waits for its caller."""


def _ended_by_exception(frame: FrameType) -> bool:
    """Return whether an exception ended a frame: it goes on no more, and its last instruction was no return."""
    running: FrameType | None = sys._getframe()
    while running is not None:
        if running is frame:
            return False
        running = running.f_back
    return not _operation(frame).startswith(("RETURN", *_WAITING))


def exception_holding(sessions: Sequence[object]) -> BaseException | None:
    """Return the exception that alone holds the last objects through which sessions can be used, if there is one.

    An exception that is kept, as by a future, keeps the frames that it left, and the objects they held.
    """
    visited = {id(sessions), *map(id, sessions)}
    level, frames = sessions, list[FrameType]()
    for _ in range(_DEPTH):
        # Since Python 3.13 the arguments of that very call are among them.
        holders = [each for each in gc.get_referrers(*level) if id(each) not in visited and not _is_same(each, level)]
        visited.update(map(id, holders))
        if any(type(each) is dict and "__builtins__" in each for each in holders):
            return None  # a module, or its namespace, can still use them
        frames += [each for each in holders if type(each) is FrameType and _ended_by_exception(each)]
        level = [each for each in holders if type(each) is not FrameType]
        visited |= {id(holders), id(level)}  # which hold them as well
        if not level or len(visited) > _MOST:
            break
    return _exception_through(frames) if frames and not level else None


def _is_same(each: object, level: Sequence[object]) -> bool:
    return type(each) is tuple and len(each) == len(level) and all(map(operator.is_, each, level))


_DEPTH, _MOST = 8, 1000
"""Limits of the search for the holders of an experiment: levels, and objects."""


def _exception_through(frames: list[FrameType]) -> BaseException | None:
    """Return an exception that left one of the frames."""
    numbers = set(map(id, frames))
    for each in gc.get_objects():
        if issubclass(type(each), BaseException) and not numbers.isdisjoint(_frames_of(each)):
            return each  # type: ignore[no-any-return]
    return None


def _frames_of(error: BaseException) -> Iterator[int]:
    trace = error.__traceback__
    while trace is not None:
        yield id(trace.tb_frame)
        trace = trace.tb_next


# The scope.


class _Call(NamedTuple):
    """A call that was going on when an experiment was made."""

    frame: int
    code: CodeType
    position: int
    can_catch: bool


class Scope:
    """The calls in which an experiment was made; no frame is kept alive."""

    def __init__(self) -> None:
        """Look at the calls that are going on, mlv's own left out."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and _is_own(frame):
            frame = frame.f_back
        self._calls: list[_Call] = []
        while frame is not None:
            self._calls.append(_Call(id(frame), frame.f_code, frame.f_lasti, _can_catch(frame.f_code)))
            frame = frame.f_back
        self._handled = id(sys.exc_info()[1])

    def ending(self, frame: FrameType | None, process: Process) -> Ending:
        """Return the ending of the scope, when the experiment is released; `frame` runs at that moment."""
        if frame is None:
            return process.ending()  # the last exception of all takes its frames with it
        if _lets_go_of_exception(frame):
            return Ending("failed")
        error = sys.exc_info()[1]
        if error is not None and id(error) != self._handled and self._went_through(error):
            return ending_of(error)
        return OK if self._has_left_normally(frame) else Ending(UNKNOWN)

    def _went_through(self, error: BaseException) -> bool:
        return not {call.frame for call in self._calls}.isdisjoint(_frames_of(error))

    def _has_left_normally(self, frame: FrameType) -> bool:
        """Return whether a call in which the experiment was made returns to `frame`, or `frame` lets go of a name.

        That is certain where no function on the way can have caught an exception.
        """
        for depth, call in enumerate(self._calls):
            if call.frame == id(frame) and call.code is frame.f_code:
                returns = depth > 0 and frame.f_lasti == call.position
                lets_go = _operation(frame).startswith(("STORE_", "DELETE_")) and not _is_cleanup(frame)
                on_the_way = self._calls[1 : depth if returns else depth + 1]
                return (returns or lets_go) and not any(each.can_catch for each in on_the_way)
        return False


def _is_own(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and (name == "mlv" or name.startswith("mlv."))


def _can_catch(code: CodeType) -> bool:
    """Return whether a function has a handler of exceptions anywhere."""
    table = getattr(code, "co_exceptiontable", None)
    if table is not None:
        return bool(table)
    return not _SETUPS.isdisjoint(code.co_code[::2])  # Python 3.10


_SETUPS = frozenset((122, 143, 154))
"""SETUP_FINALLY, SETUP_WITH and SETUP_ASYNC_WITH of Python 3.10."""


def _lets_go_of_exception(frame: FrameType) -> bool:
    """Return whether a frame is at the end of its `except` block, where the exception goes with the frames that it left."""
    if _operation(frame) == "POP_EXCEPT":
        return True
    return _is_cleanup(frame) and _operation(frame, -4) == "POP_EXCEPT"


def _is_cleanup(frame: FrameType) -> bool:
    """Return whether a frame is at `name = None; del name`, with which Python ends `except ... as name`."""
    code, at = frame.f_code.co_code, frame.f_lasti
    kind, _, target = _operation(frame).partition("_")
    is_followed = kind == "STORE" and _operation(frame, 2) == f"DELETE_{target}"
    return is_followed and code[at + 1] == code[at + 3] and _operation(frame, -2) == "LOAD_CONST"


def _operation(frame: FrameType, offset: int = 0) -> str:
    """Return the name of a frame's current instruction, or of one at an offset in bytes; empty where there is none."""
    from opcode import opname  # `import mlv` does without

    code, at = frame.f_code.co_code, frame.f_lasti + offset
    return opname[code[at]] if 0 <= at < len(code) else ""
