"""Whole files of an experiment: made beside their final path, hashed, fsynced, moved there in one step, linked, copied."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain, cycle
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any, BinaryIO, NamedTuple

from mlv.digests import sha256
from mlv.encoding import Reference
from mlv.errors import InvalidName
from mlv.protocols import Buffer
from mlv.store import layout, opening
from mlv.store.files import move_new, sync_folder
from mlv.store.owners import Owner

_CHUNK_BYTES = 1 << 20
_CHUNKS_WAITING = 8
_FICLONE = 0x40049409
_EXCHANGE, _AT_FDCWD = 2, -100
_HASH_WITHIN_S = 60.0
_SMALL_FOLDER = 64
TEMPORARY = layout.TEMPORARY
FOLDER = "inode/directory"
"""The media type of a folder."""

_MEDIA_TYPES = {
    ".npy": "application/x-npy", ".npz": "application/x-npz", ".pt": "application/x-pytorch", ".pth": "application/x-pytorch",
    ".parquet": "application/vnd.apache.parquet", ".safetensors": "application/x-safetensors", ".onnx": "application/x-onnx",
    ".keras": "application/x-keras", ".joblib": "application/x-joblib", ".pkl": "application/x-pickle",
    ".jsonl": "application/x-ndjson", ".yaml": "application/yaml", ".yml": "application/yaml", ".md": "text/markdown",
    ".wav": "audio/wav", ".flac": "audio/flac", ".webp": "image/webp", ".gz": "application/gzip", ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz", ".zst": "application/zstd",
}  # fmt: skip


class Content(NamedTuple):
    """The content of a file, or of a folder as a whole, by its hash and size."""

    sha256: str
    """In hexadecimal; of a folder, that of its manifest: a line `<sha256>  <path>` for each file, in order of path."""
    size: int
    """In bytes; of a folder, that of all its files."""
    is_folder: bool


def content_of(path: Path) -> Content:
    """Hash a file or a folder, with no more than one chunk in memory.

    Raises:
        OSError: It cannot be read, or changed meanwhile.
    """
    if path.is_dir():
        contents = [(name, content_of(path / name)) for name in files_in(path)]
        return folder_content([(name, content.sha256, content.size) for name, content in contents])
    digest = sha256()
    with _opened(path) as file:
        before = os.fstat(file.fileno())
        buffer = memoryview(bytearray(min(_CHUNK_BYTES, before.st_size + 1)))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
        size = file.tell()
        _refuse_changed(path, before, os.fstat(file.fileno()), size)
    return Content(digest.hexdigest(), size, is_folder=False)


def folder_content(rows: list[tuple[str, str, int]]) -> Content:
    """Return the content of a folder from the paths, hashes and sizes of its files, in order of path."""
    manifest = "".join(_manifest_line(name, sha256) for name, sha256, _ in rows)
    return Content(sha256(os.fsencode(manifest)).hexdigest(), sum(size for _, _, size in rows), is_folder=True)


def _manifest_line(name: str, sha256: str) -> str:
    """Format a line as sha256sum does: names with line breaks are escaped, so that each line has one reading only."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "" if escaped == name else "\\"
    return f"{mark}{sha256}  {escaped}\n"


def files_in(folder: Path) -> list[str]:
    """Return relative paths, with `/`, of the files below a folder, in order of their bytes; symbolic links are followed.

    Raises:
        OSError: A folder cannot be read, or symbolic links lead in a circle.
    """
    return sorted(_files_in(folder, "", (os.path.realpath(folder),)), key=os.fsencode)


def _files_in(folder: Path, prefix: str, around: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if not entry.is_dir():
                yield prefix + entry.name
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(around[-1], entry.name)
            if real in around:
                raise OSError(errno.ELOOP, "is a symbolic link to a folder around it", entry.path)
            yield from _files_in(Path(entry.path), f"{prefix}{entry.name}/", (*around, real))


def temporary_beside(path: Path) -> Path:
    """Return a free path in the same folder (made if it is missing), with the same suffix.

    Its name holds the process it belongs to. Files that ended processes left in the folder are removed.
    """
    _make_folders(path.parent)
    remove_left_over(path.parent)
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 30 else ""
    return path.parent / f"{TEMPORARY}{_owner_text(Owner.current())}-{os.urandom(6).hex()}{suffix}"


def replace_whole(path: Path, content: Buffer | Callable[[BinaryIO], object]) -> None:
    """Replace a file, whole or not at all, without fsync; the content may be a function that writes it.

    Raises:
        OSError: It cannot be written; the old one stands.
    """
    temporary = temporary_beside(path)
    try:
        with opening.new(temporary) as file:
            content(file) if callable(content) else file.write(content)
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def _make_folders(folder: Path) -> None:
    missing = [ancestor for ancestor in (folder, *folder.parents) if not ancestor.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for ancestor in missing:
        sync_folder(ancestor.parent)


_next_look: dict[str, int] = {}
"""Files to create before a folder is scanned again; grows with its size, so that clean-up is amortised O(1)."""


def remove_left_over(folder: Path) -> None:
    """Remove the unfinished files of processes of this host that have provably ended from a folder."""
    wait = _next_look.get(str(folder), 0)
    if wait > 0:
        _next_look[str(folder)] = wait - 1
        return
    names = os.listdir(folder)
    _next_look[str(folder)] = len(names) // _SMALL_FOLDER
    for name in names:
        if name.startswith(TEMPORARY) and _is_left_over(name):
            remove(folder / name)


def _is_left_over(name: str) -> bool:
    fields = name.removeprefix(TEMPORARY).split("-")
    if len(fields) < 6 or not fields[3].isdigit() or not fields[4]:
        return False
    current = Owner.current()
    texts = (current.machine, current.boot, current.pidns)
    machine, boot, pidns = (mine if field == _digest(mine) else field for field, mine in zip(fields, texts, strict=False))
    return Owner(machine, boot, pidns, int(fields[3]), fields[4]).is_gone()


def _owner_text(owner: Owner) -> str:
    """Return a text for a process that is short enough for a file name."""
    return "-".join((_digest(owner.machine), _digest(owner.boot), _digest(owner.pidns), str(owner.pid), owner.start))


@lru_cache(maxsize=16)
def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:10]


def settle(temporary: Path, path: Path) -> None:
    """Make a finished file or folder durable and read-only, and move it to its final path, replacing what is there.

    A file replaces a file in one step. So does a folder where the system can exchange names (Linux, on local disks);
    elsewhere neither the old nor the new one exists for a moment.

    Raises:
        OSError: It could not be done; the old file or folder is still there.
    """
    make_durable(temporary)
    move_into_place(temporary, path)


def move_into_place(temporary: Path, path: Path, *, is_new: bool = False) -> None:
    """Move a durable file or folder to its final path: the second half of `settle`. With `is_new`, replace nothing.

    Raises:
        FileExistsError: Something is there, and `is_new` is asked for.
        OSError: As `settle`.
    """
    if is_new:
        move_new(temporary, path)
    elif temporary.is_dir() or (path.is_dir() and not path.is_symlink()):
        _replace_folder(temporary, path)
    else:
        os.replace(temporary, path)
    sync_folder(path.parent)


def _replace_folder(temporary: Path, path: Path) -> None:
    """Move where either of the two is a folder, which `os.replace` does not do."""
    if not os.path.lexists(path):
        os.rename(temporary, path)
    elif _exchange(temporary, path):
        remove(temporary)
    else:
        old = temporary_beside(path)
        os.rename(path, old)
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(old, path)
            raise
        remove(old)


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two names in one step; False, and nothing done, where the system cannot."""
    import ctypes  # seldom needed: folders are seldom published again

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(call(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _EXCHANGE) == 0)


def make_durable(path: Path, *, read_only: bool = True) -> None:
    """Fsync a file, or all that a folder holds, and make it read-only; a file with other names keeps its mode.

    Raises:
        OSError: The disk refuses.
    """
    if not path.is_dir():
        _make_file_durable(path, read_only)
        return
    for parent, _, names in os.walk(path, topdown=False):
        for file in (Path(parent, name) for name in names):
            if not file.is_symlink():
                _make_file_durable(file, read_only)
        sync_folder(Path(parent))


def _make_file_durable(path: Path, read_only: bool) -> None:
    with _opened(path) as file:
        os.fsync(file.fileno())
        status = os.fstat(file.fileno())
    if read_only and status.st_nlink == 1 and status.st_mode & 0o222:
        with suppress(OSError):  # file systems without modes
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~0o222)


def unlock_folders(path: Path) -> None:
    """Let the owner change a folder and those below it: one that is read-only can be neither moved nor removed."""
    below = (Path(parent, name) for parent, names, _ in os.walk(path) for name in names)
    for folder in chain([path], below) if not path.is_symlink() else ():
        with suppress(OSError):  # of another owner: the change in it fails with its own error
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o700 != 0o700:
                os.chmod(folder, stat.S_IMODE(status.st_mode) | 0o700)


def link_or_move(path: Path, target: Path) -> bool:
    """Give a file a second name, or move it where that is impossible, as for a folder; return whether both names exist.

    Raises:
        OSError: The target is taken, or neither could be done.
    """
    _refuse_taken(target)
    try:
        os.link(path, target, follow_symlinks=False)
        return True
    except (OSError, NotImplementedError):
        os.rename(path, target)
        return False


def has_links(path: Path) -> bool:
    """Return whether a path is a symbolic link, or a folder that holds one."""
    if path.is_symlink():
        return True
    below = (Path(parent, name) for parent, folders, names in os.walk(path) for name in (*folders, *names))
    return any(entry.is_symlink() for entry in below)


def remove(path: Path) -> None:
    """Remove a file or a folder, also a half removed one."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        unlock_folders(path)
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def copy_hashed(source: Path, target: Path) -> Content:
    """Copy a file or folder to a new path and hash it on the way; sharing its blocks where the file system can.

    Symbolic links within a folder become what they point at; empty folders are left out.

    Raises:
        OSError: It cannot be read or written, or changed meanwhile; nothing is left at the target.
    """
    _refuse_taken(target)
    try:
        return _copy_folder(source, target) if source.is_dir() else _copy_file(source, target)
    except BaseException:
        remove(target)
        raise


def _copy_folder(source: Path, target: Path) -> Content:
    target.mkdir()
    rows = []
    for name in files_in(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        content = _copy_file(source / name, target / name)
        rows.append((name, content.sha256, content.size))
    return folder_content(rows)


def _copy_file(source: Path, target: Path) -> Content:
    with _opened(source) as reading, opening.new(target, buffering=0) as writing:
        before = os.fstat(reading.fileno())
        if _shares_blocks(reading.fileno(), writing.fileno()):
            content = content_of(target)
        else:
            content = _copy_bytes(reading, writing, before.st_size)
        _refuse_changed(source, before, os.fstat(reading.fileno()), content.size)
    _take_mode(before, target)
    return content


def _take_mode(source: os.stat_result, target: Path) -> None:
    with suppress(OSError):  # file systems without modes
        os.chmod(target, 0o600 | source.st_mode & 0o777)


def _opened(path: Path) -> Any:
    return opening.reading(path, buffering=0)


def _refuse_changed(path: Path, before: os.stat_result, after: os.stat_result, size: int) -> None:
    is_whole = size == after.st_size or after.st_size == 0  # files of the system say that they are empty
    if not is_whole or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EBUSY, "changed while it was read: do this when it is finished", str(path))


def _shares_blocks(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
        return True
    except OSError:
        return False


def _copy_bytes(reading: Any, writing: Any, size: int) -> Content:
    """Copy, and hash in a thread beside it: both let go of the interpreter, so the slower one sets the pace."""
    length = min(_CHUNK_BYTES, size + 1)
    buffers = [memoryview(bytearray(length)) for _ in range(min(_CHUNKS_WAITING, size // length + 1))]
    with _Hasher(len(buffers)) as hasher:
        for buffer in cycle(buffers):
            hasher.wait_for_room()
            count = reading.readinto(buffer)
            if not count:
                break
            written = 0
            while written < count:
                written += writing.write(buffer[written:count])
            hasher.update(buffer[:count])
    return Content(hasher.hexdigest(), reading.tell(), is_folder=False)


class _Hasher:
    """Hashes chunks in a thread of its own, in order; in the caller's where the interpreter ends, and no thread begins."""

    def __init__(self, most_waiting: int) -> None:
        self._digest = sha256()
        self._chunks: deque[memoryview | None] = deque()
        self._waiting, self._room = Semaphore(0), Semaphore(most_waiting)
        self._thread = Thread(target=self._hash_all, name="mlv-hash", daemon=True)

    def __enter__(self) -> _Hasher:
        with suppress(RuntimeError):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is not None:
            self._put(None)
            self._thread.join(_HASH_WITHIN_S)

    def wait_for_room(self) -> None:
        """Return when another chunk may wait; it is hashed without being copied."""
        if not self._room.acquire(timeout=_HASH_WITHIN_S):
            raise OSError(errno.ETIMEDOUT, f"was not hashed within {_HASH_WITHIN_S:g} s")

    def update(self, chunk: memoryview) -> None:
        """Take the next chunk."""
        if self._thread.ident is not None:
            self._put(chunk)
        else:
            self._digest.update(chunk)
            self._room.release()

    def hexdigest(self) -> str:
        """Return the hash of all chunks."""
        if self._thread.is_alive():
            raise OSError(errno.ETIMEDOUT, f"was not hashed within {_HASH_WITHIN_S:g} s")
        return self._digest.hexdigest()

    def _put(self, chunk: memoryview | None) -> None:
        self._chunks.append(chunk)
        self._waiting.release()

    def _hash_all(self) -> None:
        while self._waiting.acquire() and (chunk := self._chunks.popleft()) is not None:
            self._digest.update(chunk)
            self._room.release()


def link_or_copy(source: Path, target: Path, *, reflink: bool = False) -> bool:
    """Link a file, or every file of a folder, or copy where links are impossible; return whether all are links.

    With `reflink`, where the file system can, it is a file of its own that shares the blocks: also a link in this sense.

    Raises:
        OSError: The target is there, or neither could be made; nothing is left at the target.
    """
    _refuse_taken(target)
    try:
        return _link_folder(source, target, reflink) if source.is_dir() else _link_file(source, target, reflink)
    except BaseException:
        remove(target)
        raise


def _link_folder(source: Path, target: Path, reflink: bool) -> bool:
    target.mkdir()
    are_links = []
    for name in files_in(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        are_links.append(_link_file(source / name, target / name, reflink))
    return all(are_links)


def _link_file(source: Path, target: Path, reflink: bool) -> bool:
    if reflink and _reflink(source, target):
        return True
    try:
        os.link(os.path.realpath(source), target)  # of a symbolic link, some systems would link the link
        return True
    except FileExistsError:
        raise
    except OSError:
        _copy_file(source, target)
        return False


def _reflink(source: Path, target: Path) -> bool:
    with _opened(source) as reading, opening.new(target, buffering=0) as writing:
        is_shared = _shares_blocks(reading.fileno(), writing.fileno())
        status = os.fstat(reading.fileno())
    if is_shared:
        _take_mode(status, target)
    else:
        target.unlink()
    return is_shared


def _refuse_taken(target: Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def checked_inside(folder: Path, name: Any) -> Path:
    """Accept a relative path below a folder of an experiment: `model.npz`, `tables/final.csv`.

    Raises:
        InvalidName: It is none, is empty, absolute, or leads out of the folder, also through a symbolic link.
    """
    try:
        text = os.fsdecode(os.fspath(name))
    except TypeError:
        raise InvalidName(f"file name {name!r:.100} is of type {type(name).__name__}: give a text", name=name) from None
    segments = text.replace("\\", "/").split("/")
    if any(segment in ("", ".", "..") for segment in segments) or os.path.isabs(text) or os.path.splitdrive(text)[0]:
        raise InvalidName(
            f"file name {text!r} is empty, absolute, or leads out of {folder}: give a path below it, such as 'model.npz'",
            name=text,
        )
    if any(ord(character) < 32 or ord(character) == 127 or "\ud800" <= character <= "\udfff" for character in text):
        raise InvalidName(f"file name {text!r} holds a control character, or is no text that UTF-8 can hold", name=text)
    if any(segment.startswith(TEMPORARY) or len(segment.encode()) > 200 for segment in segments):
        raise InvalidName(
            f"file name {text!r} has a part that begins with {TEMPORARY!r} or is longer than 200 bytes: choose another",
            name=text,
        )
    if problem := layout.problem_of_locale(text):
        raise InvalidName(f"file name {text!r} {problem}", name=text)
    path = folder.joinpath(*segments)
    real, top = os.path.realpath(path.parent), os.path.join(os.path.realpath(folder.parent), folder.name)
    if real != top and not real.startswith(top + os.sep):
        raise InvalidName(
            f"file name {text!r} leads out of {folder} through a symbolic link, to {real}: files of an experiment lie in its "
            f"own folder",
            name=text,
        )
    return path


def media_type(name: str) -> str:
    """Return the media type of a file by its suffix; the same on every machine."""
    suffix = os.path.splitext(name)[1].lower()
    return _MEDIA_TYPES.get(suffix) or _standard_types().get(suffix, "application/octet-stream")


@lru_cache(maxsize=1)
def _standard_types() -> dict[str, str]:
    import mimetypes

    return mimetypes.MimeTypes(filenames=()).types_map[True]


def reference(folder: Path, path: Path, content: Content) -> Reference:
    """Make the reference by which an event names a file of the experiment in a folder."""
    kind = FOLDER if content.is_folder else media_type(path.name)
    return Reference({
        "_mlv": "file", "path": path.relative_to(folder).as_posix(), "size": content.size, "sha256": content.sha256,
        "media_type": kind,
    })  # fmt: skip
