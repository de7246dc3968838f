"""The runs of this process that go on: sessions share one, and it ends with the last of them or with the process."""

from __future__ import annotations

import atexit
import sys
import traceback
import weakref
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from mlv.encoding import TAIL, Conversion, dumps, head, tail
from mlv.errors import WritingStalled
from mlv.events import RunEnded
from mlv.experiment.endings import OK, Ending, Process, described, ending_of, exception_holding
from mlv.experiment.idle_channels import Closed, QuietlyClosed, Unstarted
from mlv.notices import warn
from mlv.projections import outputs as outputs_
from mlv.protocols import Channel
from mlv.store.home import Home
from mlv.transport.writer_watch import loss_text

if TYPE_CHECKING:
    from mlv.bucket.shipping import Shipping
    from mlv.experiment.console.capture import ConsoleCapture
    from mlv.experiment.session import Session

CLOSE_TIMEOUT_S = 30.0  # what a batch system grants between asking a job to end and killing it
OUTPUTS_TIMEOUT_S = 10.0
"""How long the end of a run waits for its outputs; after that they go on by themselves."""
_NOTICE = "signal"
"""Name of the message about a signal, so that it differs from messages of the user."""
_NOTICE_COUNTS_S = 300.0
"""How long after SIGTERM a good end counts as preempted: a process that goes on for longer has declined."""


class ActiveRun:
    """A run of this process, for the sessions that write into it."""

    def __init__(
        self,
        run: str,
        channel: Channel,
        session: Session,
        home: Home,
        outputs: outputs_.Outputs,
        shipping: Shipping | None = None,
    ) -> None:
        """Go on after `run_started` of the session that begins the run, which is in the channel already."""
        shared = session.shared
        self.id, self.channel, self.outputs, self.memory = run, channel, outputs, session._memory
        self.parent_run, self.rank, self.folder, self.home = session.parent_run, session.rank, session._folder, home
        self.shipping = shipping
        """The shipping of the run to a bucket, if it is shipped."""
        self.console: ConsoleCapture | None = None
        """The console capture, if there is one."""
        self._filtered = 0
        self._signalled: float | None = None
        """Time of the last signal that asked the process to end, on the monotonic clock."""
        self._is_over = self._is_preempted = False
        self._shared = shared
        self._maker: int | None = id(session)
        self._writers: set[int] = set()
        # By `id`: the garbage collector clears weak references before it calls `__del__` of the sessions.
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        shared.run = self
        _runs.add(self)

    def add(self, session: Session) -> None:
        """Let a session write."""
        self._writers.add(id(session))
        self._sessions.add(session)

    def ends_with(self, session: Session) -> bool:
        """Return whether the run is over when a session closes."""
        return self._writers == {id(session)} or self._maker == id(session)

    def leave(self, session: Session, is_closed: bool) -> bool:
        """Note that a session closes, or is gone; return whether the run is over with that."""
        is_over = self.ends_with(session) if is_closed else self._writers == {id(session)}
        self._writers.discard(id(session))
        self._filtered += session.filtered
        session.filtered = 0
        if self._maker == id(session):
            self._maker = None
        return is_over

    @property
    def handles_signals(self) -> bool:
        """Whether the run handles signals. Children do not: their parents end them, often by SIGTERM."""
        return self.parent_run is None or self.rank > 0

    def report_failures(self) -> None:
        """Log, and warn about, outputs that have stopped."""
        for data in self.outputs.failures():
            put_event(self.channel, "event", data, outputs_.EVENT)
        if self.shipping is not None:
            self.shipping.report()

    def notice(self, signal: str, timeout_s: float) -> None:
        """Log that a signal asks the process to end: unless something else ends the run, it ends as preempted from now on."""
        self._signalled = float("inf") if signal != "SIGTERM" else monotonic()
        text = f"{signal}: the process is asked to end"
        put_event(self.channel, "message", {"level": "warning", "message": text, "extra": {"signal": signal}}, _NOTICE)
        self.channel.flush(timeout_s)
        if self.shipping is not None:
            self.shipping.wake()

    def ending_after_signal(self, ending: Ending) -> Ending:
        """Return the ending of the run without a given status: after a signal it is preempted, unless it failed."""
        if self._signalled is None:
            return ending
        if ending.status == "ok":
            return Ending("preempted") if monotonic() - self._signalled < _NOTICE_COUNTS_S else ending
        return ending if ending.status == "failed" and not isinstance(ending.error, SystemExit) else Ending("preempted")

    def end_preempted(self, timeout_s: float) -> bool:
        """End as preempted, and wait; return whether all is written. Called again, it waits on."""
        if self._is_preempted:
            return self.channel.drain(timeout_s)
        if self._is_over:
            return True
        self._is_preempted = True
        return self.end(Ending("preempted"), timeout_s, QuietlyClosed)

    def wait_for_shipping(self, timeout_s: float) -> None:
        """Wait until the bucket has the run, which has ended; warn of what it lacks."""
        if self.shipping is not None and self.shipping.is_own:
            self.shipping.end(timeout_s)

    def end_with_process(self, ending: Ending) -> None:
        """End as the process does; as failed if a caught exception alone still holds the objects to log with."""
        if ending == OK and not process.is_interactive and self._sessions:
            ending = ending_of(exception_holding(list(self._sessions)))
        is_complete = self.end(self.ending_after_signal(ending), CLOSE_TIMEOUT_S, Closed)
        self.warn_if_incomplete(is_complete, CLOSE_TIMEOUT_S)

    @property
    def is_gone(self) -> bool:
        """Whether the experiment was removed, or replaced by another one, since the run began."""
        return self.home.where() is None

    def warn_if_incomplete(self, is_complete: bool, timeout_s: float) -> None:
        """Warn of events that are not in the log after this time, if there are any."""
        if timeout_s > 0 and self.is_gone:
            self.warn_of_loss()
        elif timeout_s > 0 and not is_complete and (outlook := self.channel.outlook()):
            warn(f"the log of {self.folder} is not complete after {timeout_s:g} s: {outlook}", WritingStalled)
        if self._is_over:
            self.home.release()

    def warn_of_loss(self) -> None:
        """Warn that events logged since the experiment is gone are lost, if there are any."""
        if self.channel.outlook():
            warn(loss_text(self.folder, self.id), WritingStalled)

    def end(self, ending: Ending, timeout_s: float, then: type[Closed] | None = None) -> bool:
        """Emit `run_ended`, and wait for the seals; return whether all is written.

        The remaining sessions get a channel of the class `then`, or begin another run with their next event.
        """
        # First: the last lines that were printed belong to this run.
        self._end_console(timeout_s)
        with self._shared.lock:
            if self._is_over:
                return True
            self._is_over = True
            self._shared.run = None
            _runs.discard(self)
            if not _runs:
                process.unwatch()
            for session in list(self._sessions):
                if session._run is self:
                    self._filtered += session.filtered
                    session.switch_to(then(self.id, self.folder) if then is not None else Unstarted(session))
                    session._home = None
            if timeout_s > 0:
                self.report_failures()
            ended = RunEnded(
                ending.status, exception=described(ending.error) if ending.error else None, filtered=self._filtered or None
            )
            put_event(self.channel, ended.TYPE, ended.to_data())
        # Without the lock: another thread that logs shall not wait for a disk.
        is_complete = self.channel.close(timeout_s)
        if self.shipping is not None:
            self.shipping.wake()
        if is_complete and timeout_s > 0 and self.parent_run is None and not self.is_gone:
            self.outputs.wait(min(OUTPUTS_TIMEOUT_S, timeout_s), is_last=True)
            self.outputs.failures()
            if not self._is_preempted:  # then the handler of the signal waits, which knows the time
                self.wait_for_shipping(timeout_s)
        return is_complete

    def _end_console(self, timeout_s: float) -> None:
        capture, self.console = self.console, None
        if capture is not None and not capture.end(timeout_s) and timeout_s > 0 and not self.is_gone:
            warn(f"what was printed is not in the log after {timeout_s:g} s: {capture.outlook()}", WritingStalled)

    def abandon(self) -> None:
        """Leave the run to the parent, in a forked child."""
        if self.console is not None:
            self.console.abandon()
        self.channel.abandon()


def put_event(
    channel: Channel, type: str, data: Mapping[str, Any], name: str = "", step: float | None = None, cursor: int = 0
) -> None:
    """Emit an event of the experiment itself into a channel."""
    channel.put(cursor, TAIL, 0, event_payload(type, data, name, step))


def event_payload(type: str, data: Mapping[str, Any], name: str = "", step: float | None = None) -> bytes:
    """Return an event as a channel takes it: head and tail of its line."""
    conversion = Conversion()
    text = dumps(conversion.value(data))
    return head(type, name) + tail(step, {}, text, conversion.nonfinite)


process = Process()
"""The traces of the end of this process."""
_runs: set[ActiveRun] = set()
"""The runs that go on."""
_hooked: set[str] = set()


def end_runs_with_process() -> None:
    """Ensure that the runs of this process end when it does."""
    process.watch()
    if "atexit" not in _hooked:
        _hooked.add("atexit")
        atexit.register(_close_all)
    if "multiprocessing" not in _hooked and is_worker():
        # Children of multiprocessing leave by os._exit: atexit does not run there, these finalizers do.
        _hooked.add("multiprocessing")
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=100)
        if sys.version_info >= (3, 13) and "print_exc" not in _hooked:
            _hooked.add("print_exc")
            _keep_what_ends_a_child()


def is_worker() -> bool:
    """Return whether this process is a child of multiprocessing."""
    bootstrap = sys.modules.get("multiprocessing.process")
    return bootstrap is not None and bootstrap.parent_process() is not None


def _close_all() -> None:
    ending = process.ending()
    for run in list(_runs):
        run.end_with_process(ending)


def runs_with_signals() -> list[ActiveRun]:
    """Return the runs of this process that handle signals."""
    return [run for run in list(_runs) if run.handles_signals]


def _keep_what_ends_a_child() -> None:
    """Keep the exception that ends a child of multiprocessing: since Python 3.13 finalizers run after Python has dropped it."""
    print_exc = traceback.print_exc

    def keeping(*args: Any, **kwargs: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and sys._getframe(1).f_code.co_name == "_bootstrap":
            process.ended_a_child.append(error)
        print_exc(*args, **kwargs)

    traceback.print_exc = keeping


def forget_parent_runs() -> None:
    """Leave the runs of the parent to it, in a forked child."""
    _hooked.discard("multiprocessing")
    _runs.clear()
    process.ended_a_child.clear()
