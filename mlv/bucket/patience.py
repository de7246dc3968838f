"""Patience with a store that does not answer: pauses that grow, and differ among the many that wait for it."""

from __future__ import annotations

import random

_LEAST_S, _MOST_S = 1.0, 30.0


class Patience:
    """The pauses between the tries of one task."""

    def __init__(self) -> None:
        self._pause_s = _LEAST_S

    def next_s(self) -> float:
        """Return the seconds until the next try."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, _MOST_S)
        return jittered(pause_s, 0.2)

    def reset(self) -> None:
        """Begin anew: the store answers."""
        self._pause_s = _LEAST_S


def jittered(seconds: float, share: float = 0.1) -> float:
    """Return an interval that is shorter or longer by a share: a thousand hosts that began together do not ask together."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret
