"""Spans: stretches of work that are timed and leave one line at their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from mlv.experiment.endings import described
from mlv.never_raising import never_raising


class Span:
    """A stretch of work that is going on; its line is written when it ends, once."""

    def __init__(self, emit: Callable[[dict[str, Any]], None], data: dict[str, Any]) -> None:
        self._emit = emit
        self._data = data
        self._began = time.perf_counter()
        self._is_over = False

    def add(self, /, **data: Any) -> None:
        """Add to the data of the line to come; an equal key is replaced."""
        self._data.update(data)

    @never_raising
    def end(self, error: BaseException | None = None) -> None:
        """Write the line, with `duration_s` by a monotonic clock; ending again does nothing."""
        if self._is_over:
            return
        self._is_over = True
        data = {**self._data, "duration_s": time.perf_counter() - self._began}
        if error is not None:
            data["exception"] = described(error)
        self._emit(data)

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end(error)
