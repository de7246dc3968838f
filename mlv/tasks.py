"""The task of an executor that a thread is in: its warnings go where its result goes, and its reading keeps to one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Warned = list[tuple[str, Any]]
"""Warnings that were not shown: the message, and the category."""
_warned: ContextVar[Warned | None] = ContextVar("mlv_warned", default=None)


@contextmanager
def running() -> Iterator[Warned]:
    """Run the block as a task; gives the list that its warnings are added to."""
    warned: Warned = []
    token = _warned.set(warned)
    try:
        yield warned
    finally:
        _warned.reset(token)


def warnings_of_task() -> Warned | None:
    """Return the list for the warnings of the task that this thread is in; None outside any."""
    return _warned.get()
