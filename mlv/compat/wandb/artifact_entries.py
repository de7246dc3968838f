"""The files of an artifact: their names, what they are made of, and the entries that read them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from mlv import FileUnusable
from mlv.compat.wandb.errors import InvalidPath, UsageError

_CHUNK_BYTES = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")


class Entry:
    """A file of an artifact: of one that was logged, or one that was added."""

    def __init__(
        self,
        path: str,
        facts: Mapping[str, Any],
        source: Path | None,
        folder: Callable[[Any], str],
        owner: str,
        address: str | None = None,
    ) -> None:
        """Describe a file. Not called by users: artifacts give entries.

        Args:
            path: Its name in the artifact.
            facts: Size, SHA-256, and the address of what lies elsewhere, as far as they are there.
            source: The file.
            folder: Returns the folder that it is copied into by default.
            owner: The name of the artifact.
            address: That other artifacts refer to it by, once the artifact was logged.
        """
        self.path = self.name = path
        self.ref: str | None = facts.get("ref")
        """The address of what lies elsewhere."""
        self.source = source
        """The file in the experiment, or the one that was added."""
        self._facts, self._folder, self._owner, self._address = facts, folder, owner, address

    @property
    def digest(self) -> str:
        """SHA-256 of the file; empty for what lies elsewhere."""
        digest = self._facts.get("sha256")
        return str(digest or (sha256(self.source) if self.source is not None and self.source.is_file() else ""))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        size = self._facts.get("size")
        return int(size if size is not None else self.source.stat().st_size if self.source is not None else 0)

    @property
    def local_path(self) -> str | None:
        """The path of the file."""
        return None if self.source is None else str(self.source)

    def ref_target(self) -> str:
        """Return the address of what lies elsewhere.

        Raises:
            ValueError: The file lies here.
        """
        if self.ref is None:
            raise ValueError("Only reference entries support ref_target().")
        return self.ref

    def ref_url(self) -> str:
        """Return the address by which another artifact refers to it.

        Raises:
            UsageError: The artifact was not logged.
        """
        if self._address is None:
            raise UsageError(f"{self.path!r} has no address before {self._owner} is logged: log it first")
        return self._address

    def download(self, root: Any = None, *_: Any, **__: Any) -> str:
        """Copy it into a folder, and return the path; of what lies elsewhere, and is no file here, return the address.

        Raises:
            FileUnusable: It is gone, with the experiment that logged it.
        """
        if self.source is None:
            return str(self.ref)
        target, source = Path(self._folder(root), self.path), self.path_here()
        if not (target.is_file() and sha256(target) == self.digest):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(source, target)
        return str(target)

    def path_here(self) -> Path:
        """Return the path of the file as it was stored, which is to be read only.

        Raises:
            FileUnusable: It is gone, with the experiment that logged it, or lies elsewhere.
        """
        if self.source is None:
            raise FileUnusable(f"{self.path} of {self._owner} lies at {self.ref}: fetch it from there", path=self.path)
        if not self.source.is_file():
            text = f"{self._owner} is not there any more: {self.source} was moved or removed. Bring its experiment back"
            raise FileUnusable(text, path=str(self.source))
        return self.source

    def __repr__(self) -> str:
        return f"<Entry {self.path} of {self._owner}>"


def checked_name(name: Any) -> str:
    """Return the name of a file in an artifact.

    Raises:
        InvalidPath: It leads out of it, or none can have it.
    """
    text = os.fspath(name) if isinstance(name, os.PathLike) else str(name)
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or _DRIVE.match(text) or "\0" in text:
        raise InvalidPath(f"Invalid artifact path: {text!r}. Give a path below the artifact, without '..', such as data/a.csv")
    return str(path)


def refuse_clash(name: str, names: Mapping[str, Any], folders: Mapping[str, Any]) -> None:
    """Refuse a file where a folder of the artifact is, or a folder where a file is.

    Args:
        name: Of the new file.
        names: Of the files that are there.
        folders: That these lie in.

    Raises:
        InvalidPath: There is one in the way.
    """
    in_the_way = next((folder for folder in folders_of(name) if folder in names), None)
    if in_the_way is not None:
        raise InvalidPath(f"{name!r} cannot be added to the artifact: {in_the_way!r} is a file of it. Give another name")
    if name in folders:
        raise InvalidPath(
            f"{name!r} cannot be added to the artifact: files of it lie in a folder of that name. Give another name"
        )


def folders_of(name: str) -> list[str]:
    """Return the folders that a file of an artifact lies in."""
    return [str(folder) for folder in PurePosixPath(name).parents if str(folder) != "."]


def local_path_of(address: str) -> Path | None:
    """Return the path of a `file://` address; None for others."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def described(sources: Mapping[str, Path | str]) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of files by their names, and the addresses of what lies elsewhere.

    Raises:
        OSError: A file cannot be read.
    """
    facts: dict[str, dict[str, Any]] = {}
    for name, source in sorted(sources.items()):
        path = source if isinstance(source, Path) else local_path_of(source)
        facts[name] = {} if path is None else {"size": path.stat().st_size, "sha256": sha256(path)}
        if isinstance(source, str):
            facts[name]["ref"] = source
    return facts


def digest_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the SHA-256 over names and contents of files."""
    lines = (f"{file.get('sha256') or file.get('ref')}  {name}\n" for name, file in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
