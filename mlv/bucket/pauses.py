"""The pauses of streams that nobody waits for, between two shipments of their lines: each shipment is a request."""

from __future__ import annotations

from pathlib import Path

from mlv.store import claims, layout

_PAUSES_S = {layout.SYSTEM_STREAM: 300.0, layout.CONSOLE_STREAM: 60.0}


class StreamPauses:
    """The pauses of one process, for all experiments that it ships."""

    def __init__(self) -> None:
        self._next = dict.fromkeys(_PAUSES_S, 0.0)
        self._pausing: frozenset[str] = frozenset()

    def begin(self, now: float, *, is_whole: bool) -> None:
        """Begin a shipment, at a moment of the monotonic clock: of all streams, or of those whose pause is over."""
        self._pausing = frozenset() if is_whole else frozenset(stream for stream, due in self._next.items() if now < due)
        self._next.update({stream: now + pause_s for stream, pause_s in _PAUSES_S.items() if stream not in self._pausing})

    def pausing(self, folder: Path) -> list[str]:
        """Return the streams of an experiment that this shipment leaves: their writer goes on, as far as can be seen."""
        if not self._pausing:
            return []
        streams = [stream for stream in claims.claimed(folder) if layout.logical_stream(stream) in self._pausing]
        # At the end of a run, however it came, all of it goes: nobody writes more.
        return [stream for stream in streams if (held := claims.read(folder, stream)) and not held.owner.is_gone()]
