"""`helios.core.loggers` of helios 2: loggers that keep their state, of a table that a whole process shares."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, cast

from mlv.compat.helios.core.base import Logger
from mlv.compat.helios.core.root import RootLoggerBase
from mlv.compat.helios.core.runs import Run, begin, get_default_log_name, global_rank, go_on
from mlv.compat.helios.core.tensorboard import TensorboardWriterBase
from mlv.compat.helios.core.wandb import WandbArgs, WandbWriter

_TENSORBOARD = "tensorboard"


class LoggerType(enum.Enum):
    """The types of loggers."""

    ROOT = "root"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"


class RootLogger(RootLoggerBase, Logger):
    """Logger used to log while training, optionally to a file."""

    _saved: Path | None = None

    def setup(self, run_name: str, log_root: Path | None, is_resume: bool) -> None:
        """Log into `<log_root>/<name>.log`, or go on with the file of the state; None is no file."""
        if log_root is not None:
            self.attach(_run(run_name, Path(log_root), self._saved if is_resume else None, None, log=True, board=False))

    def state_dict(self) -> dict[str, Any]:
        """The state: `log_file`, None where there is none."""
        return {"log_file": self.log_file}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state, whose path may be a text; `setup` with `is_resume` goes on with it."""
        self._saved = _path(state_dict.get("log_file"))

    @property
    def saved(self) -> Path | None:
        """The file of the state that was taken."""
        return self._saved


class TensorboardWriter(TensorboardWriterBase, Logger):
    """Writes what TensorBoard shows below `<log_root>/tensorboard`."""

    _saved: Path | None = None

    def setup(self, run_name: str, log_root: Path | None, is_resume: bool) -> None:
        """Write into `<log_root>/tensorboard/<name>`, or go on with the folder of the state; None is no folder."""
        if log_root is not None and self._rank == 0:
            self.attach(_run(run_name, Path(log_root), None, self._saved if is_resume else None, log=False, board=True))

    def state_dict(self) -> dict[str, Any]:
        """The state: `run_path`, None where there is none."""
        return {"run_path": self._run.run_path if self._run is not None else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state, whose path may be a text; `setup` with `is_resume` goes on with it."""
        self._saved = _path(state_dict.get("run_path"))

    @property
    def saved(self) -> Path | None:
        """The folder of the state that was taken."""
        return self._saved


_active: dict[LoggerType, Logger] = {}


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
    """Begin a new run: `<log_root>/<name>.log`, `<log_root>/tensorboard/<name>/` and the experiment `<log_root>/<name>.mlv`.

    None is no output on the disk. A name that is taken gets a number, and ranks above 0 have files of their own.
    """
    restore_loggers(run_name, log_root)


def restore_loggers(
    run_name: str, log_root: Path | None = None, loggers_state: dict[str, dict[str, Any]] | None = None
) -> None:
    """Go on with the run that the state tells of; loggers that it does not name begin anew."""
    state = loggers_state or {}
    for type_, logger in _active.items():
        if type_.value in state:
            logger.load_state_dict(state[type_.value])
    if log_root is not None:
        _setup_together(run_name, Path(log_root), state)
    for type_, logger in _active.items():
        if not isinstance(logger, (RootLogger, TensorboardWriter)):
            logger.setup(run_name, log_root, is_resume=type_.value in state)


def _setup_together(run_name: str, log_root: Path, state: dict[str, Any]) -> None:
    """Give the root logger and the writer one experiment."""
    root, writer = _active.get(LoggerType.ROOT), _active.get(LoggerType.TENSORBOARD)
    log_file = root.saved if isinstance(root, RootLogger) and "root" in state else None
    run_path = writer.saved if isinstance(writer, TensorboardWriter) and _TENSORBOARD in state else None
    has_board = writer is not None and global_rank() == 0
    run = _run(run_name, log_root, log_file, run_path, log=root is not None, board=has_board)
    for logger in (root, writer):
        if isinstance(logger, (RootLogger, TensorboardWriter)):
            logger.attach(run)


def _run(name: str, log_root: Path, log_file: Path | None, run_path: Path | None, *, log: bool, board: bool) -> Run | None:
    """The run of what is given; a file or folder that is wanted and not given gets its place under a new name."""
    rank, runs_root = global_rank(), log_root / _TENSORBOARD
    named = get_default_log_name(name)
    if log_file is None and run_path is None:
        return begin(
            named,
            lambda free: log_root / f"{free}.log" if log else None,
            lambda free: runs_root / free if board else None,
            log_root,
            rank,
        )
    return go_on(
        (log_file or log_root / f"{named}.log") if log else None, (run_path or runs_root / named) if board else None, rank
    )


def get_logger(name: LoggerType) -> Logger:
    """One of the loggers.

    Raises:
        KeyError: It was not created.
    """
    if name not in _active:
        raise KeyError(f"error: logger '{name.value}' has not been created. Did you forget to call create_default_loggers?")
    return _active[name]


def get_logger_state_dicts() -> dict[str, dict[str, Any]]:
    """The states of all loggers, for `restore_loggers`."""
    return {type_.value: logger.state_dict() for type_, logger in _active.items()}


def flush_loggers() -> None:
    """Return when the files hold what was logged."""
    for logger in _active.values():
        logger.flush()


def close_loggers() -> None:
    """Close the loggers, and forget them."""
    for logger in _active.values():
        logger.close()
    _active.clear()


def is_root_logger_active() -> bool:
    """Whether the root logger has been created."""
    return LoggerType.ROOT in _active


def get_root_logger() -> RootLogger:
    """The root logger.

    Raises:
        KeyError: It was not created.
    """
    return cast("RootLogger", get_logger(LoggerType.ROOT))


def get_tensorboard_writer() -> TensorboardWriter | None:
    """The TensorBoard writer, or None."""
    return cast("TensorboardWriter | None", _active.get(LoggerType.TENSORBOARD))


def get_wandb_writer() -> WandbWriter | None:
    """The writer for Weights & Biases, or None."""
    return cast("WandbWriter | None", _active.get(LoggerType.WANDB))


def _path(given: Any) -> Path | None:
    return Path(given) if given is not None else None


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
