"""An experiment as the tables of a lake have it, as a digest like that of its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from mlv.encoding import utc_text
from mlv.frozen import frozen
from mlv.query.digest import Digest
from mlv.query.metrics.schema import from_json_text
from mlv.query.runs import RunView

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
Record = Mapping[str, Any]


@dataclass(frozen=True)
class LakeDigest(Digest):
    """An experiment as the tables of a lake have it."""

    recorded: Record = field(default_factory=dict)
    """Its row in the table of experiments."""
    recorded_runs: tuple[RunView, ...] = ()

    @property
    def made_as(self) -> str | None:
        """Name that it was created with, where its folder was renamed since."""
        return self.recorded["made_as"]  # type: ignore[no-any-return]

    @property
    def kind(self) -> str | None:
        """Kind of experiment."""
        return self.recorded["kind"]  # type: ignore[no-any-return]

    @property
    def created(self) -> str:
        """Time of creation."""
        return "" if self.created_at is None else utc_text(self.created_at)

    @property
    def created_at(self) -> datetime | None:
        """Time of creation; None where the recorded text is no time."""
        return self.recorded["created"]  # type: ignore[no-any-return]

    @property
    def params(self) -> dict[str, Any]:
        """Params that it was created with, and those that were added."""
        return _settings(self.recorded["params"])

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        return tuple(self.recorded["tags"] or ())

    @property
    def notes(self) -> tuple[str, ...]:
        """Its notes."""
        return tuple(self.recorded["notes"] or ())

    @property
    def is_archived(self) -> bool:
        """Whether lists leave it out."""
        return bool(self.recorded["archived"])

    @property
    def parent_id(self) -> str | None:
        """ID of the experiment that it started from."""
        return self.recorded["parent"]  # type: ignore[no-any-return]

    def captured(self, section: str) -> Mapping[str, Any]:
        """Return what the lake has of a section of meta.json: of `git`, `machine` and `parent`."""
        if section == "parent":
            return {"id": self.parent_id}
        return (self.recorded[section] or {}) if section in ("git", "machine") else {}

    def status(self, now: datetime) -> str:
        """Return the status of the latest run when the lake was built."""
        return self.recorded["status"]  # type: ignore[no-any-return]

    def total_s(self, now: datetime) -> float | None:
        """Return the seconds that all runs took together."""
        return self.recorded["total_s"]  # type: ignore[no-any-return]

    def runs(self, now: datetime) -> list[RunView]:
        """Return the runs, the latest last, and those of children below them."""
        return list(self.recorded_runs)


def _settings(items: Iterable[tuple[str, str]] | None) -> dict[str, Any]:
    return {name: frozen(from_json_text(text)) for name, text in items or ()}


def run_views(rows: Sequence[Record], parent: str | None = None) -> tuple[RunView, ...]:
    """Return the runs that a run started, or those that none did, by their start."""
    own = sorted((row for row in rows if row["parent_run"] == parent), key=lambda row: (row["started"] or _EPOCH, row["run"]))
    return tuple(
        RunView(
            row["run"], row["status"], row["started"], row["ended"], row["duration_s"], bool(row["paused"]),
            _settings(row["params"]), _only(type=row["exception"], message=row["message"]), _only(host=row["host"]),
            row["parent_run"], run_views(rows, row["run"]) if len(rows) > 1 else (),
        )
        for row in own
    )  # fmt: skip


def _only(**fields: Any) -> dict[str, Any] | None:
    """Return a record of a log as far as the lake has it; None where it was not recorded."""
    return fields if any(value is not None for value in fields.values()) else None
