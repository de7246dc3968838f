"""Ending runs of a sweep early, as `early_terminate` says: a run that is not among the best at a band ends there.

The run itself compares, when it logs the metric: what others had reached at that band are files of the sweep,
`bands/<band>/<number>`. A band is a count of logged values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from mlv.compat.wandb.errors import UsageError

_MOST_BANDS, _MOST_BITS = 100, 900


class EarlyTermination(SystemExit):
    """A run of a sweep ends here: raised by `log`, and no failure of the script."""


def bands_of(early_terminate: Any) -> tuple[list[int], float]:
    """Return the bands of a setting, and the share of runs that end at each is `1 - 1 / eta`: `eta`.

    Raises:
        UsageError: It is no hyperband, or its numbers cannot be.
    """
    if not isinstance(early_terminate, Mapping) or early_terminate.get("type") != "hyperband":
        raise UsageError(f"early_terminate={early_terminate!r}: give {{'type': 'hyperband', 'min_iter': 3}}")
    eta = _number(early_terminate, "eta", 3)
    if eta <= 1:
        raise UsageError(f"early_terminate.eta={eta!r}: give a number above 1")
    most = min(_MOST_BANDS, int(_MOST_BITS / math.log2(eta)))  # higher powers are no floats, and bands of nobody
    if "max_iter" in early_terminate:
        count, last = int(_number(early_terminate, "s", 1)), _number(early_terminate, "max_iter", 1)
        bands = [int(last / eta**number) for number in range(1, min(count, most) + 1)]
    elif "min_iter" in early_terminate:
        first = _number(early_terminate, "min_iter", 1)
        bands = [int(first * eta**number) for number in range(most) if first * eta**number < 2**53]
    else:
        raise UsageError("early_terminate needs min_iter, or max_iter and s: give one of them")
    return sorted({band for band in bands if band >= 1}), eta


class Stopper:
    """Watches the metric of one run."""

    def __init__(self, folder: Path, number: int, config: Mapping[str, Any]) -> None:
        """Read what a sweep says.

        Args:
            folder: That of the sweep.
            number: Of the run's point.
            config: Of the sweep.

        Raises:
            UsageError: `early_terminate` cannot be read.
        """
        self._folder, self._number = folder, number
        self._bands, self._eta = bands_of(config["early_terminate"])
        self._is_strict = bool(config["early_terminate"].get("strict"))
        metric = config.get("metric") or {}
        self._path = str(metric.get("name", "")).replace(".", "/")
        self._sign = -1.0 if metric.get("goal") == "maximize" else 1.0
        self._count, self._best = 0, math.inf

    def reason_to_stop(self, row: Mapping[str, Any]) -> str | None:
        """Return why the run shall end behind a row; None if it shall not."""
        value = _value_of(row, self._path)
        if value is None:
            return None
        self._count += 1
        self._best = min(self._best, self._sign * value)
        band = max((band for band in self._bands if band <= self._count), default=None)
        if band is None or not (band == self._count or self._is_strict):
            return None
        others = self._others(band)
        if band == self._count:
            self._note(band)
        # Among the best of all that came here: wandb compares with the value of this rank.
        better = sum(other < self._best for other in others)
        allowed = math.floor((len(others) + 1) / self._eta)
        if better <= allowed:
            return None
        best = self._sign * self._best
        return f"hyperband: at {self._count} values, {better} of {len(others)} other runs are better than {best:g}"

    def stop(self, reason: str) -> NoReturn:
        """Leave a word for the agent, and end the script.

        Raises:
            EarlyTermination: Always.
        """
        with suppress(OSError):
            (self._folder / "points" / f"{self._number}.stopped").write_text(reason)
        raise EarlyTermination

    def _others(self, band: int) -> list[float]:
        values = []
        with suppress(OSError):
            for path in (self._folder / "bands" / str(band)).iterdir():
                with suppress(OSError, ValueError):
                    if path.name != str(self._number):
                        values.append(float(path.read_text()))
        return values

    def _note(self, band: int) -> None:
        with suppress(OSError):  # a full disk ends no run
            folder = self._folder / "bands" / str(band)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(self._number)).write_text(repr(self._best))


def _value_of(row: Mapping[str, Any], path: str) -> float | None:
    """Return the number of a metric in a row, which may be nested; None if there is none, or it is not finite."""
    value: Any = row.get(path)
    if value is None:
        first, _, below = path.partition("/")
        inner = row.get(first)
        return _value_of(inner, below) if isinstance(inner, Mapping) and below else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _number(setting: Mapping[str, Any], key: str, default: float) -> Any:
    value = setting.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 2**53:
        raise UsageError(f"early_terminate.{key}={value!r}: give a number above 0, and below 2**53")
    return value
