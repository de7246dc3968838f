"""tensorboardX's `SummaryWriter`: `from mlv.compat.tensorboardX import SummaryWriter`.

`mlv.compat.tensorboard.install()` puts it in the place of the original, for libraries that import that themselves.
"""

from typing import Any as _Any

from mlv.compat.tensorboardX.writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "GlobalSummaryWriter", "SummaryWriter"]


def __getattr__(name: str) -> _Any:
    if name == "GlobalSummaryWriter":
        from mlv.compat.tensorboardX.global_writer import GlobalSummaryWriter  # it imports tensorboardX, and that torch

        return GlobalSummaryWriter
    if name in ("RecordWriter", "TorchVis"):  # they write no event files of a SummaryWriter
        import tensorboardX

        return getattr(tensorboardX, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
