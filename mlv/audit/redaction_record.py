"""Redactions that a log records: the lines that were replaced, and the events that explain them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.audit.findings import Finding
from mlv.events import Redacted
from mlv.store import identities
from mlv.store.masking import ESSENTIAL
from mlv.store.seals import line_digest

_MOST_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class _Replaced:
    sha256: str
    """SHA-256 of the line in its present form."""
    where: str
    is_forgotten: bool
    type: str | None
    """The event's type, where the line still has its data; None for a line that is a hash only."""
    has_file: bool


@dataclass
class Redactions:
    """The redactions of one experiment, collected as its streams are read."""

    _lines: dict[tuple[str, int], _Replaced] = field(default_factory=dict)
    _listed: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    _summaries: list[str] = field(default_factory=list)
    _new_ids: dict[str, str] = field(default_factory=dict)

    def replaced(self, run: str, seq: int, line: bytes, where: str, type: str | None) -> None:
        """Add a redacted line, with its present type."""
        digest, is_forgotten = hashlib.sha256(line).hexdigest(), line_digest(line) is None
        own = type if type != Redacted.TYPE or wire.DATA in line else None
        self._lines[run, seq] = _Replaced(digest, where, is_forgotten, own, wire.TO_FILE in line)

    def take_event(self, time: str, data: Mapping[str, Any]) -> None:
        """Add the data of a `redacted` event."""
        lines, files = (entries if isinstance(entries := data.get(key), list) else [] for key in ("lines", "files"))
        meta = data.get("meta")
        for line in lines:
            if isinstance(line, dict) and type(seq := line.get("seq", 0)) is int:
                self._listed.setdefault((str(line.get("run")), seq), set()).add(str(line.get("sha256")))
        if isinstance(meta, dict):
            self._new_ids[str(meta.get("old"))] = str(meta.get("new"))
        subjects = [f"{len(lines)} events"] * bool(lines) + [f"{len(files)} files"] * bool(files) + ["meta.json"] * bool(meta)
        subjects = subjects or ["half lines or caches"]
        self._summaries.append(
            f"{data.get('who')} redacted {', '.join(subjects)} at {time}: {data.get('reason') or 'no reason given'}"
        )

    def earlier_ids(self, identity: str) -> list[str]:
        """Return the IDs that the experiment had before its meta.json was redacted."""
        return identities.earlier_ids(identity, self._new_ids)

    def findings(self, folder: Path | str, identity: str | None) -> Iterator[Finding]:
        """Yield notes on each redaction, and findings where one is not explained, not proven or not complete.

        `identity` is the present ID of the experiment.
        """
        yield from (Finding("intact", text) for text in self._summaries)
        wrong = [name for name, line in self._lines.items() if line.sha256 not in self._listed.get(name, ())]
        for run, seq in wrong[:_MOST_FINDINGS]:
            state = "looks redacted, and no `redacted` event tells of it" if (run, seq) not in self._listed else "was redacted"
            text = f"{self._lines[run, seq].where}: event {seq} of run {run} {state}, so it was changed. Restore it from a copy"
            yield Finding("edited", text)
        partial = [name for name, line in self._lines.items() if line.type is not None and name not in wrong]
        odd = [name for name in partial if self._lines[name].type not in ESSENTIAL and not self._lines[name].has_file]
        for run, seq in odd[:_MOST_FINDINGS]:
            text = (
                f"{self._lines[run, seq].where}: event {seq} of run {run} is called redacted and has data, which a redaction "
                f"leaves in no event of type {self._lines[run, seq].type!r}: it was made up. Restore it from a copy"
            )
            yield Finding("edited", text)
        if len(partial) > len(odd):
            text = (
                f"{len(partial) - len(odd)} redacted events kept what others rest on: only who redacted them vouches that the "
                f"rest of their data is as it was"
            )
            yield Finding("unproven", text)
        forgotten = sum(line.is_forgotten for line in self._lines.values())
        if forgotten:
            yield Finding("unproven", f"{forgotten} redacted events were forgotten: nothing proves that they were as they were")
        if identity in self._new_ids:
            yield Finding("unproven", f"meta.json was to be redacted, and is not: run `mlv redact {folder}` again", "meta.json")
        standing = len(self._listed.keys() - self._lines.keys())
        if standing:
            text = f"{standing} events that were to be redacted are not: run `mlv redact {folder}` again"
            yield Finding("unproven", text)
