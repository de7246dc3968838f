"""The calls of a Logger that log messages, as in `logging`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlv.experiment.endings import described
from mlv.experiment.log_arguments import exception_of, formatted
from mlv.never_raising import never_raising

if TYPE_CHECKING:
    from mlv.experiment.logger import Logger


class MessageCalls:
    """The part of `Logger` that logs messages."""

    __slots__ = ()

    if TYPE_CHECKING:
        _name: str

        def verbose(self, verbosity: int) -> Logger:
            """Return a logger whose lines carry this verbosity; see `Logger`."""

        def _emit(self, type: str, name: str, data: Any, step: Any) -> None: ...

    @never_raising
    def debug(
        self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, verbosity: int = 0, **data: Any
    ) -> None:
        """Log a message of level `debug`; see `info`."""
        self._message("debug", message, args, step, exc_info, verbosity, data)

    @never_raising
    def info(
        self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, verbosity: int = 0, **data: Any
    ) -> None:
        """Log a message: a line of type `message` with `level` and `message`.

        Args:
            message: Text, formatted as `message % args` where there are any.
            args: See `message`.
            step: When it was.
            exc_info: As in `logging`: True, an exception or a tuple; stored as `exception` with type, message, traceback.
            verbosity: How closely one must look to see it.
            data: Stored beside it as `extra`.
        """
        self._message("info", message, args, step, exc_info, verbosity, data)

    @never_raising
    def warning(
        self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, verbosity: int = 0, **data: Any
    ) -> None:
        """Log a warning; see `info`. Nothing is shown on the terminal."""
        self._message("warning", message, args, step, exc_info, verbosity, data)

    @never_raising
    def error(
        self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = None, verbosity: int = 0, **data: Any
    ) -> None:
        """Log an error; see `info`."""
        self._message("error", message, args, step, exc_info, verbosity, data)

    @never_raising
    def exception(
        self, message: object, /, *args: Any, step: float | None = None, exc_info: Any = True, verbosity: int = 0, **data: Any
    ) -> None:
        """Log an error with the exception that is being handled, and let it go on; see `info`."""
        self._message("error", message, args, step, exc_info, verbosity, data)

    def _message(
        self, level: str, message: object, args: tuple[Any, ...], step: Any, exc_info: Any, verbosity: int, extra: Any
    ) -> None:
        data: dict[str, Any] = {"level": level, "message": formatted(message, args)}
        error = exception_of(exc_info)
        if error is not None:
            data["exception"] = described(error)
        if extra:
            data["extra"] = extra
        (self.verbose(verbosity) if verbosity else self)._emit("message", self._name, data, step)
