"""The Logger of a run of which nothing is stored: what it is given is not even looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.experiment.logger import Logger
from mlv.experiment.session import Session


def logger_of(
    session: Session,
    stream: str,
    name: str = "",
    at: Mapping[str, Any] | None = None,
    filter: str | None = None,
    verbosity: int = 0,
) -> Logger:
    """A Logger into a stream of a run."""
    return (MutedLogger if session.is_disabled else Logger)(session, stream, name, at, filter, verbosity)


class MutedLogger(Logger):
    """A Logger whose calls do nothing; but what `describe` says is remembered, for a policy may rank by it."""

    __slots__ = ()

    def __call__(
        self, data: Mapping[str, Any] | str, value: Any = None, /, *, step: float | None = None, verbosity: int | None = None
    ) -> None:
        """Do nothing."""

    def metrics(self, data: Mapping[str, Any], *, step: float | None = None, verbosity: int | None = None) -> None:
        """Do nothing."""

    def metric(self, name: str, value: Any, *, step: float | None = None, verbosity: int | None = None) -> None:
        """Do nothing."""

    def value(
        self, name: str, value: Any, *, step: float | None = None, verbosity: int | None = None, kind: str | None = None
    ) -> None:
        """Do nothing."""

    def _event(self, *_: Any) -> None:
        pass

    def _media(self, *_: Any) -> None:
        pass

    def _message(self, *_: Any) -> None:
        pass
