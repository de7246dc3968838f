"""Verify many experiments, on an executor: one that cannot be read does not keep the others from being judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlv.audit.findings import Report
from mlv.audit.verify import verify
from mlv.errors import MlvError
from mlv.executors import On, executor_of
from mlv.query.many.tasks import TaskBatch, batches, run_on_experiments
from mlv.store import layout


@dataclass(frozen=True)
class Judged:
    """An experiment, and the report on it, or the reason why there is none."""

    path: Path | str
    """Its folder, or its URL."""
    report: Report | None = None
    error: str = ""


def verify_many(folders: Sequence[Path], on: On = None) -> Iterator[Judged]:
    """Judge experiments, as `verify` does, and yield each in their order.

    Raises:
        InvalidArgument, MissingExtra, TaskNotDone: As `executor_of` and `run_tasks`.
    """
    with executor_of(on) as executor:
        # An absolute path means the same folder in every process; the reports speak of the path that was asked about.
        tasks = batches(folders, layout.absolute, most=_MOST)
        for results in run_on_experiments(executor, _judged, tasks):
            yield from results


_MOST = 4
"""Experiments in a task: their files are hashed as well."""


def _judged(batch: TaskBatch[Path]) -> list[Judged]:
    return [_judged_one(folder, path) for folder, path in zip(batch.folders, batch.items, strict=True)]


def _judged_one(folder: Path, path: Path) -> Judged:
    try:
        report = verify(folder)
    except (MlvError, OSError) as error:
        return Judged(path, None, str(error).replace(str(folder), str(path)))
    findings = [replace(finding, text=finding.text.replace(str(folder), str(path))) for finding in report.findings]
    return Judged(path, replace(report, path=path, findings=tuple(findings)))
