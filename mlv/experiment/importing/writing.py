"""Importing an experiment: made whole beside the tree, then moved into it, or merged into the copy that is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from mlv import wire
from mlv.audit.merge import Tree, bring_into
from mlv.capture.redaction import Redactor
from mlv.encoding import BadLine, Reference, event_from_line, loads, utc_text
from mlv.errors import ExperimentBusy, FileUnusable
from mlv.events import RunEnded, RunStarted, Seal
from mlv.experiment.importing.lines import ImportedLines
from mlv.experiment.importing.runs import Line, RecordedEnds, with_zone
from mlv.experiment.importing.source import Item, SourceEvent, SourceExperiment, SourceFile
from mlv.experiment.opening import params as params_
from mlv.experiment.opening.captures import CAPTURES, make_redactor, patterns_to_keep
from mlv.experiment.opening.setup import checked_tags
from mlv.media.target import MEDIA, safe_segment, safe_segments
from mlv.store import blobs, claims, copying, ends, layout, opening
from mlv.store import meta as meta_
from mlv.store.contents import content_of, opened, reference
from mlv.store.files import publish
from mlv.store.identities import known_ids
from mlv.store.streams import read_lines, stream_sizes

_BUFFER_BYTES = 1 << 20  # of lines, for one call of the system
_SEAL, _STARTED = wire.mark("seal"), wire.mark("run_started")


@dataclass
class Imported:
    """The changes that an import made to a tree."""

    path: Path
    id: str
    is_new: bool
    lines: dict[str, int] = field(default_factory=dict)
    """Number of lines that were added, by file."""
    rejected: list[str] = field(default_factory=list)
    """Reasons why events of the source are stored as `rejected`, also those of earlier imports."""
    differences: list[str] = field(default_factory=list)
    """Facts that an earlier import recorded otherwise, and that stay so."""


def import_experiment(
    source: SourceExperiment, items: Iterable[Item], tree: Tree, *, below: Path | None = None, dry_run: bool = False
) -> Imported:
    """Write an experiment of another tool into a tree of experiments, as if `mlv` had been there.

    Run IDs, numbers, times, names of files and seals follow from the source: the same items give the same bytes. Where the tree
    has the experiment already, wherever it was moved, only lines and files that it lacks are added, and what others wrote
    there stays. The tree changes only when all items were read; after a kill at any moment the next import completes it.
    A run without an end is left open: a later import goes on with it.

    It is there already where a meta.json names the same `source`, whatever else that says: facts that the source tells
    otherwise now, and rules of redaction that changed since, would make another ID. The meta.json that was written first
    stays, and the IDs of the runs go on following from it.

    Args:
        source: The experiment.
        items: What happened in it, in an order that the growth of the source does not change.
        tree: The tree to write into.
        below: Folder of the parent experiment, in the tree; a sub-experiment goes below it, in a folder of its kind.
        dry_run: Write nothing, and return the changes that would be made; the path of a new one may be another in the end.

    Raises:
        InvalidParams, InvalidArgument, InvalidName, InvalidPattern: The source has something that no experiment can have.
        ExperimentBusy: Another process merges into the experiment, redacts it, or imported into it meanwhile.
        OSError: The tree cannot be written.
    """
    known = _known(source, tree, below)
    if dry_run:
        result = _preview(known, items)
    else:
        temporary = blobs.temporary_beside(known.expected)
        try:
            result = place(_prepared(known, items, tree, temporary), tree)
        finally:
            blobs.remove(temporary)
    return result


@dataclass
class _Identity:
    """An experiment of a source, before its items are read."""

    id: str
    meta: bytes
    source: Mapping[str, Any]
    """The field of meta.json by which it is recognised."""
    redactor: Redactor
    copy: Path | None
    """Its folder in the tree, where it was imported before."""
    expected: Path
    differences: list[str]


@dataclass
class PreparedExperiment:
    """An experiment that was made whole beside a tree, and is not yet in it."""

    temporary: Path
    source: Mapping[str, Any]
    """The field of meta.json by which it is recognised."""
    id: str
    copy: Path | None
    """Its folder in the tree, where it was imported before."""
    expected: Path
    run_ids: set[str]
    sizes: dict[str, int]
    """Those of the streams of the copy, before the items were read."""
    ends: dict[str, tuple[int, bytes]]
    """The end of each run that the copy had recorded by then."""
    result: Imported


def prepare(
    source: SourceExperiment, items: Iterable[Item], tree: Tree, temporary: Path | None
) -> PreparedExperiment | Imported:
    """Make an experiment that belongs below no other, as `import_experiment` does, in a folder that is made for it.

    The tree stays as it is, until `place` brings the experiment into it. Without a folder, return the changes to come.
    """
    known = _known(source, tree, None)
    return _preview(known, items) if temporary is None else _prepared(known, items, None, temporary)


def is_outdated(prepared: PreparedExperiment, tree: Tree) -> bool:
    """Return whether the tree has got another copy of an experiment since it was prepared: then it is to be imported anew."""
    copy = tree.imported_from(prepared.source, prepared.expected)
    return copy != prepared.copy or (copy is None and tree.copy_of(prepared.temporary, prepared.expected) is not None)


def place(prepared: PreparedExperiment, tree: Tree) -> Imported:
    """Bring an experiment that was made beside a tree into it.

    Raises:
        ExperimentBusy: Another process imported into it meanwhile.
        OSError: The tree cannot be written.
    """
    copy, expected = prepared.copy, prepared.expected
    # Reading the items may take hours. The lines follow from the ends that were recorded before, and no others.
    if copy is None:
        is_overtaken = layout.exp_id(expected) == prepared.id
    else:
        is_overtaken = stream_sizes(copy) != prepared.sizes and not prepared.ends.items() >= _ends_of(prepared.run_ids, copy)
    if is_overtaken:
        path = copy or expected
        raise ExperimentBusy(f"another process imported into {path} meanwhile: import it again", path=str(path))
    result = prepared.result
    if copy is None:
        result.path = tree.free(expected)
        blobs.make_folders(result.path.parent)
        blobs.move_into_place(prepared.temporary, result.path, is_new=True)
        tree.add(result.path)
    else:
        merged = bring_into(prepared.temporary, copy)
        result.lines = merged.lines
        result.differences += [text.replace(f"{prepared.temporary}{os.sep}", "the source's ") for text in merged.differences]
    return result


def _known(source: SourceExperiment, tree: Tree, below: Path | None) -> _Identity:
    redactor = make_redactor(source.redact, source.redact_except)
    name = safe_segment(source.name)
    expected = _folder_around(source, tree, below) / name
    content = _content(source, name, redactor, _parent(below))
    text = meta_.meta_text(content)
    exp_id = meta_.meta_of(text).id
    copy = tree.imported_from(content["source"], expected)
    differences = []
    if copy is not None and layout.exp_id(copy) != exp_id:
        earliest = known_ids(copy)[-1]
        if earliest != exp_id:
            differences = _differing_facts(content, copy)
        exp_id, text = earliest, opening.content(copy / layout.META)
    return _Identity(exp_id, text, content["source"], redactor, copy, expected, differences)


def _folder_around(source: SourceExperiment, tree: Tree, below: Path | None) -> Path:
    if below is not None:
        return below / safe_segment(source.kind or "imported")
    return tree.root.joinpath(*map(safe_segment, source.folders))


def _prepared(known: _Identity, items: Iterable[Item], tree: Tree | None, temporary: Path) -> PreparedExperiment:
    temporary.mkdir()
    publish(temporary / layout.META, known.meta, mode=0o444)
    copy = known.copy or (tree.copy_of(temporary, known.expected) if tree is not None else None)
    sizes = stream_sizes(copy) if copy is not None else {}
    recorded = _recorded_ends(copy) if copy is not None else RecordedEnds()
    ends_before = dict(recorded.ends)
    lines = ImportedLines(known.id, known.redactor, _PublishedFiles(temporary, known.redactor), recorded)
    counts = _write(temporary, lines, items)
    _keep_open(temporary, lines.waiting)
    result = Imported(copy or known.expected, known.id, copy is None, counts, lines.rejected)
    result.differences = [*known.differences, *_differing_ends(lines)]
    return PreparedExperiment(
        temporary, known.source, known.id, copy, known.expected, set(lines.run_ids), sizes, ends_before, result
    )


def _preview(known: _Identity, items: Iterable[Item]) -> Imported:
    """Return the changes of an import that writes nothing."""
    copy = known.copy
    recorded = _recorded_ends(copy) if copy is not None else RecordedEnds()
    lines = ImportedLines(known.id, known.redactor, _unpublished, recorded)
    counts: dict[str, int] = {}
    runs: set[bytes] = set()
    for stream, line in lines.of_all(items):
        runs.add(_run_of(line))
        counts[stream] = counts.get(stream, 0) + line.count(b"\n")
    for name in layout.streams_in(copy) if copy is not None else ():
        stream = layout.followed_by(name) or name
        present = sum(_run_of(line) in runs for _, line in read_lines(copy / layout.stream_file(name))) if copy else 0
        counts[stream] = counts.get(stream, 0) - present
    added = {layout.stream_file(stream): count for stream, count in counts.items() if count > 0}
    differences = [*known.differences, *_differing_ends(lines)]
    return Imported(copy or known.expected, known.id, copy is None, added, lines.rejected, differences)


def _run_of(line: bytes) -> bytes:
    return (wire.run_and_seq(line) or (b"", 0))[0]


def _unpublished(file: SourceFile, _: SourceEvent, key: str) -> Any:
    if isinstance(file.content, Path):
        _check_readable(file.content)
    return Reference(_mlv="file", path=f"{layout.FILES}/{key}", sha256="", size=0)


def _differing_ends(lines: ImportedLines) -> list[str]:
    return [f"run {run!r} ended otherwise before, and that stays" for run in lines.differing_ends]


def _differing_facts(content: Mapping[str, Any], copy: Path) -> list[str]:
    """Return a sentence on the fields that the source tells otherwise than the meta.json of an earlier import."""
    now, before = loads(meta_.meta_text(content)), loads(opening.content(copy / layout.META))
    fields = [key for key in now if key != "parent" and now[key] != before.get(key)]
    return [f"{', '.join(fields)} of {layout.META} were otherwise before, and stay so"] if fields else []


def _content(source: SourceExperiment, name: str, redactor: Redactor, parent: Mapping[str, Any] | None) -> dict[str, Any]:
    plain, nonfinite = params_.plain_params(source.params)
    content = {
        "format": meta_.FORMAT,
        "name": name,
        "kind": source.kind,
        "created": utc_text(with_zone(source.created)),
        "params": redactor.params(plain),
        "parent": parent,
        "tags": checked_tags(source.tags, redactor),
        "notes": None if source.notes is None else redactor.text(source.notes, "notes"),
        **patterns_to_keep(redactor),
        **_captured(source.captured, redactor),
        "source": redactor.params(dict(source.identity), "source"),
    }
    return {**content, "nonfinite": {f"/params{at}": text for at, text in nonfinite.items()}} if nonfinite else content


def _captured(fields: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return facts about script, git, environment and machine, redacted as those that `mlv` captures itself."""
    captured = {key: redactor.params(fields.get(key), key) for key in CAPTURES}
    script, git, env = (captured[key] or {} for key in ("script", "git", "env"))
    if script.get("argv"):
        script["argv"] = redactor.argv(script["argv"])
    if git.get("remotes"):
        git["remotes"] = {name: redactor.url(address, f"git.remotes.{name}") for name, address in git["remotes"].items()}
    if env.get("variables"):
        env["variables"] = redactor.variables(env["variables"])
    return captured


def _parent(below: Path | None) -> dict[str, Any] | None:
    if below is None:
        return None
    return {"_mlv": "exp", "id": layout.exp_id(below), "path": "../.."}


def _recorded_ends(folder: Path) -> RecordedEnds:
    """Return the end of each run that recorded its own, and what tells of ends that were there before."""
    result = RecordedEnds()
    numbered: dict[str, list[tuple[int, Line]]] = {}
    for name in layout.streams_in(folder):
        stream = layout.followed_by(name) or name
        for _, line in read_lines(folder / layout.stream_file(name)):
            if wire.RUN_ENDED in line or _SEAL in line or _STARTED in line:
                with suppress(BadLine):
                    event = event_from_line(line, name)
                    if event.type == RunEnded.TYPE and event.subject == event.run:
                        result.ends[event.run] = event.seq, line
                    elif event.type == RunStarted.TYPE and isinstance(event.data, Mapping):
                        result.after[event.run] = event.data.get("after")
                    elif event.type == Seal.TYPE:
                        numbered.setdefault(event.run, []).append((event.seq, (stream, line)))
    result.seals = {run: [line for _, line in sorted(lines)] for run, lines in numbered.items()}
    return result


def _ends_of(runs: Iterable[str], folder: Path) -> Set[tuple[str, tuple[int, bytes]]]:
    """Return the recorded ends of some runs; those of others, which log beside, do not matter."""
    recorded = _recorded_ends(folder).ends
    return {(run, recorded[run]) for run in runs if run in recorded}


def _write(folder: Path, lines: ImportedLines, items: Iterable[Item]) -> dict[str, int]:
    """Write the streams, durably, and return the number of lines of each file."""
    counts: dict[str, int] = {}
    with _opened_streams(folder) as streams:
        for stream, line in lines.of_all(items):
            streams.file(stream).write(line)
            counts[stream] = counts.get(stream, 0) + line.count(b"\n")
        streams.sync()
    return {layout.stream_file(stream): count for stream, count in counts.items()}


def _keep_open(folder: Path, waiting: Iterable[str]) -> None:
    """Keep for imports the streams that wait for more lines of their runs, as a merge does: whoever logs writes beside them."""
    for stream in waiting:
        claims.claim_exactly(folder, stream, claims.FOR_MERGES)
    ends.remember(folder, ends.ends_of(folder))


class _Streams:
    """The files of the streams, each opened once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}

    def file(self, stream: str) -> BinaryIO:
        """Return the file of a stream."""
        if stream not in self._files:
            path = self._folder / layout.stream_file(stream)
            self._files[stream] = open(path, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115 - closed by `close`
        return self._files[stream]

    def sync(self) -> None:
        """Bring all lines to the disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; lines that were not synced may be lost."""
        for file in self._files.values():
            with suppress(OSError):  # the disk is full, as was said when a line was written
                file.close()


@contextmanager
def _opened_streams(folder: Path) -> Iterator[_Streams]:
    streams = _Streams(folder)
    try:
        yield streams
    finally:
        streams.close()


class _PublishedFiles:
    """The files of an imported experiment: named by their events alone, so that each import names them alike."""

    def __init__(self, folder: Path, redactor: Redactor) -> None:
        self._folder, self._redactor = folder, redactor

    def __call__(self, file: SourceFile, event: SourceEvent, key: str) -> Any:
        """Make a file of an event, and return the reference to it.

        Raises:
            FileUnusable: The source's file cannot be read.
            OSError: The experiment's own cannot be written.
        """
        if isinstance(file.content, Path):
            _check_readable(file.content)
        path = self._path(file, event, key)
        opening.make_folders(self._folder, path.parent)
        temporary = blobs.temporary_beside(path)
        if isinstance(file.content, bytes):
            with opening.new(temporary) as written:
                written.write(file.content)
        elif file.is_linked:
            copying.link_or_copy(file.content, temporary, reflink=True)
        else:
            copying.copy_hashed(file.content, temporary)
        blobs.settle(temporary, path)
        return reference(self._folder, path, content_of(path))

    def _path(self, file: SourceFile, event: SourceEvent, key: str) -> Path:
        """Return its path: that of a `file` is named as the event, and replaced by the next of that name."""
        segments = safe_segments(self._redactor.name(event.name, "name"))
        if event.type == "file":
            return self._folder.joinpath(layout.FILES, *(segments or [key]))
        stem = key if event.step is None else f"{event.step}-{key}"
        label, suffix = f"-{safe_segment(file.label)}" if file.label else "", file.suffix.replace("/", "_")
        folder = self._folder.joinpath(layout.FILES, MEDIA, *segments)
        names = (f"{safe_segment(stem)}{label}{more}{suffix}" for more in _numbered())
        return next(folder / name for name in names if not os.path.lexists(folder / name))


def _check_readable(path: Path) -> None:
    """Accept a file or folder that can be read: a full disk must not count as a file that is gone.

    Raises:
        FileUnusable: It cannot.
    """
    try:
        if path.is_dir():
            os.listdir(path)
        else:
            opened(path).close()
    except OSError as error:
        raise FileUnusable(f"its file {path} cannot be read: {error.strerror or error}", path=str(path)) from None


def _numbered() -> Iterator[str]:
    """Yield endings that tell equal names apart."""
    yield ""
    yield from (f"-{number}" for number in count(2))
