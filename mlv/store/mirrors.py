"""Mirrors: copies of experiments in a bucket, which follow those there and are for reading alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

BUCKETS = "buckets"
"""Folder of the mirrors in the user's own one for caches."""


def mirrors_folder() -> Path:
    """Return the folder that holds all mirrors of this user."""
    from mlv.store.keys import cache_folder  # with hashlib: `import mlv` does without

    return cache_folder() / BUCKETS


def is_mirrored(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder lies in a mirror of this user."""
    return os.path.realpath(folder).startswith(os.path.join(os.path.realpath(mirrors_folder()), ""))


def foreign_owner(folder: str | os.PathLike[str]) -> int | None:
    """Return the number of another user who owns a folder: they could change what is read, and lead elsewhere what is written.

    Some file systems name root as the owner of everything, who can do that anyway.
    """
    with suppress(FileNotFoundError):
        owner = os.lstat(folder).st_uid
        if hasattr(os, "geteuid") and owner not in (os.geteuid(), 0):
            return owner
    return None
