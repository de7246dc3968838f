"""The errors of wandb, as scripts catch them."""

from __future__ import annotations

from typing import Any

from mlv import MlvError


class Error(MlvError):
    """Base of the errors here."""

    def __init__(self, message: str = "", context: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message, self.context = message, context or {}


class CommError(Error):
    """A server cannot be reached: nothing here raises it, and scripts catch it."""

    def __init__(self, msg: str = "", exc: Exception | None = None) -> None:
        super().__init__(msg)
        self.exc = exc


class AuthenticationError(CommError):
    """A login failed: nothing here raises it."""


class UsageError(Error):
    """A call is not possible here, or now."""


class UnsupportedError(UsageError):
    """Something that wandb has is missing here."""


class MissingAttribute(UnsupportedError, AttributeError):
    """An attribute of wandb is missing here; `hasattr` is False."""


class MissingModule(UnsupportedError, ModuleNotFoundError):
    """A module of wandb is missing here."""


class NotFound(CommError, UsageError, ValueError):
    """There is no such project, run, sweep or artifact."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class InvalidSetting(UsageError, ValueError):
    """A setting, or an argument of `init`, is none of those that it may be."""


class InvalidPath(UsageError, ValueError):
    """No file of an artifact can have this name."""


class ConfigError(Error):
    """A value of the config would change."""
