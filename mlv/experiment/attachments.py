"""What an experiment can do with files: publish them, bring them in, and find them again."""

from __future__ import annotations


class Attachments:
    """The part of `Exp` that is about files."""

    __slots__ = ()
