"""The wrapper of the calls of a Logger: they never raise, except for interruptions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from mlv.encoding import shown
from mlv.errors import MlvWarning
from mlv.interrupts import pass_on
from mlv.notices import warn_once

P = ParamSpec("P")
C = TypeVar("C")


def never_raising(method: Callable[Concatenate[C, P], None]) -> Callable[Concatenate[C, P], None]:
    """Let only interruptions out of a call; wrong arguments are the script's own fault, and raise."""

    @wraps(method)
    def call(self: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            if isinstance(error, TypeError) and error.__traceback__ is not None and error.__traceback__.tb_next is None:
                raise  # it was not even called
            give_up(error)

    return call


def give_up(error: Exception) -> None:
    """Warn that an event is not stored, after an unforeseen exception; an interruption goes on."""
    pass_on(error)
    try:
        warn_once(f"an event is not stored: {shown(error)}", MlvWarning)
    except Exception as another:  # no memory, or no stack, even for that
        pass_on(another)
