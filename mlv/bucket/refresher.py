"""Following what is in a bucket: its mirror is brought up to date now and then, through outages of the store."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

from mlv.bucket.mirror import Mirror
from mlv.errors import MlvError

LOOK_EVERY_S = 3.0
"""Seconds between two looks for new segments."""


class Refresher:
    """Looks for new segments now and then; it waits for a store or a disk in trouble."""

    def __init__(
        self, mirror: Mirror, tell: Callable[[str], object], *, is_fresh: bool = True, patience_s: float = inf
    ) -> None:
        """Take a mirror, and a function that is called with each new trouble.

        Args:
            mirror: The mirror.
            tell: Called with a text.
            is_fresh: Whether it was brought up to date a moment ago.
            patience_s: Seconds after which trouble that does not end is an error.
        """
        self._mirror, self._tell, self._patience_s = mirror, tell, patience_s
        self._next = monotonic() + (LOOK_EVERY_S if is_fresh else 0.0)
        self._problem, self._since = "", 0.0

    def __call__(self) -> bool:
        """Bring the mirror up to date, if the last time was long enough ago; return whether it is as the bucket was then.

        Raises:
            MlvError: That failed for longer than the patience lasts.
        """
        if monotonic() >= self._next:
            self._look()
            self._next = monotonic() + LOOK_EVERY_S
        return not self._problem

    def _look(self) -> None:
        try:
            self._mirror.refresh()
            self._problem = ""
        except MlvError as error:  # the store is away, or there is no room for the mirror just now
            self._since = self._since if self._problem else monotonic()
            if monotonic() - self._since >= self._patience_s:
                raise
            if str(error) != self._problem:
                self._problem = str(error)
                self._tell(f"{error}; trying again")
