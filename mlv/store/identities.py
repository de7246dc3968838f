"""The IDs by which an experiment is known: that of its meta.json, and those it had before meta.json was redacted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mlv import wire
from mlv.encoding import loads
from mlv.events import Redacted
from mlv.store import layout
from mlv.store.streams import lines_with


def known_ids(folder: Path) -> list[str]:
    """Return the experiment's ID, then its earlier ones, the latest first; empty where its meta.json cannot be read."""
    current = layout.exp_id(folder)
    return [current, *earlier_ids(current, dict(renamings(folder)))] if current else []


def earlier_ids(identity: str, new_of: dict[str, str]) -> list[str]:
    """Return the IDs that became this one, from a mapping of old IDs to new ones."""
    earlier: list[str] = []
    pending = [identity]
    while pending:
        after = pending.pop()
        before = [old for old, new in new_of.items() if new == after and old not in (identity, *earlier)]
        earlier += before
        pending += before
    return earlier


def renamings(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the old and the new ID of each redaction of meta.json that the log records."""
    for stream in layout.streams_in(folder):
        with suppress(OSError):
            for line in lines_with(folder / layout.stream_file(stream), wire.REDACTED):
                yield from _renaming(line)


def _renaming(line: bytes) -> Iterator[tuple[str, str]]:
    with suppress(ValueError, KeyError, TypeError):
        fields = loads(line)
        if fields["type"] == Redacted.TYPE:
            yield str(fields["data"]["meta"]["old"]), str(fields["data"]["meta"]["new"])
