"""The planner of a lake: from what changed in a source since the latest plan to the next plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mlv.encoding import utc_text
from mlv.errors import LakeError
from mlv.lake import plans
from mlv.lake.plans import ExpPosition, LogKey, LogPosition, Plan, PlanEntry, Positions, Range
from mlv.lake.sources import LogFile, LogSource
from mlv.lake.survey import FolderToSurvey, Log, NewRange, Survey, identity_of, survey
from mlv.query.view import ExperimentView
from mlv.state import LOST_AFTER
from mlv.store.meta import meta_of

_SETTLED_S = LOST_AFTER.total_seconds() + 60
"""So long after its last line an experiment without a seal is looked at again: its status may become `killed` or `lost`."""


class Folder(NamedTuple):
    """A folder with an experiment, as it was listed."""

    path: str
    logs: dict[LogKey, LogFile]


class SurveyTask(NamedTuple):
    """Folders that one worker surveys."""

    source: LogSource
    folders: tuple[FolderToSurvey, ...]
    is_thorough: bool


def run_survey(task: SurveyTask) -> list[Survey]:
    """Survey the folders of a task."""
    return [survey(task.source, folder, is_thorough=task.is_thorough) for folder in task.folders]


RunSurveys = Callable[[Sequence[SurveyTask]], Iterable[list[Survey]]]


@dataclass
class Planner:
    """Plans what is new in a source."""

    source: LogSource
    positions: Positions
    run_surveys: RunSurveys
    is_thorough: bool = False
    """Whether all lines that were taken are read again."""
    since: datetime | None = None
    """The moment from before which all lines were taken, if there is one."""

    def news(self) -> Iterator[list[Folder]]:
        """Yield the folders in which there may be news, as many together as make a plan."""
        batch: list[Folder] = []
        size = 0
        for path in self._paths():
            folder = Folder(path, self.source.logs(path))
            if not (self.is_thorough or self.has_news(folder)):
                continue
            new = self._new_bytes(folder)
            if batch and (size + new > plans.PLAN_BYTES or len(batch) >= plans.PLAN_EXPERIMENTS):
                yield batch
                batch, size = [], 0
            batch.append(folder)
            size += new
        if batch:
            yield batch

    def _paths(self) -> Iterator[str]:
        """Yield the paths of experiments that may have news."""
        since = None if self.is_thorough else self.since
        listed = dict.fromkeys(self.source.paths(since, self._paths_of))
        yield from listed
        if since is not None:
            unsettled = (each for each in self.positions.experiments.values() if not each.is_settled)
            yield from [path for each in list(unsettled) for path in each.folders if path not in listed]

    def _paths_of(self, exp: str) -> list[str]:
        position = self.positions.experiments.get(exp)
        return list(position.folders) if position is not None else []

    def has_news(self, folder: Folder) -> bool:
        """Return whether a folder differs from what was taken of it, or may be about to."""
        exp = self.positions.exp_at.get(folder.path)
        if exp is None or not folder.logs:
            return True
        before = self.positions.logs_at(exp, folder.path)
        if before.keys() != folder.logs.keys() or any(before[key].stamp != log.stamp for key, log in folder.logs.items()):
            return True
        return not self.positions.experiments[exp].is_settled

    def _new_bytes(self, folder: Folder) -> int:
        before = self.positions.logs_at(self.positions.exp_at.get(folder.path, ""), folder.path)
        ends = {key: position.end for key, position in before.items()}
        return sum(max(0, log.size - ends.get(key, 0)) for key, log in folder.logs.items())

    def plan(self, folders: Sequence[Folder]) -> Plan | None:
        """Return the next plan for some folders; None where nothing is new in them.

        Experiments of which a log no longer begins with what was taken, or of which the latest plan could not take what it
        names, come first, in a plan of their own: their rows are replaced.
        """
        month_of: dict[str, str] = {}
        by_exp: dict[str, list[Folder]] = {}
        surveys: dict[str, list[Survey]] = {}
        changed = {exp: self.positions.experiments[exp].month for exp in sorted(self.positions.gone)}
        folders = [folder for folder in folders if self.is_thorough or self.has_news(folder)]  # another builder took others
        for folder, own in zip(folders, self._surveys(folders, is_new=False), strict=True):
            if own.identity is None:
                continue
            exp, month_of[own.identity.exp] = own.identity
            by_exp.setdefault(exp, []).append(folder)
            surveys.setdefault(exp, []).append(own)
            before = self.positions.exp_at.get(folder.path, exp)
            if before != exp:  # the folder of another experiment, or meta.json was redacted
                changed[before] = self.positions.experiments[before].month
                changed[exp] = month_of[exp]
        for exp, all_own in surveys.items():
            if exp not in changed and (any(each.is_changed for each in all_own) or self._is_redacted_elsewhere(exp, all_own)):
                changed[exp] = self.positions.experiments[exp].month
        if changed:
            return self._replacing(changed, by_exp, month_of)
        entries = [
            entry
            for exp, own in surveys.items()
            for entry in self._entries(exp, month_of[exp], own, self.positions.experiments.get(exp), by_exp[exp])
        ]
        return self._made(entries) if entries else None

    def _is_redacted_elsewhere(self, exp: str, surveys: Sequence[Survey]) -> bool:
        """Return whether a copy has new lines that were redacted: rows of the same lines may have come from another copy."""
        position = self.positions.experiments.get(exp)
        copies = {(path, copy) for path, logs in (position.folders if position else {}).items() for _, copy in logs}
        redacted = _redacted_copies(surveys)
        return bool(redacted and copies - redacted)

    def _replacing(
        self, changed: Mapping[str, str], by_exp: Mapping[str, Sequence[Folder]], month_of: Mapping[str, str]
    ) -> Plan:
        """Return a plan that replaces all rows of experiments."""
        wanted: dict[str, list[Folder]] = {}
        for exp in changed:
            position = self.positions.experiments.get(exp)
            own = {folder.path: folder for folder in by_exp.get(exp, ())}
            for path in position.folders if position is not None else ():
                if path not in own and self._is_still(exp, path):
                    own[path] = Folder(path, self.source.logs(path))
            if own:
                wanted[exp] = list(own.values())
        surveyed = iter(self._surveys([folder for own in wanted.values() for folder in own], is_new=True))
        surveys = {exp: list(islice(surveyed, len(own))) for exp, own in wanted.items()}
        entries = [
            entry
            for exp, own in surveys.items()
            # In a folder where another experiment is by now there is nothing to take.
            if (still := [each for each in own if each.identity is not None and each.identity.exp == exp])
            for entry in self._entries(exp, month_of.get(exp, changed[exp]), still, None, wanted[exp])
        ]
        return self._made(entries, changed)

    def _surveys(self, folders: Sequence[Folder], *, is_new: bool) -> list[Survey]:
        """Return the survey of each folder."""
        shares = (self._to_survey(folder, is_new=is_new) for folder in folders)
        tasks = plans.tasks_of(shares, plans.TASK_BYTES, plans.TASK_EXPERIMENTS)
        results = self.run_surveys([SurveyTask(self.source, task, self.is_thorough and not is_new) for task in tasks])
        surveys = [own for result in results for own in result]
        for own in surveys:
            is_blind = not own.has_meta and self.source.meta(own.path) is not None
            if is_blind or (own.missing and not set(own.missing).isdisjoint(self.source.logs(own.path))):
                raise LakeError(
                    f"a worker cannot read {own.path} below {self.source.root}, which is there: give all workers the "
                    f"same folders, or build from a bucket"
                )
        return surveys

    def _to_survey(self, folder: Folder, *, is_new: bool) -> FolderToSurvey:
        exp = None if is_new else self.positions.exp_at.get(folder.path)
        before = {} if exp is None else self.positions.logs_at(exp, folder.path)
        keys = list(dict.fromkeys([*folder.logs, *before]))
        logs = (Log(key, folder.logs.get(key, LogFile(0, (), 0.0)), before.get(key, LogPosition())) for key in keys)
        return FolderToSurvey(folder.path, exp, tuple(logs))

    def _entries(
        self, exp: str, month: str, surveys: Sequence[Survey], before: ExpPosition | None, folders: Sequence[Folder]
    ) -> list[PlanEntry]:
        """Return the entries of an experiment; none where there is nothing new."""
        month = before.month if before is not None else month
        position = ExpPosition(month, {path: dict(logs) for path, logs in (before.folders if before else {}).items()})
        entries: list[PlanEntry] = []
        redacted = _redacted_copies(surveys)
        # What was redacted in one copy is not to come from another.
        for own in sorted(surveys, key=lambda each: not any(path == each.path for path, _ in redacted)):
            logs: dict[LogKey, LogPosition] = {}
            ranges: list[Range] = []
            position.folders.setdefault(own.path, {})  # also of an experiment without any line
            for key, after, new_ranges in sorted(own.logs, key=lambda log: (own.path, log[0][1]) not in redacted):
                at_first = position.folders[own.path].get(key)
                ranges += self._ranges(position, own.path, key, new_ranges)
                position.folders[own.path][key] = after
                if after != at_first:
                    logs[key] = after
            if logs or own.path not in (before.folders if before else {}):
                entries += _cut(PlanEntry(exp, own.path, month, tuple(ranges), logs))
        is_settled = before is not None and before.is_settled
        if entries or not is_settled:
            entries = self._with_summary(exp, entries, position, folders)
        return entries

    def _ranges(self, position: ExpPosition, path: str, key: LogKey, new_ranges: Sequence[NewRange]) -> Iterator[Range]:
        """Yield ranges of one log; of lines that another copy brought before they name the number."""
        stream, copy = key
        base = plans.base_of(stream)
        copies = {(path, own) for path, logs in position.folders.items() for _, own in logs}
        for new in new_ranges:
            repeats: dict[str, int] = {}
            if len(copies | {(path, copy)}) > 1:
                repeats = plans.repeated(new.lines, position.lines_in(path, copy, base), position.taken(base))
            yield Range(stream, copy, new.start, new.end, new.sha256, repeats)
            at = position.folders[path].get(key, LogPosition())
            lines = {run: at.lines.get(run, 0) + new.lines.get(run, 0) for run in {**at.lines, **new.lines}}
            position.folders[path][key] = replace(at, lines=lines)

    def _with_summary(
        self, exp: str, entries: list[PlanEntry], position: ExpPosition, folders: Sequence[Folder]
    ) -> list[PlanEntry]:
        """Return entries of which one, that of the longest copy, makes the rows of the experiment as a whole."""
        listed = {folder.path: folder.logs for folder in folders}
        sizes = {path: sum(each.end for each in logs.values()) for path, logs in position.folders.items()}
        paths = [path for path in sizes if path in listed or (self.source.logs(path) and self._is_still(exp, path))]
        if not paths:
            return entries
        longest = max(paths, key=lambda path: (sizes[path], path in listed))
        logs = listed.get(longest) or self.source.logs(longest)
        is_sealed = bool(logs) and all(each.is_sealed for each in position.folders[longest].values())
        latest = max((log.changed for log in logs.values()), default=None) or self._made_at(longest)
        is_settled = is_sealed or time.time() - latest > _SETTLED_S
        last = next((index for index in reversed(range(len(entries))) if entries[index].path == longest), None)
        if last is None:
            return [*entries, PlanEntry(exp, longest, position.month, is_summarized=True, is_settled=is_settled)]
        entries[last] = replace(entries[last], is_summarized=True, is_settled=is_settled)
        return entries

    def _made_at(self, path: str) -> float:
        """Return the moment when an experiment was made: it is running for some minutes, and then lost."""
        try:
            created = ExperimentView(Path(path), "", meta_of(self.source.meta(path) or b"").content).created_at
        except ValueError:
            created = None
        return created.timestamp() if created is not None else 0.0

    def _is_still(self, exp: str, path: str) -> bool:
        identity = identity_of(path, self.source.meta(path))
        return identity is not None and identity.exp == exp

    def _made(self, entries: Sequence[PlanEntry], replaced: Mapping[str, str] | None = None) -> Plan:
        return Plan(
            self.positions.number + 1, self.positions.sha256, utc_text(datetime.now(timezone.utc)), self.source.root,
            plans.tasks_of(entries, plans.TASK_BYTES, plans.TASK_EXPERIMENTS), replaced or {},
        )  # fmt: skip


def _redacted_copies(surveys: Sequence[Survey]) -> set[tuple[str, str]]:
    """Return path and copy of the logs with new lines that were redacted."""
    return {
        (each.path, copy)
        for each in surveys
        for (_, copy), _, new_ranges in each.logs
        if any(new.is_redacted for new in new_ranges)
    }


def _cut(entry: PlanEntry) -> Iterator[PlanEntry]:
    """Yield an entry, or several where it is too large for a task; the last one has the positions."""
    ranges: list[Range] = []
    size = 0
    for each in entry.ranges:
        if ranges and size + each.end - each.start > plans.TASK_BYTES:
            yield replace(entry, ranges=tuple(ranges), logs={})
            ranges, size = [], 0
        ranges.append(each)
        size += each.end - each.start
    yield replace(entry, ranges=tuple(ranges))
