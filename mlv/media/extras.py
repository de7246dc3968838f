"""What the extra `media` brings, and what is done without it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

_PILLOW = "Pillow"
_FFMPEG = "imageio-ffmpeg"
_MODULES = {_PILLOW: "PIL", _FFMPEG: "imageio_ffmpeg"}


def missing_extra(kind: str, options: Mapping[str, Any] | None = None) -> str | None:
    """A sentence for the user where a worker lacks a package for this type of event, and stores arrays instead.

    Nothing is imported. With the options of a `Prepared`, only what this very event needs is looked for: a file that is
    stored as it is needs nothing.
    """
    wanted = _wanted(kind, options or {})
    if wanted is None or is_installed(_MODULES[wanted]):
        return None
    return f"{wanted} is not installed: {kind}s are stored as .npy; pip install mlvlogger[media]"


@cache
def is_installed(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    from importlib.util import find_spec  # two modules that `import mlv` does without

    try:
        return find_spec(module) is not None
    except ValueError:  # it was put into sys.modules by hand
        return True


def _wanted(kind: str, options: Mapping[str, Any]) -> str | None:
    if kind == "image":
        has_pixels = any("suffix" not in image for image in options.get("images", ({},)))
        return _PILLOW if has_pixels or options.get("masks") else None
    if kind == "video" and "video" not in options:
        return _PILLOW if options.get("format") == "gif" else _FFMPEG
    return None
