"""Lines of JSON, an object for each row: histories of W&B, logs of scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from mlv.importers import tables
from mlv.importers.listing import SourceListing
from mlv.importers.reading import SourceReading, Unit

NAME = "jsonl"
_LOOKED_AT = 1000


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the files that were named."""
    for path in tables.files(listing, (".jsonl", ".ndjson")):
        yield tables.unit(NAME, path, listing, rows_of)


def rows_of(path: Path, reading: SourceReading) -> tuple[list[str], tables.Rows]:
    """Return the names that the first lines of a file have, and its rows."""
    names: dict[str, None] = {}
    for number, row in enumerate(rows(path, SourceReading(reading.options))):
        if number >= _LOOKED_AT:
            break
        names.update(dict.fromkeys(row))
    return list(names), rows(path, reading)


def rows(path: Path, reading: SourceReading) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of the lines of a file; a last line without an end that is none waits for the next import."""
    with open(path, "rb") as file:
        for line in file:
            reading.advance(len(line))
            row = object_of(line)
            if row is not None:
                yield row
            elif not line.endswith(b"\n"):
                reading.note("the last line is not complete: it is still being written, or was cut off")
            elif line.strip():
                reading.leave("lines that are no object of JSON")


def object_of(line: bytes) -> dict[str, Any] | None:
    """Return the object in a line, None where it is none."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            row = json.loads(line)  # knows NaN and infinities
        except (ValueError, RecursionError):
            return None
    return row if isinstance(row, dict) else None
