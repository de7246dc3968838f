"""The packages of the extra `media`, and the fallback without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.optional import is_installed

_PILLOW = "Pillow"
_FFMPEG = "imageio-ffmpeg"
_MODULES = {_PILLOW: "PIL", _FFMPEG: "imageio_ffmpeg"}


def missing_extra(kind: str, options: Mapping[str, Any] | None = None) -> str | None:
    """Return a sentence for the user if a worker lacks a package for this type of event, and stores arrays instead.

    Nothing is imported. With the options of a `Prepared`, only the package that this very event needs is looked for: a file
    that is stored as it is needs none.
    """
    package = _required_package(kind, options or {})
    if package is None or is_installed(_MODULES[package]):
        return None
    return f"{package} is not installed: {kind}s are stored as .npy; pip install mlvlogger[media]"


def _required_package(kind: str, options: Mapping[str, Any]) -> str | None:
    if kind == "image":
        has_pixels = any("suffix" not in image for image in options.get("images", ({},)))
        return _PILLOW if has_pixels or options.get("masks") else None
    if kind == "video" and "video" not in options:
        return _PILLOW if options.get("format") == "gif" else _FFMPEG
    return None
