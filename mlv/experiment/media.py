"""The calls of a Logger that log media."""

from __future__ import annotations


class MediaCalls:
    """The part of `Logger` that logs media; each call leaves one event, and a file where the content is large."""

    __slots__ = ()
