"""Patience with a store that does not answer: pauses that grow, and differ among the many that wait for it."""

from __future__ import annotations

import random
from time import monotonic, sleep

_LEAST_S, _MOST_S = 1.0, 30.0
_POLL_S = 0.1


class ShippingPatience:
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


class Stop:
    """A wish to stop, which a signal handler may set; waiting for it ends within a tenth of a second.

    No `threading.Event`: a signal comes in the middle of waiting for that, too, and `set` would wait for its lock for ever.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Ask to stop."""
        self._is_set = True

    def is_set(self) -> bool:
        """Return whether anybody asked for it."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is set; return whether it is."""
        until = monotonic() + seconds
        while not self._is_set and (pause_s := until - monotonic()) > 0:
            sleep(min(pause_s, _POLL_S))
        return self._is_set


def jittered(seconds: float, share: float = 0.1) -> float:
    """Return an interval that is shorter or longer by a share: a thousand hosts that began together do not ask together."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret
