"""The run of this process in one experiment: begun at the first event, shared by all that log, ended once."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Union

from mlv.encoding import TAIL, Conversion, dumps, head, tail
from mlv.errors import MlvWarning, WritingStalled
from mlv.events import Record, RunEnded, RunStarted
from mlv.experiment import outputs as outputs_
from mlv.experiment import preemption
from mlv.notices import warn, warn_once
from mlv.protocols import Buffer, Channel, Cursor
from mlv.query.one import watched_state
from mlv.state import State
from mlv.store import layout
from mlv.store.home import Home
from mlv.store.owners import Owner
from mlv.transport.channels import Cursors, open_channel
from mlv.transport.journal import new_run_id
from mlv.transport.ring import loss_text
from mlv.transport.wishes import Wishes

if TYPE_CHECKING:
    from mlv.experiment.console import Console

CLOSE_TIMEOUT_S = 30.0
_NOTICE = "signal"
"""Name of the message that tells of a signal: nobody takes it for one of the user's."""
OUTPUTS_TIMEOUT_S = 10.0
"""How long the end of a run waits for its outputs, which go on without it."""

ExcInfo = Union[tuple[type[BaseException], BaseException, Union[TracebackType, None]], tuple[None, None, None]]


class Session:
    """The run of this process in one experiment.

    Nothing is on the disk before the first event. Loggers hold the session; when the last of them and of the `Exp` objects
    is gone, the run ends.
    """

    is_disabled = False
    """Whether nothing is stored."""
    is_silent = False
    """Whether nothing is written: of a rank other than the main one."""

    def __init__(
        self,
        folder: Path,
        exp_id: str,
        *,
        parent_run: str | None = None,
        captures: Callable[[], Mapping[str, Any]] = dict,
        params: Mapping[str, Any] | None = None,
        outputs: Sequence[Any] = (),
        rank: int = 0,
        wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    ) -> None:
        """Prepare a run. `captures` gives what a later run adds to its `run_started`; `params` differ from the experiment's."""
        self.rank = rank
        self._folder = folder
        self.exp_id = exp_id
        self.parent_run = parent_run
        self.wishes = wishes
        self.filtered = 0
        self.is_preempted = False
        """Whether a signal has asked the process to end."""
        self.memory: dict[str, Any] = {}
        """What other parts of the experiment remember for as long as the run lasts, by their name."""
        self.console: Console | None = None
        """What captures what is printed, where that is wished for."""
        self.channel: Channel = Unstarted(self)
        self._preempted: Channel | None = None
        self._captures, self._params = captures, params
        self._outputs = outputs_.Outputs(folder, exp_id, outputs)
        self._home: Home | None = None
        self._cursors = Cursors()
        self._cursors.index((self.stream, b""))
        self._lock = threading.RLock()
        self._pid = os.getpid()
        _live.add(self)
        _of_place[self._pid, os.path.realpath(folder), exp_id] = self

    @property
    def folder(self) -> Path:
        """Folder of the experiment that is written, also where that was moved since the run began."""
        return (self._home.where() if self._home is not None else None) or self._folder

    @property
    def is_gone(self) -> bool:
        """Whether the experiment was removed, or replaced by another one, since the run began."""
        return self._home is not None and self._home.where() is None

    @property
    def read_from(self) -> Path:
        """Folder of the experiment that is read: the same."""
        return self._folder

    def prepare(self) -> None:
        """See that the folder is there for who looks into it: it is."""

    def state_reader(self, folder: Path) -> Callable[[], State]:
        """A function that gives the state of the experiment as it is at the moment."""
        return watched_state(folder)

    @property
    def run(self) -> str | None:
        """The run's ID, None before the first event."""
        return self.channel.run or None

    @property
    def stream(self) -> str:
        """The stream that the run writes where no other is chosen: each rank has its own."""
        return layout.rank_stream(self.rank) if self.rank else layout.DEFAULT_STREAM

    @property
    def is_started(self) -> bool:
        """Whether the run takes events at this moment."""
        return not isinstance(self.channel, (Unstarted, Closed))

    @property
    def is_closed(self) -> bool:
        """Whether the run has ended."""
        return isinstance(self.channel, Closed)

    def cursor(self, cursor: Cursor) -> int | None:
        """The number by which `channel.put` knows a cursor; None where only the bare stream has one.

        Raises:
            TooManyStreams: There is no room for another stream.
        """
        with self._lock:
            found = self._cursors.index(cursor)
            if self.is_started:
                self._cursors.announce(self.channel)
            return found

    def start(self) -> None:
        """Begin the run, unless it has begun: `run_started` is its first event."""
        with self._lock:
            if self.is_started or self.is_closed:
                return
            run = new_run_id()
            captures = {} if self.parent_run else self._captures()
            here = Owner.current().to_data()
            started = RunStarted(self.exp_id, self.parent_run, here, self._params or None, self.rank or None, **captures)
            self._home = self._home or Home(self._folder, self.exp_id)
            if self.parent_run is None:  # the outputs of the run that started this one have its events as well
                self._outputs.order(run)
            channel = self._outputs.tap(self._open_channel(run))
            self._cursors.announce(channel)
            _put(channel, started.TYPE, started.to_data())
            self.channel = channel
            _end_with_process()
            if self._is_told_of_signals():
                preemption.watch(_told_of_signals)
            if self.parent_run is None:
                self._tell_failures()
                self._outputs.begin()

    def _open_channel(self, run: str) -> Channel:
        parent, main = (None, self.parent_run) if self.rank else (self.parent_run, None)
        return open_channel(self.folder, self.exp_id, run, parent, self.wishes, main_run=main, home=self._home)

    def capture_console(self) -> None:
        """Begin the run, and capture what is printed until it ends; where that is impossible it is said."""
        self.start()
        if self.console is None and self.run:
            from mlv.experiment import console  # `import mlv` does without

            self.console = console.begin(self.folder, self.exp_id, self.run, self.wishes.to_info())

    def say(self, record: Record) -> None:
        """Emit an event of a structural type into the default stream."""
        self.emit(record.TYPE, record.to_data())

    def emit(
        self, type: str, data: Mapping[str, Any], *, name: str = "", step: float | None = None, stream: str | None = None
    ) -> None:
        """Emit an event of the experiment itself into the run's own stream, or into the one that is given."""
        self.start()
        _put(self.channel, type, data, name, step, (self.cursor((stream, b"")) or 0) if stream else 0)

    def drain(self, timeout_s: float) -> bool:
        """Wait until what was logged here can be read."""
        return self.channel.drain(timeout_s) if self.is_started else True

    def flush(self, timeout_s: float, outputs: bool = False) -> bool:
        """Wait until what was logged here is on the disk; where the time does not do, say so and return False.

        With `outputs`, wait until they hold it as well.
        """
        began = monotonic()
        self._tell_failures()
        if not self.is_started or self.channel.flush(timeout_s):
            return not outputs or self.is_disabled or self._outputs.wait(max(0.0, timeout_s - (monotonic() - began)))
        if self.is_gone:
            self._tell_loss(self.channel)
        else:
            text = f"the log of {self.folder} is not on the disk after {timeout_s:g} s: its events wait in memory"
            warn(text, WritingStalled)
        return False

    def notice(self, signal: str, timeout_s: float) -> None:
        """Say that a signal asks the process to end: unless something else does, the run now ends as preempted."""
        self.is_preempted = True
        text = f"{signal}: the process is asked to end"
        self.emit("message", {"level": "warning", "message": text, "extra": {"signal": signal}}, name=_NOTICE)
        self.channel.flush(timeout_s)

    def end_preempted(self, timeout_s: float) -> bool:
        """End the run as preempted, and wait; whether all is written. Called again, it waits on."""
        if self._preempted is not None:
            return self._preempted.drain(timeout_s)
        if not self.is_started:
            return True
        self._preempted = self.channel
        try:
            return self._close("preempted", None, timeout_s)
        finally:
            self.channel = Unheard(self.channel.run, self.folder)

    def end(self, error: BaseException | None = None, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End the run as an exception ends it, or well; as preempted where a signal asked for it and no fault came after."""
        status = status_of(error)
        if self.is_preempted and (error is None or isinstance(error, (SystemExit, KeyboardInterrupt))):
            status, error = "preempted", None
        self.close(status, error if status != "ok" else None, timeout_s)

    def close(self, status: str, error: BaseException | None = None, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End the run: `run_ended`, then wait for the seals. Closing again does nothing."""
        channel = self.channel
        if not self._close(status, error, timeout_s) and timeout_s > 0 and not self.is_gone and (text := channel.outlook()):
            warn(f"the log of {self.folder} is not complete after {timeout_s:g} s: {text}", WritingStalled)
        if not _told_of_signals():
            preemption.unwatch()

    def _close(self, status: str, error: BaseException | None, timeout_s: float) -> bool:
        if os.getpid() == self._pid:
            self._end_console(timeout_s)
        with self._lock:
            channel = self.channel
            if isinstance(channel, Closed) or os.getpid() != self._pid:
                return True
            self.channel = Closed(channel.run, self._folder)
            if isinstance(channel, Unstarted):
                return True
            if timeout_s > 0:
                self._tell_failures(channel)
            ended = RunEnded(status, exception=described(error) if error else None, filtered=self.filtered or None)
            _put(channel, ended.TYPE, ended.to_data())
        is_complete = channel.close(timeout_s)
        if self.is_gone:
            if timeout_s > 0:
                self._tell_loss(channel)
            return is_complete
        if is_complete and timeout_s > 0 and self.parent_run is None:
            self._outputs.wait(min(OUTPUTS_TIMEOUT_S, timeout_s), is_last=True)
            self._outputs.failures()
        return is_complete

    def _tell_loss(self, channel: Channel) -> None:
        """Warn that what was logged since the experiment is gone is lost, unless that was said."""
        if channel.outlook():
            warn(loss_text(self._folder, channel.run), WritingStalled)

    def _tell_failures(self, channel: Channel | None = None) -> None:
        """Log, and warn about, outputs that have stopped."""
        if channel is not None or self.is_started:
            for data in self._outputs.failures():
                _put(channel or self.channel, "event", data, outputs_.EVENT)

    def _is_told_of_signals(self) -> bool:
        """Whether signals concern the run: children are ended by their parents, often by SIGTERM."""
        return self.is_started and (self.parent_run is None or self.rank > 0)

    def _end_console(self, timeout_s: float) -> None:
        capture, self.console = self.console, None
        if capture is not None and not capture.end(timeout_s) and timeout_s > 0:
            warn(f"what was printed is not in the log after {timeout_s:g} s: the tee goes on with it", WritingStalled)

    def after_fork(self) -> None:
        """In a forked child: let go of the parent's run; the first event begins one of the child's own."""
        self._lock = threading.RLock()
        self._pid = os.getpid()
        if self.console is not None:
            self.console.abandon()
            self.console = None
        _of_place[self._pid, os.path.realpath(self._folder), self.exp_id] = self
        if isinstance(self.channel, (Unstarted, Closed)):
            return
        self.channel.abandon()
        self.parent_run = self.channel.run
        self.channel = Unstarted(self)

    def __del__(self) -> None:
        # Nobody can log into the run any more. Nothing is waited for: this may be the garbage collector's thread.
        if sys.is_finalizing() or os.getpid() != self._pid:
            return
        self.end(timeout_s=0)


class Unstarted:
    """The channel of a run that has not begun: the first event begins it."""

    run = ""

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Begin the run, and accept the event there."""
        session = self._session()
        if session is not None:
            session.start()
            session.channel.put(cursor, kind, step, payload)

    def hand_over(self, cursor: int, parts: Sequence[Buffer]) -> None:
        """Begin the run, and accept the event there."""
        session = self._session()
        if session is not None:
            session.start()
            session.channel.hand_over(cursor, parts)

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Nothing to announce yet: the run gets all cursors when it begins."""

    def drain(self, timeout_s: float) -> bool:
        """Nothing waits."""
        return True

    flush = close = drain

    def outlook(self) -> str:
        """Nothing waits."""
        return ""

    def abandon(self) -> None:
        """Nothing was inherited."""


class Closed(Unstarted):
    """The channel of a run that has ended: what comes now is not stored, and said once."""

    def __init__(self, run: str, folder: Path) -> None:
        self.run, self._folder = run, folder

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Warn, once for each line of the caller's code."""
        warn_once(
            f"logged into {self._folder} after close(): the event is not stored. Log before close(), or open the experiment "
            f"again with Exp.open({str(self._folder)!r})",
            MlvWarning,
        )

    def hand_over(self, cursor: int, parts: Sequence[Buffer]) -> None:
        """Warn, as `put`."""
        self.put(cursor, TAIL, 0, b"")


class Unheard(Closed):
    """The channel of a process that a signal is about to kill: what it logs until then is not worth a word."""

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Do nothing."""


def session_in_this_process(folder: Path, exp_id: str) -> Session | None:
    """The run that this process has in an experiment already, unless it has ended: there is one at a time."""
    session = _of_place.get((os.getpid(), os.path.realpath(folder), exp_id))
    return session if session is not None and not session.is_closed else None


def _put(
    channel: Channel, type: str, data: Mapping[str, Any], name: str = "", step: float | None = None, cursor: int = 0
) -> None:
    conversion = Conversion()
    text = dumps(conversion.value(data))
    channel.put(cursor, TAIL, 0, head(type, name) + tail(step, {}, text, conversion.nonfinite))


def described(error: BaseException) -> dict[str, str]:
    """Type, message and traceback of an exception, as text."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be read)"
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        text = "".join(traceback.format_tb(error.__traceback__))
    return {"type": type(error).__qualname__, "message": message, "traceback": text}


def status_of(error: BaseException | None) -> str:
    """The status of a run that an exception ended."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "ok"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


_live: weakref.WeakSet[Session] = weakref.WeakSet()
_of_place: weakref.WeakValueDictionary[tuple[int, str, str], Session] = weakref.WeakValueDictionary()
"""The latest run of each process in each experiment."""
_hooked: set[str] = set()


def _end_with_process() -> None:
    """See that the runs of this process end when it does, once per process."""
    if "atexit" not in _hooked:
        _hooked.add("atexit")
        atexit.register(_close_all)
    process = sys.modules.get("multiprocessing.process")
    if "multiprocessing" not in _hooked and process is not None and process.parent_process() is not None:
        # Children of multiprocessing leave by os._exit: atexit does not run there, these finalizers do.
        _hooked.add("multiprocessing")
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=100)
        if sys.version_info >= (3, 13) and "print_exc" not in _hooked:
            _hooked.add("print_exc")
            _keep_what_ends_a_child()


def _close_all() -> None:
    error = _uncaught()
    for session in list(_live):
        session.end(error)


def _told_of_signals() -> list[Session]:
    """The runs of this process that signals concern."""
    return [session for session in list(_live) if session._is_told_of_signals()]


def _uncaught() -> BaseException | None:
    """The exception that ends this process, None if it ends well."""
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None  # a statement or a notebook cell failed, not the process
    # Within multiprocessing's child the exception is on its way, or was shown; elsewhere the interpreter has kept it.
    return sys.exc_info()[1] or next(iter(_ended_a_child), None) or getattr(sys, "last_value", None)


_ended_a_child: list[BaseException] = []


def _keep_what_ends_a_child() -> None:
    """Keep the exception that ends a child of multiprocessing: since Python 3.13 finalizers run after it was forgotten."""
    print_exc = traceback.print_exc

    def keeping(*args: Any, **kwargs: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and sys._getframe(1).f_code.co_name == "_bootstrap":
            _ended_a_child.append(error)
        print_exc(*args, **kwargs)

    traceback.print_exc = keeping


def _after_fork_in_child() -> None:
    _hooked.discard("multiprocessing")
    _ended_a_child.clear()
    preemption.unwatch()
    for session in list(_live):
        session.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
