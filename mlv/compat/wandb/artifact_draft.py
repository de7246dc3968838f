"""The files that a script adds to an artifact, until it is logged."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from mlv.compat.wandb.artifact_entries import Entry, checked_name, folders_of, local_path_of, refuse_clash, sha256
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.terminal import termwarn

_POLICIES = ("mutable", "immutable")


class Draft:
    """The part of `Artifact` that files are added to. A refused file costs itself only."""

    _name: str
    _type: str
    _number: int | None

    def __init__(self) -> None:
        self._sources: dict[str, Path | str] = {}
        """Paths of files that were added, and addresses of what lies elsewhere, by their names in the artifact."""
        self._folders: Counter[str] = Counter()
        """The folders that these names lie in."""
        self.paths_of_tables: dict[Any, str] = {}
        """Tables that were added, by which those that lead to them find them. Not used by users."""
        self._staging: str | None = None
        self._staged = 0

    def add_file(
        self,
        local_path: Any,
        name: Any = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> Entry:
        """Add a file.

        Args:
            local_path: Of the file.
            name: In the artifact; the name of the file by default.
            is_tmp: Does nothing here.
            skip_cache: Does nothing here.
            policy: `mutable` copies it now: it may change or go before the artifact is logged; `immutable` reads it then.
            overwrite: Whether it takes the place of a file of that name.

        Raises:
            ValueError: There is no such file, another one has the name, or the policy is none.
            InvalidPath: The name leads out of the artifact, or is that of a folder in it.
            UsageError: The artifact was logged.
        """
        path = Path(local_path)
        if not path.is_file():
            raise ValueError(f"Path is not a file: {os.fspath(local_path)!r}")
        if policy not in _POLICIES:
            raise ValueError(f"Invalid policy {policy!r}. Policy may only be 'mutable' or 'immutable'")
        return self._add_path(name or path.name, path.absolute(), policy, overwrite)

    def add_dir(
        self,
        local_path: Any,
        name: Any = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add all files of a folder; pipes, devices and links to nothing are left out, with a warning.

        Args:
            local_path: Of the folder.
            name: Of the folder in the artifact; its files lie at the top by default.
            skip_cache: Does nothing here.
            policy: As `add_file`.
            merge: Whether its files take the places of others of their names.

        Raises:
            ValueError: There is no such folder, or as `add_file`.
            InvalidPath, UsageError: As `add_file`.
        """
        if not os.path.isdir(local_path):
            raise ValueError(f"Path is not a directory: {os.fspath(local_path)!r}")
        above = "" if name is None or str(name) == "" else f"{checked_name(name)}/"
        base = Path(local_path).absolute()
        for folder, names, files in os.walk(base):
            names.sort()
            for file in sorted(files):
                path = Path(folder, file)
                if not path.is_file():  # nothing may ever come of a pipe
                    termwarn(f"{path} is left out of artifact {self._name}: it is no file, or a link to one that is gone")
                    continue
                self._add_path(f"{above}{path.relative_to(base).as_posix()}", path, policy, merge)

    def add_reference(self, uri: Any, name: Any = None, checksum: bool = True, max_objects: int | None = None) -> list[Entry]:
        """Add the address of something that stays where it is, or an entry of another artifact.

        Args:
            uri: The address; a `file://` one of a folder adds all files in it.
            name: In the artifact; the last word of the address by default.
            checksum: Does nothing here: files of this machine are hashed when the artifact is logged.
            max_objects: Does nothing here.

        Raises:
            ValueError: It is no address, or there is no such file.
            InvalidPath, UsageError: As `add_file`.
        """
        address = uri.ref_url() if isinstance(uri, Entry) else str(uri)
        if not urlsplit(address).scheme:
            raise ValueError(f"References must be URIs, and {address!r} is none. To reference a local file, use file://")
        path = local_path_of(address)
        if path is not None and not path.exists():
            raise ValueError(f"Path {address!r} must be a valid file or directory path")
        if path is None or path.is_file():
            return [self._add(name or address.rstrip("/").rpartition("/")[2], address)]
        above = "" if name is None else f"{checked_name(name)}/"
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        return [self._add(f"{above}{file.relative_to(path).as_posix()}", file.absolute().as_uri()) for file in files]

    def add(self, obj: Any, name: Any, overwrite: bool = False) -> Entry:
        """Add a table, a join of tables, an image, or other media, `<name>.<type>.json`; their files lie below `media/`.

        Raises:
            TypeError: It is nothing of these.
            ValueError, InvalidPath, UsageError: As `add_file`.
        """
        from mlv.compat.wandb import artifact_objects  # most artifacts are made of files

        return artifact_objects.add(self, obj, str(name), overwrite)

    @contextmanager
    def new_file(self, name: Any, mode: str = "x", encoding: str | None = None, policy: str = "mutable") -> Iterator[IO[Any]]:
        """Write a file that is added at the end of the block; an exception in the block costs it.

        Raises:
            ValueError: One of that name is there, and the mode is `x`.
            InvalidPath, UsageError: As `add_file`.
        """
        self._refuse_logged()
        clean = checked_name(name)
        refuse_clash(clean, self._sources, self._folders)
        if clean in self._sources and "x" in mode:
            raise ValueError(
                f"File with name {clean!r} already exists in artifact {self._name}: give another name, or mode='w'"
            )
        path = self._new_path(clean)
        with open(path, mode.replace("x", "w"), encoding=encoding) as file:
            yield file
        self._add(clean, path, overwrite=True)

    def add_content(self, name: str, content: bytes, overwrite: bool) -> Entry:
        """Add a file of these bytes. Not called by users.

        Raises:
            ValueError, InvalidPath, UsageError: As `add_file`.
        """
        self._refuse_logged()
        path = self._new_path(checked_name(name))
        path.write_bytes(content)
        return self._add(name, path, overwrite)

    def added(self, name: str) -> Entry:
        """Return a file that was added. Not called by users."""
        source = self._sources[name]
        if isinstance(source, Path):
            return Entry(name, {"size": source.stat().st_size}, source, self._folder, self._name)
        return Entry(name, {"ref": source}, local_path_of(source), self._folder, self._name)

    @property
    def names(self) -> Collection[str]:
        """The names of its files."""
        return self._sources.keys()

    def remove(self, item: Any) -> None:
        """Take a file, or a folder of files, away again.

        Raises:
            FileNotFoundError: There is none of that name.
            UsageError: As `add_file`.
        """
        self._refuse_logged()
        name = checked_name(getattr(item, "path", item))
        names = [path for path in self._sources if path == name or path.startswith(f"{name}/")]
        if not names:
            raise FileNotFoundError(f"No such file or directory in artifact {self._name}: {name}")
        for path in names:
            del self._sources[path]
            self._folders -= Counter(folders_of(path))

    def get_added_local_path_name(self, local_path: Any) -> str | None:
        """Return the name under which a file was added with the policy `immutable`; None if it was not."""
        path = Path(local_path).absolute()
        return next((name for name, source in self._sources.items() if source == path), None)

    def _add_path(self, name: Any, path: Path, policy: str | None, overwrite: bool) -> Entry:
        clean = self._checked(name, path, overwrite)
        if policy == "mutable":
            path = self._copied(path)
        return self._add(clean, path, overwrite=True)

    def _add(self, name: Any, source: Path | str, overwrite: bool = False) -> Entry:
        clean = self._checked(name, source, overwrite)
        if clean not in self._sources:
            self._folders.update(folders_of(clean))
        self._sources[clean] = source
        return self.added(clean)

    def _checked(self, name: Any, source: Path | str, overwrite: bool) -> str:
        """Return the name of a new file, which may be added again with the same content.

        Raises:
            ValueError, InvalidPath, UsageError: As `add_file`.
        """
        self._refuse_logged()
        clean = checked_name(name)
        refuse_clash(clean, self._sources, self._folders)
        before = self._sources.get(clean)
        if before is not None and not overwrite and not _are_equal(before, source):
            raise ValueError(f"Cannot add the same path twice: {clean!r}. Give another name, or overwrite=True")
        return clean

    def _copied(self, path: Path) -> Path:
        copy = self._new_path(path.name)
        try:
            shutil.copyfile(path, copy)
        except OSError as error:  # of a temporary folder without room
            copy.unlink(missing_ok=True)
            termwarn(f"{path} is read when the artifact is logged, so leave it as it is until then: no copy of it ({error})")
            return path
        return copy

    def _new_path(self, name: str) -> Path:
        """Return a path for a new file, in a folder that is gone with the artifact."""
        if self._staging is None:
            self._staging = tempfile.mkdtemp(prefix="wandb-artifact-")
            weakref.finalize(self, shutil.rmtree, self._staging, ignore_errors=True)
        self._staged += 1
        folder = Path(self._staging, str(self._staged))
        folder.mkdir()
        return folder / (os.path.basename(name)[-100:])  # some libraries write what the ending says

    def _unstage(self) -> None:
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None

    def _refuse_logged(self) -> None:
        if self._number is not None:
            name = f"{self._name}:v{self._number}"
            raise UsageError(f"{name} was logged and stays as it is: add to a new Artifact({self._name!r}, {self._type!r})")

    def _folder(self, root: Any) -> str:
        raise NotImplementedError


def _are_equal(before: Path | str, source: Path | str) -> bool:
    if isinstance(before, Path) and isinstance(source, Path):
        return sha256(before) == sha256(source)
    return before == source
