"""Redacting an experiment: a value that leaked is taken out of everything that it left on the disk, and an event says so."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mlv.audit.activity import surroundings
from mlv.audit.merge_files import files_of, known_files
from mlv.capture.patterns import stored
from mlv.capture.redaction import Redactor
from mlv.errors import ExperimentBusy, InvalidArgument, NotAnExperiment
from mlv.events import Redacted
from mlv.query.metrics import cache
from mlv.store import blobs, claims, layout, opening
from mlv.store.blobs import Content, content_of, files_in, folder_content
from mlv.store.claims import FOR_MERGES, Claim
from mlv.store.files import replace_file
from mlv.store.masking import Mask, why_unread
from mlv.store.owners import Owner, host_name
from mlv.store.seals import run_and_seq
from mlv.store.streams import mend, read_lines
from mlv.transport import recovery
from mlv.transport.journal import Journal

_LISTED_AT_ONCE = 1000
_RECOVER_WITHIN_S = 30.0


@dataclass
class Redaction:
    """What has to go from one experiment, or has gone."""

    folder: Path
    lines: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """By stream, what takes the place of a line, by the SHA-256 of the line as it is: offsets may move."""
    files: dict[str, bytes | None] = field(default_factory=dict)
    """By path, what a file holds instead; None where it goes."""
    meta: bytes | None = None
    """The new meta.json, None where it stays."""
    housekeeping: list[Path] = field(default_factory=list)
    """Half lines, caches, superseded files, and what processes of outputs said, that go."""
    names: list[str] = field(default_factory=list)
    """Names of streams and folders that hold what leaked, and stay: what leaked is masked in them."""
    unread: dict[str, str] = field(default_factory=dict)
    """By path, why a file was not looked into: it is compressed, say."""
    _stamps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """What changes with every change of a file, by path."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing holds what leaked."""
        return not (self.lines or self.files or self.meta is not None or self.housekeeping)

    def to_data(self) -> dict[str, Any]:
        """A mapping for JSON, without anything that leaked."""
        return {
            "path": str(self.folder), "lines": {layout.stream_file(name): len(found) for name, found in self.lines.items()},
            "masked": sum(content is not None for content in self.files.values()),
            "removed": sum(content is None for content in self.files.values()),
            "meta": self.meta is not None, "housekeeping": len(self.housekeeping), "names": self.names,
            "unread": self.unread,
        }  # fmt: skip


def redact(
    folder: Path, patterns: Iterable[str], *, reason: str = "", forget: bool = False, dry_run: bool = False
) -> Iterator[Redaction]:
    """Take what patterns match out of an experiment and the ones below it: of log, files, meta.json, caches and half lines.

    A `redacted` event says first what is done; then each file is replaced whole. So it can be done again after it was killed.
    Names of streams, kinds and folders stay, and are told; so are files that are not looked into.

    Args:
        folder: The experiment.
        patterns: Regular expressions.
        reason: Why, for the event.
        forget: Drop the hashes of the lines too: from the hash of a line, a value with few possibilities could be guessed.
        dry_run: Only look.

    Raises:
        NotAnExperiment: The folder holds none.
        InvalidPattern: A pattern cannot be used.
        InvalidArgument: The reason holds what is to go.
        ExperimentBusy: A run goes on, or somebody merges or redacts at this moment.
        OSError: Something cannot be read or written, or changes meanwhile; doing it again goes on.
    """
    mask = Mask(patterns)
    who = f"{_user()}@{host_name()}"
    if mask.is_in(reason) or mask.is_in(who):
        raise InvalidArgument("the reason, or the name of user or host, holds what is to be redacted: word it otherwise")
    if not layout.is_experiment(folder):
        raise NotAnExperiment(f"{folder} holds no experiment: give the folder that Exp printed", path=str(folder))
    for each in layout.walk(folder):
        yield _look(each, mask, forget) if dry_run else _redact(each, mask, who, reason, forget)


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "somebody"


def _redact(folder: Path, mask: Mask, who: str, reason: str, forget: bool) -> Redaction:
    with claims.changing(folder):
        _refuse_busy(folder)
        _finish(folder)
        journal = Journal(folder)
        mine = Claim(Owner.current(), journal.run)
        streams = [layout.DEFAULT_STREAM, *layout.streams_in(folder)]
        try:
            for stream in streams:
                _claim(folder, stream, mine)
                # Before anything is looked at: opening a stream would do it later, and move a half line from under the look.
                mend(folder, stream)
            found = _look(folder, mask, forget)
            if not found.is_empty:
                _say(journal, found, who, _clean(folder, reason))
                _replace(found)
                journal.reopen()  # its file was replaced
            journal.close()
            return found
        except BaseException:
            journal.surrender()
            raise
        finally:
            for stream in streams:
                claims.release(folder, stream, mine)


def _clean(folder: Path, reason: str) -> str:
    """The reason without credentials: it is written as all texts of the experiment are."""
    content: Any = {}
    with suppress(OSError, ValueError):
        content = opening.json_content(folder / layout.META)
    if not isinstance(content, dict):
        content = {}
    return Redactor(stored(content, "redact"), stored(content, "keep")).text(reason, "reason")


def _refuse_busy(folder: Path) -> None:
    living = {stream: claim for stream, claim in surroundings(folder).living.items() if claim != FOR_MERGES}
    for stream, claim in living.items():
        text = f"process {claim.owner.pid} on {claim.owner.machine} writes into {folder / layout.stream_file(stream)}"
        hint = f"where no such process does, remove {layout.claim_path(folder, stream)}"
        raise ExperimentBusy(f"{text}: redact the experiment when its run has ended; {hint}", path=str(folder))


def _finish(folder: Path) -> None:
    """Bring into the log what waits in spools, so that it is redacted with the rest, and have runs sealed.

    Raises:
        ExperimentBusy: It could not be done.
    """
    around = surroundings(folder)
    if around.wants_recovery and not recovery.recover(folder, _RECOVER_WITHIN_S):
        text = f"{folder} has events that wait in a spool: see that `mlv recover {folder}` can finish it, and redact it then"
        raise ExperimentBusy(text, path=str(folder))
    _refuse_busy(folder)


def _claim(folder: Path, stream: str, mine: Claim) -> None:
    if claims.read(folder, stream) != FOR_MERGES and not claims.claim_exactly(folder, stream, mine):
        text = f"somebody began to write into {folder / layout.stream_file(stream)}"
        raise ExperimentBusy(f"{text}: redact the experiment when its run has ended", path=str(folder))


def _look(folder: Path, mask: Mask, forget: bool) -> Redaction:
    """Find everything that has to go."""
    found = Redaction(folder)
    for stream in layout.streams_in(folder):
        lines = (line for _, line in read_lines(folder / layout.stream_file(stream)))
        changed = {_digest(line): new for line in lines if (new := mask.line(line, forget)) is not None}
        if changed:
            found.lines[stream] = changed
    paths = list(files_of(folder, unfinished=True))
    for path in paths:
        found._stamps[path] = _stamp(folder / path)
        content = _looked_at(found, path, mask)
        if content is not None:
            found.files[path] = content if content is not False else None
    with suppress(ValueError):  # what is no JSON is no meta.json
        found.meta = mask.meta(opening.content(folder / layout.META))
    if found.lines or found.files or found.meta is not None:
        found.files.update(dict.fromkeys(_of_outputs(paths)))
    found.unread = {path: why for path, why in found.unread.items() if path not in found.files}
    kept = ("torn", "outputs", layout.SUPERSEDED)
    notes = (path for name in kept for path in _notes(folder / layout.HOUSEKEEPING / name, mask))
    found.names = list(_names(folder, mask))
    found.housekeeping = [*notes, *(_caches(folder) if found.lines else ())]
    return found


def _looked_at(found: Redaction, path: str, mask: Mask) -> bytes | Literal[False] | None:
    """What a file has to hold instead, as `Mask.file`; a symbolic link, and what is no regular file, is its name only."""
    place = found.folder / path
    if place.is_symlink():
        found.unread[mask.text(path)] = "a symbolic link"
        return False if mask.is_in(path) or mask.is_in(os.readlink(place)) else None
    if mask.is_in(path):
        return False
    if not place.is_file():
        found.unread[path] = "no regular file"
        return None
    if (why := why_unread(place)) is not None:
        found.unread[path] = why
    return mask.file(place)


def _names(folder: Path, mask: Mask) -> Iterator[str]:
    """Names that hold what leaked and stay, masked: of the experiment, its streams, and folders with experiments in it.

    Other folders go with their files, whose paths hold it as well.
    """
    if mask.is_in(folder.name):
        yield mask.text(folder.name)
    yield from (mask.text(layout.stream_file(stream)) for stream in layout.streams_in(folder) if mask.is_in(stream))
    inner = [below.relative_to(folder).parts[0] for below in layout.walk(folder) if below != folder]
    yield from (mask.text(name) for name in dict.fromkeys(inner) if mask.is_in(name))


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _of_outputs(paths: Iterable[str]) -> Iterator[str]:
    """Files of outputs that lie in the experiment: packed as they are nobody can search them, and the log makes them again."""
    found = [PurePosixPath(path) for path in paths if path.partition("/")[0] not in layout.KEEPING]
    places = {path.parent for path in found if layout.is_position(path.name)} - {PurePosixPath()}
    return (str(path) for path in found if not places.isdisjoint(path.parents))


def _notes(place: Path, mask: Mask) -> Iterator[Path]:
    for around, _, names in os.walk(place):
        for path in (Path(around, name) for name in sorted(names)):
            if path.is_symlink() or not path.is_file():
                continue
            if mask.is_in(path.relative_to(place).as_posix()) or mask.file(path) is not None:
                yield path


def _caches(folder: Path) -> Iterator[Path]:
    return (path for path in cache.cache_folders(folder) if path.is_dir())


def _say(journal: Journal, found: Redaction, who: str, reason: str) -> None:
    """Say what will be done, durably, before anything is done: what is found half done is then explained."""
    lines = [_listed(new) for changed in found.lines.values() for new in changed.values()]
    listed = [line for line in lines if line is not None]
    files = list(_published(found))
    meta = _ids(found)
    pieces = [listed[start : start + _LISTED_AT_ONCE] for start in range(0, len(listed), _LISTED_AT_ONCE)]
    for piece, rest in zip_longest(pieces or [[]], [(files, meta)]):
        said_files, said_meta = rest or ([], None)
        journal.say(Redacted(who, reason, piece or None, said_files or None, said_meta))
    journal.sync()


def _listed(new: bytes) -> dict[str, Any] | None:
    """How the event names a line: damaged ones have no name."""
    known = run_and_seq(new)
    return {"run": known[0], "seq": known[1], "sha256": hashlib.sha256(new).hexdigest()} if known is not None else None


def _ids(found: Redaction) -> dict[str, str] | None:
    if found.meta is None:
        return None
    return {"old": layout.exp_id(found.folder), "new": hashlib.sha256(found.meta).hexdigest()}


def _published(found: Redaction) -> Iterator[dict[str, Any]]:
    """What the files that the log speaks of hold afterwards, also folders that were published as a whole."""
    for path, history in known_files(found.folder).items():
        if history.is_let_go or not _touches(found, path) or blobs.has_links(found.folder / path):
            continue
        content = _content_after(found, path)
        now = {"now": dict(blobs.reference(found.folder, found.folder / path, content))} if content is not None else {}
        yield {"path": path, **now}


def _touches(found: Redaction, path: str) -> bool:
    return any(changed == path or changed.startswith(f"{path}/") for changed in found.files)


def _content_after(found: Redaction, path: str) -> Content | None:
    """What is at a path when all is done, None if nothing is."""
    if path in found.files:
        content = found.files[path]
        return None if content is None else Content(hashlib.sha256(content).hexdigest(), len(content), is_folder=False)
    rows = []
    for name in files_in(found.folder / path):
        inside = f"{path}/{name}"
        if inside not in found.files:
            there = content_of(found.folder / inside)
            rows.append((name, there.sha256, there.size))
        elif (content := found.files[inside]) is not None:
            rows.append((name, hashlib.sha256(content).hexdigest(), len(content)))
    return folder_content(rows)


def _replace(found: Redaction) -> None:
    """Do it, the log last but meta.json: each file whole or not at all."""
    for path in found.housekeeping:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for name, content in found.files.items():
        path = found.folder / name
        if _stamp(path) != found._stamps[name]:
            text = f"{path} was changed while {found.folder} was redacted: see that nobody writes there, and redact it again"
            raise ExperimentBusy(text, path=str(found.folder))
        if content is None:
            os.unlink(path)
            with suppress(OSError):  # not empty
                os.removedirs(path.parent)
        else:
            replace_file(path, [content])
    for stream, changed in found.lines.items():
        path = found.folder / layout.stream_file(stream)
        replace_file(path, _lines_after(path, changed))
    if found.meta is not None:
        replace_file(found.folder / layout.META, [found.meta])


def _lines_after(path: Path, changed: Mapping[bytes, bytes]) -> Iterator[bytes]:
    return (changed.get(_digest(line), line) for _, line in read_lines(path))
