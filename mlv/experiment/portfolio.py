"""The checkpoint portfolio: saving, keeping what a policy keeps, and finding the best and the latest."""

from __future__ import annotations


class Portfolios:
    """The part of `Exp` that is about checkpoints."""

    __slots__ = ()
