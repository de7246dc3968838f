"""The key of a user: it proves that a signed cache was made by this very user, whoever else can write its folder.

It is 32 random bytes in `$XDG_CACHE_HOME/mlv/key`, made when it is first needed, for its owner alone. Where there is no folder
for it, or it is somebody else's, there is none: then nothing is signed or believed, and all is read anew.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import suppress
from pathlib import Path

from mlv.store import opening
from mlv.store.files import publish

_SIZE = 32  # as long as the signatures that it makes


TREES, PAGES = LISTS = ("trees", "pages")
"""Folders of the user's own one that hold what lists of experiments show: names, params, tags and notes."""


def cache_folder() -> Path:
    """Return the user's own folder for caches of mlv."""
    around = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(around, "mlv")


def signature(purpose: str, content: bytes) -> str | None:
    """Return a keyed hash of a content, in hexadecimal, that nobody else can compute; None where this user has no key."""
    key = _key()
    return _signed(key, purpose, content) if key is not None else None


def is_signed(purpose: str, content: bytes, stored: object) -> bool:
    """Return whether this user has signed a content, for this purpose."""
    key = _key(makes_one=False)
    return (
        key is not None
        and isinstance(stored, str)
        and hmac.compare_digest(_signed(key, purpose, content).encode(), stored.encode())
    )


def _signed(key: bytes, purpose: str, content: bytes) -> str:
    return hashlib.blake2b(content, key=key, digest_size=32, person=purpose.encode()[:16]).hexdigest()


def _key(*, makes_one: bool = True) -> bytes | None:
    path = cache_folder() / "key"
    with suppress(OSError):
        return _read(path)
    if makes_one:
        with suppress(OSError):  # a user without a home has no key, and no caches
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):  # another process was faster
                publish(path, os.urandom(_SIZE), 0o600)
            return _read(path)
    return None


def _read(path: Path) -> bytes:
    """Read the key in a file.

    Raises:
        OSError: It cannot be read, or somebody else may have made it or can read it.
    """
    with opening.reading(path, follows=False) as file:
        status = os.fstat(file.fileno())
        is_own = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o077)
        if not (is_own and status.st_nlink == 1 and status.st_size == _SIZE):
            raise PermissionError(f"{path} is no key of this user alone")
        return file.read(_SIZE)
