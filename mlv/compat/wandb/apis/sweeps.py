"""Sweeps as `wandb.Api()` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlv.compat.wandb import limits
from mlv.compat.wandb.apis.filters import MISSING
from mlv.compat.wandb.apis.listing import Runs
from mlv.compat.wandb.apis.runs import StoredRun
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.sweeps.folder import SweepFolder
from mlv.compat.wandb.sweeps.parameters import grid_size, parameters_of
from mlv.compat.wandb.sweeps.search import Search, goal_of


class StoredSweep:
    """A sweep, and the runs of its points."""

    def __init__(self, project: Path, sweep_id: str, runs_of: Callable[[Mapping[str, Any]], Runs]) -> None:
        """Read a sweep. Not called by users: `Api().sweep(path)` gives sweeps.

        Raises:
            NotFound: There is none.
        """
        self._folder = SweepFolder.of_id(project, sweep_id)
        self._runs_of = runs_of

    @property
    def id(self) -> str:
        """The ID."""
        return self._folder.id

    @property
    def name(self) -> str:
        """What its config calls it, or the ID."""
        return str(self.config.get("name") or self.id)

    @property
    def config(self) -> dict[str, Any]:
        """Its config."""
        return self._folder.config

    @property
    def entity(self) -> str:
        """Who or what it belongs to, where somebody said so."""
        return str(self._folder.facts.get("entity") or "")

    @property
    def project(self) -> str:
        """The name of the project."""
        return self._folder.project.name

    @property
    def path(self) -> list[str]:
        """Entity, project and ID."""
        return [self.entity, self.project, self.id]

    @property
    def url(self) -> str:
        """The address of its folder."""
        return self._folder.path.absolute().as_uri()

    @property
    def state(self) -> str:
        """`RUNNING` while an agent tries a point, `FINISHED` when there is nothing left to try, else `PENDING`."""
        points = self._folder.points()
        if any(self._folder.is_tried(point) for point in points):
            return "RUNNING"
        is_done = all(point.is_done for point in points)
        is_exhausted = Search(self._folder, is_asked=False).is_exhausted(points, {point.number for point in points})
        return "FINISHED" if is_done and is_exhausted else "PENDING"

    @property
    def expected_run_count(self) -> int | None:
        """How many points it has; None where they are not limited."""
        cap = self.config.get("run_cap")
        if self.config["method"] != "grid":
            return cap
        count = grid_size(parameters_of(self.config["parameters"]))
        return count if cap is None else min(count, cap)

    @property
    def order(self) -> str | None:
        """The order of runs with the best one first, as `Api().runs` takes it; None without a metric."""
        name, goal = goal_of(self.config)
        return None if name is None else f"{'-' if goal == 'maximize' else '+'}summary_metrics.{name}"

    @property
    def runs(self) -> Runs:
        """Its runs."""
        return self._runs_of({"sweep": self.id})

    def best_run(self, order: str | None = None) -> StoredRun | None:
        """Return the run with the best summary of the metric, None if no run has one.

        Args:
            order: Another order than that of the config's metric.

        Raises:
            UsageError: There is neither an order nor a metric.
        """
        order = order or self.order
        if order is None:
            raise UsageError(f"sweep {self.id} has no metric: give best_run(order='+summary_metrics.loss')")
        runs = Runs(lambda: iter(self.runs), {}, order)
        return next((run for run in runs if run.field(order.lstrip("+-")) is not MISSING), None)

    def load(self, force: bool = False) -> StoredSweep:
        """Read its config again, with `force=True`."""
        if force:
            self._folder = SweepFolder(self._folder.path)
        return self

    def __getattr__(self, name: str) -> Any:
        limits.missing("Sweep", name)

    def __repr__(self) -> str:
        return f"<Sweep {'/'.join(filter(None, self.path))} ({self.state})>"
