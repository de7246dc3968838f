"""Find the files that one copy of an experiment lacks of another, and copy each of them whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.audit.file_history import REDACTING, FileVersion, History, histories, is_attaching, references, versions_of
from mlv.audit.format_check import checked
from mlv.store import attached, blobs, copying, layout, opening
from mlv.store.contents import Content, content_of, files_in
from mlv.store.files import is_unfinished
from mlv.store.streams import read_lines

_ATTACHMENT_FOLDERS = (layout.FILES, layout.MODELS)


@dataclass
class FileReport:
    """The files of one experiment that were copied, and those that differ."""

    files: list[str] = field(default_factory=list)
    """Paths that were copied: of files, and of folders that were published as a whole."""
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def bring(theirs: Path, ours: Path, *, may_change: bool, dry_run: bool) -> FileReport:
    """Copy the files that our copy of an experiment lacks; a version that was published later supersedes an earlier one.

    Nothing of ours is overwritten or removed: superseded files are kept in `.mlv/superseded`.

    Args:
        theirs: The copy to read.
        ours: The copy to complete; with `dry_run` it may be missing.
        may_change: Whether a process may be writing into theirs.
        dry_run: Only report the files that would be copied.

    Raises:
        OSError: Ours cannot be written.
    """
    return _FileMerge(theirs, ours, file_histories(ours, theirs), may_change, dry_run).result()


def file_histories(*copies: Path) -> dict[str, History]:
    """Return the history of each file that the logs of an experiment's copies name, taken together.

    Paths that cannot be attachments are passed over: data in a log must not decide about the store's own files.
    """
    claims = [claim for folder in copies for claim in _claims(folder)]
    return {path: history for path, history in histories(claims).items() if attached.is_attachable(path)}


def _claims(folder: Path) -> Iterator[FileVersion]:
    """Yield the versions of files that the log of a copy, and its meta.json, record."""
    with suppress(OSError, ValueError, AttributeError):
        git = opening.json_content(folder / layout.META).get("git")
        yield from [FileVersion(reference["path"], reference) for reference in references(git)]
    named = wire.type_filter(("checkpoint", REDACTING))
    saved: dict[Any, Mapping[str, Any]] = {}
    for stream in layout.streams_in(folder) if folder.is_dir() else ():
        for _, line in read_lines(folder / layout.stream_file(stream)):
            with suppress(ValueError, KeyError, TypeError):  # a damaged line records nothing
                if not (wire.TAGGED in line or named(line)):
                    continue
                fields = checked(line)
                if fields["type"] == REDACTING or is_attaching(fields["type"]):
                    yield from versions_of(fields["type"], fields["data"], fields["time"], fields["run"], fields["seq"], saved)


class _FileMerge:
    """One merge of the files of two copies."""

    def __init__(self, theirs: Path, ours: Path, history_of: Mapping[str, History], may_change: bool, dry_run: bool) -> None:
        self._theirs, self._ours, self._history_of = theirs, ours, history_of
        self._may_change, self._dry_run = may_change, dry_run
        self._copied: dict[tuple[int, int], Path] = {}
        self._result = FileReport()

    def result(self) -> FileReport:
        """Merge all files, and return the report."""
        for path in _units(self._theirs, self._history_of):
            try:
                self._judge(path, self._history_of.get(path))
            except _Changed as error:
                self._report(f"{path} {error}", is_passing=True)
        for folder in {(self._ours / path).parent for path in self._history_of} if not self._dry_run else ():
            with suppress(OSError):  # it holds none of them
                blobs.remove_left_over(folder)
        return self._result

    def _judge(self, path: str, history: History | None) -> None:
        theirs, ours = self._theirs / path, self._ours / path
        if not os.path.lexists(ours):
            if history is None or not history.is_let_go:
                self._copy(path, history, None)
        elif not _look_equal(theirs, ours):
            self._judge_difference(path, history, _content(theirs), _content(ours))

    def _judge_difference(self, path: str, history: History | None, theirs: Content | None, ours: Content | None) -> None:
        if theirs is not None and ours is not None and theirs.sha256 == ours.sha256:
            return
        if history is None:
            # Other files can be made again, or are the user's own.
            if path.partition("/")[0] in _ATTACHMENT_FOLDERS:
                self._report(f"{path} has other bytes than ours, which stays: no line says which of them is right")
            return
        published = [claim.sha256 for claim in history.published]
        is_latest = theirs is not None and theirs.sha256 == published[-1]
        if is_latest and ours is not None and ours.sha256 in published:
            self._copy(path, history, ours)
        elif is_latest or ours is None or ours.sha256 != published[-1]:
            text = f"{path} has other bytes than ours, which stays: ours are not what was published last"
            self._report(text, is_passing=True)
        elif theirs is None or theirs.sha256 not in published:
            self._report(f"{path} has bytes that nobody published; ours, which were published last, stay", is_passing=True)

    def _copy(self, path: str, history: History | None, superseded: Content | None) -> None:
        """Copy a file or folder whole, if its content was published last; a version of ours is kept aside."""
        expected = history.latest.sha256 if history is not None else None
        if (link := self._link(path)) is not None:
            self._report_link(f"{path} is not copied: {link} is a symbolic link, which may lead anywhere", history)
            return
        if self._dry_run:
            self._result.files.append(path)
            return
        source, target = self._theirs / path, self._ours / path
        temporary = blobs.temporary_beside(target)
        try:
            content = self._linked_or_copied(path, source, temporary)
            if expected is not None and content.sha256 != expected:
                raise _Changed("holds other bytes than were published last: it is not copied")
            # Before the move, like all else that is wrong for a moment: at its path the file is finished.
            _take_times(source, temporary)
            blobs.make_durable(temporary, read_only=history is not None or not os.access(source, os.W_OK))
            if superseded is None:
                blobs.move_into_place(temporary, target, is_new=True)
            else:
                self._supersede(path, temporary, superseded)
        except FileExistsError:
            raise _Changed("appeared in our copy at this moment: merge again") from None
        finally:
            blobs.remove(temporary)
        self._note_copied(source, target)
        self._result.files.append(path)

    def _link(self, path: str) -> Path | None:
        """Return a symbolic link on the way to a file of theirs, within a folder of theirs, or on the way to ours."""
        if (link := attached.link_on_the_way(self._theirs, path)) is not None:
            return link
        source = self._theirs / path
        if source.is_dir() and blobs.has_links(source):
            return source
        around = path.rpartition("/")[0]
        return attached.link_on_the_way(self._ours, around) if around else None

    def _supersede(self, path: str, temporary: Path, superseded: Content) -> None:
        """Replace our file or folder, which is renamed and kept: only its owner may remove it.

        Raises:
            OSError: It could not be done; ours is where it was.
        """
        target = self._ours / path
        aside = layout.superseded_path(self._ours, path, superseded.sha256)
        if (link := attached.link_on_the_way(self._ours, aside.parent.relative_to(self._ours).as_posix())) is not None:
            raise _Changed(f"is not copied: {link} is a symbolic link, which may lead anywhere")
        aside.parent.mkdir(parents=True, exist_ok=True)
        is_linked = blobs.link_or_move(target, aside)
        try:
            # What was compared may be another by now.
            if content_of(aside) != superseded:
                raise _Changed("changed in our copy at this moment: merge again")
            blobs.move_into_place(temporary, target)
        except BaseException:
            if is_linked:
                aside.unlink()  # ours never left its path
            else:
                os.rename(aside, target)
            raise
        self._result.notes.append(f"{path}: ours was published earlier, and is kept as {aside.relative_to(self._ours)}")

    def _linked_or_copied(self, path: str, source: Path, temporary: Path) -> Content:
        """Copy a file or folder, and return its content; several names of one file there become names of one file here."""
        try:
            status = source.stat()
            earlier = self._copied.get((status.st_dev, status.st_ino)) if source.is_file() else None
            if earlier is not None:
                with suppress(OSError):
                    copying.link_or_copy(earlier, temporary)
                    return content_of(temporary)
            if source.is_dir():
                return copying.copy_hashed(source, temporary)
            with attached.held(self._theirs, path) as name:
                return copying.copy_hashed(name, temporary)
        except FileNotFoundError:
            raise _Changed("was removed while it was read") from None
        except OSError as error:
            raise _Changed(f"could not be copied: {error.strerror or error}") from error

    def _note_copied(self, source: Path, target: Path) -> None:
        with suppress(OSError):
            status = source.stat()
            if status.st_nlink > 1 and source.is_file():
                self._copied[status.st_dev, status.st_ino] = target

    def _report(self, text: str, *, is_passing: bool = False) -> None:
        if is_passing and self._may_change:
            self._result.notes.append(f"{text} (runs go on there: merge again later)")
        else:
            self._result.differences.append(text)

    def _report_link(self, text: str, history: History | None) -> None:
        if history is None:
            self._result.notes.append(text)
        else:
            self._result.differences.append(text)


class _Changed(Exception):
    """A file does not, or no longer, have the content that it should have."""


def _units(folder: Path, history_of: Mapping[str, History]) -> Iterator[str]:
    """Yield the paths that are copied as a whole: those that the log names, then every other file."""
    named = [path for path in history_of if os.path.exists(folder / path)]
    yield from named
    folders = tuple(f"{path}/" for path in named if (folder / path).is_dir())
    listed = {*named}
    for path in files_of(folder):
        if path not in listed and not path.startswith(folders):
            yield path


def files_of(folder: Path, *, unfinished: bool = False) -> Iterator[str]:
    """Yield every file of an experiment except meta.json, streams, sub-experiments and housekeeping.

    With `unfinished`, temporary files are included: those being written, and those that killed processes left.
    """
    for root, folders, names in os.walk(folder):
        inside = Path(root).relative_to(folder)
        is_top, is_attachment = inside == Path(), bool({*inside.parts[:1]} & {*_ATTACHMENT_FOLDERS})
        folders[:] = sorted(
            name
            for name in folders
            if (unfinished or not name.startswith(layout.TEMPORARY))
            and not (is_top and name == layout.HOUSEKEEPING)
            and (is_attachment or (is_top and name in _ATTACHMENT_FOLDERS) or not layout.is_experiment(Path(root, name)))
        )
        for name in sorted(names):
            is_own = is_top and (name == layout.META or layout.stream_of(name) is not None)
            is_finished = not is_unfinished(name)
            if not (is_own and is_finished) and (unfinished or is_finished):
                yield (inside / name).as_posix()


def _look_equal(a: Path, b: Path) -> bool:
    """Return whether two files, or the files of two folders, agree in size and time, as copies made by a merge do."""
    try:
        names = [""] if a.is_file() else files_in(a)
        if a.is_dir() != b.is_dir() or (a.is_dir() and files_in(b) != names):
            return False
        return all(_size_and_time(a / name) == _size_and_time(b / name) for name in names)
    except OSError:
        return False


def _size_and_time(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _take_times(source: Path, copy: Path) -> None:
    names: Iterable[str] = files_in(copy) if copy.is_dir() else [""]
    for name in names:
        with suppress(OSError):  # a file system without times of its own, or a link to a read-only file
            status = (source / name).stat()
            os.utime(copy / name, ns=(status.st_atime_ns, status.st_mtime_ns))


def _content(path: Path) -> Content | None:
    try:
        return content_of(path)
    except OSError:
        return None
