"""DLLogger's classes: backends, the form of a record on the terminal, and the Logger that serves them all."""

from __future__ import annotations

import atexit
import math
import sys
import warnings
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from os import PathLike
from time import monotonic, time
from typing import Any, Protocol

from mlv import MlvWarning
from mlv.compat.dllogger.keeping import ExperimentRoute, RecordExperiment, experiment_beside

_CLOCKS_AGREE_S = 0.01
"""Seconds by which the clock may be set before the elapsed times in the file count from a corrected start."""


class DLLoggerNotInitialized(Exception):
    """Something was logged before `init`."""


class DLLLoggerAlreadyInitialized(Exception):
    """`init` was called a second time."""


class Verbosity:
    """How closely one must look to see a record; a backend shows those that are not above its own."""

    OFF = -1
    DEFAULT = 0
    VERBOSE = 1


class Backend(ABC):
    """Takes records that are not above its verbosity, and the metadata of metrics."""

    def __init__(self, verbosity: int) -> None:
        self._verbosity = verbosity

    @property
    def verbosity(self) -> int:
        """Records above it are left out."""
        return self._verbosity

    @abstractmethod
    def log(self, timestamp: datetime, elapsedtime: float, step: Any, data: Any) -> None:
        """Take a record; `timestamp` is local and naive, `elapsedtime` in seconds since the Logger was made."""

    @abstractmethod
    def metadata(self, timestamp: datetime, elapsedtime: float, metric: Any, metadata: Any) -> None:
        """Take the metadata of a metric, such as its `unit` and `format`."""

    def flush(self) -> None:  # noqa: B027 - a backend without buffers has nothing to do
        """Write all records in memory."""


def default_step_format(step: Any) -> str:
    """Return the step as text."""
    return str(step)


def default_metric_format(metric: Any, metadata: Mapping[str, Any], value: Any) -> str:
    """Return `loss : 0.123 nat`: a value in its format, where it has one that fits, and its unit."""
    text = str(value)
    if value is not None:
        with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):  # such as ":.3f" for a text
            text = ("{" + metadata.get("format", "") + "}").format(value)
    return f"{metric} : {text} {metadata.get('unit', '')}"


def default_prefix_format(timestamp: datetime) -> str:
    """Return a prefix such as `DLL 2026-11-21 03:20:51.831650 - `."""
    return f"DLL {timestamp} - "


class StdOutBackend(Backend):
    """Prints each record on stdout, in the caller's thread."""

    def __init__(
        self,
        verbosity: int,
        step_format: Callable[[Any], str] = default_step_format,
        metric_format: Callable[[Any, Mapping[str, Any], Any], str] = default_metric_format,
        prefix_format: Callable[[datetime], str] = default_prefix_format,
    ) -> None:
        super().__init__(verbosity=verbosity)
        self._metadata: dict[Any, dict[str, Any]] = defaultdict(dict)
        self.step_format, self.metric_format, self.prefix_format = step_format, metric_format, prefix_format

    def metadata(self, timestamp: datetime, elapsedtime: float, metric: Any, metadata: Any) -> None:
        """Remember it; nothing is printed."""
        self._metadata[metric].update(metadata)

    def log(self, timestamp: datetime, elapsedtime: float, step: Any, data: Any) -> None:
        """Print a line, in one piece."""
        metrics = " ".join(self.metric_format(metric, self._metadata[metric], value) for metric, value in data.items())
        print(f"{self.prefix_format(timestamp)}{self.step_format(step)} {metrics}\n", end="")


class JSONStreamBackend(Backend):
    """Keeps each record as a line `DLLL {...}` of a file, and as an event of an experiment.

    The experiment is `.mlv-experiments/<name of the file>` beside it.

    Without `append` the file begins anew; the experiment keeps its earlier records. Records above the verbosity are in the
    experiment only.
    """

    def __init__(self, verbosity: int, filename: str | PathLike[str], append: bool = False) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be written.
        """
        super().__init__(verbosity=verbosity)
        self._filename = filename
        self._experiment = experiment_beside(filename, append)
        self._own: ExperimentRoute | None = None

    def metadata(self, timestamp: datetime, elapsedtime: float, metric: Any, metadata: Any) -> None:
        """Keep the metadata of a metric, with these times."""
        self._chosen_route().metadata(metric, metadata, timestamp=timestamp, elapsedtime=elapsedtime)

    def log(self, timestamp: datetime, elapsedtime: float, step: Any, data: Any) -> None:
        """Keep a record, with these times."""
        self._chosen_route().record(step, data, 0, timestamp=timestamp, elapsedtime=elapsedtime)

    def flush(self) -> None:
        """Return when the file holds all records."""
        self._experiment.exp.flush(outputs=True)

    def route(self, started_s: float) -> ExperimentRoute | None:
        """Return the route of a Logger's records with all their fields; None where a subclass changes the records first."""
        kind = type(self)
        is_plain = kind.log is JSONStreamBackend.log and kind.metadata is JSONStreamBackend.metadata
        return self._experiment.route(started_s, self.verbosity) if is_plain else None

    def _chosen_route(self) -> ExperimentRoute:
        """Return the route of records that passed the verbosity already."""
        self._own = self._own or self._experiment.route(time(), math.inf)
        return self._own


class Logger:
    """Gives each record to all backends, and keeps it as an event of mlv.

    A backend that fails is warned about once, and costs neither the others nor the training anything. Without a
    `JSONStreamBackend` the experiment is made where `Exp()` makes it; without any backend there is none.
    """

    def __init__(self, backends: Sequence[Any]) -> None:
        self.backends = backends
        self.starttime = datetime.now()
        self._began = monotonic()
        self._offset = time() - self._began
        self._routes: dict[int, tuple[Any, Route]] = {}
        self._default: ExperimentRoute | None = None
        self._is_kept = False
        self._failed: set[int] = set()
        self._flushed_at_exit: list[Any] = []
        for backend in backends:
            self._route(backend)

    def log(self, step: Any, data: Any, verbosity: int = Verbosity.VERBOSE) -> None:
        """Log a record: `data` maps names of metrics to values, `step` is a number, a text or a tuple of numbers."""
        self._check_clock()
        for backend in self.backends:
            try:
                (self._routes.get(id(backend)) or self._route(backend))[1].record(step, data, verbosity)
            except Exception as error:
                self._tell(backend, error)
        if not self._is_kept and self.backends:
            self._default_route().record(step, data, verbosity)

    def metadata(self, metric: Any, metadata: Any) -> None:
        """Give the metadata of a metric to all backends."""
        self._check_clock()
        for backend in self.backends:
            try:
                (self._routes.get(id(backend)) or self._route(backend))[1].metadata(metric, metadata)
            except Exception as error:
                self._tell(backend, error)
        if not self._is_kept and self.backends:
            self._default_route().metadata(metric, metadata)

    def flush(self) -> None:
        """Return when files hold all records, and all backends have written theirs."""
        _flush_all(self.backends, self._tell)
        if self._default is not None:
            self._default.flush()

    def elapsed_s(self) -> float:
        """Return seconds since the Logger was made, even if the clock was set meanwhile."""
        return monotonic() - self._began

    def _route(self, backend: Any) -> tuple[Any, Route]:
        """Return the route to a backend; the backend is kept with it, as its `id` is the key."""
        own_route = backend.route(self._began + self._offset) if isinstance(backend, JSONStreamBackend) else None
        self._is_kept = self._is_kept or isinstance(backend, JSONStreamBackend)
        entry = self._routes[id(backend)] = (backend, own_route or BackendRoute(backend, self.elapsed_s))
        # The experiment flushes by itself, and backends of the original print at once.
        if getattr(type(backend), "flush", None) not in (None, Backend.flush, JSONStreamBackend.flush):
            if not self._flushed_at_exit:
                atexit.register(_flush_all, self._flushed_at_exit)
            self._flushed_at_exit.append(backend)
        return entry

    def _default_route(self) -> ExperimentRoute:
        if self._default is None:
            self._default = RecordExperiment(None).route(self._began + self._offset, math.inf)
        return self._default

    def _check_clock(self) -> None:
        offset = time() - monotonic()
        if abs(offset - self._offset) > _CLOCKS_AGREE_S:
            self._offset = offset
            for route in (*(route for _, route in self._routes.values()), self._default):
                if isinstance(route, ExperimentRoute):
                    route.start(self._began + offset)

    def _tell(self, backend: Any, error: Exception) -> None:
        """Warn of a backend that failed, once."""
        if id(backend) not in self._failed:
            self._failed.add(id(backend))
            _tell(backend, error)


class Route(Protocol):
    """Takes the records of a Logger for one backend."""

    def record(self, step: Any, data: Any, verbosity: int) -> None:
        """Take a record."""

    def metadata(self, metric: Any, metadata: Any) -> None:
        """Take the metadata of a metric."""


class BackendRoute:
    """The route to a backend that takes records at once, in the caller's thread.

    Arguments go by position, as DLLogger gives them: the names of a user's parameters are the user's own.
    """

    def __init__(self, backend: Any, elapsed_s: Callable[[], float]) -> None:
        self._backend, self._elapsed_s = backend, elapsed_s

    def record(self, step: Any, data: Any, verbosity: int) -> None:
        """Give the backend a record that is not above its verbosity."""
        if self._backend.verbosity >= verbosity:
            self._backend.log(datetime.now(), self._elapsed_s(), step, data)

    def metadata(self, metric: Any, metadata: Any) -> None:
        """Give the backend the metadata of a metric."""
        self._backend.metadata(datetime.now(), self._elapsed_s(), metric, metadata)


def _tell(backend: Any, error: Exception) -> None:
    text = f"the backend {type(backend).__name__} failed: {type(error).__name__}: {error}. The other backends go on"
    try:
        warnings.warn(text, MlvWarning, stacklevel=4)
    except Exception:  # warnings are errors here
        with suppress(Exception):
            print(text, file=sys.stderr)


def _flush_all(backends: Iterable[Any], tell: Callable[[Any, Exception], None] = _tell) -> None:
    for backend in backends:
        try:
            if hasattr(backend, "flush"):
                backend.flush()
        except Exception as error:
            tell(backend, error)
