"""Mirrors: copies of experiments in a bucket, which follow those there and are for reading alone."""

from __future__ import annotations

import os
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
