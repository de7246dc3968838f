"""The folder of a sweep: its config, and the points that agents have claimed, in plain files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv.compat.wandb.errors import NotFound
from mlv.compat.wandb.folders import SWEEPS, generate_id
from mlv.compat.wandb.sweeps.locks import HeldLock, hold, is_held

_ID = re.compile(r"[A-Za-z0-9_-]+")
_POINTS = "points"
_MOST_TRIES = 3
"""Tries of a point whose agents die: it may be what kills them."""
_POLL_S = 0.01
_WITHIN_S = 60.0  # an agent that holds the sweep's lock reads its points, and asks for the next one
_OWN_WITHIN_S = 5.0  # whoever looks at a point holds its lock for a moment
AGAIN = ("interrupted",)
"""Ends of a point with which it is claimed once more."""


@dataclass(frozen=True)
class Point:
    """A config that an agent tries, or tried."""

    number: int
    config: dict[str, Any]
    position: dict[str, Any]
    run_id: str
    tries: int = 1
    end: Mapping[str, Any] = field(default_factory=dict)
    """How it ended: `state`, `value` of the metric, `ended`; empty before."""

    @property
    def is_done(self) -> bool:
        """Whether nobody needs to try it once more."""
        return self.tries >= _MOST_TRIES or (bool(self.end) and self.end.get("state") not in AGAIN)


Propose = Callable[[list[Point], set[int]], "tuple[int, dict[str, Any], dict[str, Any]] | None"]
"""Returns number, config and position of the next point, by the points and numbers that were claimed; None for none."""


@dataclass(frozen=True)
class Claim:
    """The right to try a point, which lasts as long as a process of it does."""

    sweep: SweepFolder
    point: Point
    lock: HeldLock | None

    @property
    def path(self) -> Path:
        """The file of the point."""
        return self.sweep.path_of(self.point.number)

    def release(self, state: str, value: float | None) -> None:
        """Record how the point ended, and let go of it."""
        end = {"state": state, "value": value, "run": self.point.run_id, "ended": _now()}
        _write(self.path.with_suffix(".end.json"), end)
        if self.lock is not None:
            self.lock.release()


class SweepFolder:
    """A sweep on the disk."""

    def __init__(self, path: Path) -> None:
        """Read a sweep.

        Raises:
            NotFound: There is none.
        """
        self.path, self.id = path, path.name
        try:
            self.facts: dict[str, Any] = json.loads((path / "sweep.json").read_text())
            self.config: dict[str, Any] = self.facts["config"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotFound(f"there is no sweep {path.name!r} in {path.parent.parent}: {error}") from error

    @classmethod
    def of_id(cls, project: Path, sweep_id: str) -> SweepFolder:
        """Read the sweep of a project that has an ID.

        Raises:
            NotFound: There is none, or it is no ID, which may come from the events of a run.
        """
        if not _ID.fullmatch(sweep_id):
            raise NotFound(f"{sweep_id!r} is no ID of a sweep: give what wandb.sweep(config) returned")
        return cls(project / SWEEPS / sweep_id)

    @classmethod
    def made(cls, project: Path, config: Mapping[str, Any], entity: str) -> SweepFolder:
        """Make a sweep with a new ID.

        Raises:
            OSError: Nothing can be written there.
        """
        path = project / SWEEPS / generate_id()
        (path / _POINTS).mkdir(parents=True)
        _write(path / "sweep.json", {"id": path.name, "entity": entity, "created": _now(), "config": config})
        return cls(path)

    @property
    def project(self) -> Path:
        """The folder of its project."""
        return self.path.parent.parent

    def path_of(self, number: int) -> Path:
        """Return the file of a point."""
        return self.path / _POINTS / f"{number}.json"

    def points(self) -> list[Point]:
        """Return the points that were claimed, by number."""
        points = map(self._point, sorted(self._numbers()))
        return [point for point in points if point is not None]

    def is_tried(self, point: Point) -> bool:
        """Return whether a process of some agent tries a point now."""
        return not point.end and is_held(self._lock_of(point.number))

    def claim(self, propose: Propose) -> Claim | None:
        """Take a point for this agent: one whose agent died, or else the next one; None if there is none.

        Raises:
            OSError: Nothing can be written there.
        """
        with self._alone():
            points = self.points()
            again = next(filter(None, map(self._taken_over, points)), None)
            if again is not None:
                return again
            while (proposal := propose(points, self._numbers())) is not None:
                number, config, position = proposal
                point = Point(number, config, position, generate_id())
                if _publish(self.path_of(number), _content(point)):
                    return Claim(self, point, _held(self._lock_of(number), _OWN_WITHIN_S))
        return None

    def _taken_over(self, point: Point) -> Claim | None:
        """Take a point whose agent died, or was interrupted; return None for others."""
        if point.is_done:
            return None
        lock = hold(self._lock_of(point.number))
        if lock is None:
            return None
        # Read it again under its lock: its agent may have recorded its end between the two.
        now = self._point(point.number)
        if now is None or now.is_done or not lock.is_certain:
            lock.drop()
            return None
        path = self.path_of(point.number)
        for ending in (".end.json", ".stopped"):  # of the try before
            path.with_suffix(ending).unlink(missing_ok=True)
        again = replace(now, run_id=generate_id(), tries=now.tries + 1, end={})
        _write(path, _content(again))
        return Claim(self, again, lock)

    def _point(self, number: int) -> Point | None:
        path = self.path_of(number)
        try:
            facts = json.loads(path.read_text())
            point = Point(number, facts["config"], facts["position"], str(facts["run"]), int(facts["tries"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with suppress(OSError, ValueError):
            return replace(point, end=json.loads(path.with_suffix(".end.json").read_text()))
        return point

    def _numbers(self) -> set[int]:
        names = (name.removesuffix(".json") for name in os.listdir(self.path / _POINTS))
        return {int(name) for name in names if name.isdecimal()}

    def _lock_of(self, number: int) -> Path:
        return self.path / _POINTS / f"{number}.lock"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one agent after the other run the block; after a minute, or where locks do not work, nobody is kept out."""
        lock = _held(self.path / "lock", _WITHIN_S)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()


def _held(path: Path, within_s: float) -> HeldLock | None:
    """Hold a lock as soon as nobody else does; None where that takes too long."""
    deadline = monotonic() + within_s
    while (lock := hold(path)) is None and monotonic() < deadline:
        sleep(_POLL_S)
    return lock


def _content(point: Point) -> dict[str, Any]:
    return {
        "number": point.number, "config": point.config, "position": point.position, "run": point.run_id,
        "tries": point.tries, "claimed": _now(),
    }  # fmt: skip


def _publish(path: Path, content: Mapping[str, Any]) -> bool:
    """Write a new file, whole; return False if there is one of that name."""
    temporary = path.with_name(f".{path.name}.{generate_id()}")
    temporary.write_text(json.dumps(content))
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        try:
            with open(path, "x") as file:
                file.write(json.dumps(content))
        except FileExistsError:
            return False
    finally:
        temporary.unlink()
    return True


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{generate_id()}")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
