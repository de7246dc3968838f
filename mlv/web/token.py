"""The secret in the address of the page: who does not have it sees nothing.

It is kept for the next start, so that bookmarks last, in `$XDG_STATE_HOME/mlv/ui-token`, for its owner alone.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from mlv.store import opening
from mlv.store.files import publish

_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


def state_folder() -> Path:
    """Return the user's own folder for what mlv keeps between two starts."""
    around = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(around, "mlv")


def token(*, new: bool = False) -> str:
    """Return the kept secret, or with `new`, and where there is none that only this user can read, another one."""
    path = state_folder() / "ui-token"
    if not new:
        with suppress(OSError, UnicodeDecodeError):
            return _read(path)
    text = secrets.token_urlsafe(32)
    with suppress(OSError):  # nowhere to keep it: it lasts until the server ends
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        publish(path, text.encode(), 0o600)
    return text


def _read(path: Path) -> str:
    """Read a secret.

    Raises:
        OSError: There is none, or somebody else may have made it or can read it.
    """
    with opening.reading(path, follows=False) as file:
        status, text = os.fstat(file.fileno()), file.read(100).decode()
    is_own = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o077)
    if not is_own or not _FORM.fullmatch(text):
        raise PermissionError(f"{path} is no secret of this user alone")
    return text
