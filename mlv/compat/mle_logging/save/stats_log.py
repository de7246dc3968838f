"""The columns of a logger in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from time import time
from typing import Any

from mlv.compat.mle_logging.records import CLOCK


class StatsLog:
    """Time variables and statistics, a list each; names that are new become columns."""

    def __init__(self, time_to_track: Iterable[str], what_to_track: Iterable[str]) -> None:
        """Begin with empty columns; the lists that are given stay as they are."""
        self.time_to_track = [*CLOCK, *(name for name in time_to_track if name not in CLOCK)]
        self.what_to_track = list(what_to_track)
        self.clock_tracked: dict[str, list[Any]] = {name: [] for name in self.time_to_track}
        self.stats_tracked: dict[str, list[Any]] = {name: [] for name in self.what_to_track}
        self.stats_update_counter = 0
        self.start_time = time()

    def extend_tracking(self, stats_keys: Iterable[str] | None = None, time_keys: Iterable[str] | None = None) -> None:
        """Add columns; those that are there stay as they are."""
        for name in stats_keys or ():
            _add_column(self.what_to_track, self.stats_tracked, name)
        for name in time_keys or ():
            _add_column(self.time_to_track, self.clock_tracked, name)

    def tick(self, clock: Mapping[str, Any]) -> dict[str, Any]:
        """Return the time variables of the next update: those of the caller stay, the others are counted and measured."""
        self.stats_update_counter += 1
        elapsed_s = time() - self.start_time
        return {"time_elapsed": elapsed_s, "num_updates": self.stats_update_counter, **clock}

    def add(self, clock: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
        """Append a row, and return its time variables with the time of day."""
        row = {"time": datetime.now().strftime("%y-%m-%d/%H:%M"), **clock}
        for names, columns, values in (
            (self.time_to_track, self.clock_tracked, row),
            (self.what_to_track, self.stats_tracked, stats),
        ):
            for name, value in values.items():
                _add_column(names, columns, name)
                columns[name].append(value)
        return row

    def restore(self, clock: Mapping[str, list[Any]], stats: Mapping[str, list[Any]]) -> None:
        """Take over the columns of earlier runs, and go on counting behind them."""
        self.extend_tracking(stats, clock)
        for name, values in clock.items():
            self.clock_tracked[name] = list(values)
        for name, values in stats.items():
            self.stats_tracked[name] = list(values)
        self.stats_update_counter = len(self.clock_tracked["time"])
        elapsed = [value for value in self.clock_tracked["time_elapsed"] if isinstance(value, (int, float))]
        self.start_time = time() - (elapsed[-1] if elapsed else 0.0)


def _add_column(names: list[str], columns: dict[str, list[Any]], name: str) -> None:
    if name not in columns:
        names.append(name)
        columns[name] = []
