"""The calls of an experiment that publish files, and that attach existing ones."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar, cast

from mlv.capture.redaction import REDACTED, Redactor
from mlv.encoding import TAG, Reference, step_number
from mlv.errors import FileUnusable, InvalidArgument
from mlv.experiment.files.publishing import (
    FileTarget,
    already_there,
    check_separate,
    not_published,
    publish,
    temporary_of,
    translated_os_errors,
)
from mlv.experiment.opening.captures import warn_of_redactions
from mlv.experiment.session import Session
from mlv.store import blobs, layout
from mlv.store.paths import checked_inside, checked_path
from mlv.store.references import portable

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MODES = ("w", "wb", "w+", "w+b", "x", "xb", "x+", "x+b")


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
            FileUnusable: It cannot be written, or would take away files of other names, as `a` does where there is `a/b`;
                what was there before still is.
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
        target = self._target(name, step, is_final=False)
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
            FileUnusable: It cannot be read, or changed meanwhile, or cannot be written, or would take away files of other
                names; what was there before still is.
        """
        from mlv.experiment.files.attaching import ATTACH_BY, refuse_own  # with copying: `import mlv` does without

        if how not in ATTACH_BY:
            raise InvalidArgument(f"how={how!r}: give 'copy', 'link' or 'move'", how=how)
        source = checked_path(path, "path")
        target = self._target(source.name if name is None else name, step)
        refuse_own(source, self._folder, how)
        if target.session.is_disabled:
            return source
        if target.session.is_silent:
            return target.path
        with translated_os_errors(f"{str(source)!r} cannot be attached as {target.name!r}"):
            return ATTACH_BY[how](target, source)

    def _target(self, name: Any, step: float | None, *, is_new: bool = False, is_final: bool = True) -> FileTarget:
        session = self._writable()
        files = session.folder / layout.FILES
        path = checked_inside(files, name)
        if (clean := _clean_name(session, files, path.relative_to(files).as_posix(), self._redactor)) is not None:
            path = files / clean
        target = FileTarget(session, path, path.relative_to(files).as_posix(), step_number(step), is_new, [])
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
            raise already_there(target)
        if not session.is_silent:
            check_separate(target, is_final=is_final)
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

    def __init__(self, call: str, target: FileTarget, context: AbstractContextManager[T]) -> None:
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
def _open_target(target: FileTarget, options: dict[str, Any]) -> Iterator[IO[Any]]:
    """Yield a file to write into, and publish it at the end."""
    if target.session.is_silent:
        import tempfile  # `import mlv` does without

        with tempfile.TemporaryFile(**{**options, "mode": options["mode"].replace("x", "w")}) as file:
            yield file
        return
    with temporary_of(target) as temporary:
        with translated_os_errors(not_published(target)):
            file = _open_new(temporary, **options)
        with translated_os_errors(not_published(target), _FULL), file:
            yield file
        with translated_os_errors(not_published(target)):
            publish(target, temporary)


def _open_new(path: Path, mode: str, encoding: str | None, newline: str | None) -> IO[Any]:
    if "b" not in mode and encoding is None:
        encoding = "utf-8"
    try:
        return open(path, mode.replace("w", "x"), encoding=encoding, newline=newline)
    except (ValueError, LookupError, TypeError) as error:
        text = f"mode={mode!r}, encoding={encoding!r}, newline={newline!r}: {error}"
        raise InvalidArgument(text, mode=mode, encoding=encoding, newline=newline) from error


@contextmanager
def _filepath_target(target: FileTarget) -> Iterator[Path]:
    """Yield a path for a library to write to, and publish the file at the end."""
    if target.session.is_silent:
        import tempfile  # `import mlv` does without

        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / target.path.name
        return
    with temporary_of(target) as private:
        with translated_os_errors(not_published(target)):
            private.mkdir()
        with translated_os_errors(not_published(target), _FULL):
            yield private / target.path.name
        with translated_os_errors(not_published(target)):
            path = _only_one(private, target)
            blobs.unlock_folders(path)
            target = target.replace(path=target.path.with_name(path.name))
            if blobs.has_links(path):
                resolved = private / blobs.TEMPORARY
                from mlv.store.copying import copy_hashed  # `import mlv` does without

                copy_hashed(path, resolved)
                path = resolved
            publish(target, path)


def _only_one(private: Path, target: FileTarget) -> Path:
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
