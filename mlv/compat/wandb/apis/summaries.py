"""The summary of a run that was logged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv import Exp

_OF_DEFINITIONS = ("min", "max", "mean")
"""Statistics that are mappings in a summary of wandb."""


class StoredSummary(dict[str, Any]):
    """Last values, or what a definition makes of them, and what a script put there."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        """Keep values. Not called by users: `run.summary` gives them."""
        super().__init__(values)
        self._path = path
        self._changed: dict[str, Any] = {}

    @classmethod
    def of(cls, exp: Exp) -> StoredSummary:
        """Read the summary of an experiment."""
        values: dict[str, Any] = {}
        last_step: float = -1
        for name, metric in exp.summary().items():
            if metric.statistic in _OF_DEFINITIONS:
                values[name] = {metric.statistic: metric.value}
            elif metric.statistic != "none":
                values[name] = metric.value if metric.statistic == "summary" else metric.last
            last_step = max(last_step, metric.last_step if isinstance(metric.last_step, (int, float)) else -1)
        for event in exp.events("event", name="wandb/summary"):
            values.update(event.data)
        runs = exp.runs
        if runs and runs[-1].duration_s is not None:
            values["_runtime"] = runs[-1].duration_s
        return cls({**values, "_step": last_step}, exp.path)

    @property
    def _json_dict(self) -> dict[str, Any]:
        return dict(self)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._changed[key] = value

    def update(self, *args: Any, **options: Any) -> None:
        """Put values there, and store them."""
        for key, value in dict(*args, **options).items():
            self[key] = value
        self.save()

    def save(self) -> None:
        """Store the values that were put there: an event `summary` of a further run of the experiment."""
        changed, self._changed = self._changed, {}
        if changed:
            with Exp.open(self._path) as exp:
                exp.summarize(changed)
