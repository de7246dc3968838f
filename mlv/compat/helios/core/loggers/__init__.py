"""`helios.core.loggers` of helios 2: loggers that keep their state, of a table that a whole process shares."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, cast

from mlv.compat.helios.core.loggers.base import Logger
from mlv.compat.helios.core.loggers.root import RootLogger
from mlv.compat.helios.core.loggers.storage import run_in
from mlv.compat.helios.core.loggers.tensorboard import TensorboardWriter
from mlv.compat.helios.core.loggers.wandb import WandbArgs, WandbWriter
from mlv.compat.helios.core.registry import close_all, flush_all
from mlv.compat.helios.core.runs import get_default_log_name, global_rank


class LoggerType(enum.Enum):
    """The types of loggers."""

    ROOT = "root"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"


_active: dict[LoggerType, Logger] = {}
_ACTIVE_LOGGERS = _active
"""The table, by helios' name for it: a logger that users put into it is served as well."""


def create_loggers(enable_tensorboard: bool = True, capture_warnings: bool = True, wandb_args: WandbArgs | None = None) -> None:
    """Create the loggers that are asked for; those that are there stay.

    In distributed training, call it after the processes were created.
    """
    if LoggerType.ROOT not in _active:
        _active[LoggerType.ROOT] = RootLogger(capture_warnings=capture_warnings)
    if enable_tensorboard and LoggerType.TENSORBOARD not in _active:
        _active[LoggerType.TENSORBOARD] = TensorboardWriter()
    if wandb_args is not None and LoggerType.WANDB not in _active:
        _active[LoggerType.WANDB] = WandbWriter(**cast("dict[str, Any]", wandb_args))


def setup_loggers(run_name: str, log_root: Path | None = None) -> None:
    """Begin a new run: `<log_root>/<name>.log`, `<log_root>/tensorboard/<name>/`, and an experiment.

    The experiment is hidden in the run's folder, or in `log_root` where there is none: `.mlv-experiments/<name>`. None is no
    output on the disk. A name that is taken gets a number, and ranks above 0 have files of their own.
    """
    restore_loggers(run_name, log_root)


def restore_loggers(
    run_name: str, log_root: Path | None = None, loggers_state: dict[str, dict[str, Any]] | None = None
) -> None:
    """Go on with the run of the state; loggers that the state does not name begin anew."""
    state = loggers_state or {}
    for type_, logger in _active.items():
        if type_.value in state:
            logger.load_state_dict(state[type_.value])
    if log_root is not None:
        _setup_together(run_name, Path(log_root), state)
    for type_, logger in _active.items():
        if not _is_set_up_here(logger):
            logger.setup(run_name, log_root, is_resume=type_.value in state)


def _setup_together(run_name: str, log_root: Path, state: dict[str, Any]) -> None:
    """Give the root logger and the writer one experiment."""
    root, writer = _active.get(LoggerType.ROOT), _active.get(LoggerType.TENSORBOARD)
    root = root if _is_set_up_here(root) else None
    writer = writer if _is_set_up_here(writer) else None
    log_file = root.saved if isinstance(root, RootLogger) and LoggerType.ROOT.value in state else None
    run_path = writer.saved if isinstance(writer, TensorboardWriter) and LoggerType.TENSORBOARD.value in state else None
    has_board = writer is not None and global_rank() == 0
    run = run_in(run_name, log_root, log_file, run_path, log=root is not None, board=has_board)
    for logger in (root, writer):
        if isinstance(logger, (RootLogger, TensorboardWriter)):
            logger.attach(run)


def _is_set_up_here(logger: Logger | None) -> bool:
    """Return whether a logger shares the run of the others; one whose class overrides `setup` is set up by that call."""
    return type(logger).setup in (RootLogger.setup, TensorboardWriter.setup) if logger is not None else False


def get_logger(name: LoggerType) -> Logger:
    """Return one of the loggers.

    Raises:
        KeyError: It was not created.
    """
    if name not in _active:
        raise KeyError(f"error: logger '{name.value}' has not been created. Did you forget to call create_default_loggers?")
    return _active[name]


def get_logger_state_dicts() -> dict[str, dict[str, Any]]:
    """Return the states of all loggers, for `restore_loggers`."""
    return {type_.value: logger.state_dict() for type_, logger in _active.items()}


def flush_loggers() -> None:
    """Return when the files hold everything that was logged."""
    flush_all(_active)


def close_loggers() -> None:
    """Close the loggers, and forget them."""
    close_all(_active)


def is_root_logger_active() -> bool:
    """Return whether the root logger has been created."""
    return LoggerType.ROOT in _active


def get_root_logger() -> RootLogger:
    """Return the root logger.

    Raises:
        KeyError: It was not created.
    """
    return cast("RootLogger", get_logger(LoggerType.ROOT))


def get_tensorboard_writer() -> TensorboardWriter | None:
    """Return the TensorBoard writer, or None."""
    return cast("TensorboardWriter | None", _active.get(LoggerType.TENSORBOARD))


def get_wandb_writer() -> WandbWriter | None:
    """Return the writer for Weights & Biases, or None."""
    return cast("WandbWriter | None", _active.get(LoggerType.WANDB))


__all__ = [
    "Logger",
    "LoggerType",
    "RootLogger",
    "TensorboardWriter",
    "WandbArgs",
    "WandbWriter",
    "close_loggers",
    "create_loggers",
    "flush_loggers",
    "get_default_log_name",
    "get_logger",
    "get_logger_state_dicts",
    "get_root_logger",
    "get_tensorboard_writer",
    "get_wandb_writer",
    "is_root_logger_active",
    "restore_loggers",
    "setup_loggers",
]
