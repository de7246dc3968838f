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
from mlv.audit import merge_lines
from mlv.audit.merge import Tree, bring_into
from mlv.capture.redaction import Redactor
from mlv.encoding import BadLine, event_from_line, utc_text
from mlv.errors import ExperimentBusy, FileUnusable
from mlv.events import RunEnded
from mlv.experiment.importing.lines import ImportedLines, with_zone
from mlv.experiment.importing.source import Item, SourceEvent, SourceExperiment, SourceFile
from mlv.experiment.opening import params as params_
from mlv.experiment.opening.captures import CAPTURES, make_redactor, patterns_to_keep
from mlv.experiment.opening.setup import checked_tags
from mlv.media.target import MEDIA, safe_segment, safe_segments
from mlv.store import blobs, claims, copying, layout, opening
from mlv.store import meta as meta_
from mlv.store.contents import content_of, opened, reference
from mlv.store.files import publish
from mlv.store.streams import read_lines, stream_sizes

_BUFFER_BYTES = 1 << 20  # of lines, for one call of the system


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


def import_experiment(source: SourceExperiment, items: Iterable[Item], tree: Tree, *, below: Path | None = None) -> Imported:
    """Write an experiment of another tool into a tree of experiments, as if `mlv` had been there.

    Run IDs, numbers, times, names of files and seals follow from the source: the same items give the same bytes. Where the tree
    has the experiment already, wherever it was moved, only lines and files that it lacks are added, and what others wrote
    there stays. The tree changes only when all items were read; after a kill at any moment the next import completes it.
    A run without an end is left open: a later import goes on with it.

    Args:
        source: The experiment.
        items: What happened in it, in an order that the growth of the source does not change.
        tree: The tree to write into.
        below: Folder of the parent experiment, in the tree; a sub-experiment goes below it, in a folder of its kind.

    Raises:
        InvalidParams, InvalidArgument, InvalidName, InvalidPattern: The source has something that no experiment can have.
        ExperimentBusy: Another process merges into the experiment, redacts it, or imported into it meanwhile.
        OSError: The tree cannot be written.
    """
    redactor = make_redactor(source.redact, source.redact_except)
    name = safe_segment(source.name)
    expected = (tree.root if below is None else below / safe_segment(source.kind or "imported")) / name
    text = meta_.meta_text(_content(source, name, redactor, _parent(below)))
    exp_id = meta_.meta_of(text).id
    temporary = blobs.temporary_beside(expected)
    try:
        temporary.mkdir()
        publish(temporary / layout.META, text, mode=0o444)
        copy = tree.copy_of(temporary, expected)
        sizes = stream_sizes(copy) if copy is not None else {}
        recorded = _recorded_ends(copy) if copy is not None else {}
        published = _PublishedFiles(temporary, redactor)
        lines = ImportedLines(exp_id, redactor, published, recorded)
        counts = _write(temporary, lines, items)
        _keep_open(temporary)
        # Reading the items may take hours. The lines follow from the ends that were recorded before, and no others.
        if copy is None:
            is_overtaken = layout.exp_id(expected) == exp_id
        else:
            is_overtaken = stream_sizes(copy) != sizes and not recorded.items() >= _ends_of(lines.run_ids, copy)
        if is_overtaken:
            path = copy or expected
            raise ExperimentBusy(f"another process imported into {path} meanwhile: import it again", path=str(path))
        result = Imported(copy or tree.free(expected), exp_id, copy is None, counts, lines.rejected)
        result.differences += [f"run {run!r} ended otherwise before, and that stays" for run in lines.differing_ends]
        if copy is None:
            blobs.move_into_place(temporary, result.path, is_new=True)
            tree.add(result.path)
        else:
            merged = bring_into(temporary, copy)
            result.lines = merged.lines
            result.differences += [text.replace(f"{temporary}{os.sep}", "the source's ") for text in merged.differences]
        return result
    finally:
        blobs.remove(temporary)


def _content(source: SourceExperiment, name: str, redactor: Redactor, parent: Mapping[str, Any] | None) -> dict[str, Any]:
    plain, nonfinite = params_.plain_params(source.params)
    captured = {key: redactor.params(source.captured.get(key), key) for key in CAPTURES}
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
        **captured,
        "source": redactor.params(dict(source.identity), "source"),
    }
    return {**content, "nonfinite": {f"/params{at}": text for at, text in nonfinite.items()}} if nonfinite else content


def _parent(below: Path | None) -> dict[str, Any] | None:
    if below is None:
        return None
    return {"_mlv": "exp", "id": layout.exp_id(below), "path": "../.."}


def _recorded_ends(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return number and line of the end of each run that recorded its own."""
    result = {}
    for stream in layout.streams_in(folder):
        for _, line in read_lines(folder / layout.stream_file(stream)):
            if wire.RUN_ENDED in line:
                with suppress(BadLine):
                    event = event_from_line(line, stream)
                    if event.type == RunEnded.TYPE and event.subject == event.run:
                        result[event.run] = event.seq, line
    return result


def _ends_of(runs: Iterable[str], folder: Path) -> Set[tuple[str, tuple[int, bytes]]]:
    """Return the recorded ends of some runs; those of others, which log beside, do not matter."""
    ends = _recorded_ends(folder)
    return {(run, ends[run]) for run in runs if run in ends}


def _write(folder: Path, lines: ImportedLines, items: Iterable[Item]) -> dict[str, int]:
    """Write the streams, durably, and return the number of lines of each file."""
    counts: dict[str, int] = {}
    with _opened_streams(folder) as streams:
        for item in items:
            for stream, line in lines.of(item):
                streams.file(stream).write(line)
                counts[layout.stream_file(stream)] = counts.get(layout.stream_file(stream), 0) + 1
        streams.sync()
    return counts


def _keep_open(folder: Path) -> None:
    """Keep for imports the streams that wait for more lines of their runs, as a merge does: whoever logs writes beside them."""
    for stream in layout.streams_in(folder):
        claims.claim_exactly(folder, stream, claims.FOR_MERGES)
    merge_lines.let_go(folder)


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
