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

__version__ = "1.0.0"
"""Version of DLLogger's interface, as DLLogger 1.1 names it."""


class NotInitializedObject:
    """The stand-in for the Logger before `init`: each use of it raises.

    Raises:
        DLLoggerNotInitialized: At any use.
    """

    def __getattribute__(self, name: str) -> _Any:
        raise DLLoggerNotInitialized("DLLogger not initialized. Initialize DLLogger with init(backends) function")


GLOBAL_LOGGER: _Any = NotInitializedObject()
"""The Logger that `init` made, and that the functions of this module serve; scripts may look at it, and replace it."""


def init(backends: _Sequence[_Any]) -> None:
    """Make the Logger that the functions of this module serve.

    Raises:
        DLLLoggerAlreadyInitialized: It is there.
    """
    global GLOBAL_LOGGER
    if not issubclass(type(GLOBAL_LOGGER), NotInitializedObject):
        raise DLLLoggerAlreadyInitialized("DLLogger is initialized already: init(backends) is called once for each process")
    GLOBAL_LOGGER = Logger(backends)


def log(step: _Any, data: _Any, verbosity: int = Verbosity.DEFAULT) -> None:
    """Log a record; see `Logger.log`.

    Raises:
        DLLoggerNotInitialized: Before `init`.
    """
    GLOBAL_LOGGER.log(step, data, verbosity=verbosity)


def metadata(metric: _Any, metadata: _Any) -> None:
    """Give the metadata of a metric; see `Logger.metadata`.

    Raises:
        DLLoggerNotInitialized: Before `init`.
    """
    GLOBAL_LOGGER.metadata(metric, metadata)


def flush() -> None:
    """Return when everything is in the files.

    Raises:
        DLLoggerNotInitialized: Before `init`.
    """
    GLOBAL_LOGGER.flush()


__all__ = [
    "GLOBAL_LOGGER",
    "Backend",
    "DLLLoggerAlreadyInitialized",
    "DLLoggerNotInitialized",
    "JSONStreamBackend",
    "JsonBackend",
    "Logger",
    "NotInitializedObject",
    "StdOutBackend",
    "Verbosity",
    "default_metric_format",
    "default_step_format",
    "flush",
    "init",
    "log",
    "metadata",
]
