"""Read streams as evidence: which run wrote which events, and whether every seal matches the lines before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlv import wire
from mlv.audit.file_history import FileVersion, is_attaching, versions_of
from mlv.audit.findings import Finding
from mlv.audit.format_check import LARGEST_SEQ, checked
from mlv.audit.redaction_record import Redactions
from mlv.audit.seq_ranges import Range, Seqs
from mlv.encoding import BadLine
from mlv.events import Dropped, Redacted, RunEnded, RunStarted, Seal
from mlv.store import layout
from mlv.store.ends import digest_if_final
from mlv.store.seals import Chain, is_redacted, run_and_seq

_MOST_FINDINGS = 20  # a file of another kind has a million bad lines, and one finding says as much


Lines = Callable[[str], Iterator[tuple[int, bytes]]]
"""Yields offset and bytes of each line of a stream."""


@dataclass
class RunEvidence:
    """Evidence about one run, from all streams."""

    id: str
    started: RunStarted | None = None
    """Its `run_started` event; a writer's own run has none."""
    is_ended: bool = False
    """Whether a `run_ended` is about it."""
    is_sealed: bool = False
    """Whether a seal is about it, in any stream."""
    last_heard: str = ""
    """Time of its latest event."""
    seqs: dict[str, Seqs] = field(default_factory=dict)
    """Numbers of its events, by stream."""
    dropped: list[Range] = field(default_factory=list)
    """Ranges of events that were not accepted, from `dropped` events."""


@dataclass
class Unsealed:
    """The lines of one run in one stream since its last seal there."""

    chain: Chain = field(default_factory=Chain)
    start: int = 0
    end: int = 0

    def add(self, start: int, line: bytes) -> None:
        """Add the next line."""
        if not self.chain.lines:
            self.start = start
        self.chain.take(line)
        self.end = start + len(line)


@dataclass
class Evidence:
    """Evidence about one experiment, from all its streams."""

    runs: dict[str, RunEvidence] = field(default_factory=dict)
    claims: list[FileVersion] = field(default_factory=list)
    """Versions of the experiment's files, as events record them."""
    saved: dict[Any, Mapping[str, Any]] = field(default_factory=dict)
    """The files of checkpoints, by folder and number."""
    findings: list[Finding] = field(default_factory=list)
    ends: set[str] = field(default_factory=set)
    """Digests of the final seals that are there."""
    named_ends: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Digests of the final seals that have to be there: who says so, and in which stream they were."""
    redactions: Redactions = field(default_factory=Redactions)
    lines: int = 0

    def run(self, name: str) -> RunEvidence:
        """Return the evidence about a run; a new, empty record where there is none yet."""
        evidence = self.runs.get(name)
        if evidence is None:
            evidence = self.runs[name] = RunEvidence(name)
        return evidence


class StreamExamination:
    """One pass over a stream's file, up to a size, that adds its lines to the evidence."""

    def __init__(
        self, lines: Lines, stream: str, size: int, evidence: Evidence, followed: StreamExamination | None = None
    ) -> None:
        """Prepare to read; `followed` is the stream whose runs go on in this one, which has to be read before."""
        self._all_lines = lines
        self.stream, self.size = stream, size
        self._followed = followed
        self.file = layout.stream_file(stream)
        self.unsealed: dict[str, Unsealed] = {}
        """Lines that no seal covers, by run."""
        self.half_line: tuple[int, bytes] | None = None
        """Offset and bytes of a line at the end without its newline."""
        self.is_finished = False
        """Whether the last line is the seal that a writer leaves over its own lines when it goes."""
        self._evidence = evidence
        self._bad_lines = 0

    def read(self) -> None:
        """Read the stream.

        Raises:
            OSError: The file cannot be read.
        """
        for start, line in self._lines():
            if line.endswith(b"\n"):
                self._take(start, line)
            else:
                self.half_line = (start, line)
                self.is_finished = False
        if self._bad_lines > _MOST_FINDINGS:
            more = self._bad_lines - _MOST_FINDINGS
            self._find("edited", f"{self.file}: {more} more lines are no events of format 1")

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        for start, line in self._all_lines(self.stream):
            if start >= self.size:
                return
            yield start, line[: self.size - start]

    def _take(self, start: int, line: bytes) -> None:
        self._evidence.lines += 1
        try:
            fields = checked(line)
        except BadLine as error:
            fields = {}
            self._bad(start, line, str(error))
        who = run_and_seq(line)
        if who is not None and is_redacted(line):
            where = f"{self.file}, bytes {start} to {start + len(line)}"
            self._evidence.redactions.replaced(*who, line, where, fields.get("type"))
        sealed = str(fields["data"]["of"]) if fields.get("type") == Seal.TYPE else None
        if sealed is not None:
            self._compare(start, start + len(line), Seal.from_data(fields["data"]))
        if who is not None:
            self._count(*who, start, line)
        if sealed is not None:
            self._seal(sealed, fields["data"]["sha256"])
            if (digest := digest_if_final(line)) is not None:
                self._evidence.ends.add(digest)
        self.is_finished = sealed is not None and who is not None and who[0] == sealed
        if fields:
            self._learn(fields)
            # A look at the bytes: a large table need not be walked through.
            if (wire.TAGGED in line and is_attaching(fields["type"])) or fields["type"] in ("checkpoint", Redacted.TYPE):
                self._attach(fields)

    def _count(self, run: str, seq: int, start: int, line: bytes) -> None:
        # A line that is no event counts as well where it still says whose it is: the seals were made over it.
        self._unsealed_of(run).add(start, line)
        if 1 <= seq <= LARGEST_SEQ:
            seqs = self._evidence.run(run).seqs
            if self.stream not in seqs:
                seqs[self.stream] = Seqs()
            seqs[self.stream].add(seq)

    def _unsealed_of(self, run: str) -> Unsealed:
        """Return the unsealed lines of a run; where it continues from another stream, with those that it left there."""
        if run not in self.unsealed:
            before = self._followed.unsealed.pop(run, None) if self._followed is not None else None
            self.unsealed[run] = before or Unsealed()
        return self.unsealed[run]

    def _seal(self, run: str, sha256: str) -> None:
        self.unsealed[run] = Unsealed(Chain(sha256))
        self._evidence.run(run).is_sealed = True

    def _learn(self, fields: Mapping[str, Any]) -> None:
        type_ = fields["type"]
        run = self._evidence.run(fields["run"])
        if type_ in (RunStarted.TYPE, Seal.TYPE):
            source = f"{self.file}: {'run' if type_ == RunStarted.TYPE else 'the final seal of'} {run.id}"
            # Ends that this one knew of when it was written: what is cut off later is missed here.
            after = fields["data"].get("after")
            for stream, digest in after.items() if isinstance(after, dict) else ():
                self._evidence.named_ends[str(digest)] = source, stream
        if fields["time"] > run.last_heard:
            run.last_heard = fields["time"]
        if type_ == RunStarted.TYPE:
            run.started = RunStarted.from_data(fields["data"])
        elif type_ == RunEnded.TYPE:
            self._evidence.run(fields["data"].get("of", run.id)).is_ended = True
        elif type_ == Dropped.TYPE:
            self._drop(Dropped.from_data(fields["data"]), run.id)
        elif type_ == Redacted.TYPE and isinstance(fields.get("data"), dict):
            self._evidence.redactions.take_event(fields["time"], fields["data"])

    def _attach(self, fields: Mapping[str, Any]) -> None:
        where = fields["time"], fields["run"], fields["seq"]
        self._evidence.claims += versions_of(fields["type"], fields.get("data"), *where, self._evidence.saved)

    def _drop(self, dropped: Dropped, run: str) -> None:
        subject = dropped.of or run
        self._evidence.run(subject).dropped.append((dropped.first, dropped.last))
        events = f"events {dropped.first} to {dropped.last}" if dropped.last > dropped.first else f"event {dropped.first}"
        self._find("intact", f"{events} of run {subject} could not be accepted when logged: {dropped.reason or 'no reason'}")

    def _bad(self, start: int, line: bytes, reason: str) -> None:
        self._bad_lines += 1
        if self._bad_lines <= _MOST_FINDINGS:
            end = start + len(line)
            text = f"{self.file}, bytes {start} to {end}: the line is no event of format 1, {reason}. Restore it from a copy"
            self._find("edited", text, start, end)

    # Seals.

    def _compare(self, start: int, end: int, seal: Seal) -> None:
        """Add a finding where a seal does not agree with the lines before it."""
        before = self._unsealed_of(seal.of)
        where = f"{self.file}: the seal at byte {start}"
        if layout.logical_stream(seal.stream) != layout.logical_stream(self.stream):
            text = f"{where} is one of the stream {seal.stream!r}: put the line back into its file"
            self._find("edited", text, start, end)
        elif seal.previous != before.chain.previous:
            self._report_previous(where, start, end, seal, before)
        elif seal.lines != before.chain.lines:
            self._report_count(where, start, end, seal, before)
        elif before.chain.is_forgotten:
            text = f"{where} covers a line that was redacted and forgotten, so nothing proves its {_lines(seal.lines)}"
            self._find("unproven", text, before.start, before.end)
        elif seal.sha256 != before.chain.hexdigest():
            text = (
                f"{where} does not fit the {_lines(seal.lines)} of run {seal.of} in bytes {before.start} to {before.end}: "
                f"their SHA-256 is {before.chain.hexdigest()}, it recorded {seal.sha256}. A line was changed, or lines "
                f"changed places; restore the file from a copy"
            )
            self._find("edited", text, before.start, before.end)

    def _report_previous(self, where: str, start: int, end: int, seal: Seal, before: Unsealed) -> None:
        previous = before.chain.previous
        if seal.previous is not None and previous is None:
            text = (
                f"{where} follows an earlier seal of run {seal.of}, SHA-256 {seal.previous}, which is not in the file. "
                f"Restore it from a copy"
            )
            self._find("missing", text, start, end)
            return
        text = (
            f"{where} follows the seal {seal.previous or 'none'} of run {seal.of}, but the one before it in the file is "
            f"{previous}: a seal was changed. Restore the file from a copy"
        )
        self._find("edited", text, start, end)

    def _report_count(self, where: str, start: int, end: int, seal: Seal, before: Unsealed) -> None:
        count = before.chain.lines
        text = f"{where} covers {_lines(seal.lines)} of run {seal.of}, and {count or 'none'} {_are(count)} there"
        if count < seal.lines:
            self._find("missing", f"{text}. Restore the file from a copy", before.start if count else start, end)
        else:
            self._find("edited", f"{text}: lines were added. Restore the file from a copy", before.start, end)

    def _find(self, verdict: str, text: str, start: int | None = None, end: int | None = None) -> None:
        self._evidence.findings.append(Finding(verdict, text, self.file, start, end))


def _lines(count: int) -> str:
    return f"{count} line" if count == 1 else f"{count} lines"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
