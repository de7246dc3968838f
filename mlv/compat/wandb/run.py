"""`wandb.Run`: a run that logs into an experiment, row by row."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, redirect_stderr
from datetime import timedelta
from enum import Enum
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from mlv import Exp
from mlv.compat.wandb import limits
from mlv.compat.wandb.config import Config
from mlv.compat.wandb.errors import Error, UsageError
from mlv.compat.wandb.metrics import Definitions, Metric, merge
from mlv.compat.wandb.rows import store_media, taken_apart
from mlv.compat.wandb.run_files import Files
from mlv.compat.wandb.settings import Settings
from mlv.compat.wandb.summary import Summary
from mlv.compat.wandb.terminal import termwarn
from mlv.compat.wandb.values import are_equal
from mlv.compat.wandb.watching import CHOICES, Watch

if TYPE_CHECKING:
    from mlv.compat.wandb.sweeps.hyperband import Stopper

_NUMBERS = frozenset({int, float, bool})
"""Types of values that a row of plain numbers is made of."""
_LAST_STEP = (1 << 63) - 1
_STORED = (int, float, str)
"""Types of values that `exp.summarize` takes."""


class AlertLevel(Enum):
    """How urgent an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class Run(Files):
    """A run of wandb: what it logs stands in the log of an experiment when the call returns.

    Each call of `log` leaves a line of its own, under the step of its row, also where the row stays open: a killed process
    loses no part of a row. A step below that of the open row is kept, where wandb drops it.
    """

    def __init__(
        self, exp: Exp | None, config: Config, settings: Settings, run_id: str, project: str, on_finish: Callable[[Run], None]
    ) -> None:
        """Begin a run. Not called by users: `init` gives runs. Without an experiment it stores nothing."""
        self._exp, self._id, self._project, self._settings = exp, run_id, project, settings
        self._put = exp.log if exp is not None else None
        self._is_plain = exp is not None
        """Whether rows of plain numbers go into the log as they are: nothing is defined for any metric."""
        self._config = config
        self._step = self._starting_step = 0
        self._resumed = self._is_finished = self._is_complete = False
        self._name: str = settings.run_name or (exp.name if exp is not None else f"dummy-{run_id}")
        self._tags: tuple[str, ...] = settings.run_tags or ()
        self._notes: str | None = settings.run_notes
        self._start_time = time.time()
        self._latest: dict[str, Any] = {}
        self._summarized: dict[str, Any] = {}
        """Values that the script put into the summary itself."""
        self._definitions = Definitions(self._logged_rows)
        self._summary = Summary(self._latest, self._summarize)
        self._dir: str | None = None
        self._saved: dict[str, tuple[str, float]] = {}
        """Paths of files that are attached again at the end, by their names, with the times of their last changes."""
        self._watches: list[Watch] = []
        self._alerts: dict[str, float] = {}
        self._warned: set[str] = set()
        self._lock = threading.RLock()
        self._stopper: Stopper | None = None
        self._pid = os.getpid()
        self._on_finish = on_finish
        vars(config)["_changed"] = self._store_config

    # Logging.

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log a row, or a part of one.

        Args:
            data: Numbers, texts, lists, media and mappings of these, by name.
            step: The number of the row; the row stays open until a greater one comes, or a call without a step.
            commit: Whether the row is complete; without a step it is, unless this says otherwise.

        Raises:
            UsageError: The run is finished.
            TypeError: The data is no mapping, a name no text, or the step no integer.
            EarlyTermination: The sweep ends the run here, which is no failure.
        """
        if step is None and commit is None and self._is_plain and type(data) is dict:
            # The fast path, for rows of plain numbers.
            put: Any = self._put
            for key, value in data.items():
                if type(key) is not str or type(value) not in _NUMBERS:
                    break
            else:
                if data:
                    put(data, step=self._step)
                self._step += 1
                self._latest.update(data)
                return
        self._check_unfinished("log")
        if not isinstance(data, Mapping):
            raise TypeError("wandb.log must be passed a dictionary")
        if isinstance(step, bool):
            raise TypeError(f"step={step!r} is a truth value: give an integer")
        number = None if step is None else index(step)
        with self._lock:
            row = self._step if number is None else number
            metrics = self._log_into(row, data)
            if self._exp is not None and row <= _LAST_STEP:  # the log rejects a greater one, and must take the next row
                self._step = max(self._step, row)
                if commit or (number is None and commit is None):
                    self._step += row >= self._step
        if self._stopper is not None:
            reason = self._stopper.reason_to_stop(metrics)
            if reason is not None:
                self._record({"stopped": reason})
                self._finish(lambda exp: exp.close("interrupted"))
                self._stopper.stop(reason)

    def _log_into(self, step: int, data: Mapping[str, Any]) -> dict[str, Any]:
        row = taken_apart(data)
        if self._definitions:
            self._definitions.complete(self._put, row.metrics)
        if self._put is not None and (row.metrics or row.unreadable):
            self._put({**row.metrics, **row.unreadable} if row.unreadable else row.metrics, step=step)
        if self._definitions:
            self._definitions.summarized(row.metrics, self._latest)
        else:
            merge(self._latest, row.metrics)
        if self._exp is not None:
            for name, item in row.media:
                self._guarded(name, store_media, self._exp, name, item, step)
        return row.metrics

    def _logged_rows(self) -> Iterator[Mapping[str, Any]]:
        if self._exp is not None:
            yield from (event.data for event in self._exp.events("metrics"))

    def _log_open(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Log what a function makes into the row that is open, and leave it open."""
        if not self._is_finished:
            self._guarded("watch", lambda: self._log_into(self._step, make()))

    def define_metric(
        self,
        name: str,
        step_metric: str | Metric | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        overwrite: bool | None = None,
    ) -> Metric:
        """Describe metrics: `Logger.describe(name, x=step_metric, summary=...)` for each name.

        Args:
            name: Of a metric, or the beginning of names and `*`.
            step_metric: The metric that is its x axis.
            step_sync: Whether a row without a value of the x axis takes the last one; where there is an axis, it does.
            hidden: Does nothing here.
            summary: `min max mean last first none`, or several with commas: they are in `run.summary`, and the first of them
                that mlv has stands for the metric in lists.
            overwrite: Does nothing here: a later definition wins.

        Raises:
            UsageError: The run is finished.
            Error: An argument cannot be used.
        """
        self._check_unfinished("define_metric")
        self._is_plain = False
        options = {"step_sync": step_sync, "hidden": hidden, "overwrite": overwrite}
        return self._definitions.define(self._put, name, step_metric, summary, options, self._latest)

    def alert(self, title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
        """Log a message of this level; nothing is sent.

        Raises:
            ValueError: The level is none of `INFO WARN ERROR`.
            TypeError: The duration is none.
        """
        word = level.value if isinstance(level, AlertLevel) else level or "INFO"
        if word not in {member.value for member in AlertLevel}:
            raise ValueError("level must be one of 'INFO', 'WARN', or 'ERROR'")
        wait = wait_duration.total_seconds() if isinstance(wait_duration, timedelta) else wait_duration
        if wait is not None and not isinstance(wait, (int, float)):
            raise TypeError("wait_duration must be an int, float, or datetime.timedelta")
        now = time.monotonic()
        if self._put is None or now < self._alerts.get(title, -math.inf):
            return
        self._alerts[title] = now + (60 if wait is None else wait)
        say = {"INFO": self._put.info, "WARN": self._put.warning, "ERROR": self._put.error}[word]
        say(f"{title}: {text}" if text else title, alert=title)

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: str | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Log histograms of the gradients and parameters of torch modules, `gradients/<name>` and `parameters/<name>`.

        Args:
            models: A module, or several.
            criterion: Does nothing here.
            log: `gradients`, `parameters`, `all`, or None.
            log_freq: Passes between two histograms.
            idx: The number of the first module, which stands in front of names where it is above 0.
            log_graph: Does nothing here: a graph needs an example, `run.exp.log.graph(name, module, example)`.

        Raises:
            ValueError: `log` is none of these, or one of the models is watched already.
            TypeError: One of the models is no module.
        """
        if log not in CHOICES:
            raise ValueError("log must be one of 'gradients', 'parameters', 'all', or None")
        for number, module in enumerate(models if isinstance(models, (tuple, list)) else (models,), idx or 0):
            if not hasattr(module, "named_parameters"):
                raise TypeError(f"Expected a pytorch model (torch.nn.Module). Received {type(module)}")
            if any(watch.module is module for watch in self._watches):
                raise ValueError("You can only call `wandb.watch` once per model. Pass a new instance of the model")
            prefix = f"graph_{number}" if number else ""
            self._watches.append(Watch(module, prefix, log, log_freq, self._log_open))

    def unwatch(self, models: Any = None) -> None:
        """Take the hooks of `watch` away, from some modules or from all."""
        chosen = models if isinstance(models, (tuple, list)) else (models,)
        for watch in [*self._watches]:
            if models is None or any(watch.module is module for module in chosen):
                watch.remove()
                self._watches.remove(watch)

    # The end.

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run: as `ok`, or as `failed` with an exit code above 0; what lies in `dir` is attached first."""
        if not self._is_finished:
            self._finish(lambda exp: exp.close("failed" if exit_code else "ok"))

    def join(self, exit_code: int | None = None) -> None:
        """End the run; the former name of `finish`."""
        self.finish(exit_code)

    def _finish(self, close: Callable[[Exp], None]) -> None:
        self.complete()
        self._is_finished = True
        self._put, self._is_plain = None, False
        try:
            if self._exp is not None:
                with redirect_stderr(None) if self._settings.silent else nullcontext():
                    close(self._exp)
        finally:
            self._on_finish(self)

    def complete(self) -> None:
        """Attach the files that the end of the run is for. Not called by users."""
        self.unwatch()
        if self._exp is None or not self.is_of_this_process or self._is_complete:
            return
        self._is_complete = True
        again = [
            key for key, value in self._summarized.items() if key in self._latest and not are_equal(self._latest[key], value)
        ]
        if again:  # a metric was logged behind a value of the same name, and wandb shows what came last
            self._summarize({key: self._latest[key] for key in again})
        self._attach_at_end()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._is_finished:
            self._finish(lambda exp: exp.__exit__(kind, error, trace))

    def mark_preempting(self) -> None:
        """Record that the machine will be taken away: a message."""
        if self._put is not None:
            self._put.warning("the run is being preempted")

    def status(self) -> Any:
        """Return that nothing waits: what was logged is written."""
        return type("RunStatus", (), {"sync_items_total": 0, "sync_items_pending": 0, "sync_time": None})()

    def write_logs(self, text: str) -> None:
        """Log a message."""
        if self._put is not None:
            self._put.info(text.rstrip("\n"))

    def _label(self, *_: Any, **__: Any) -> None:
        """Do nothing: libraries tell wandb their names by this."""

    # Internals.

    @property
    def is_of_this_process(self) -> bool:
        """Whether `init` made it in this process, and not in the one that this was forked from. Not used by users."""
        return self._pid == os.getpid()

    def go_on(self, step: int, config: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Go on with the earlier run of the experiment. Not called by users."""
        self._resumed, self._step, self._starting_step = True, step, step
        if self._exp is not None:
            new, self._tags = self._tags, self._exp.tags
            self.tags = list(dict.fromkeys((*self._tags, *new)))
            if self._notes is not None and self._notes not in self._exp.notes:
                self.notes = self._notes
        vars(self._config)["_items"].update(config)
        self._latest.update(summary)

    def stop_by(self, stopper: Stopper | None) -> None:
        """Have each row be looked at, and the run ended when its sweep says so. Not called by users."""
        self._stopper = stopper
        self._is_plain = self._is_plain and stopper is None

    def _check_unfinished(self, call: str) -> None:
        if self._is_finished:
            raise UsageError(
                f"Run ({self._id}) is finished. The call to `{call}` will be ignored. "
                "Please make sure that you are using an active run."
            )

    def _record(self, facts: Mapping[str, Any]) -> None:
        """Log facts about the run: an event `wandb/run`."""
        if self._put is not None:
            self._put("wandb/run", {key: value for key, value in facts.items() if value not in (None, "", ())})

    def _store_config(self, new: Mapping[str, Any]) -> None:
        self._check_unfinished("config.update")
        if self._exp is not None:
            self._exp.add_params(new, lenient=True)

    def _summarize(self, new: dict[str, Any]) -> None:
        self._check_unfinished("summary.update")
        self._summarized.update(new)
        if self._exp is None:
            return
        values: dict[str, Any] = {}
        for key, value in new.items():
            try:
                good, others = _split({key: value})
            except Exception:  # of a mapping that holds itself, or has methods of its own
                good, others = {}, {key: value}
            values |= good
            if others:  # a line for each: the log rejects what it cannot hold, and its neighbours stay
                self._exp.log("wandb/summary", others)
        if values:
            self._exp.summarize(values)

    def _guarded(self, subject: str, do: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a call; what goes wrong ends no training, and is warned about once for each subject."""
        try:
            return do(*arguments)
        except Exception as error:
            if subject not in self._warned:
                self._warned.add(subject)
                text = f"{subject!r} is not stored, and the run goes on: {type(error).__name__}: {error}"
                termwarn(text)
                if self._put is not None:
                    self._put.warning(text)
            return None

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
            raise Error(f"Attribute {name} is not supported on Run object.")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> NoReturn:
        limits.missing("Run", name)

    def __repr__(self) -> str:
        return f"<wandb run {self.path} in {self._exp.path if self._exp is not None else 'no folder'}>"


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values that `exp.summarize` takes, and the others, each nested as before."""
    good: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            good_inner, others_inner = _split(value)
            good |= {key: good_inner} if good_inner else {}
            others |= {key: others_inner} if others_inner or not value else {}
        else:
            (good if isinstance(value, _STORED) else others)[key] = value
    return good, others
