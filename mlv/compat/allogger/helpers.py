"""Helpers that writers for ALLogger import."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any

__all__ = ["concurrent"]

_lock = RLock()


def concurrent(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that only one thread at a time runs."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _lock:
            return function(*args, **kwargs)

    return call
