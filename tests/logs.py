"""What tests of reading share: lines as they stand in a log, and experiments made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TIME = "2026-01-01T00:00:{:09.6f}Z"


def line(run: str, seq: int, type: str = "event", second: float = 0.0, **fields: Any) -> bytes:
    """A line of a log."""
    record = {"run": run, "seq": seq, "time": TIME.format(second), "type": type, **fields}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def write(folder: Path, *lines: bytes, stream: str = "log") -> Path:
    """Put lines into a stream of an experiment, as they are."""
    path = folder / ("log.jsonl" if stream == "log" else f"{stream}.log.jsonl")
    path.write_bytes(b"".join(lines))
    return path


def read(folder: Path, stream: str = "log") -> list[dict[str, Any]]:
    """The lines of a stream, read by the standard library, which must find nothing but JSON in them."""
    path = folder / ("log.jsonl" if stream == "log" else f"{stream}.log.jsonl")
    return [json.loads(text, parse_constant=_refuse) for text in path.read_bytes().splitlines()]


def of_type(lines: Iterable[dict[str, Any]], type: str) -> list[dict[str, Any]]:
    """The lines of one type."""
    return [found for found in lines if found["type"] == type]


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")
