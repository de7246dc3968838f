"""tensorboardX's GlobalSummaryWriter: one writer for all modules and processes, which counts the steps itself."""

from __future__ import annotations

import threading
from typing import Any

from tensorboardX import global_writer

from mlv.compat.tensorboard.installing import installed

_lock = threading.Lock()
_latest: list[Any] = []


class GlobalSummaryWriter(global_writer.GlobalSummaryWriter):  # type: ignore[misc]  # tensorboardX has no types
    """The original, around the SummaryWriter of this package."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin as the original does."""
        with _lock, installed():  # the original names the class of its writer
            super().__init__(*args, **kwargs)

    @staticmethod
    def getSummaryWriter() -> Any:  # noqa: N802 - the name of the original
        """Return the writer of this process, made where there is none."""
        if not _latest:
            _latest.append(GlobalSummaryWriter())
        return _latest[0]
