"""What tests of the lake share: trees that grow, and what a lake and the logs say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import logs

from mlv.lake import Lake
from mlv.store.meta import write_meta

CREATED = "2026-11-03T00:00:00.000000Z"


def make(folder: Path, *, params: dict[str, Any] | None = None, created: str = CREATED) -> Path:
    """An experiment without any line."""
    folder.mkdir(parents=True)
    write_meta(folder, {"format": 1, "name": folder.name, "created": created, "params": params or {"path": str(folder.name)}})
    return folder


def append(folder: Path, *lines: bytes, stream: str = "log") -> None:
    """Add bytes to a stream."""
    path = folder / ("log.jsonl" if stream == "log" else f"{stream}.log.jsonl")
    with path.open("ab") as file:
        file.write(b"".join(lines))


def metrics(run: str, seq: int, step: Any = None, **data: Any) -> bytes:
    """A line of metrics."""
    fields = {"step": step} if step is not None else {}
    return logs.line(run, seq, "metrics", seq / 1000, **fields, data=data)


def rows(lake: Lake, table: str = "metrics") -> list[tuple[Any, ...]]:
    """The rows of a table, in an order of their own."""
    return sorted(tuple(map(str, row.values())) for row in lake.arrow(table).to_pylist())


def values(lake: Lake) -> list[tuple[str, str, int, Any]]:
    """Run, name, seq and value of each point, sorted."""
    table = lake.arrow("metrics", ["run", "name", "seq", "value"])
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=str)
