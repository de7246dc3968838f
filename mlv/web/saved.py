"""The rows of an index on disk, so that a server that is started again reads only experiments that have changed.

The file lies in `$XDG_CACHE_HOME/mlv/pages`, may be deleted at any time, and is replaced as a whole. Only one that this user
signed is believed, and of it only rows whose files are the same by size, inode, and time of change, which nobody can set.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlv.store import keys, opening
from mlv.store.files import temporary_beside

_PURPOSE = "mlv page"
_FORM = "3 "
"""The form of the rows: others are not read. It changes with every class that they consist of."""
WORTH = 100
"""Least number of experiments: fewer are read faster than the file is written."""
_LARGEST = 1 << 30


def path_of(root: Path) -> Path:
    """Return the path of the saved rows of a folder."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
    return keys.cache_folder() / keys.PAGES / f"{name}.rows"


def load(root: Path) -> Mapping[Path, Any]:
    """Return the saved rows by their folders; none where nothing was saved that can be believed."""
    with suppress(Exception):  # whatever another version has left there
        if os.name == "posix":  # Windows calls the time of creation `ctime`
            signature, _, content = opening.content(path_of(root), _LARGEST).partition(b"\n")
            if keys.is_signed(_PURPOSE + _FORM, content, signature.decode()):
                return _unpickled(content)
    return {}


def _unpickled(content: bytes) -> Mapping[Path, Any]:
    """Return the rows; none of their hundred objects each is garbage, nor is searched for any again and again."""
    was_enabled = gc.isenabled()
    gc.disable()  # of ten thousand rows it would take four fifths of the time
    try:
        return dict(pickle.loads(content))  # noqa: S301 - of this very user, who alone has the key
    finally:
        if hasattr(gc, "freeze"):
            gc.freeze()
        if was_enabled:
            gc.enable()


def save(root: Path, rows: Mapping[Path, Any]) -> None:
    """Replace the saved rows; where they cannot be written, nothing is saved."""
    if os.name != "posix" or len(rows) < WORTH:
        return
    path = path_of(root)
    temporary = temporary_beside(path)
    with suppress(OSError, pickle.PicklingError, RecursionError):
        content = pickle.dumps(dict(rows), pickle.HIGHEST_PROTOCOL)
        if (signature := keys.signature(_PURPOSE + _FORM, content)) is None:
            return  # what nobody signed is never believed
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with opening.new(temporary, 0o600) as file:
                file.write(b"%s\n%s" % (signature.encode(), content))
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()
