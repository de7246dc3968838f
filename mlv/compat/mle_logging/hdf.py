"""Opening HDF5 files that others read or write at the same moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EAGAIN
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv import MissingExtra

_BUSY = (EAGAIN, EACCES)
_READ_WITHIN_S = 10.0
_WRITE_WITHIN_S = 0.5
_POLL_S = 0.005


@contextmanager
def opened(path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
    """Open an HDF5 file, and close it at the end of the block.

    It is locked where the system can. A writer waits half a second for readers, and then writes all the same: some keep a
    file open for hours, and the bytes that they have read stay as they are. A reader waits ten seconds for a writer.

    Raises:
        OSError: It cannot be opened, or is no HDF5 file.
        MissingExtra: h5py is not installed.
    """
    with _opened(Path(path), mode) as file:
        yield file


def _opened(path: Path, mode: str) -> Any:
    h5py = import_h5py()
    deadline = monotonic() + (_READ_WITHIN_S if mode == "r" else _WRITE_WITHIN_S)
    while True:
        try:
            return h5py.File(path, mode, locking="best-effort")
        except OSError as error:
            if not _is_busy(error):
                raise
            if monotonic() > deadline:
                return h5py.File(path, mode, locking=False)
            sleep(_POLL_S)


def _is_busy(error: OSError) -> bool:
    return error.errno in _BUSY or "unable to lock file" in str(error) or "already open" in str(error)


def import_h5py() -> Any:
    """Import h5py.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        text = "mlv.compat.mle_logging needs h5py: pip install 'mlvlogger[compat]'"
        raise MissingExtra(text, package="h5py", extra="compat") from error
    return h5py
