"""The runs of a project that a filter asks for, in an order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from mlv.compat.wandb.apis import history
from mlv.compat.wandb.apis.filters import MISSING, matches
from mlv.compat.wandb.apis.runs import StoredRun
from mlv.compat.wandb.errors import UsageError


class Runs(Sequence[StoredRun]):
    """The runs of a project that a filter asks for, in an order; they are read at the first use."""

    def __init__(self, every: Callable[[], Iterator[StoredRun]], filters: Mapping[str, Any], order: str) -> None:
        """Choose among runs. Not called by users: `Api().runs(path)` gives them."""
        self._every, self._filters, self.order = every, filters, order

    @cached_property
    def _runs(self) -> list[StoredRun]:
        runs = [run for run in self._every() if matches(self._filters, run.field)]
        key = self.order.lstrip("+-")
        ranked = [(value, run) for run in runs if (value := run.field(key)) is not MISSING]
        ranked.sort(key=lambda pair: _rank(pair[0]), reverse=self.order.startswith("-"))
        ids = {id(run) for _, run in ranked}
        return [run for _, run in ranked] + [run for run in runs if id(run) not in ids]

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> StoredRun: ...
    @overload
    def __getitem__(self, index: slice) -> list[StoredRun]: ...
    def __getitem__(self, index: int | slice) -> StoredRun | list[StoredRun]:
        return self._runs[index]

    @property
    def length(self) -> int:
        """How many there are."""
        return len(self)

    @property
    def more(self) -> bool:
        """Whether further pages follow: there are no pages."""
        return False

    def histories(
        self, samples: int = 500, keys: Sequence[str] | None = None, x_axis: str = "_step", format: str = "default"
    ) -> Any:
        """Return the rows of all runs, each with its `run_id`: a list of dicts, or with `format="pandas"` a data frame.

        Raises:
            UsageError: The format is neither.
        """
        if format not in ("default", "pandas"):
            raise UsageError(f"format={format!r}: give 'default' or 'pandas'")
        rows = [{"run_id": run.id, **row} for run in self for row in run.history(samples, keys, x_axis, pandas=False)]
        return history.as_frame(rows) if format == "pandas" else rows

    def __repr__(self) -> str:
        return f"<Runs: {len(self)}>"


def _rank(value: Any) -> tuple[int, Any]:
    """Return a key that brings values of any kinds into one order: numbers, then texts."""
    if isinstance(value, (int, float)):
        return (0, value) if value == value else (1, 0)
    return 2, str(value)
