"""An experiment in a bucket as a subject of `mlv verify`: the lines of its copies taken together in memory, and its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path

from mlv.audit.activity import Surroundings
from mlv.audit.file_history import History
from mlv.audit.findings import Finding
from mlv.audit.subjects import Subject
from mlv.bucket.contents import DamagedSegment, ExperimentObjects, lines_of
from mlv.bucket.listing import PLAIN, ListedExperiment, Version
from mlv.bucket.segments import SegmentSlice, chain
from mlv.bucket.store import ObjectStore, StoredObject
from mlv.digests import sha256
from mlv.events import RunStarted
from mlv.store import ends, layout
from mlv.store.contents import folder_content
from mlv.store.seals import is_redacted, line_digest, run_and_seq

IN_MEMORY_BYTES = 32 << 20
"""Bytes of a segment."""


def bucket_subject(
    url: str, store: ObjectStore, there: ListedExperiment, requests: Executor, problems: Iterable[str] = (), *, with_files: bool
) -> Subject:
    """Return an experiment in a bucket to examine; nothing is read yet.

    Args:
        url: Of the experiment.
        store: The root that was listed.
        there: The objects of the experiment.
        requests: For requests beside the one that is waited for.
        problems: Keys that no reader can use, each in a sentence.
        with_files: Read and hash each file too; else it is only looked whether it is there.
    """
    return _BucketSubject(url, store, there, requests, problems, with_files)


class _BucketSubject:
    """The copies of one experiment in a bucket, taken together as `mlv merge` does."""

    def __init__(
        self,
        url: str,
        store: ObjectStore,
        there: ListedExperiment,
        requests: Executor,
        problems: Iterable[str],
        with_files: bool,
    ) -> None:
        self.path: Path | str = url
        self._objects, self._there = ExperimentObjects(store, there.path, requests), there
        self._with_files = with_files
        self._findings = [Finding("intact", problem) for problem in problems]
        self._last: dict[str, bytes] = {}
        self._digests: dict[str, dict[tuple[str, int], bytes | None]] = {}
        self._redacted: dict[str, set[tuple[str, int]]] = {}
        """By stream, the events that were redacted in the copy that they were read from."""

    def sizes(self) -> dict[str, int]:
        sizes = {stream: stored.size for stream, stored in self._there.plain.items()}
        for (stream, _), held in self._there.segments.items():
            sizes[stream] = sizes.get(stream, 0) + sum(each.end - each.start for each in chain(held))
        return dict(sorted(sizes.items(), key=lambda item: (layout.logical_stream(item[0]) != layout.DEFAULT_STREAM, item[0])))

    def lines(self, stream: str) -> Iterator[tuple[int, bytes]]:
        offset = 0
        for line in self._united(stream):
            self._last[stream] = line
            yield offset, line
            offset += len(line)

    def meta(self) -> bytes:
        return self._objects.get(self._there.metas[-1])

    def odd_streams(self) -> list[str]:
        return []

    def surroundings(self) -> Surroundings:
        return Surroundings({}, [], [], has_housekeeping=False, is_arriving=self._is_arriving)

    def remembered_ends(self) -> dict[str, str]:
        return {}

    def digest(self) -> str | None:
        names = [name for name in self._last if layout.logical_stream(name) == layout.DEFAULT_STREAM]
        digests = [digest for name in names if (digest := ends.digest_if_final(self._last[name])) is not None]
        return digests[-1] if digests and self._there.is_whole else None

    def is_copied(self, started: RunStarted) -> bool:
        return False

    def own_findings(self) -> Iterator[Finding]:
        yield from self._findings
        yield from (Finding("missing", loss) for loss in self._there.losses)
        if self._is_arriving:
            yield Finding("unproven", "not everything was shipped yet: verify again later")

    @cached_property
    def _is_arriving(self) -> bool:
        """Whether a copy may be on its way that was not whole before."""
        lost = self._there.lost
        return not self._there.is_whole and not (lost and self._there.copies <= lost.keys())

    # Lines.

    def _united(self, stream: str) -> Iterator[bytes]:
        """Yield the lines of all copies of a stream, each once."""
        shared = layout.followed_by(stream) or stream
        is_alone = len({copy for name, copy in self._copies() if (layout.followed_by(name) or name) == shared}) == 1
        for name, copy in self._copies():
            if name == stream:
                lines = _split(self._content(stream, copy))
                yield from lines if is_alone else self._lacking(lines, shared, copy)

    def _copies(self) -> list[tuple[str, str]]:
        return [*sorted(self._there.segments), *((stream, PLAIN) for stream in sorted(self._there.plain))]

    def _lacking(self, lines: Iterator[bytes], stream: str, copy: str) -> Iterator[bytes]:
        """Yield the lines of a copy that those before it lack."""
        digests, redacted = self._digests.setdefault(stream, {}), self._redacted.setdefault(stream, set())
        standing = 0
        for line in lines:
            key = run_and_seq(line)
            if key is None or key not in digests:
                if key is not None:
                    digests[key] = line_digest(line)
                    if is_redacted(line):
                        redacted.add(key)
                yield line
                continue
            standing += key in redacted and not is_redacted(line)
            if None not in (digests[key], digest := line_digest(line)) and digest != digests[key]:
                text = f"event {key[1]} of run {key[0]} is another one in the copy {copy} than in those before it"
                self._findings.append(Finding("edited", f"{text}: find out which object was overwritten"))
        if standing:
            text = f"{standing} events that were to be redacted are not in the copy {copy}"
            self._findings.append(Finding("unproven", f"{text}: redact its folder and push it, or delete that copy"))

    def _content(self, stream: str, copy: str) -> Iterator[bytes]:
        """Yield the bytes of one copy of a stream up to the first hole."""
        if copy == PLAIN:
            yield from self._objects.chunks(self._there.plain[stream])
            return
        held, position = dict(self._there.segments[stream, copy]), 0
        while slices := chain(held, position):
            fetched = self._objects.fetched([held[each.segment] for each in slices])
            for each, compressed in zip(slices, fetched, strict=True):
                try:
                    # All of it before any: of a damaged one nothing counts, and another may cover its bytes.
                    yield from self._checked(each, compressed, held[each.segment])
                except DamagedSegment as error:
                    self._findings.append(Finding("edited", f"{held.pop(each.segment).key} is passed over: {error}"))
                    break
                position = each.end
            else:
                return

    def _checked(self, piece: SegmentSlice, compressed: Iterable[bytes], stored: StoredObject) -> Iterable[bytes]:
        """Return the bytes of a slice; of a large segment, which may be a small object, they are read once more.

        Raises:
            DamagedSegment: The segment is damaged.
        """
        chunks = lines_of(piece.segment, compressed)
        if piece.segment.end - piece.segment.start <= IN_MEMORY_BYTES:
            return [piece.of(b"".join(chunks))]
        for _ in chunks:
            pass
        return _behind(piece.start - piece.segment.start, lines_of(piece.segment, self._objects.chunks(stored)))

    # Files.

    def file_findings(self, path: str, history: History, *, may_change: bool) -> Iterator[Finding]:
        """Yield what is to be said of a file: whether it is there, and with the files whether it is as it was."""
        files = {name: own for name, own in self._there.files.items() if name == path or name.startswith(f"{path}/")}
        if history.is_let_go:
            if files and history.is_redacted:
                yield Finding("unproven", f"{path} is still there, although it was to be redacted", path)
            return
        if not files:
            yield self._absent(path, f"{path} is not there")
        elif self._with_files:
            yield from self._of_content(path, history, files)

    def _absent(self, path: str, text: str) -> Finding:
        if not self._is_arriving:
            return Finding("missing", f"{text}. Ship it again", path)
        return Finding("unproven", f"{text}: it is not shipped yet", path)

    def _of_content(self, path: str, history: History, files: dict[str, list[Version]]) -> Iterator[Finding]:
        expected = history.latest.sha256
        if expected is None:
            yield Finding("unproven", f"no SHA-256 of {path} was recorded: nothing proves that it is as it was", path)
            return
        if path in files:
            candidates = sorted(files[path], key=lambda version: version.sha256 != expected)
            is_there = any(self._digest(version) == expected for version in candidates)
        else:
            rows = [(name[len(path) + 1 :], self._digest(own[-1]), own[-1].size) for name, own in files.items()]
            is_there = folder_content(sorted(rows, key=lambda row: row[0].encode())).sha256 == expected
        if is_there:
            return
        if not self._is_arriving:
            yield Finding("edited", f"{path} holds other bytes than were published last, SHA-256 {expected}", path)
        else:
            yield Finding("unproven", f"{path} was published again, and that is not shipped yet", path)

    def _digest(self, version: Version) -> str:
        digest = sha256()
        for chunk in self._objects.chunks(version):
            digest.update(chunk)
        return digest.hexdigest()


def _behind(start: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes from `start` on."""
    for chunk in chunks:
        yield chunk[start:]
        start = max(0, start - len(chunk))


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines, newline included; the last may lack it."""
    begun: list[bytes] = []  # of one line, joined once: it may be long
    for chunk in chunks:
        begin, *others = chunk.split(b"\n")
        begun.append(begin)
        for other in others:
            yield b"".join([*begun, b"\n"])
            begun = [other]
    if remainder := b"".join(begun):
        yield remainder
