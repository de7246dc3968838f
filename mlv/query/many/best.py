"""All metrics of an experiment at the step where one of them is best."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Any

from mlv.errors import InvalidArgument
from mlv.executors import On, executor_of
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.many import values
from mlv.query.many.tasks import TaskBatch, batches, light, run_on_experiments
from mlv.query.metrics import long_table
from mlv.query.metrics.selection import plain_step


def at_best_of_many(digests: Iterable[Digest], metric: str, mode: str | None, on: On) -> list[dict[str, Any]]:
    """Return what `at_best` does of each experiment; `on` says where their logs are read."""
    tasks = batches(map(light, digests), lambda digest: digest.path)
    with executor_of(on) as executor:
        return list(chain.from_iterable(run_on_experiments(executor, partial(_at_best, metric, mode), tasks)))


def _at_best(metric: str, mode: str | None, batch: TaskBatch[Digest]) -> list[dict[str, Any]]:
    return [at_best(digest, metric, mode) for digest in batch.items]


def at_best(digest: Digest, metric: str, mode: str | None = None) -> dict[str, Any]:
    """Return the step at which a metric is best, and the value of each metric there; empty where it has no number.

    The earliest of equal bests counts. Of another metric it is the latest value of that step, or else of the last step before
    it; where the best was logged without a step, the latest value up to that line.

    Args:
        digest: The experiment.
        metric: Full name of the metric.
        mode: `min` or `max`; None takes the mode of `log.describe(metric, mode=...)`.

    Raises:
        InvalidArgument: The mode is neither, or was never described.
        MissingExtra: pyarrow is not installed.
    """
    np = package("numpy")
    described = mode or digest.state.descriptions.get(metric, {}).get("mode")
    if metric not in digest.metrics:
        return {}
    if described not in ("min", "max"):
        raise InvalidArgument(f"best={metric!r}: {digest.path} does not say which is best; give mode='min' or 'max'", mode=mode)
    table = long_table.metrics_of_many(digest.path)
    table = table.take(values.in_order(table))
    names = np.asarray(table.column("name").to_pylist(), object)
    value, step = (np.asarray(table.column(name).cast("float64").to_numpy(), float) for name in ("value", "step"))
    # The rows are in the order of the events: `argmin` takes the earliest of equals.
    own = np.flatnonzero((names == metric) & ~np.isnan(value))
    if not len(own):
        return {}
    best = own[np.argmin(value[own]) if described == "min" else np.argmax(value[own])]
    result = {"step": plain_step(float(step[best]))}
    for name in digest.metrics:
        rows = np.flatnonzero((names == name) & ~np.isnan(value))
        if name == metric:
            rows = own[own == best]
        elif np.isnan(step[best]):
            rows = rows[rows <= best]
        else:
            rows = rows[step[rows] <= step[best]]
            rows = rows[step[rows] == step[rows].max()] if len(rows) else rows
        if len(rows):
            result[name] = float(value[rows[-1]])
    return result
