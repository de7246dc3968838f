"""The connection of a framework's callback or logger to its experiment, which the caller passes, or which is made here."""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mlv import Exp, InvalidArgument, Logger, MlvWarning
from mlv.integrations import repeats

_OPTIONS = frozenset(Exp.__init__.__kwdefaults__ or ())
_AGAIN = ("outputs", "ranks", "redact", "redact_except", "keep", "capture", "system", "console")
"""Options that hold for each run; the others are about making an experiment."""

_NAME = re.compile(r"\w[\w .=+-]*")
"""What may name an experiment without further ado; a name with separators is a path of the framework's."""


class Connection:
    """An experiment for a framework: passed by the caller, who goes on with it and closes it; or made, and closed, here.

    One that is made here is made at its first use, so that a callback may be built in every process of a launch. After
    `close` its next use begins another run in it: frameworks evaluate after training, and train again.

    Once it is open, nothing that goes wrong here ends the framework's run: a block `with connection.guard("the graph"):` is
    left at its first error, and one warning names what is missing.
    """

    def __init__(
        self, exp: Any = None, savedir: Any = None, name: str | None = None, params: Any = None, **options: Any
    ) -> None:
        """Keep which experiment is meant; nothing is written yet.

        Args:
            exp: An experiment, which is never closed here; or the path of one, which is opened for another run.
            savedir: As in `Exp`, where there is no `exp`. With neither, `MLV_EXP`, `MLV_DIR` and `MLV_NAME` decide.
            name: As in `Exp`.
            params: As in `Exp`.
            options: The other arguments of `Exp`, such as `tags`, `outputs` and `on_exists`; with the path of an experiment,
                those of `Exp.open`.

        Raises:
            InvalidArgument: `exp` is no experiment and no path, it comes with arguments for another one, or an option is none.
        """
        if exp is not None and not isinstance(exp, (Exp, str, os.PathLike)):
            raise InvalidArgument(f"exp={exp!r:.100} is of type {type(exp).__name__}: give an mlv.Exp, or its path", exp=exp)
        allowed = _OPTIONS if exp is None else frozenset(() if isinstance(exp, Exp) else _AGAIN)
        making = {"savedir": savedir, "name": name, "params": params} if exp is not None else {}
        wrong = [key for key, value in making.items() if value is not None] + sorted({*options} - allowed)
        if wrong:
            hint = "the experiment is there: give exp alone" if exp is not None else "see the arguments of mlv.Exp"
            raise InvalidArgument(f"{wrong[0]}= cannot be used here: {hint}", argument=wrong[0])
        self._exp: Exp | None = exp if isinstance(exp, Exp) else None
        self._log: Logger | None = None
        """The logger of the experiment, once somebody has asked for it."""
        self._is_own = self._exp is None
        self._paths: list[Any] = [exp] if exp is not None and self._is_own else []
        """The path of the experiment, once it is there. Copies in this process share the list, so that one makes it for all."""
        self._closed: Exp | None = None
        """The experiment after the end of a run in it."""
        self._making = {"savedir": savedir, "name": name, "params": params, **options}
        self.stays_closed = False
        """Whether a copy for another process is made without opening the experiment: on ranks that do not log."""
        self._warned: set[str] = set()
        self._owner = object()
        """Stands for this connection and its copies among those to one experiment."""
        self._rows: repeats.LatestRows | None = None
        self._times: int | None = None
        """How often the logger is in a list of the framework, once that was in question."""
        self._lock = threading.RLock()

    @property
    def exp(self) -> Exp:
        """The experiment: made, or opened for another run, where it is not open.

        After a run in it, one that cannot be opened again, as it was removed, stays closed: a warning says why.

        Raises:
            MlvError: It cannot be made or opened, as in `Exp` and `Exp.open`.
        """
        exp = self._exp
        if exp is None:
            with self._lock:
                exp = self._exp = self._exp or self._opened()
        return exp

    @property
    def log(self) -> Logger:
        """The logger of the experiment."""
        log = self._log  # most callbacks ask for it at each step
        if log is None:
            log = self._log = self.exp.log
        return log

    @property
    def is_open(self) -> bool:
        """Whether the experiment is there and open."""
        return self._exp is not None

    @property
    def is_own(self) -> bool:
        """Whether the experiment is made here, and closed here."""
        return self._is_own

    def _opened(self) -> Exp:
        if not self._paths:
            exp = Exp(**self._making)
            self._paths.append(exp.path)
            return exp
        try:
            return Exp.open(self._paths[0], **{key: self._making[key] for key in _AGAIN if key in self._making})
        except Exception as error:
            if self._closed is None:
                raise
            warn(f"mlv logs no more, and the run goes on: {type(error).__name__}: {error}")
            return self._closed

    def suggest_name(self, name: Any) -> None:
        """Name the experiment as the framework names its run, where it is still to be made and nobody has named it."""
        is_named = self._paths or self._making["name"] or os.environ.get("MLV_EXP") or os.environ.get("MLV_NAME")
        if self._exp is None and not is_named and isinstance(name, str) and _NAME.fullmatch(name):
            self._making["name"] = name

    def close(self, status: str = "ok") -> None:
        """End the run of an experiment that was made here; of any other, only see that all is on the disk.

        A run that failed while an exception is handled keeps it, and is `interrupted` by Ctrl-C.
        """
        exp = self._exp
        if exp is None:
            return
        if self._rows is not None:
            self._rows.forget()
        with self.guard("the end of the run"):
            if not self._is_own:
                exp.flush()
                return
            self._paths[:] = [exp.path]  # it may have been moved
            self._exp, self._log, self._closed = None, None, exp
            error = sys.exc_info()[1] if status == "failed" else None
            if error is None:
                exp.close(status)
            else:
                exp.__exit__(type(error), error, error.__traceback__)

    def add_params(self, params: Any) -> None:
        """Add a framework's params, leniently: `Exp.add_params(params, lenient=True)`."""
        exp = self.exp
        with self.guard("params"):
            exp.add_params(params, lenient=True)

    def rewind(self, step: float) -> None:
        """Go on from a step that the framework restored: what was logged with a greater one is superseded.

        Where nothing has a greater step, nothing changes; ranks that do not write leave it to the main one.
        """
        exp = self.exp
        with self.guard(f"the rewind to step {step}"):
            if exp.is_main:
                with suppress(InvalidArgument):  # the log has not come so far: there is nothing to supersede
                    exp.rewind(step)

    def is_repeated(self, event: object, step: object = None) -> bool:
        """Return whether an event was logged into the experiment just now: by this callback, or by another one of the training.

        The first time that it was, a warning says so.

        Args:
            event: An object that the framework makes for each event, or for each training, and hands to all callbacks.
            step: What tells events with the same object apart.
        """
        if not repeats.is_event_repeated(self.exp.id, event, step):
            return False
        self.report_repeats()
        return True

    def is_row_repeated(self, row: Any, step: Any, logger: object) -> bool:
        """Return whether a row of metrics was logged just now, as `is_repeated` does, for one that a script may use again.

        Args:
            row: The row.
            step: Its step, if it has one.
            logger: The object to which the framework, or the script itself, hands it.
        """
        rows = self._rows
        if rows is None:
            rows = self._rows = repeats.rows_of(self.exp.id)
        if not rows.is_repeated(row, step, self._owner, lambda: self._times_listed(logger)):
            return False
        self.report_repeats()
        return True

    def _times_listed(self, logger: object) -> int:
        if self._times is None:  # counted once: it may take long
            self._times = repeats.times_listed(logger)
        return self._times

    def report_repeats(self) -> None:
        """Warn, once, that a training reaches the experiment twice."""
        if "repeats" not in self._warned:
            self._warned.add("repeats")
            name = self.exp.name
            self.report(f"two callbacks, or one that is in a list twice, log this training into {name}: all is kept once")

    @contextmanager
    def guard(self, subject: str) -> Iterator[None]:
        """Let no error out of the block; the first one for a subject is a warning, and a message in the log."""
        try:
            yield
        except Exception as error:
            if subject not in self._warned:
                self._warned.add(subject)
                self.report(f"mlv left out {subject}, and the run goes on: {type(error).__name__}: {error}")

    def report(self, text: str) -> None:
        """Show a warning, and keep it as a message in the log."""
        warn(text)
        with suppress(Exception), warnings.catch_warnings():  # the error may be about this very log, or that it is closed
            warnings.simplefilter("ignore")
            if self._exp is not None:
                self._exp.log.warning(text)

    def __deepcopy__(self, memo: Any) -> Connection:
        """Return a connection to the same experiment: an estimator is copied for each fit of a search, and each ends a run."""
        copied = object.__new__(type(self))
        own = {"_exp": None, "_log": None, "_closed": None, "_rows": None} if self._is_own else {}
        vars(copied).update({**vars(self), **own, "_times": None, "_warned": {*self._warned}})
        return copied

    def __copy__(self) -> Connection:
        return self.__deepcopy__({})

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to another process, which needs an experiment that is there: it is made now."""
        with self._lock:
            state = {**vars(self), "_exp": self._exp if self.stays_closed else self.exp, "_closed": None}
        state["_rows"] = state["_log"] = state["_times"] = None  # of this process
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    def __repr__(self) -> str:
        return f"<Connection to {self._exp or self._paths or self._making}>"


def log_metrics(log: Logger, metrics: Any, step: Any) -> None:
    """Log the metrics that a framework hands over; in a mapping of plain numbers it takes no second look at them."""
    if type(metrics) is dict:
        log(metrics, step=step)  # a seventh of the time of `log.metrics`
    else:
        log.metrics(metrics, step=step)


def warn(text: str) -> None:
    """Show a warning; where warnings are errors, print it, so that it does not end a framework's run."""
    try:
        warnings.warn(text, MlvWarning, stacklevel=2)
    except Warning:
        with suppress(Exception):
            print(f"{MlvWarning.__name__}: {text}", file=sys.stderr)
