"""Sessions: the share of an `Exp` and its loggers in the runs of this process. The first event begins or joins one."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from mlv.capture.redaction import Redactor
from mlv.encoding import TAIL
from mlv.errors import MlvWarning, WritingStalled
from mlv.events import Record, RunStarted
from mlv.experiment import signals
from mlv.experiment.active_run import (
    CLOSE_TIMEOUT_S,
    ActiveRun,
    end_runs_with_process,
    event_payload,
    forget_parent_runs,
    is_worker,
    process,
    put_event,
    runs_with_signals,
)
from mlv.experiment.endings import Ending, Scope, ending_of
from mlv.experiment.idle_channels import Closed, Unstarted
from mlv.notices import warn, warn_once
from mlv.projections import outputs as outputs_
from mlv.protocols import Channel, Cursor
from mlv.state import State
from mlv.store import layout
from mlv.store.home import Home
from mlv.store.origins import origin
from mlv.store.owners import Owner
from mlv.store.reading import watched_state
from mlv.transport.channels import Cursors, open_channel
from mlv.transport.spool import new_run_id
from mlv.transport.wishes import Wishes

if TYPE_CHECKING:
    from mlv.bucket.shipping import Shipping

DRAIN_TIMEOUT_S = 10.0
"""How long a reader waits until the events that this process logged are in the log."""


class Session:
    """The share of one `Exp` and its loggers in the run of this process in an experiment.

    **Who may end a run.** There is one run at a time of a process in an experiment, whatever number of `Exp` objects stand for
    it there. A session begins it with its first event, or joins the one that goes on. The run ends when the session that
    began it closes, or when the last of those that wrote is closed or gone, or with the process. A session that wrote
    nothing begins nothing, ends nothing, and keeps nothing going. One that others leave behind goes on: where the run was
    closed by the session that had begun it, its next event begins another. A closed session stores nothing more.

    Nothing is on the disk before the first event. Loggers hold the session; who lets go of the last of them and of the `Exp`
    closes it, with the ending that `endings` can prove.
    """

    is_disabled = False
    """Whether nothing is stored."""
    is_silent = False
    """Whether nothing is written: as on a rank other than the main one."""
    is_apart = False
    """Whether the experiment is that of this process alone, whatever launched it."""

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
        ship: str | None = None,
    ) -> None:
        """Prepare a run. `captures` returns the fields that a later run adds to `run_started`, `params` its own params."""
        self.rank = rank
        self._folder = folder
        self.exp_id = exp_id
        self.parent_run = parent_run if parent_run not in _begun else None
        self.wishes = wishes
        self.filtered = 0
        """Number of values and events that the filters of its loggers kept from the log."""
        self.channel: Channel = Unstarted(self)
        self._captures, self._params = captures, params
        self._outputs = outputs
        self.ship = ship
        """The URL of the bucket that a run is shipped to, if this session begins it."""
        self._home: Home | None = None
        """The experiment's folder, followed when it is moved during a run."""
        self._run: ActiveRun | None = None
        """The run that this session began or joined."""
        self._memory: dict[str, Any] = {}
        self._is_fork = False
        self._scope = Scope()
        self._pid = os.getpid()
        self.shared = ProcessSessions.of(self._target(), self.stream)
        """The state that all sessions of this process in the experiment share."""
        self.shared.latest = weakref.ref(self)
        _live.add(self)

    def _target(self) -> tuple[str, str]:
        """Return the target of the run of this process: sessions with equal targets share it."""
        return os.path.realpath(self._folder), self.exp_id

    def twin(self, **options: Any) -> Session:
        """Return another session in the same experiment, for another `Exp`; during a run this session's wishes hold."""
        if self.shared.run is not None or "wishes" not in options:
            options["wishes"] = self.wishes
        return type(self)(self._folder, self.exp_id, **{**options, "rank": self.rank})

    @property
    def folder(self) -> Path:
        """Folder of the experiment for writing, also when it was moved since the run began."""
        return (self._home.where() if self._home is not None else None) or self._folder

    @property
    def is_gone(self) -> bool:
        """Whether the experiment was removed, or replaced by another one, since the run began."""
        return self._home is not None and self._home.where() is None

    @property
    def read_from(self) -> Path:
        """Folder of the experiment for reading."""
        return self._folder

    def prepare(self) -> None:
        """Ensure that the folder exists: it does."""

    def state_reader(self, folder: Path) -> Callable[[], State]:
        """Return a function that gives the state of the experiment as it is at the moment."""
        return watched_state(folder)

    @property
    def run(self) -> str | None:
        """ID of the run of this process, None before the first event."""
        going_on = self.shared.run
        return self.channel.run or (going_on.id if going_on is not None else None)

    @property
    def stream(self) -> str:
        """The default stream of the run: each rank has its own."""
        return layout.rank_stream(self.rank) if self.rank else layout.DEFAULT_STREAM

    @property
    def summary_stream(self) -> str:
        """The stream of summaries, and of descriptions that choose a statistic."""
        return layout.SUMMARY

    @property
    def memory(self) -> dict[str, Any]:
        """State that other modules keep for as long as the run lasts, by their name."""
        return self.shared.run.memory if self.shared.run is not None else self._memory

    @property
    def is_started(self) -> bool:
        """Whether this session writes into a run at this moment."""
        return not isinstance(self.channel, (Unstarted, Closed))

    @property
    def is_closed(self) -> bool:
        """Whether this session writes no more."""
        return isinstance(self.channel, Closed)

    @property
    def is_beside(self) -> bool:
        """Whether closing this session leaves a run of this process to go on."""
        return self.shared.run is not None and not self.shared.run.ends_with(self)

    def cursor(self, cursor: Cursor) -> int | None:
        """Return the number by which `channel.put` knows a cursor; None where only the bare stream has one.

        Raises:
            TooManyStreams: There is no room for another stream.
        """
        with self.shared.lock:
            index = self.shared.cursors.index(cursor)
            if self.shared.run is not None:
                self.shared.cursors.announce(self.shared.run.channel)
            return index

    def start(self) -> None:
        """Join the run of this process, or begin one: `run_started` is its first event."""
        with self.shared.lock:
            if self.is_started or self.is_closed:
                return
            run = self.shared.run or self._begin()
            run.add(self)
            self._run, self.channel, self._home = run, run.channel, run.home

    def _begin(self) -> ActiveRun:
        run_id = new_run_id()
        captures = {} if self.parent_run else self._captures()
        process_data = Owner.current().to_data()
        forked = (self._is_fork and not is_worker()) or None
        folder = origin(self._folder) if self.exp_id else None
        started = RunStarted(
            self.exp_id or None,
            self.parent_run,
            process_data,
            self._params or None,
            self.rank or None,
            forked,
            folder=folder,
            **captures,
        )
        outputs, shipping = outputs_.Outputs(self._folder, self.exp_id, self._outputs), self._shipping()
        home = self._home = self._home or Home(self._folder, self.exp_id)  # a child goes on with its parent's
        if self.parent_run is None:  # the outputs of the run that started this one have its events as well
            # Before the run can be seen: whoever outlives this process must find what was ordered.
            outputs.order(run_id)
        if shipping is not None and self._ships:
            shipping.order(run_id)
        channel = outputs.tap(self._open_channel(run_id, home))
        # Before the first event: its frame names a stream by the number that this line makes known.
        self.shared.cursors.announce(channel)
        put_event(channel, started.TYPE, started.to_data())
        run = ActiveRun(run_id, channel, self, home, outputs, shipping)
        _begun.add(run_id)
        end_runs_with_process()
        if run.handles_signals:
            # With the first run and not on import: a script that logs nothing keeps its own handlers.
            signals.watch(runs_with_signals)
        if self.parent_run is None:
            run.report_failures()
            outputs.begin()
        if shipping is not None and self._ships:
            shipping.begin()
        return run

    @property
    def _ships(self) -> bool:
        """Whether its runs are shipped by themselves: that of a child, or of another rank, goes with the main one."""
        return self.parent_run is None and not self.rank

    def _shipping(self) -> Shipping | None:
        """Return the shipping of a run that this session begins, which others may be at work on."""
        if self.ship is None:
            return None
        from mlv.bucket.shipping import Shipping  # `import mlv` does without

        return Shipping(self._folder, self.exp_id, self.ship)

    def _open_channel(self, run: str, home: Home) -> Channel:
        parent, main = (None, self.parent_run) if self.rank else (self.parent_run, None)
        return open_channel(self.folder, self.exp_id, run, parent, self.wishes, main_run=main, home=home)

    def capture_console(self) -> None:
        """Begin the run, and capture the console until it ends; warn where that is impossible."""
        self.start()
        if self._run is not None and self._run.console is None:
            from mlv.experiment.console import capture as capture_  # `import mlv` does without

            self._run.console = capture_.begin(self.folder, self.exp_id, self._run.id, self.wishes.to_info())

    def emit_record(self, record: Record) -> None:
        """Emit an event of a structural type into the default stream."""
        self.emit(record.TYPE, record.to_data())

    def emit(
        self, type: str, data: Mapping[str, Any], *, name: str = "", step: float | None = None, stream: str | None = None
    ) -> None:
        """Emit an event of the experiment itself into the run's own stream, or into another one."""
        self.start()
        put_event(self.channel, type, data, name, step, (self.cursor((stream, b"")) or 0) if stream else 0)

    def redact_also(self, redactor: Redactor) -> Redactor:
        """Return a redactor of this run's patterns and more. The run adopts them; if it has begun, it warns instead."""
        own, additional = self.wishes.patterns, (redactor.patterns, redactor.exceptions)
        redact, keep = (tuple(dict.fromkeys([*before, *more])) for before, more in zip(own, additional, strict=True))
        if (redact, keep) == own:
            return redactor
        if self.shared.run is not None:
            warn(
                f"the run in {self._folder} goes on with the patterns of redact= and redact_except= that it began with",
                MlvWarning,
            )
        else:
            self.wishes = self.wishes.replace(redact=redact, keep=keep)
        return Redactor(redact, keep)

    def annotate(self, type: str, data: Mapping[str, Any], *, is_beside: bool = False) -> None:
        """Emit an event about the experiment that is no part of its training, and neither begins nor joins a run.

        The event goes into the run of this process if one goes on, and beside all runs otherwise, durably. With `is_beside`
        it goes beside them in any case, also after `close()`.

        Raises:
            NotAnnotated: Nothing can be written there.
        """
        going_on = self.shared.run
        if not is_beside and (self.is_closed or going_on is not None):
            put_event(self.channel if self.is_closed or going_on is None else going_on.channel, type, data)
        else:
            self._annotate(event_payload(type, data))

    def put_summary(self, payload: bytes) -> None:
        """Write an encoded event about metrics into the run that goes on, in the stream of such, or beside all runs.

        Raises:
            NotAnnotated: Nothing can be written there.
        """
        going_on = self.shared.run
        if going_on is None:
            self._annotate(payload)
        else:
            going_on.channel.put(self.cursor((self.summary_stream, b"")) or 0, TAIL, 0, payload)

    def _annotate(self, payload: bytes) -> None:
        from mlv.transport.annotating import annotate  # `import mlv` does without

        annotate(self.folder, payload, self.wishes.redactor())

    def drain(self, timeout_s: float) -> bool:
        """Wait until all events of this process can be read."""
        run = self.shared.run
        return run.channel.drain(timeout_s) if run is not None else True

    def flush(self, timeout_s: float, outputs: bool = False, shipped: bool = False) -> bool:
        """Wait until all events of this process are on the disk; if the time is too short, warn and return False.

        With `outputs`, wait until the outputs hold them as well; with `shipped`, until the bucket does.
        """
        began = monotonic()
        run = self.shared.run
        if run is None:
            return True
        run.report_failures()
        if shipped and run.shipping is None and not self.is_disabled:
            # No error: the same script may run where nothing is shipped.
            text = "flush(shipped=True) of a run that is not shipped: give Exp ship='s3://bucket/runs', or set MLV_SHIP"
            warn_once(text, MlvWarning)
        if run.channel.flush(timeout_s):
            deadline = began + timeout_s
            are_up = [
                not outputs or self.is_disabled or run.outputs.wait(max(0.0, deadline - monotonic())),
                not shipped
                or self.is_disabled
                or (run.shipping is not None and run.shipping.wait(max(0.0, deadline - monotonic()))),
            ]
            return all(are_up)
        if run.is_gone:
            run.warn_of_loss()
        else:
            text = f"the log of {self.folder} is not on the disk after {timeout_s:g} s: its events wait in memory"
            warn(text, WritingStalled)
        return False

    def end(self, error: BaseException | None = None, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close with the ending of an exception, or well; as preempted if a signal asked for it and no fault came after."""
        ending = ending_of(error)
        self._close(ending if self._run is None else self._run.ending_after_signal(ending), timeout_s)

    def close(self, status: str, error: BaseException | None = None, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close: if this session may end the run, it ends with `run_ended` and its seals. Closing again does nothing."""
        self._close(Ending(status, error), timeout_s)

    def _close(self, ending: Ending, timeout_s: float) -> None:
        run = self._run
        is_complete = self._leave(lambda: ending, timeout_s)
        if run is not None:
            run.warn_if_incomplete(is_complete, timeout_s)
        if not runs_with_signals():
            signals.unwatch()

    def _leave(self, ending: Callable[[], Ending], timeout_s: float, is_closed: bool = True) -> bool:
        """Leave the run, and end it where this session may; return whether all events are written."""
        with self.shared.lock:
            run = self._run
            if self.is_closed or os.getpid() != self._pid:
                return True
            self.switch_to(Closed(self.channel.run, self._folder))
            self._home = None
            if run is None:
                return True
            is_over = run.leave(self, is_closed)
        if is_over:
            return run.end(ending(), timeout_s)
        return timeout_s <= 0 or run.channel.flush(timeout_s)

    def switch_to(self, channel: Channel) -> None:
        """Leave the run, and write into another channel from now on."""
        self._run, self.channel = None, channel

    def after_fork(self, run: ActiveRun | None) -> None:
        """Leave the parent's run, in a forked child; the first event begins a run of the child's own."""
        self._pid = os.getpid()
        if run is None:
            return
        self._memory = run.memory
        self.parent_run, self._is_fork = run.id, not self.rank
        if not self.is_closed:
            self.switch_to(Unstarted(self))

    def __del__(self) -> None:
        # Nobody can log here any more. Wait for nothing: this may be the garbage collector's thread.
        if sys is None or sys.is_finalizing() or self._run is None:  # the modules are cleared already
            return
        try:
            frame = sys._getframe(1)
        except ValueError:  # the interpreter itself lets go of it
            frame = None
        ending_after_signal = self._run.ending_after_signal
        self._leave(lambda: ending_after_signal(self._scope.ending(frame, process)), 0, is_closed=False)


class ProcessSessions:
    """The state that all sessions of this process in one experiment share: at most one run at a time."""

    def __init__(self, stream: str) -> None:
        self.lock = threading.RLock()
        self.cursors = Cursors()
        self.cursors.index((stream, b""))
        self.run: ActiveRun | None = None
        """The run that goes on."""
        self.latest: Callable[[], Session | None] = lambda: None
        """Returns the session that was made last, if it still exists."""

    @classmethod
    def of(cls, target: tuple[str, str], stream: str) -> ProcessSessions:
        """Return the shared state for an experiment, or for a log file."""
        with _making:
            shared = _shared_by_target.get(target)
            if shared is None:
                shared = _shared_by_target[target] = cls(stream)
            return shared

    def after_fork(self) -> ActiveRun | None:
        """Leave the parent's run, in a forked child, and return it."""
        self.lock = threading.RLock()
        run, self.run = self.run, None
        if run is not None:
            run.abandon()
        return run


def session_in_this_process(folder: Path, exp_id: str) -> Session | None:
    """Return the latest session that this process has in an experiment already, unless it is closed."""
    shared = _shared_by_target.get((os.path.realpath(folder), exp_id))
    session = shared.latest() if shared is not None else None
    return session if session is not None and not session.is_closed else None


_live: weakref.WeakSet[Session] = weakref.WeakSet()
_begun: set[str] = set()
"""The runs that this process has begun: a pickled session of one of them that comes back here is no child of it."""
_shared_by_target: weakref.WeakValueDictionary[tuple[str, str], ProcessSessions] = weakref.WeakValueDictionary()
_making = threading.RLock()


def _after_fork_in_child() -> None:
    global _making
    _making = threading.RLock()
    _begun.clear()
    forget_parent_runs()
    signals.unwatch()
    runs = {id(shared): shared.after_fork() for shared in list(_shared_by_target.values())}
    for session in list(_live):
        session.after_fork(runs.get(id(session.shared)))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
