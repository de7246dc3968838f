"""Runs that were logged, as `wandb.Api()` gives them: experiments, read through `mlv.find`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mlv import Exp
from mlv.compat.wandb import folders, limits
from mlv.compat.wandb.apis import history
from mlv.compat.wandb.apis.files import File, files_of
from mlv.compat.wandb.apis.filters import MISSING
from mlv.compat.wandb.apis.summaries import StoredSummary
from mlv.compat.wandb.artifacts import Artifact
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.restoring import config_of

STATES = {
    "running": "running",
    "ok": "finished",
    "failed": "failed",
    "interrupted": "killed",
    "preempted": "preempted",
    "killed": "crashed",
    "lost": "crashed",
}
"""What wandb calls the statuses of experiments."""
_POLL_S = 0.5


class StoredRun:
    """A run that was logged: read when an attribute is asked for, and as it was then until `load(force=True)`."""

    def __init__(self, exp: Exp, project: str, sweep_of: Callable[[str, str], Any]) -> None:
        """Read a run. Not called by users: `Api().run(path)` gives runs.

        Args:
            exp: The experiment.
            project: The name of the project.
            sweep_of: Returns a sweep by project and ID.
        """
        self._exp, self._project, self._sweep_of = exp, project, sweep_of

    # Identity.

    @cached_property
    def id(self) -> str:
        """The ID: the one of its `init`, or of an experiment that others made, the beginning of that one's."""
        return str(self._facts.get("id") or self._exp.short_id)

    @property
    def exp(self) -> Exp:
        """The experiment of mlv."""
        return self._exp

    @cached_property
    def name(self) -> str:
        """The name: that of the experiment's folder, unless a script set another."""
        return str(self._facts.get("name") or self._exp.name)

    @property
    def display_name(self) -> str:
        """The name."""
        return self.name

    @property
    def project(self) -> str:
        """The name of the project."""
        return self._project

    @property
    def entity(self) -> str:
        """Who or what it belongs to, where somebody said so."""
        return str(self._facts.get("entity") or "")

    @property
    def path(self) -> list[str]:
        """Entity, project and ID."""
        return [self.entity, self._project, self.id]

    @property
    def url(self) -> str:
        """The address of the experiment's folder."""
        return self._exp.path.absolute().as_uri()

    @property
    def group(self) -> str | None:
        """The name of the group."""
        return self._facts.get("group")

    @property
    def job_type(self) -> str | None:
        """The sort of run."""
        return self._facts.get("job_type") or self._exp.kind

    @property
    def username(self) -> str | None:
        """Who ran it."""
        return (self._exp.meta.get("machine") or {}).get("user")

    @cached_property
    def tags(self) -> list[str]:
        """Words to find it by; `update()` stores those that are added."""
        return list(self._exp.tags)

    @cached_property
    def notes(self) -> str | None:
        """A text for people, the latest one."""
        return self._exp.notes[-1] if self._exp.notes else None

    @property
    def state(self) -> str:
        """One of `running finished failed killed crashed preempted`."""
        return STATES.get(self._exp.status, self._exp.status)

    @property
    def created_at(self) -> str:
        """When it began, in UTC."""
        return str(self._exp.meta["created"])

    @property
    def heartbeat_at(self) -> str | None:
        """When it ended, in UTC; None while it goes on."""
        runs = self._exp.runs
        return None if not runs or runs[-1].ended is None else runs[-1].ended.isoformat()

    @property
    def sweep_name(self) -> str | None:
        """The ID of the sweep that it belongs to."""
        return self._facts.get("sweep")

    @property
    def sweep(self) -> Any:
        """The sweep that it belongs to; None without one."""
        return None if self.sweep_name is None else self._sweep_of(self._project, self.sweep_name)

    @property
    def metadata(self) -> dict[str, Any]:
        """Script, commit and machine."""
        meta = self._exp.meta
        script, git, machine = (meta.get(key) or {} for key in ("script", "git", "machine"))
        return {
            "program": script.get("path"), "args": list(script.get("argv") or ())[1:], "git": dict(git), **dict(machine),
        }  # fmt: skip

    # Values.

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config; `update()` stores what is changed."""
        return config_of(self._exp)

    @property
    def rawconfig(self) -> dict[str, Any]:
        """The config."""
        return self.config

    @property
    def json_config(self) -> str:
        """The config as a text of JSON, each value below `value`."""
        return json.dumps({key: {"value": value} for key, value in self.config.items()}, default=str)

    @cached_property
    def summary(self) -> StoredSummary:
        """The summary; values that are put there are stored by `update`, of it or of the run."""
        return StoredSummary.of(self._exp)

    @property
    def summary_metrics(self) -> dict[str, Any]:
        """The summary as a dict."""
        return dict(self.summary)

    @property
    def last_history_step(self) -> int:
        """The step of the last row; -1 without rows."""
        return int(self.summary["_step"])

    lastHistoryStep = last_history_step  # noqa: N815 - of wandb

    def history(
        self,
        samples: int = 500,
        keys: Sequence[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: str = "default",
    ) -> Any:
        """Return rows, evenly spread where there are more than `samples`.

        Args:
            samples: How many at most.
            keys: Only rows that have all of these metrics, with these alone.
            x_axis: What is in each row beside them.
            pandas: Whether they come as a data frame, where pandas is installed; or as a list of dicts.
            stream: `default`; metrics of the machine are those of `run.exp.history(stream="system")`.

        Raises:
            UnsupportedError: Another stream is asked for.
        """
        if stream != "default":
            limits.refuse(f"history(stream={stream!r})", 'run.exp.history(stream="system") has the metrics of the machine')
        names = list(dict.fromkeys((x_axis, *keys))) if keys else None
        rows = history.sampled(list(history.chosen(self._rows, names)), samples)
        return history.as_frame(rows) if pandas else rows

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        page_size: int = 1000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Yield all rows, or those that have all of some metrics, with these alone.

        Args:
            keys: The metrics.
            page_size: Does nothing here.
            min_step: The first step.
            max_step: The step behind the last one.
            use_cache: Does nothing here.
        """
        yield from history.chosen(history.between(self._rows, min_step, max_step), keys)

    beta_scan_history = scan_history

    # Files.

    def files(self, names: Sequence[str] | None = None, pattern: str | None = None, per_page: int = 50) -> list[File]:
        """Return the files: all, those of some names, or those of a pattern."""
        return files_of(self._exp.path, names, pattern)

    def file(self, name: str) -> File:
        """Return a file, which need not be there before it is downloaded."""
        path = self._exp.path / "files" / name
        is_within = path.resolve().is_relative_to((self._exp.path / "files").resolve())
        if not is_within or Path(name).is_absolute() or ".." in Path(name).parts:  # below the folder of a download, too
            raise UsageError(f"file {name!r} is not below the files of run {self.id}: run.files() lists those that are")
        return File(name, path)

    def upload_file(self, path: Any, root: Any = ".") -> File:
        """Attach a file, under its path from a folder.

        Raises:
            FileUnusable: There is no such file.
        """
        name = Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()
        with Exp.open(self._exp.path) as exp:
            exp.attach(path, name)
        return self.file(name)

    def logged_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """Return the versions of artifacts that it logged, as far as they are there."""
        return self._artifacts("wandb/log_artifact")

    def used_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """Return the versions of artifacts that it used, as far as they are there."""
        return self._artifacts("wandb/use_artifact")

    # Changes.

    def update(self) -> None:
        """Store tags that were added, a config and a summary that were changed, notes and a name: in a further run."""
        tags = [tag for tag in self.tags if tag not in self._exp.tags]
        before = config_of(self._exp)
        config = {key: value for key, value in self.config.items() if key not in before or before[key] != value}
        with Exp.open(self._exp.path) as exp:
            if tags:
                exp.add_tags(*tags)
            if config:
                exp.add_params(config, lenient=True)
            if self.notes and self.notes not in self._exp.notes:
                exp.add_note(self.notes)
            if self.name != (self._facts.get("name") or self._exp.name):
                exp.log("wandb/run", {"name": self.name})
        self.summary.save()

    save = update

    def load(self, force: bool = False) -> StoredRun:
        """Forget what was read, with `force=True`, so that it is read again."""
        if force:
            self._exp = Exp.open(self._exp.path)
            for name in ("id", "name", "tags", "notes", "config", "summary", "_facts", "_rows"):
                vars(self).pop(name, None)
        return self

    def wait_until_finished(self) -> None:
        """Wait until it has ended."""
        while self.state == "running":
            time.sleep(_POLL_S)
        self.load(force=True)

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return a link to the experiment's folder."""
        return f'<a href="{self.url}">{self.name}</a>'

    def field(self, key: str) -> Any:
        """Return the value of a field of filters; `MISSING` if there is none. Not called by users.

        Raises:
            UsageError: There is no such field.
        """
        first, _, path = key.partition(".")
        if first == "config":
            value = _deep(self.config, path)
            return _deep(self.config, path.removesuffix(".value")) if value is MISSING else value
        if first in ("summary_metrics", "summaryMetrics", "summary"):
            return _deep(self.summary, path)
        name = _FIELDS.get(key, key)
        if name not in _FIELDS.values():
            raise UsageError(f"filters: {key!r} is no field: give config.<key>, summary_metrics.<key>, {', '.join(_FIELDS)}")
        value = getattr(self, name)
        return MISSING if value is None else value

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        if (self._exp.path / folders.OWN).is_dir():  # others have no such events, and their logs may be long
            for event in self._exp.events("event", name="wandb/run"):
                facts.update(event.data)
        return facts

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return history.rows_of(self._exp)

    def _artifacts(self, name: str) -> list[Artifact]:
        versions = []
        for event in self._exp.events("event", name=name):
            project = folders.clean(str(event.data.get("project") or "")) or self._project
            try:
                reference = str(event.data.get("artifact"))
                versions.append(Artifact.of_version(self._exp.path.parent.parent / project, reference))
            except UsageError:  # its record was removed
                continue
        return versions

    def __getattr__(self, name: str) -> Any:
        limits.missing("Run", name)

    def __repr__(self) -> str:
        return f"<Run {'/'.join(filter(None, self.path))} ({self.state})>"


_FIELDS = {
    "name": "id", "id": "id", "display_name": "name", "displayName": "name", "state": "state", "tags": "tags",
    "group": "group", "job_type": "job_type", "jobType": "job_type", "created_at": "created_at", "createdAt": "created_at",
    "heartbeat_at": "heartbeat_at", "heartbeatAt": "heartbeat_at", "notes": "notes", "sweep": "sweep_name",
    "project": "project", "entity": "entity", "username": "username", "user": "username",
}  # fmt: skip
"""Fields of filters and orders, and the attributes that they stand for: `name` is the ID, as in wandb."""


def _deep(values: Mapping[str, Any], path: str) -> Any:
    """Return the value of a path with dots; a key may hold dots itself."""
    if path in values:
        return values[path]
    slashed = path.replace(".", "/")  # metrics that were nested
    if slashed in values:
        return values[slashed]
    words = path.split(".")
    for count in range(len(words) - 1, 0, -1):
        inner = values.get(".".join(words[:count]))
        if isinstance(inner, Mapping):
            return _deep(inner, ".".join(words[count:]))
    return MISSING
