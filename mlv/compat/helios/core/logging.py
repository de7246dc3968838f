"""`helios.core.logging` of helios up to 1.4: a root logger and a TensorBoard writer that a whole process shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlv.compat.helios.core.registry import close_all, flush_all
from mlv.compat.helios.core.root import RootLoggerBase
from mlv.compat.helios.core.runs import HeliosRun, begin, get_default_log_name, global_rank, go_on
from mlv.compat.helios.core.tensorboard import TensorboardWriterBase


class RootLogger(RootLoggerBase):
    """Logger used to log while training to a file."""

    def setup(self, log_file: Path | None = None) -> None:
        """Log into a file as well: one that exists goes on; None is no file."""
        if log_file is not None:
            self.attach(go_on(Path(log_file), None, self._rank))


class TensorboardWriter(TensorboardWriterBase):
    """Writes event files for TensorBoard into a folder."""

    def setup(self, run_path: Path) -> None:
        """Write into a folder: one that exists goes on. Only on rank 0."""
        if self._rank == 0:
            self.attach(go_on(None, Path(run_path)))


_active: dict[str, Any] = {}
_ACTIVE_LOGGERS = _active
"""The table, by helios' name for it."""


def create_default_loggers(enable_tensorboard: bool = True, capture_warnings: bool = True) -> None:
    """Create the root logger and, unless told otherwise, the TensorBoard writer; those that are there stay.

    In distributed training, call it after the processes were created.
    """
    if "root" not in _active:
        _active["root"] = RootLogger(capture_warnings)
    if enable_tensorboard and "tensorboard" not in _active:
        _active["tensorboard"] = TensorboardWriter()


def setup_default_loggers(run_name: str, log_root: Path | None = None, runs_root: Path | None = None) -> None:
    """Begin a new run: `<log_root>/<name>.log` and `<runs_root>/<name>/`; None is no output of that kind.

    The experiment is hidden in the run's folder, or beside the file where there is none: `.mlv-experiments/<name>`. A name
    that is taken gets a number, and ranks above 0 have files of their own.

    Raises:
        RuntimeError: `create_default_loggers` was not called.
    """
    _check_root()
    rank = global_rank()
    runs = Path(runs_root) if runs_root is not None and rank == 0 and "tensorboard" in _active else None
    logs = Path(log_root) if log_root is not None else None
    if runs or logs:
        name = get_default_log_name(run_name)
        _attach(begin(name, lambda free: logs and logs / f"{free}.log", lambda free: runs and runs / free, rank))


def restore_default_loggers(log_path: Path | None = None, run_path: Path | None = None) -> None:
    """Go on with the file and the folder of an earlier run, whoever wrote them.

    Raises:
        RuntimeError: `create_default_loggers` was not called.
    """
    _check_root()
    rank = global_rank()
    wants_run = run_path is not None and rank == 0 and "tensorboard" in _active
    _attach(go_on(Path(log_path) if log_path is not None else None, Path(run_path) if run_path and wants_run else None, rank))


def flush_default_loggers() -> None:
    """Return when the files hold everything that was logged."""
    flush_all(_active)


def close_default_loggers() -> None:
    """Close the loggers, and forget them."""
    close_all(_active)


def get_root_logger() -> RootLogger:
    """Return the root logger.

    Raises:
        KeyError: `create_default_loggers` was not called.
    """
    if "root" not in _active:
        raise KeyError("error: root logger has not been created. Did you forget to call create_default_loggers?")
    root: RootLogger = _active["root"]
    return root


def is_root_logger_active() -> bool:
    """Return whether the root logger has been created."""
    return "root" in _active


def get_tensorboard_writer() -> TensorboardWriter | None:
    """Return the TensorBoard writer, or None."""
    return _active.get("tensorboard")


def _attach(run: HeliosRun | None) -> None:
    for logger in _active.values():
        path = run and (run.run_path if isinstance(logger, TensorboardWriterBase) else run.log_file)
        if type(logger).setup in (RootLogger.setup, TensorboardWriter.setup):
            logger.attach(run)
        elif path is not None:  # a class of the user's, which may do more than this one
            logger.setup(path)


def _check_root() -> None:
    if "root" not in _active:
        raise RuntimeError("error: root logger has not been created. Did you forget to call create_default_loggers?")
