"""The calls of an experiment that publish files, and that attach existing ones."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar, cast

from mlv.capture.redaction import REDACTED, Redactor
from mlv.encoding import TAG, Reference, step_number
from mlv.errors import FileExists, FileUnusable, InvalidArgument, MlvError, MlvWarning
from mlv.experiment.opening.captures import warn_of_redactions
from mlv.experiment.session import Session
from mlv.frozen import FrozenRecord
from mlv.interrupts import pass_on
from mlv.notices import warn, warn_once
from mlv.store import blobs, copying, layout
from mlv.store.contents import Content, content_of, reference
from mlv.store.locks import alone_in
from mlv.store.paths import checked_inside, checked_path
from mlv.store.references import portable

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MODES = ("w", "wb", "w+", "w+b", "x", "xb", "x+", "x+b")
_ELSEWHERE = (errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


class Attachments:
    """The part of `Exp` that is about files.

    They appear under `files/` whole, fsynced and read-only, or not at all; a `file` event with path, size, SHA-256 and media
    type follows. A name that is published again gets its new content in one step. Content that the experiment holds already
    under another name is stored once.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        _folder: Path

        _redactor: Redactor

        def _writable(self) -> Session: ...

    def file(
        self, name: str, mode: str, *, encoding: str | None = None, newline: str | None = None, step: float | None = None
    ) -> FileBlock[IO[Any]]:
        """Write a file: `with exp.file("model.npz", "wb") as f: ...` leaves `files/model.npz`.

        After an exception within the block there is no such file, or the earlier one.

        Args:
            name: Below `files`; folders are made.
            mode: `w` or `wb`, or `x` or `xb` for a name that must be new; with `+` what was written can be read.
            encoding: Of text; UTF-8 by default.
            newline: As in `open`.
            step: When it was, for the event.

        Raises:
            InvalidName: The name is empty, absolute, or leads out of `files`.
            InvalidArgument: The mode, encoding or newline is none that can be used.
            FileExists: There is such a file, in mode `x`.
            FileUnusable: It cannot be written; what was there before still is.
        """
        options = {"mode": _checked_mode(mode), "encoding": encoding, "newline": newline}
        target = self._target(name, step, is_new="x" in mode)
        return FileBlock(f"exp.file({target.name!r}, {mode!r})", target, _open_target(target, options))

    def filepath(self, name: str, *, step: float | None = None) -> FileBlock[Path]:
        """Let a library write a file, or a folder: `with exp.filepath("weights.pt") as path: torch.save(state, path)`.

        The path lies in a private folder. What is there at the end of the block is published; a suffix that the library
        added is kept. After an exception within the block there is no such file, or the earlier one.

        Raises:
            InvalidName: As `file`.
            FileUnusable: As `file`; or there is nothing, or more than one thing, at the end.
        """
        target = self._target(name, step)
        return FileBlock(f"exp.filepath({target.name!r})", target, _filepath_target(target))

    def attach(
        self, path: str | os.PathLike[str], name: str | None = None, how: str = "copy", *, step: float | None = None
    ) -> Path:
        """Bring in a file or a folder: it is then `files/<name>`.

        Symbolic links within a folder become what they point at; empty folders are left out. The SHA-256 of a folder is that
        of its manifest, a line `<sha256>  <path>` for each file, as sha256sum prints it.

        Args:
            path: Of the file or folder.
            name: Below `files`; its own by default.
            how: `copy`, which shares blocks where the file system can; `link`, which shares blocks, else is another name of
                the file (which must not be written into any more), else a copy, with a warning; `move`, after which it is at
                `path` no more.
            step: When it was, for the event.

        Returns:
            The path of the attachment; under `MLV_DISABLED` the path given, at which the file stays.

        Raises:
            InvalidName: As `file`.
            InvalidArgument: `how` has an unknown value, or the path holds the experiment, or is a part of it to be moved.
            FileUnusable: It cannot be read, or changed meanwhile, or cannot be written; what was there before still is.
        """
        if how not in _ATTACH_BY:
            raise InvalidArgument(f"how={how!r}: give 'copy', 'link' or 'move'", how=how)
        source = checked_path(path, "path")
        target = self._target(source.name if name is None else name, step)
        _refuse_own(source, self._folder, how)
        if target.session.is_disabled:
            return source
        if target.session.is_silent:
            return target.path
        with _translated_os_errors(f"{str(source)!r} cannot be attached as {target.name!r}"):
            return _ATTACH_BY[how](target, source)

    def _target(self, name: Any, step: float | None, is_new: bool = False) -> _Target:
        session = self._writable()
        files = session.folder / layout.FILES
        path = checked_inside(files, name)
        if (clean := _clean_name(session, files, path.relative_to(files).as_posix(), self._redactor)) is not None:
            path = files / clean
        target = _Target(session, path, path.relative_to(files).as_posix(), step_number(step), is_new, [])
        if session.is_closed:
            text = (
                f"{target.name!r} is not published: the run in {self._folder} has ended. Do it before close(), or open the "
                f"experiment again with Exp.open({str(self._folder)!r})"
            )
            raise FileUnusable(text, path=str(path))
        if session.is_gone:
            text = f"{target.name!r} is not published: the experiment in {self._folder} was removed or replaced during the run"
            raise FileUnusable(text, path=str(path))
        if is_new and os.path.lexists(path):
            raise _exists(target)
        return target


def _clean_name(session: Session, files: Path, name: str, redactor: Redactor) -> str | None:
    """Return a name without the credential for a file whose own name looks like one; None if it does not.

    Within a run a name gets the same clean name each time, and no existing file of another name is replaced.
    """
    clean_names: dict[str, str] = session.memory.setdefault("clean names", {})
    clean = redactor.name(name, "file name").replace(REDACTED, "redacted")
    if clean == name:
        return None
    warn_of_redactions(redactor)
    if name not in clean_names:
        first = Path(clean)
        names = (first.with_stem(f"{first.stem}_{n}").as_posix() if n > 1 else clean for n in count(1))
        clean_names[name] = next(
            candidate for candidate in names if candidate not in clean_names.values() and not os.path.lexists(files / candidate)
        )
    return clean_names[name]


class FileBlock(AbstractContextManager[T], Generic[T]):
    """A file in the making, for the time of a `with` block; afterwards it stands in events and params for its reference."""

    __slots__ = ("_call", "_context", "_target")

    def __init__(self, call: str, target: _Target, context: AbstractContextManager[T]) -> None:
        self._call, self._target, self._context = call, target, context

    def __enter__(self) -> T:
        target = self._target

        def refer() -> Reference | None:
            return self.__mlv_reference__() if target.published or target.session.is_silent else None

        return _with_reference(self._context.__enter__(), refer)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.__exit__(kind, error, trace)

    def __mlv_reference__(self) -> Reference:
        target = self._target
        if target.published:
            return portable(target.session.folder, target.published[-1])
        if target.session.is_silent:  # nobody stores the event that refers to it
            return Reference({TAG: "file", "path": str(target.path), "sha256": ""})
        raise InvalidArgument(f"{self._call} is not published yet: refer to it after its with block")

    def __fspath__(self) -> str:
        raise InvalidArgument(self._hint())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(self._hint())

    def __repr__(self) -> str:
        return f"<{self._hint()}>"

    def _hint(self) -> str:
        return f"{self._call} is for a with block, at whose end the file is published: with {self._call} as it: ..."


class FilePath(type(Path())):  # type: ignore[misc]  # the class of paths of this system, before Python 3.12
    """A path that a library may write to; in an event or in params it is the reference to the file that became of it."""

    _refer: Callable[[], Reference | None] | None = None

    def __mlv_reference__(self) -> Reference | None:
        return self._refer() if self._refer is not None else None


def _with_reference(file: T, refer: Callable[[], Reference | None]) -> T:
    """Return the path or the open file, which stands for the reference as soon as the file is published."""
    if isinstance(file, Path):
        path: Any = FilePath(file)
        path._refer = refer
        return cast("T", path)
    with suppress(AttributeError):  # a file of some other kind
        file.__mlv_reference__ = refer  # type: ignore[attr-defined]
    return file


class _Target(FrozenRecord):
    """The path at which a file is published, and the other fields of its event."""

    session: Session
    path: Path
    name: str
    step: float | None
    is_new: bool
    """Whether the path must not exist yet."""
    published: list[Reference]
    """The reference within the experiment, once it is published."""


def _checked_mode(mode: Any) -> str:
    letters = set(mode) if isinstance(mode, str) else set()
    is_known = letters <= set("wxbt+") and len(letters & set("wx")) == 1 and not letters >= set("bt")
    if is_known and len(letters) == len(mode):
        return str(mode)
    hint = ""
    if "a" in letters:
        hint = "; nothing is appended to a file that was published: write it whole, or log what comes bit by bit"
    if "r" in letters:
        hint = "; a file that was published is read with open(exp.path / 'files' / name)"
    raise InvalidArgument(f"mode={mode!r}: give one of {', '.join(_MODES)}{hint}", mode=mode)


@contextmanager
def _open_target(target: _Target, options: dict[str, Any]) -> Iterator[IO[Any]]:
    """Yield a file to write into, and publish it at the end."""
    if target.session.is_silent:
        import tempfile  # `import mlv` does without

        with tempfile.TemporaryFile(**{**options, "mode": options["mode"].replace("x", "w")}) as file:
            yield file
        return
    with _temporary(target) as temporary:
        with _translated_os_errors(_not_published(target)):
            file = _open_new(temporary, **options)
        with _translated_os_errors(_not_published(target), _FULL), file:
            yield file
        with _translated_os_errors(_not_published(target)):
            _publish(target, temporary)


def _open_new(path: Path, mode: str, encoding: str | None, newline: str | None) -> IO[Any]:
    if "b" not in mode and encoding is None:
        encoding = "utf-8"
    try:
        return open(path, mode.replace("w", "x"), encoding=encoding, newline=newline)
    except (ValueError, LookupError, TypeError) as error:
        text = f"mode={mode!r}, encoding={encoding!r}, newline={newline!r}: {error}"
        raise InvalidArgument(text, mode=mode, encoding=encoding, newline=newline) from error


@contextmanager
def _filepath_target(target: _Target) -> Iterator[Path]:
    """Yield a path for a library to write to, and publish the file at the end."""
    if target.session.is_silent:
        import tempfile  # `import mlv` does without

        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / target.path.name
        return
    with _temporary(target) as private:
        with _translated_os_errors(_not_published(target)):
            private.mkdir()
        with _translated_os_errors(_not_published(target), _FULL):
            yield private / target.path.name
        with _translated_os_errors(_not_published(target)):
            path = _only_one(private, target)
            blobs.unlock_folders(path)
            target = target.replace(path=target.path.with_name(path.name))
            if blobs.has_links(path):
                resolved = private / blobs.TEMPORARY
                copying.copy_hashed(path, resolved)
                path = resolved
            _publish(target, path)


def _only_one(private: Path, target: _Target) -> Path:
    """Return the path that a library wrote: the path it got, or that with a suffix."""
    basename = target.path.name
    names = sorted(os.listdir(private))
    if not names:
        text = f"{target.name!r} is not published: nothing was written to the path that exp.filepath({target.name!r}) gave"
        raise FileUnusable(text, path=str(target.path))
    if len(names) > 1 or not names[0].startswith((basename, f"{target.path.stem}.")):
        text = (
            f"{target.name!r} is not published: beside the path that exp.filepath({target.name!r}) gave there is "
            f"{', '.join(name for name in names if name != basename)}. For several files make a folder: path.mkdir()"
        )
        raise FileUnusable(text, path=str(target.path), names=names)
    return private / names[0]


def _attach_copy(target: _Target, source: Path) -> Path:
    with _temporary(target) as temporary:
        content = copying.copy_hashed(source, temporary)
        return _publish(target, temporary, content)


def _attach_link(target: _Target, source: Path) -> Path:
    with _temporary(target) as temporary:
        if not copying.link_or_copy(source, temporary, reflink=True):
            text = f"{source} is copied, not linked: there are no links from there to {target.path.parent}"
            warn_once(text, MlvWarning)
        return _publish(target, temporary)


def _attach_move(target: _Target, source: Path) -> Path:
    before = os.lstat(source)
    path = _attach_by_rename(target, source) or _attach_copy(target, source)
    if _is_at(source, before):  # it was copied, or its content was stored already
        blobs.remove(source)
    if _is_at(source, before):
        warn(f"{source} is attached, but could not be removed from there: {path} is a copy", MlvWarning)
    return path


def _is_at(path: Path, file: os.stat_result) -> bool:
    """Return whether a path is still this very file: somebody may have made a new one of that name by now."""
    try:
        return os.path.samestat(os.lstat(path), file)
    except OSError:
        return False


def _attach_by_rename(target: _Target, source: Path) -> Path | None:
    """Move in one step; None, and nothing done, where that is impossible."""
    if blobs.has_links(source):
        return None
    try:
        return _publish(target, source)
    except OSError as error:
        if error.errno not in _ELSEWHERE:
            raise
        return None


_ATTACH_BY: dict[str, Callable[[_Target, Path], Path]] = {"copy": _attach_copy, "link": _attach_link, "move": _attach_move}


def _refuse_own(source: Path, folder: Path, how: str) -> None:
    """Keep an experiment from being attached to itself, and from losing its own files."""
    real, real_folder = Path(os.path.realpath(source)), Path(os.path.realpath(folder))
    if real == real_folder or real in real_folder.parents:
        text = f"{str(source)!r} holds the experiment {folder} that it would be attached to: give a folder beside it"
        raise InvalidArgument(text, path=str(source))
    owner = layout.enclosing_experiment(real)
    if how == "move" and owner is not None and layout.is_own(owner, real):
        text = f"{str(source)!r} is a part of the experiment {owner}, and stays there: attach it with how='copy'"
        raise InvalidArgument(text, path=str(source), how=how)


_publishing = threading.RLock()
"""Held while a file gets its path and its event, so that threads that publish the same name do both in the same order.

Between processes, a lock on the folder does the same.
"""


def _after_fork_in_child() -> None:
    global _publishing
    _publishing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _publish(target: _Target, temporary: Path, content: Content | None = None) -> Path:
    """Publish a finished file or folder, and emit its event; `temporary` is left over if its content is stored already."""
    from mlv.experiment.files.dedup import Contents  # reads much that `import mlv` does without

    blobs.make_durable(temporary, read_only=False)
    content = content or content_of(temporary)
    with _publishing, alone_in(target.session.folder / layout.FILES):
        contents = Contents.of(target.session)
        if target.is_new or not contents.holds(target.path, content):
            _move(temporary, target, contents.path_of(content))
            blobs.make_durable(target.path)
            contents.add(target.path, content)
        data = reference(target.session.folder, target.path, content)
        target.session.emit("file", data, name=target.name, step=target.step)
        target.published.append(data)
    return target.path


def _move(temporary: Path, target: _Target, twin: Path | None) -> None:
    """Move a file to its path; if a twin with the same content exists, link the path to that instead."""
    with _temporary(target) as link:
        is_linked = twin is not None and _is_linked(twin, link)
        try:
            blobs.move_into_place(link if is_linked else temporary, target.path, is_new=target.is_new)
        except FileExistsError as error:
            raise (_exists(target) if target.is_new else error) from error


def _is_linked(twin: Path, link: Path) -> bool:
    try:
        return copying.link_or_copy(twin, link)
    except OSError:
        return False


@contextmanager
def _temporary(target: _Target) -> Iterator[Path]:
    """Yield a temporary path beside the target, and remove whatever is left there at the end."""
    with _translated_os_errors(_not_published(target)):
        temporary = blobs.temporary_beside(target.path)
    pid = os.getpid()
    try:
        yield temporary
    finally:
        if os.getpid() == pid:  # a forked child that leaves the block does not own the file
            blobs.remove(temporary)


def _not_published(target: _Target) -> str:
    return f"{target.name!r} is not published in {target.session.folder}"


@contextmanager
def _translated_os_errors(context: str, errnos: Container[int] | None = None) -> Iterator[None]:
    """Translate errors of the system, or only those of `errnos`: others are the caller's own."""
    try:
        yield
    except MlvError:
        raise
    except OSError as error:
        pass_on(error)
        if errnos is not None and error.errno not in errnos:
            raise
        where = f" ({error.filename})" if error.filename else ""
        text = f"{context}: {error.strerror or error}{where}. What was there before still is; mend that, and do it again"
        raise FileUnusable(text, errno=error.errno, path=error.filename) from error


def _exists(target: _Target) -> FileExists:
    text = f"{target.name!r} is published already, and mode 'x' asks for a new file: choose another name, or mode 'w'"
    return FileExists(text, path=str(target.path))
