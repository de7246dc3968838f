"""The packages of the extra `media`, and the fallback without them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from mlv.media.kinds import KINDS
from mlv.optional import is_installed

PILLOW = "Pillow"
FFMPEG = "imageio-ffmpeg"
_MODULES = {PILLOW: "PIL", FFMPEG: "imageio_ffmpeg"}


def missing_extra(kind: str, options: Mapping[str, Any] | None = None) -> str | None:
    """Return a sentence for the user if a worker lacks a package for this type of event, and stores arrays instead.

    Nothing is imported. With the options of a `Prepared`, only the package that this very event needs is looked for: a file
    that is stored as it is needs none.
    """
    extra = KINDS[kind].extra
    if extra is None:
        return None
    package = import_module(f"mlv.media.{kind}").needed_package(options or {})
    if package is None or is_installed(_MODULES[package]):
        return None
    return f"{package} is not installed: {kind}s are stored as .npy; pip install 'mlvlogger[{extra}]'"
