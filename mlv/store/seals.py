"""Seals: what proves that the lines of a run in a stream are the ones that were written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import orjson

from mlv.store.streams import read_digests


class Chain:
    """The digest that a seal of one run in one stream would hold now."""

    def __init__(self, previous: str | None = None) -> None:
        self.previous = previous
        self.lines = 0
        self._digest = hashlib.sha256(bytes.fromhex(previous) if previous else b"")

    def add(self, lines: Iterable[bytes]) -> None:
        """Take whole lines, newline included."""
        digests = [hashlib.sha256(line).digest() for line in lines]
        self._digest.update(b"".join(digests))
        self.lines += len(digests)

    def add_digest(self, line_sha256: bytes) -> None:
        """Take a line by the SHA-256 of its bytes, newline included."""
        self._digest.update(line_sha256)
        self.lines += 1

    def hexdigest(self) -> str:
        """The digest over the previous seal and all lines taken so far."""
        return self._digest.hexdigest()


def run_and_seq(line: bytes) -> tuple[str, int] | None:
    """Who made a line, without reading it whole where mlv wrote it; None if it is no event."""
    if line.startswith(b'{"run":"'):
        end = line.find(b'"', 8)
        if line[end : end + 8] == b'","seq":':
            stop = line.find(b",", end + 8)
            digits = line[end + 8 : stop]
            if digits.isdigit():
                return line[8:end].decode("utf-8", "replace"), int(digits)
    try:
        fields = orjson.loads(line)
        return str(fields["run"]), int(fields["seq"])
    except (ValueError, KeyError, TypeError):
        return None


def sealed_by(line: bytes) -> tuple[str, str] | None:
    """Run and digest that a seal names, None if the line is no seal."""
    if b'"seal"' not in line:
        return None
    try:
        fields = orjson.loads(line)
        if fields["type"] != "seal":  # the text stood in a user's data
            return None
        return str(fields["data"]["of"]), str(fields["data"]["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def chains_of(path: Path) -> dict[str, Chain]:
    """The chain of every run in a stream's file, as it would go on; empty if there is no file."""
    chains: dict[str, Chain] = {}
    try:
        for line, sha256 in read_digests(path):
            who = run_and_seq(line)
            if who is None:
                continue
            chains.setdefault(who[0], Chain()).add_digest(sha256)
            if (sealed := sealed_by(line)) is not None:
                chains[sealed[0]] = Chain(previous=sealed[1])
    except FileNotFoundError:
        pass
    return chains
