"""Verify an experiment: check that its files on disk are complete and unchanged, as far as that can be proven."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from mlv.audit import seq_ranges
from mlv.audit.evidence import Evidence, RunEvidence, StreamExamination
from mlv.audit.file_history import FileVersion, histories, references
from mlv.audit.findings import Finding, Report, worst, worst_first
from mlv.audit.seq_ranges import Range
from mlv.audit.subjects import Subject, folder_subject
from mlv.encoding import BadLine, loads, parse_time
from mlv.errors import InvalidArgument, MlvError, NotAnExperiment
from mlv.state import Run
from mlv.store import layout
from mlv.store.claims import FOR_MERGES
from mlv.store.owners import process_is_gone
from mlv.store.references import holds

FORMAT = 1
"""The format whose rules these are: of another one nothing can be proven by them."""


def verify(folder: Path, expect: str | None = None, stream: str | None = None) -> Report:
    """Judge an experiment by its files on disk. Nothing is changed, and only one line is in memory at a time.

    Args:
        folder: The experiment.
        expect: The digest that was printed when a run ended: everything written until then must be present and unchanged.
        stream: The stream of a log file that belongs to no experiment: that file alone is judged, without a meta.json.

    Raises:
        InvalidArgument: `expect` is no digest.
        NotAnExperiment: The folder holds neither a meta.json nor a log.
        OSError: A log is there, but cannot be read.
    """
    if not layout.is_experiment(folder) and not (folder.is_dir() and layout.streams_in(folder)):
        raise NotAnExperiment(
            f"{folder} holds no experiment: neither {layout.META} nor a log. Give the folder that Exp printed", path=str(folder)
        )
    return examined(folder_subject(folder, stream), expect, stream)


def examined(subject: Subject, expect: str | None = None, stream: str | None = None) -> Report:
    """Judge an experiment, wherever its lines come from. Nothing is changed, and only one line is in memory at a time.

    Args:
        subject: The experiment.
        expect: As in `verify`.
        stream: As in `verify`.

    Raises:
        InvalidArgument: `expect` is no digest.
        OSError: A log is there, but cannot be read.
    """
    if expect is not None and not re.fullmatch("[0-9a-f]{64}", expect := expect.strip().lower()):
        raise InvalidArgument(f"expect={expect!r:.100} is no digest: give the 64 digits that Exp.close() told", expect=expect)
    return _Examination(subject, expect, stream).report()


class _Examination:
    """One examination of an experiment, or of a log file that belongs to none."""

    def __init__(self, subject: Subject, expect: str | None, stream: str | None) -> None:
        self._subject, self._folder, self._expect, self._stream = subject, subject.path, expect, stream
        self._around = subject.surroundings()
        self._sizes = subject.sizes()
        self._has_grown = False
        self._evidence = Evidence()
        self._streams = self._examinations()
        self._cut_off: set[str] = set()
        self._renamed: set[str] = set()

    def _examinations(self) -> list[StreamExamination]:
        by_stream: dict[str, StreamExamination] = {}
        for name, size in self._sizes.items():  # a stream comes before the one that follows it
            followed = by_stream.get(layout.followed_by(name) or "")
            by_stream[name] = StreamExamination(self._subject.lines, name, size, self._evidence, followed)
        return list(by_stream.values())

    def report(self) -> Report:
        """Examine everything, and return the report."""
        for name in self._subject.odd_streams():
            self._find("edited", f"{name} is no regular file, so nothing was read of it. Restore it from a copy", name)
        for stream in self._streams:
            stream.read()
        # Claims are read before and after the streams: a writer claims before its first line, and releases after its last.
        self._around = self._around.and_later(self._subject.surroundings())
        self._has_grown = self._subject.sizes() != self._sizes
        identity = self._judge_meta() if self._stream is None else None
        for stream in self._streams:
            self._judge_end(stream)
        self._judge_remembered_ends()
        self._judge_numbers()
        self._judge_ends()
        self._judge_endings()
        for stream in self._streams:
            self._judge_unsealed(stream)
        files = histories(self._evidence.claims)
        for path, history in files.items():
            self._evidence.findings += self._subject.file_findings(path, history, may_change=self._may_change)
        self._judge_surroundings()
        self._evidence.findings += self._evidence.redactions.findings(self._folder, identity)
        findings = self._evidence.findings
        return Report(
            worst(findings), identity, self._folder, worst_first(findings), len(self._started()), len(self._streams),
            self._evidence.lines, sum(self._sizes.values()), sum(not history.is_let_go for history in files.values()),
            self._subject.digest(),
        )  # fmt: skip

    def _find(self, verdict: str, text: str, file: str | None = None, start: int | None = None, end: int | None = None) -> None:
        self._evidence.findings.append(Finding(verdict, text, file, start, end))

    @property
    def _may_change(self) -> bool:
        """Whether lines may still be added, or were added while the streams were read."""
        return self._around.may_change or self._has_grown

    # The identity.

    def _judge_meta(self) -> str | None:
        try:
            text = self._subject.meta()
        except MlvError:
            raise  # a bucket that does not answer has lost nothing
        except OSError as error:
            self._find("missing", f"{layout.META} cannot be read: {error.strerror}. Restore it from a copy", layout.META)
            return None
        identity = hashlib.sha256(text).hexdigest()
        self._judge_id(identity)
        self._judge_meta_content(text)
        return identity

    def _judge_id(self, identity: str) -> None:
        recorded: dict[str, list[str]] = {}
        for run in self._evidence.runs.values():
            if run.started is not None:
                recorded.setdefault(run.started.exp or "", []).append(run.id)
        earlier = self._evidence.redactions.earlier_ids(identity)
        for foreign in sorted(recorded.keys() - {identity, *earlier}):
            text = (
                f"{layout.META} was edited: its SHA-256, the experiment's ID, is {identity}, and run "
                f"{', '.join(recorded[foreign][:3])} recorded {foreign}. Restore it from a copy"
            )
            self._find("edited", text, layout.META)
        if not recorded:
            text = f"no run recorded the ID: nothing proves that {layout.META} is as it was written"
            self._find("unproven", text, layout.META)

    def _judge_meta_content(self, text: bytes) -> None:
        try:
            content = loads(text)
        except orjson.JSONDecodeError as error:
            self._find("edited", f"{layout.META} is not JSON: {error}. Restore it from a copy", layout.META)
            return
        if not isinstance(content, dict) or not isinstance(content.get("params"), dict):
            self._find("edited", f"{layout.META} is no JSON object with params. Restore it from a copy", layout.META)
            return
        if content.get("format") != FORMAT:
            problem = f"{layout.META} is of format {content.get('format')!r}, and this version judges format {FORMAT}"
            self._find("unproven", f"{problem}: use the version of mlv that wrote it", layout.META)
        # Files that params and notes refer to belong to the user.
        self._evidence.claims += [FileVersion(reference["path"], reference) for reference in references(content.get("git"))]
        self._note_checkpoint(content.get("parent"))

    def _note_checkpoint(self, parent: Any) -> None:
        """Note a change of the checkpoint that the experiment started from; it does not belong to the experiment."""
        for reference in references(parent):
            if not isinstance(self._folder, Path):
                continue  # in a bucket: paths of the machine that it ran on
            path = Path(os.path.normpath(self._folder / reference["path"]))
            if not path.exists():
                self._find("intact", f"the checkpoint that it began from, {path}, is not there any more")
            elif not holds(path, reference):
                text = f"the checkpoint that it began from, {path}, has other content now: its SHA-256 was"
                self._find("intact", f"{text} {reference.get('sha256')}")

    # The ends of streams.

    def _judge_end(self, stream: StreamExamination) -> None:
        """Check that the file ends where its writer ended it."""
        if stream.half_line is not None and stream.stream not in self._around.living:
            start, line = stream.half_line
            aside = f", or let `mlv recover {self._folder}` set it aside" if self._around.wants_recovery else ""
            text = f"{stream.file} ends within a line, which begins at byte {start}, after {len(line)} of its bytes"
            self._cut(stream, f"{text}: the rest is cut off. Restore it from a copy{aside}", start, start + len(line))
        elif self._lost_its_end(stream):
            text = (
                f"{stream.file} ends at byte {stream.size} without the seal that a writer leaves as its last line, and "
                f"nobody is writing: its last lines are cut off. Restore it from a copy"
            )
            self._cut(stream, text, stream.size, stream.size)

    def _cut(self, stream: StreamExamination, text: str, start: int, end: int) -> None:
        self._cut_off.add(stream.stream)
        self._find("truncated", text, stream.file, start, end)

    def _lost_its_end(self, stream: StreamExamination) -> bool:
        """Return whether the file must have ended with a seal, and does not."""
        if stream.is_finished or self._may_change or not self._around.has_housekeeping:
            return False
        return any(self._is_over(run) for run, _ in self._unsealed(stream))

    def _judge_remembered_ends(self) -> None:
        """Check that each stream still has the end that the housekeeping recorded."""
        for stream, digest in self._subject.remembered_ends().items():
            if digest in self._evidence.ends or stream in self._cut_off or not self._is_judged(stream):
                continue
            file = layout.stream_file(stream)
            if stream in self._sizes:
                self._cut_off.add(stream)
                text = f"{file} ended with a seal of the digest {digest}, which is not there, nor what came before it"
                self._lack("truncated", text, file)
            else:
                self._evidence.named_ends.setdefault(digest, (file, stream))

    def _judge_ends(self) -> None:
        """Check that every end exists that a later run, another stream, or the caller names."""
        there, lacking = self._evidence.ends, dict[tuple[str, str], int]()
        for digest, (who, stream) in self._evidence.named_ends.items():
            if digest not in there and self._is_judged(stream):
                verdict = "truncated" if stream in self._cut_off else "missing"
                lacking[who, verdict] = lacking.get((who, verdict), 0) + 1
        for (who, verdict), count in lacking.items():
            text = f"{who} tells of {_seals(count)} that {_are(count)} not there"
            self._lack(verdict, f"{text}: a whole run, or the end of a file, was removed")
        if self._expect is not None and self._expect not in there:
            text = (
                f"no final seal has the digest {self._expect}: what was written until it was told was cut off, or was changed "
                f"and sealed anew; or it is the digest of another experiment"
            )
            self._lack("missing", text)

    def _is_judged(self, stream: str) -> bool:
        """Return whether a stream is judged: of several log files in a folder only one is."""
        return self._stream is None or stream in self._sizes

    def _lack(self, verdict: str, text: str, file: str | None = None) -> None:
        if self._may_change:
            self._find("unproven", f"{text}. Lines may still come; verify again later", file)
        else:
            self._find(verdict, f"{text}. Restore it from a copy", file)

    # Numbers.

    def _judge_numbers(self) -> None:
        """Look for gaps and doubles: every run numbers its events from 1, one by one over all streams."""
        present: dict[str, list[Range]] = {}
        for run in self._evidence.runs.values():
            present[run.id], doubled = seq_ranges.merged(numbers.ranges() for numbers in run.seqs.values())
            if doubled:
                text = f"{_files(run.seqs)}: {_events(doubled)} of run {run.id} more than once, so lines were added"
                self._find("edited", f"{text}. Restore it from a copy")
        self._judge_renamed(present)
        for run in self._evidence.runs.values():
            if self._stream is not None and run.started is None:
                continue  # a writer numbers its own events over all logs of a folder
            lost = self._gaps(run, present[run.id])
            if lost and run.id not in self._renamed:
                self._judge_gaps(run, lost)

    def _gaps(self, run: RunEvidence, present: list[Range]) -> list[Range]:
        accounted, _ = seq_ranges.merged([present, sorted(run.dropped)])
        return seq_ranges.gaps(accounted)

    def _judge_renamed(self, present: dict[str, list[Range]]) -> None:
        """Find runs that no seal covers and whose numbers another run lacks: their lines were renamed."""
        gaps = {run.id: self._gaps(run, present[run.id]) for run in self._evidence.runs.values()}
        for run in self._evidence.runs.values():
            mine = present[run.id]
            if run.is_sealed or not mine or run.id in self._around.runs() or not self._is_over(run):
                continue
            source = next((name for name, lost in gaps.items() if name != run.id and seq_ranges.is_within(mine, lost)), None)
            if source is not None:
                self._renamed.add(run.id)
                present[source], _ = seq_ranges.merged([present[source], mine])
                text = f"{_files(run.seqs)}: {_events(mine)} of run {run.id}, which nothing vouches for and run {source} lacks"
                self._find("edited", f"{text}, so the name of the run was changed. Restore it from a copy")

    def _judge_gaps(self, run: RunEvidence, lost: list[Range]) -> None:
        if self._around.is_arriving or (not run.is_sealed and self._may_change):
            advice = self._recover() if self._around.wants_recovery else "they may come; verify again later"
            self._find("unproven", f"no stream holds {_events(lost)} of run {run.id} yet: {advice}")
            return
        cut = [gap for gap in lost if self._may_be_cut_off(run, gap)]
        gone = [gap for gap in lost if gap not in cut]
        if cut:
            self._find("truncated", f"no stream holds {_events(cut)} of run {run.id}: what was cut off may have held them")
        if gone:
            text = f"no stream holds {_events(gone)} of run {run.id}: lines, or a stream's whole file, were removed"
            self._find("missing", f"{text}. Restore them from a copy")

    def _may_be_cut_off(self, run: RunEvidence, gap: Range) -> bool:
        return any(name not in run.seqs or run.seqs[name].last < gap[0] for name in self._cut_off)

    # Runs.

    def _started(self) -> list[RunEvidence]:
        return [run for run in self._evidence.runs.values() if run.started is not None]

    def _is_over(self, run: RunEvidence) -> bool:
        """Return whether a run adds no more lines: it has ended, was sealed, or no process is left to write them."""
        return run.is_ended or run.is_sealed or not self._may_change or self._status(run) == "killed" or self._is_copied(run)

    def _is_copied(self, run: RunEvidence) -> bool:
        return run.started is not None and self._subject.is_copied(run.started)

    def _status(self, run: RunEvidence) -> str:
        process = run.started.process if run.started is not None else None
        try:
            heard = parse_time(run.last_heard)
        except BadLine:
            heard = None
        return Run(run.id, process=process, last_heard=heard).status(datetime.now(timezone.utc), process_is_gone)

    def _judge_endings(self) -> None:
        for run in self._started():
            if not run.is_ended and run.id not in self._renamed:
                self._find("unproven", f"run {run.id} has no run_ended: {self._why_unended(run)}")

    def _why_unended(self, run: RunEvidence) -> str:
        if self._is_copied(run) or (self._is_over(run) and not self._around.wants_recovery):
            return "its end was lost, or the log was copied while it went on"
        status = self._status(run)
        if status == "running":
            return "it is still going on; verify again when it has ended"
        if status == "lost":
            return f"it was last heard of at {run.last_heard}; `mlv recover {self._folder}` on its machine finishes it"
        return f"its process died; {self._recover()}"

    def _unsealed(self, stream: StreamExamination) -> list[tuple[RunEvidence, Range]]:
        """Return the runs with lines that no seal covers, and the span of bytes of these lines."""
        runs = [(self._evidence.run(name), lines) for name, lines in stream.unsealed.items() if lines.chain.lines]
        return [(run, (lines.start, lines.end)) for run, lines in runs]

    def _judge_unsealed(self, stream: StreamExamination) -> None:
        """Report lines that no seal covers, unless an earlier finding explains that."""
        if self._may_change or stream.stream in self._cut_off:
            return
        for run, (start, end) in self._unsealed(stream):
            if self._is_over(run) and run.id not in self._renamed:
                text = (
                    f"{stream.file}, bytes {start} to {end}: no seal covers the lines of run {run.id}, so nothing proves them"
                )
                self._find("unproven", text, stream.file, start, end)

    # Who is at work.

    def _judge_surroundings(self) -> None:
        writers: dict[tuple[int, str], list[str]] = {}
        waiting = [stream for stream, claim in self._around.claims.items() if claim == FOR_MERGES]
        if waiting:
            self._find("unproven", f"{_files(waiting)} may get more lines when `mlv merge` brings them from the other copy")
        for stream, claim in self._around.living.items():
            if claim == FOR_MERGES:
                continue
            writers.setdefault((claim.owner.pid, claim.owner.machine), []).append(stream)
        for (pid, machine), streams in sorted(writers.items()):
            paths = ", ".join(str(layout.claim_path(Path(self._folder), stream)) for stream in streams)
            text = f"process {pid} on {machine} may still write into {_files(streams)}: verify again when it is done"
            self._find("unproven", f"{text}; where no such process does, remove {paths}")
        if self._has_grown:
            self._find("unproven", "the streams changed while they were read: verify again")
        if self._around.stale:
            self._find("unproven", f"the process that wrote {_files(self._around.stale)} died: {self._recover()}")
        for spool in self._around.waiting:
            self._find("unproven", f"events wait in {spool}: {self._recover()}")
        self._evidence.findings += self._subject.own_findings()

    def _recover(self) -> str:
        return f"`mlv recover {self._folder}` finishes it"


def _events(ranges: Iterable[Range]) -> str:
    numbers = list(ranges)
    is_one = len(numbers) == 1 and numbers[0][0] == numbers[0][1]
    return f"event{'' if is_one else 's'} {seq_ranges.as_text(numbers)}"


def _seals(count: int) -> str:
    return "a final seal" if count == 1 else f"{count} final seals"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _files(streams: Collection[str]) -> str:
    return ", ".join(layout.stream_file(stream) for stream in streams)
