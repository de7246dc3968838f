"""torch's `SummaryWriter`: `from mlv.compat.tensorboard import SummaryWriter`.

`install()` puts it in the place of torch's and tensorboardX's, for libraries that import those themselves; `uninstall()` puts
the originals back.
"""

from typing import Any as _Any

from mlv.compat.tensorboard.file_writer import FileWriter
from mlv.compat.tensorboard.installing import install, uninstall
from mlv.compat.tensorboard.writer import SummaryWriter

__all__ = ["FileWriter", "SummaryWriter", "install", "uninstall"]


def __getattr__(name: str) -> _Any:
    if name == "RecordWriter":  # it writes any records into any file
        from torch.utils.tensorboard import RecordWriter

        return RecordWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
