"""An experiment of another tool as its importer tells it, for tests of the engine below."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from mlv.audit.merge import Tree
from mlv.experiment.importing.source import RunBegins, RunEnds, SourceEvent, SourceExperiment, SourceFile
from mlv.experiment.importing.writing import import_experiment

START = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def source(**options: Any) -> SourceExperiment:
    return SourceExperiment(
        **{"name": "exp", "created": START, "identity": {"format": "test", "id": "x1"}, "params": {"lr": 0.1}, **options}
    )


def steps(run: str, first: int, last: int) -> list[Any]:
    """Metrics, in two streams."""
    return [
        SourceEvent(run, at(step), "metrics", {"loss": 1 / (1 + step)}, step=step, stream="val" if step % 5 == 4 else "log")
        for step in range(first, last)
    ]


WHOLE = [
    RunBegins("a", at(0)),
    SourceEvent("a", at(0), "metadata", {"mode": "min"}, name="loss"),
    *steps("a", 1, 8),
    SourceEvent("a", at(8), "image", {"file": SourceFile(PNG, ".png"), "caption": "eight"}, name="val/one", step=8),
    RunBegins("b", at(9), parent="a"),
    *steps("b", 10, 13),
    SourceEvent("a", at(13), "summary", {"time_s": math.inf, "device": "cpu"}),
    RunEnds("b", at(14)),
    RunEnds("a", at(15), "failed", {"type": "ValueError", "message": "no", "traceback": "..."}),
    RunBegins("c", at(20), {"lr": 0.2}),
    *steps("c", 20, 24),
    RunEnds("c", at(25)),
]


def imported(root: Path, items: Any, *, dry_run: bool = False, **options: Any) -> Any:
    return import_experiment(source(**options), items, Tree(root), dry_run=dry_run)
