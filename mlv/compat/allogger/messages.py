"""The text log and the console, which show messages."""

from __future__ import annotations

import logging

from mlv.compat.allogger.settings import MessageOptions


class TextLog:
    """`<logdir>/<experiment>.log`: every message of the loggers, and all others that reach Python's root logger.

    The levels of other loggers stay what they are, and so do their handlers.
    """

    def __init__(self, path: str, messages: MessageOptions) -> None:
        """Open the file, at its end."""
        self._handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        self._handler.setFormatter(messages.made_formatter())
        logging.getLogger().addHandler(self._handler)

    def close(self) -> None:
        """Close the file."""
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()


class ConsoleHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Shows the messages of one logger, and not those of the ones below it, which have a console of their own."""

    def __init__(self, scope: str, messages: MessageOptions) -> None:
        super().__init__()
        self._scope = scope
        self.setLevel(messages.level)
        self.setFormatter(messages.made_formatter())

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is of this logger."""
        return record.name == self._scope and bool(super().filter(record))


def python_logger(scope: str) -> logging.Logger:
    """Return the logger of `logging` that carries the messages of a scope."""
    if scope == "root":  # by that name `logging` has the logger of the whole process, whose level is not ours to set
        root = logging.Logger(scope)
        root.parent = logging.getLogger()
        return root
    return logging.getLogger(scope)
