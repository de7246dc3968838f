"""Redact an experiment: remove a leaked value from every file that holds it, and record that in an event."""

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
from mlv.audit.merge_files import file_histories, files_of
from mlv.capture.patterns import stored
from mlv.capture.redaction import Redactor
from mlv.errors import ExperimentBusy, InvalidArgument, NotAnExperiment
from mlv.events import Redacted
from mlv.query.metrics import cache
from mlv.store import blobs, claims, keys, layout, opening
from mlv.store.claims import FOR_MERGES, Claim
from mlv.store.contents import Content, content_of, files_in, folder_content, reference
from mlv.store.files import replace_file
from mlv.store.masking import Mask, why_unread
from mlv.store.owners import Owner, host_name
from mlv.store.seals import run_and_seq
from mlv.store.streams import mend, read_lines
from mlv.transport import recovery
from mlv.transport.journal import Journal

_LISTED_AT_ONCE = 1000  # an event stays a line of some 30 KB, however much was redacted
_RECOVER_WITHIN_S = 30.0  # events that wait in a spool may hold the credential, too


@dataclass
class Redaction:
    """The changes that a redaction makes to one experiment, or made."""

    folder: Path
    lines: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """New lines by stream, and by the SHA-256 of the line that each replaces: offsets may move."""
    files: dict[str, bytes | None] = field(default_factory=dict)
    """New contents by path; None for a file that is removed."""
    meta: bytes | None = None
    """The new meta.json, None where it stays."""
    housekeeping: list[Path] = field(default_factory=list)
    """Half lines, caches, lists, superseded files, and messages of output processes, that are removed."""
    names: list[str] = field(default_factory=list)
    """Names of streams and folders that hold the leaked value, and stay; it is masked here."""
    unread: dict[str, str] = field(default_factory=dict)
    """Reasons by path why a file was not searched: it is compressed, for example."""
    _stamps: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Device, inode, size and time by path, to notice a file that changes meanwhile."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing holds the leaked value."""
        return not (self.lines or self.files or self.meta is not None or self.housekeeping)

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON, without the leaked value."""
        return {
            "path": str(self.folder), "lines": {layout.stream_file(name): len(new) for name, new in self.lines.items()},
            "masked": sum(content is not None for content in self.files.values()),
            "removed": sum(content is None for content in self.files.values()),
            "meta": self.meta is not None, "housekeeping": len(self.housekeeping), "names": self.names,
            "unread": self.unread,
        }  # fmt: skip


def redact(
    folder: Path, patterns: Iterable[str], *, reason: str = "", forget: bool = False, dry_run: bool = False
) -> Iterator[Redaction]:
    """Remove text that patterns match from an experiment and those below it: log, files, meta.json, caches and half lines.

    A `redacted` event lists the changes first; then each file is replaced whole. A redaction that was killed can be repeated.
    Names of streams, kinds and folders stay, and are reported; so are files that are not searched.

    Args:
        folder: The experiment.
        patterns: Regular expressions.
        reason: Why, for the event.
        forget: Drop the hashes of the lines too: from the hash of a line, a value with few possibilities could be guessed.
        dry_run: Only report the changes.

    Raises:
        NotAnExperiment: The folder holds none.
        InvalidPattern: A pattern cannot be used.
        InvalidArgument: The reason holds text that the patterns match.
        ExperimentBusy: A run goes on, or somebody merges or redacts at this moment.
        OSError: Something cannot be read or written, or changes meanwhile; a second call completes it.
    """
    mask = Mask(patterns)
    who = f"{_user()}@{host_name()}"
    if mask.is_in(reason) or mask.is_in(who):
        raise InvalidArgument("the reason, or the name of user or host, holds what is to be redacted: word it otherwise")
    if not layout.is_experiment(folder):
        raise NotAnExperiment(f"{folder} holds no experiment: give the folder that Exp printed", path=str(folder))
    for each in layout.walk(folder):
        yield _plan(each, mask, forget) if dry_run else _redact(each, mask, who, reason, forget)


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):  # a user without a name, as in many containers
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
                # Before the search: opening a stream would mend it later, and move a half line that the plan refers to.
                mend(folder, stream)
            redaction = _plan(folder, mask, forget)
            if not redaction.is_empty:
                _announce(journal, redaction, mask, who, _clean(folder, reason))
                _carry_out(redaction)
                journal.reopen()  # its file was replaced
            journal.close()
            return redaction
        except BaseException:
            journal.surrender()
            raise
        finally:
            for stream in streams:
                claims.release(folder, stream, mine)


def _clean(folder: Path, reason: str) -> str:
    """Return the reason without credentials: it is redacted as all texts of the experiment are."""
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
    """Recover the experiment: events in spools get into the log, to be redacted there, and runs are sealed.

    Raises:
        ExperimentBusy: Recovery could not finish.
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


def _plan(folder: Path, mask: Mask, forget: bool) -> Redaction:
    """Find everything that holds a match, and return the changes."""
    redaction = Redaction(folder)
    for stream in layout.streams_in(folder):
        lines = (line for _, line in read_lines(folder / layout.stream_file(stream)))
        changed = {_digest(line): new for line in lines if (new := mask.line(line, forget)) is not None}
        if changed:
            redaction.lines[stream] = changed
    paths = list(files_of(folder, unfinished=True))
    for path in paths:
        redaction._stamps[path] = _stamp(folder / path)
        content = _replacement(redaction, path, mask)
        if content is not None:
            redaction.files[path] = content if content is not False else None
    with suppress(ValueError):  # a file that is not JSON is no meta.json
        redaction.meta = mask.meta(opening.content(folder / layout.META))
    if redaction.lines or redaction.files or redaction.meta is not None:
        redaction.files.update(dict.fromkeys(_output_files(paths)))
    redaction.unread = {path: why for path, why in redaction.unread.items() if path not in redaction.files}
    subfolders = ("torn", "outputs", layout.SUPERSEDED)
    notes = (path for name in subfolders for path in _notes(folder / layout.HOUSEKEEPING / name, mask))
    redaction.names = list(_names(folder, mask))
    lists = _lists() if redaction.lines or redaction.meta is not None else ()
    redaction.housekeeping = [*notes, *(_caches(folder) if redaction.lines else ()), *lists]
    return redaction


def _replacement(redaction: Redaction, path: str, mask: Mask) -> bytes | Literal[False] | None:
    """Return a file's new content, as `Mask.file` does; of links and other non-regular files only the name is searched."""
    file = redaction.folder / path
    if file.is_symlink():
        redaction.unread[mask.text(path)] = "a symbolic link"
        return False if mask.is_in(path) or mask.is_in(os.readlink(file)) else None
    if mask.is_in(path):
        return False
    if not file.is_file():
        redaction.unread[path] = "no regular file"
        return None
    if (why := why_unread(file)) is not None:
        redaction.unread[path] = why
    return mask.file(file)


def _names(folder: Path, mask: Mask) -> Iterator[str]:
    """Yield, masked, the names that hold a match and stay: of the experiment, its streams, and folders with experiments.

    Other folders are removed with their files, whose paths hold the match as well.
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


def _output_files(paths: Iterable[str]) -> Iterator[str]:
    """Yield the files of outputs in the experiment: their formats cannot be searched, and the log can make them again."""
    files = [PurePosixPath(path) for path in paths if path.partition("/")[0] not in layout.KEEPING]
    output_folders = {path.parent for path in files if layout.is_position(path.name)} - {PurePosixPath()}
    return (str(path) for path in files if not output_folders.isdisjoint(path.parents))


def _notes(folder: Path, mask: Mask) -> Iterator[Path]:
    for around, _, names in os.walk(folder):
        for path in (Path(around, name) for name in sorted(names)):
            if path.is_symlink() or not path.is_file():
                continue
            if mask.is_in(path.relative_to(folder).as_posix()) or mask.file(path) is not None:
                yield path


def _caches(folder: Path) -> Iterator[Path]:
    return (path for path in cache.cache_folders(folder) if path.is_dir())


def _lists() -> Iterator[Path]:
    """Yield the user's lists of experiments, of all folders: a link may have led to this one."""
    return (path for name in keys.LISTS if (path := keys.cache_folder() / name).is_dir())


def _announce(journal: Journal, redaction: Redaction, mask: Mask, who: str, reason: str) -> None:
    """Write and sync the `redacted` events before any change: they explain a redaction that stops halfway."""
    lines = [_listed(new) for changed in redaction.lines.values() for new in changed.values()]
    listed = [line for line in lines if line is not None]
    # A path that holds a match is masked, as in the lines that name it: these events stay.
    files = [{**file, "path": mask.text(file["path"])} for file in _published(redaction)]
    meta = _ids(redaction)
    chunks = [listed[start : start + _LISTED_AT_ONCE] for start in range(0, len(listed), _LISTED_AT_ONCE)]
    for chunk, extras in zip_longest(chunks or [[]], [(files, meta)]):
        chunk_files, chunk_meta = extras or ([], None)
        journal.say(Redacted(who, reason, chunk or None, chunk_files or None, chunk_meta))
    journal.sync()


def _listed(new: bytes) -> dict[str, Any] | None:
    """Return the event's entry for a line, None for a damaged line without run and number."""
    key = run_and_seq(new)
    return {"run": key[0], "seq": key[1], "sha256": hashlib.sha256(new).hexdigest()} if key is not None else None


def _ids(redaction: Redaction) -> dict[str, str] | None:
    if redaction.meta is None:
        return None
    return {"old": layout.exp_id(redaction.folder), "new": hashlib.sha256(redaction.meta).hexdigest()}


def _published(redaction: Redaction) -> Iterator[dict[str, Any]]:
    """Yield the new contents of files that the log names, also of folders that were published as a whole."""
    for path, history in file_histories(redaction.folder).items():
        if history.is_let_go or not _touches(redaction, path) or blobs.has_links(redaction.folder / path):
            continue
        content = _content_after(redaction, path)
        now = {"now": dict(reference(redaction.folder, redaction.folder / path, content))} if content is not None else {}
        yield {"path": path, **now}


def _touches(redaction: Redaction, path: str) -> bool:
    return any(changed == path or changed.startswith(f"{path}/") for changed in redaction.files)


def _content_after(redaction: Redaction, path: str) -> Content | None:
    """Return the content at a path after the redaction, None if nothing is left there."""
    if path in redaction.files:
        content = redaction.files[path]
        return None if content is None else Content(hashlib.sha256(content).hexdigest(), len(content), is_folder=False)
    rows = []
    for name in files_in(redaction.folder / path):
        inside = f"{path}/{name}"
        if inside not in redaction.files:
            existing = content_of(redaction.folder / inside)
            rows.append((name, existing.sha256, existing.size))
        elif (content := redaction.files[inside]) is not None:
            rows.append((name, hashlib.sha256(content).hexdigest(), len(content)))
    return folder_content(rows)


def _carry_out(redaction: Redaction) -> None:
    """Carry out the changes, each file whole or not at all."""
    _remove(redaction.housekeeping)
    for name, content in redaction.files.items():
        path = redaction.folder / name
        if _stamp(path) != redaction._stamps[name]:
            folder = redaction.folder
            text = f"{path} was changed while {folder} was redacted: see that nobody writes there, and redact it again"
            raise ExperimentBusy(text, path=str(folder))
        if content is None:
            os.unlink(path)
            with suppress(OSError):  # not empty
                os.removedirs(path.parent)
        else:
            replace_file(path, [content])
    # The log after the files, meta.json last: killed in between, the next redaction removes caches and files of outputs,
    # which cannot be searched, only while a line or meta.json still holds a match.
    for stream, changed in redaction.lines.items():
        path = redaction.folder / layout.stream_file(stream)
        replace_file(path, _lines_after(path, changed))
    if redaction.meta is not None:
        replace_file(redaction.folder / layout.META, [redaction.meta])
    _remove(redaction.housekeeping)  # that which others, such as a page, have written meanwhile


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _lines_after(path: Path, changed: Mapping[bytes, bytes]) -> Iterator[bytes]:
    return (changed.get(_digest(line), line) for _, line in read_lines(path))
