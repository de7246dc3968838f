"""What the bridges from XGBoost, LightGBM and CatBoost share: rounds of boosting as steps, and models as checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlv.integrations.arguments import checked_interval
from mlv.integrations.connection import Connection


class Rounds:
    """The rounds of one or several trainings in an experiment: the number of a round, from 0, is the step."""

    def __init__(self, connection: Connection, save_every: int | None, suffix: str) -> None:
        """Keep where the rounds go, and after how many of them the model is saved; nothing is written yet.

        Raises:
            InvalidArgument: `save_every` is no whole number above 0.
        """
        self.connection = connection
        self._save_every, self._suffix = checked_interval("save_every", save_every), suffix
        self._saved: int | None = None

    def begin(self, first: int) -> None:
        """Go on behind the rounds of the model that training starts from; with 0 it starts from none."""
        self._saved = None
        if first > 0:
            self.connection.rewind(first - 1)

    def record(self, step: int, metrics: Mapping[str, Any], save: Callable[[Path], object] | None) -> None:
        """Log the metrics of a round, and save the model where it is its turn; `save` writes it to a path."""
        self.connection.log(metrics, step=step)
        if self._save_every is not None and (step + 1) % self._save_every == 0:
            self.save(step, metrics, save)

    def save(self, step: int, metrics: Mapping[str, Any], save: Callable[[Path], object] | None) -> None:
        """Save the model of a round to the experiment's checkpoints, if models are to be saved and it is not there yet."""
        if self._save_every is None or save is None or self._saved == step:
            return
        with self.connection.guard("a checkpoint"):
            numbers = {name: value for name, value in metrics.items() if not isinstance(value, str)}
            self.connection.exp.checkpoints().save(save, step=step, metrics=numbers, suffix=self._suffix)
            self._saved = step
