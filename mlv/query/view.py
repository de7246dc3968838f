"""An experiment as its meta.json and its log describe it: one view for `Exp`, for digests, and for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mlv.encoding import BadLine, parse_time
from mlv.query.runs import RunView, latest_status, total_s, views
from mlv.state import State
from mlv.store import layout


@dataclass(frozen=True)
class ExperimentView:
    """An experiment as a whole, at the moment of reading."""

    path: Path
    id: str
    meta: Mapping[str, Any]
    state: State = field(default_factory=State)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return layout.name_of(self.path)

    @property
    def made_as(self) -> str | None:
        """Name that it was created with, where its folder was renamed since."""
        return layout.made_as(self.path, self.meta)

    @property
    def kind(self) -> str | None:
        """Kind of experiment."""
        kind = self.meta.get("kind")
        return None if kind is None else str(kind)

    @property
    def created(self) -> str:
        """Time of creation, as recorded."""
        return str(self.meta.get("created") or "")

    @property
    def created_at(self) -> datetime | None:
        """Time of creation; None where the recorded text is no time."""
        try:
            return parse_time(self.created)
        except BadLine:
            return None

    @property
    def params(self) -> dict[str, Any]:
        """Params that it was created with, and those that were added."""
        return {**(self.meta.get("params") or {}), **self.state.params}

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that it was created with, and those that were added; without those taken away."""
        return self.state.tags_with(self.meta.get("tags"))

    @property
    def notes(self) -> tuple[str, ...]:
        """The note that it was created with, and those that were added."""
        recorded = self.meta.get("notes")
        return (*((str(recorded),) if recorded else ()), *self.state.notes)

    @property
    def is_archived(self) -> bool:
        """Whether lists leave it out."""
        return self.state.is_archived

    @property
    def parent_id(self) -> str | None:
        """ID of the experiment that it started from."""
        identity = self.captured("parent").get("id")
        return identity if isinstance(identity, str) else None

    def captured(self, section: str) -> Mapping[str, Any]:
        """Return a mapping of meta.json, such as `git` or `machine`; empty where it was not recorded."""
        content = self.meta.get(section)
        return content if isinstance(content, Mapping) else {}

    def status(self, now: datetime) -> str:
        """Return the status of the latest run."""
        return latest_status(self.state, self.created, now)

    def total_s(self, now: datetime) -> float | None:
        """Return the seconds that all runs took together."""
        return total_s(self.state, now)

    def runs(self, now: datetime) -> list[RunView]:
        """Return the runs, the latest last, and those of children below them."""
        return views(self.state, now)
