"""References: pointers to files and to experiments, which can stand in an event's data and in params."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from mlv.digests import sha256
from mlv.encoding import TAG, Reference, loads, utc_text
from mlv.errors import FileUnusable, InvalidArgument, NotAnExperiment, ReferenceBroken
from mlv.store import layout, opening
from mlv.store.contents import Content, content_of, files_in
from mlv.store.owners import host_name

CHANGED = "changed before it was hashed"
GONE = "gone before it was hashed"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class _Pointer:
    """An immutable pointer, equal to others with the same values."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"this {type(self).__name__} does not change: make another one ({name} stays as it is)")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


class ExpRef(_Pointer):
    """A pointer to an experiment: its ID, and where it was. It can stand anywhere in an event's data or in params."""

    __slots__ = ("id", "name", "path")

    id: str
    """SHA-256 of its meta.json."""
    path: Path
    """Its folder, absolute."""
    name: str

    def __init__(self, exp: Any) -> None:
        """Point to an `Exp`, or to the experiment in a folder.

        Raises:
            InvalidArgument: It is neither an experiment nor a path.
            NotAnExperiment: The folder holds none.
        """
        folder = absolute_path(getattr(exp, "path", exp), "exp")
        try:
            text = opening.content(folder / layout.META)
        except OSError as error:
            raise NotAnExperiment(
                f"{folder} holds no experiment: {layout.META} cannot be read ({error.strerror}). Give an Exp, or its folder",
                path=str(folder),
            ) from None
        self._set(id=sha256(text).hexdigest(), path=folder, name=_name(text) or folder.name)

    def __mlv_reference__(self) -> Reference:
        return Reference({TAG: "exp", "id": self.id, "path": str(self.path), "name": self.name})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExpRef) and (self.id, self.path) == (other.id, other.path)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"ExpRef({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (ExpRef, {name: getattr(self, name) for name in self.__slots__})


class FileRef(_Pointer):
    """A pointer to a file or a folder anywhere, as it is now. It can stand anywhere in an event's data or in params.

    The content is hashed when it is needed: in params at once, in events by the writer, not by the training process. Where
    the same one stands in many events, ask for its `sha256` first: then the writer does not read the file for each of them.
    """

    __slots__ = ("_sha256", "host", "modified", "path", "size", "within")

    host: str
    """Name of the machine."""
    path: Path
    """Absolute."""
    size: int
    """In bytes; of a folder, that of all its files."""
    modified: datetime
    """When it was last changed, in UTC; of a folder, when the latest of its files was."""
    within: ExpRef | None
    """The experiment that it is a file of, None if it lies in none."""
    _sha256: str | None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Look at a file or a folder; nothing is hashed yet.

        Raises:
            InvalidArgument: It is no path.
            FileUnusable: There is nothing, or nothing that can be read.
        """
        target = absolute_path(path, "path")
        try:
            size, modified = measured(target)
        except OSError as error:
            raise FileUnusable(
                f"there is no file that can be read at {str(target)!r}: {error.strerror}. Give the path of a file or a folder",
                path=str(target),
            ) from None
        within = layout.enclosing_experiment(target)
        reference = ExpRef(within) if within is not None else None
        self._set(host=host_name(), path=target, size=size, modified=modified, within=reference, _sha256=None)

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, of a folder that of its manifest; computed once, at the first access.

        Raises:
            ReferenceBroken: The file is not as it was when the reference was made.
        """
        if self._sha256 is None:
            reference = completed(self.__mlv_reference__())
            if "problem" in reference:
                text = f"{self.path} was {reference['problem']}: make the reference when the file is finished"
                raise ReferenceBroken(text, path=str(self.path))
            self._set(_sha256=reference["sha256"])
        return str(self._sha256)

    def __mlv_reference__(self) -> Reference:
        within = {"within": dict(self.within.__mlv_reference__())} if self.within is not None else {}
        return Reference({
            TAG: "file", "host": self.host, "path": str(self.path), "size": self.size, "modified": utc_text(self.modified),
            "sha256": self._sha256, **within,
        })  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileRef) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return self.host, self.path, self.size, self.modified

    def __repr__(self) -> str:
        return f"FileRef({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (FileRef, {name: getattr(self, name) for name in self.__slots__})


def portable(folder: Path, reference: Mapping[str, Any]) -> Reference:
    """Turn a reference to an experiment's own file into one that can stand in any experiment."""
    within = {}
    with suppress(NotAnExperiment):  # it was moved meanwhile: the hash finds the file all the same
        within = {"within": dict(ExpRef(folder).__mlv_reference__())}
    return Reference({**reference, "host": host_name(), "path": str(folder / reference["path"]), **within})


def _rebuilt(kind: type[_Pointer], values: dict[str, Any]) -> _Pointer:
    pointer = kind.__new__(kind)
    pointer._set(**values)
    return pointer


def _name(meta: bytes) -> str | None:
    """Return the name in a meta.json."""
    try:
        name = loads(meta)["name"]
        return name if isinstance(name, str) else None
    except (ValueError, KeyError, TypeError):
        return None


def absolute_path(path: Any, argument: str) -> Path:
    """Accept a path, and make it absolute; `~` is the home folder.

    Raises:
        InvalidArgument: It is no path, or one that UTF-8 cannot hold.
    """
    try:
        text = os.fsdecode(os.fspath(path))
    except TypeError:
        raise InvalidArgument(f"{argument}={path!r:.100} is of type {type(path).__name__}: give a path", path=path) from None
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidArgument(f"{argument}={text!r} is no text that a log can hold: give a path of another name", path=path)
    if problem := layout.problem_of_locale(text):
        raise InvalidArgument(f"{argument}={text!r} {problem}", path=path)
    return layout.absolute(os.path.expanduser(text))


class Measure(NamedTuple):
    """The properties of a file that can be known without reading it."""

    size: int
    modified: datetime


def measured(path: Path) -> Measure:
    """Return size and time of the last change of a file, or of all files of a folder.

    Raises:
        OSError: It is not there, or neither a file nor a folder.
    """
    if path.is_dir():
        statuses = [os.stat(path / name) for name in files_in(path)]
        latest = max((status.st_mtime_ns for status in statuses), default=path.stat().st_mtime_ns)
        return Measure(sum(status.st_size for status in statuses), _moment(latest))
    status = path.stat()
    if not path.is_file():  # reading a pipe would wait for ever
        raise OSError(0, "it is neither a file nor a folder", str(path))
    return Measure(status.st_size, _moment(status.st_mtime_ns))


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def completed(reference: Reference) -> Reference:
    """Complete a pending reference with the SHA-256 of its file, or with the `problem` that prevented it."""
    path, sha256 = Path(reference["path"]), None
    try:
        content = _content_if(path, reference)
        problem = CHANGED if content is None else None
        sha256 = content.sha256 if content is not None else None
    except FileNotFoundError:
        problem = GONE
    except OSError as error:
        problem = f"not readable when it was hashed: {error.strerror}"
    return Reference({**reference, "sha256": sha256, **({"problem": problem} if problem else {})})


def _content_if(path: Path, reference: Reference) -> Content | None:
    """Return the content of a file if its size and age are as recorded, both before and after reading; else None."""

    def is_as_recorded() -> bool:
        size, modified = measured(path)
        return (size, utc_text(modified)) == (reference.get("size"), reference.get("modified"))

    content = content_of(path) if is_as_recorded() else None
    return content if content is not None and is_as_recorded() else None


def all_completed(value: Any) -> Any:
    """Return a value with all pending references in it, at any depth, completed."""
    if isinstance(value, Reference):
        return completed(value) if value.is_pending else value
    if isinstance(value, dict):
        return {key: all_completed(item) for key, item in value.items()}
    return [all_completed(item) for item in value] if isinstance(value, list) else value


def _may_be_of_size(path: Path, size: Any) -> bool:
    """Return whether a file has a size, or the files of a folder together do not exceed it.

    Raises:
        OSError: It cannot be read.
    """
    if not isinstance(size, int):
        return True
    if not path.is_dir():
        return path.stat().st_size == size
    files = (os.lstat(os.path.join(around, name)) for around, _, names in os.walk(path) for name in names)
    sizes = (status.st_size for status in files if stat.S_ISREG(status.st_mode))
    return all(total <= size for total in accumulate(sizes))


def holds(path: Path, reference: Mapping[str, Any]) -> bool:
    """Return whether a file or folder has the size and SHA-256 that a reference names; false where it cannot be read."""
    with suppress(OSError):
        # First, as a reference may name a folder as large as all of the disk.
        if _may_be_of_size(path, reference.get("size")):
            return bool(content_of(path).sha256 == reference.get("sha256"))
    return False
