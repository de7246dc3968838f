"""Helpers that writers for ALLogger import."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from socket import gethostname
from time import time
from typing import Any

__all__ = ["add_value_wrapper", "gen_filename", "time"]


def gen_filename() -> str:
    """Return the time in seconds and the host: `1795231457_vm`."""
    return f"{int(time())}_{gethostname()}"


def add_value_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method `add_<kind>(self, key, ...)` so that `self.data[kind, key]` is a list before it is called."""

    @wraps(function)
    def add(self: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        self.data.setdefault((function.__name__.rpartition("_")[2], key), self.manager.list())
        return function(self, key, *args, **kwargs)

    return add
