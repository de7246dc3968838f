"""The root logger of helios: messages on the terminal, in a text file, and as events."""

from __future__ import annotations

import logging
import threading
import warnings
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlv import Logger
from mlv.compat.helios.core.runs import HeliosRun, global_rank

_FORMAT = "[%(asctime)s] [%(levelname)s]: %(message)s"
_LEVELS = {logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "info"}
_NAMES = ("DEBUG", "INFO", "WARNING", "ERROR")
_MOST_BEFORE_SETUP = 10_000


class StderrHandler(logging.StreamHandler):  # type: ignore[type-arg] # has arguments since Python 3.11
    """Shows warnings on stderr; on ranks above 0 errors only."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(_FORMAT))
        self.setLevel(logging.ERROR if rank else logging.WARNING)


class MessageHandler(logging.Handler):
    """Keeps records as events of type `message`; those that come before there is an experiment wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._log: Logger | None = None
        self._waiting: deque[logging.LogRecord] = deque(maxlen=_MOST_BEFORE_SETUP)
        self._thread = threading.local()

    def begin(self, log: Logger) -> None:
        """Give all records to a Logger."""
        self.acquire()
        try:
            self._log = log
            while self._waiting:
                record = self._waiting.popleft()
                self._keep(log, record, said=logging.Formatter().formatTime(record))
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; records that mlv itself logs meanwhile are left to the other handlers."""
        if getattr(self._thread, "is_busy", False):
            return
        self._thread.is_busy = True
        try:
            if self._log is None:
                self._waiting.append(record)
            else:
                self._keep(self._log, record)
        except Exception:
            with suppress(Exception):  # a stderr that raises, for one
                self.handleError(record)
        finally:
            self._thread.is_busy = False

    def _keep(self, log: Logger, record: logging.LogRecord, **extra: Any) -> None:
        if record.levelname not in _NAMES:
            extra["level_name"] = record.levelname
        if record.name != "helios":
            extra["logger"] = record.name
        if record.stack_info:
            extra["stack"] = record.stack_info
        level = next((name for least, name in _LEVELS.items() if record.levelno >= least), "debug")
        getattr(log, level)(record.getMessage().rstrip("\n"), exc_info=record.exc_info, **extra)


class RootLoggerBase:
    """Logs messages while training: warnings and errors on stderr, all in the text file and as events.

    It wraps `logging.getLogger("helios")`, and keeps records logged there as well. Messages before `setup` are in the file.
    """

    def __init__(self, capture_warnings: bool = True) -> None:
        """Create the logger; with `capture_warnings` it takes the warnings of `warnings.warn` as well."""
        self._logger = logging.getLogger("helios")
        self._rank = global_rank()
        self._run: HeliosRun | None = None
        self._messages, self._console = MessageHandler(), StderrHandler(self._rank)
        self._captured = _capture() if capture_warnings else False
        self._sources = [self._logger, *([logging.getLogger("py.warnings")] if capture_warnings else [])]
        for source in self._sources:
            _drop(source, StderrHandler)  # of a logger that was never closed: each line is shown once
            source.addHandler(self._console)
            source.addHandler(self._messages)
        self._logger.propagate = False
        self._logger.setLevel(logging.WARNING if self._rank else logging.INFO)

    @property
    def logger(self) -> logging.Logger:
        """The logger of the standard library that is wrapped."""
        return self._logger

    @property
    def log_file(self) -> Path | None:
        """The path of the text file; None before `setup`, or where there is none."""
        return self._run.log_file if self._run is not None else None

    def info(self, msg: str, **kwargs: Any) -> None:
        """Log with the level INFO, on rank 0 only; `kwargs` are those of `logging`."""
        if self._rank == 0:
            self._logger.info(msg, **kwargs)

    def warning(self, msg: str, **kwargs: Any) -> None:
        """Log with the level WARNING."""
        self._logger.warning(msg, **kwargs)

    def error(self, msg: str, **kwargs: Any) -> None:
        """Log with the level ERROR."""
        self._logger.error(msg, **kwargs)

    def exception(self, msg: str, **kwargs: Any) -> None:
        """Log with the level ERROR and the exception that is being handled."""
        self._logger.exception(msg, **kwargs)

    def flush(self) -> None:
        """Return when the file holds all messages."""
        for handler in self._logger.handlers:
            handler.flush()
        if self._run is not None:
            self._run.exp.flush(outputs=True)

    def close(self) -> None:
        """Undo everything that creating it did, and end the run with its last logger."""
        for source in self._sources:
            source.removeHandler(self._console)
            source.removeHandler(self._messages)
        if self._captured:
            logging.captureWarnings(False)
            self._captured = False
        if self._run is not None:
            run, self._run = self._run, None
            run.release()

    def attach(self, run: HeliosRun | None) -> None:
        """Keep all messages, also the earlier ones, in a run."""
        if run is not None and run.log_file is not None:
            if self._run is not None:
                self._run.release()
            self._run = run.hold()
            self._messages.begin(run.exp.log)


def _capture() -> bool:
    """Bring warnings to `logging`, and return whether they did not go there before."""
    before = warnings.showwarning
    logging.captureWarnings(True)
    return warnings.showwarning is not before


def _drop(logger: logging.Logger, kind: type[logging.Handler]) -> None:
    for handler in [handler for handler in logger.handlers if isinstance(handler, kind)]:
        logger.removeHandler(handler)
