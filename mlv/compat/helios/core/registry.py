"""Flushing and closing the loggers that a whole process shares; each generation of helios has its own table of them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any


def flush_all(loggers: Mapping[Any, Any]) -> None:
    """Return when the files hold everything that was logged."""
    for logger in loggers.values():
        logger.flush()


def close_all(loggers: MutableMapping[Any, Any]) -> None:
    """Close the loggers, and empty the table."""
    for logger in loggers.values():
        logger.close()
    loggers.clear()
