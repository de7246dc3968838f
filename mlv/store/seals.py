"""Seals: proof that the lines of a run in a stream are the ones that were written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mlv import wire
from mlv.encoding import loads
from mlv.store.streams import read_digests

_REDACTED = re.compile(
    rb'\{"run":"[^"]*","seq":\d+,"time":"[^"]*","redacted":\{(?:"sha256":"([0-9a-f]{64})"[,}])?'  # where mlv puts it
)

_DIGEST = re.compile(r"[0-9a-fA-F]{64}\Z")


def is_redacted(line: bytes) -> bool:
    """Return whether a line was redacted since it was written."""
    return _REDACTED.match(line) is not None


def line_digest(line: bytes) -> bytes | None:
    """Return the SHA-256 of a line as first written, which a redacted line names; None where that was forgotten."""
    match = _REDACTED.match(line)
    if match is None:
        return hashlib.sha256(line).digest()
    return bytes.fromhex(match[1].decode()) if match[1] else None


class Chain:
    """The digest that a seal of one run in one stream would hold now."""

    def __init__(self, previous: str | None = None) -> None:
        self.previous = previous
        self.lines = 0
        self.is_forgotten = False
        """Whether the digest of a line in the chain is lost: then no seal over it can be proven."""
        self._digest = hashlib.sha256(_bytes_of(previous) if previous else b"")

    def add(self, lines: Iterable[bytes]) -> None:
        """Take whole lines, newline included."""
        digests = [hashlib.sha256(line).digest() for line in lines]
        self._digest.update(b"".join(digests))
        self.lines += len(digests)

    def take(self, line: bytes) -> None:
        """Take a line as it stands in a file, redacted perhaps."""
        digest = line_digest(line)
        self.is_forgotten = self.is_forgotten or digest is None
        self.add_digest(digest or hashlib.sha256(line).digest())

    def add_digest(self, line_sha256: bytes) -> None:
        """Take a line by the SHA-256 of its bytes, newline included."""
        self._digest.update(line_sha256)
        self.lines += 1

    def hexdigest(self) -> str:
        """Return the digest over the previous seal and all lines taken so far."""
        return self._digest.hexdigest()


def _bytes_of(digest: str) -> bytes:
    """Decode the digest that a seal names; an invalid one leads to a chain that no seal agrees with."""
    return bytes.fromhex(digest) if _DIGEST.match(digest) else digest.encode("utf-8", "backslashreplace")


def run_and_seq(line: bytes) -> tuple[str, int] | None:
    """Return run and number of a line, without parsing it where mlv wrote it; None if it is no event."""
    if (who := wire.run_and_seq(line)) is not None:
        return who[0].decode("utf-8", "replace"), who[1]
    try:
        fields = loads(line)
        return str(fields["run"]), int(fields["seq"])
    except (ValueError, KeyError, TypeError):
        return None


def sealed_by(line: bytes) -> tuple[str, str] | None:
    """Return the run and digest that a seal names, None if the line is no seal."""
    if wire.quoted("seal") not in line:
        return None
    try:
        fields = loads(line)
        if fields["type"] != "seal":  # the text stood in a user's data
            return None
        return str(fields["data"]["of"]), str(fields["data"]["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def chains_of(*paths: Path) -> dict[str, Chain]:
    """Return the open chain of every run in a stream's file and in the files that follow it; empty without files."""
    chains: dict[str, Chain] = {}
    for path in paths:
        with suppress(FileNotFoundError):  # nobody wrote into the stream yet
            _go_on(chains, path)
    return chains


def _go_on(chains: dict[str, Chain], path: Path) -> None:
    for line, sha256 in read_digests(path):
        who = run_and_seq(line)
        if who is None:
            continue
        chain = chains.setdefault(who[0], Chain())
        if is_redacted(line):
            chain.take(line)
        else:
            chain.add_digest(sha256)
        if (sealed := sealed_by(line)) is not None:
            chains[sealed[0]] = Chain(previous=sealed[1])
