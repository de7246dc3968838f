"""Findings of an examination, each with a verdict, and the report with the worst of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERDICTS = ("intact", "unproven", "truncated", "missing", "edited")
"""From the best to the worst.

intact: everything is as it was written. unproven: nothing speaks against it, but nothing proves it, such as a run that goes
on. truncated: the end of a file is cut off. missing: something that was written is not there. edited: something is not as it
was written.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation of an examination; with the verdict `intact` it is a note."""

    verdict: str
    text: str
    """A sentence: what happened, where, with which value, and what to do."""
    file: str | None = None
    """The file it is about, relative to the experiment."""
    start: int | None = None
    """Offset of the first byte that it is about."""
    end: int | None = None
    """Offset behind the last byte that it is about."""

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON, without the fields that do not apply."""
        fields = {"verdict": self.verdict, "file": self.file, "start": self.start, "end": self.end, "text": self.text}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of an examination, and how much it read."""

    verdict: str
    """The worst verdict of the findings."""
    id: str | None
    """SHA-256 of meta.json as it is now, None if it cannot be read."""
    path: Path | str
    """The folder, or the URL in a bucket."""
    findings: tuple[Finding, ...]
    """The worst first."""
    runs: int
    streams: int
    lines: int
    size_bytes: int
    """Of all streams together."""
    attachments: int
    digest: str | None = None
    """The digest of everything written until now, for `verify --expect`; None while a run goes on."""

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON."""
        return {
            "verdict": self.verdict, "id": self.id, "path": str(self.path), "runs": self.runs, "streams": self.streams,
            "lines": self.lines, "size_bytes": self.size_bytes, "attachments": self.attachments, "digest": self.digest,
            "findings": [finding.to_data() for finding in self.findings],
        }  # fmt: skip


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst verdict, `intact` where there is no finding."""
    return max((finding.verdict for finding in findings), key=VERDICTS.index, default="intact")


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings ordered by verdict; those of equal verdict keep their order."""
    return tuple(sorted(findings, key=lambda finding: -VERDICTS.index(finding.verdict)))
