"""DLLogger's interface: `import mlv.compat.dllogger as DLLogger` is all that a script changes."""

from collections.abc import Sequence as _Sequence
from typing import Any as _Any

from mlv.compat.dllogger.logger import (
    Backend,
    DLLLoggerAlreadyInitialized,
    DLLoggerNotInitialized,
    JSONStreamBackend,
    Logger,
    StdOutBackend,
    Verbosity,
    default_metric_format,
    default_step_format,
)

JsonBackend = JSONStreamBackend
"""As DLLogger's documentation calls it."""

_loggers: list[Logger] = []
"""The Logger that `init` made, or none."""


def init(backends: _Sequence[_Any]) -> None:
    """Make the Logger that the functions of this module serve.

    Raises:
        DLLLoggerAlreadyInitialized: It is there.
    """
    if _loggers:
        raise DLLLoggerAlreadyInitialized("DLLogger is initialized already: init(backends) is called once for each process")
    _loggers.append(Logger(backends))


def log(step: _Any, data: _Any, verbosity: int = Verbosity.DEFAULT) -> None:
    """Log a record; see `Logger.log`.

    Raises:
        DLLoggerNotInitialized: Before `init`.
    """
    _initialized().log(step, data, verbosity=verbosity)


def metadata(metric: _Any, metadata: _Any) -> None:
    """Say what a metric is; see `Logger.metadata`.

    Raises:
        DLLoggerNotInitialized: Before `init`.
    """
    _initialized().metadata(metric, metadata)


def flush() -> None:
    """Return when everything is in the files.

    Raises:
        DLLoggerNotInitialized: Before `init`.
    """
    _initialized().flush()


def _initialized() -> Logger:
    if not _loggers:
        raise DLLoggerNotInitialized("DLLogger not initialized. Initialize DLLogger with init(backends) function")
    return _loggers[0]


__all__ = [
    "Backend",
    "DLLLoggerAlreadyInitialized",
    "DLLoggerNotInitialized",
    "JSONStreamBackend",
    "JsonBackend",
    "Logger",
    "StdOutBackend",
    "Verbosity",
    "default_metric_format",
    "default_step_format",
    "flush",
    "init",
    "log",
    "metadata",
]
