"""The files of a run, as `run.files()` lists them: the attachments of its experiment."""

from __future__ import annotations

import mimetypes
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from fnmatch import fnmatch
from hashlib import md5
from pathlib import Path
from typing import IO, Any

from mlv.compat.wandb import limits
from mlv.compat.wandb.errors import CommError

_OF_ARTIFACTS = "artifacts/"
"""Where versions of artifacts lie among the files."""


class File:
    """A file of a run."""

    def __init__(self, name: str, path: Path) -> None:
        """Describe a file. Not called by users: runs give files."""
        self.name, self.source = name, path

    @property
    def size(self) -> int:
        """Bytes of it; 0 where it is not there."""
        return self.source.stat().st_size if self.source.is_file() else 0

    @property
    def url(self) -> str:
        """The address of the file."""
        return self.source.absolute().as_uri()

    direct_url = path_uri = url

    @property
    def mimetype(self) -> str | None:
        """What it is, as its name says."""
        return mimetypes.guess_type(self.name)[0]

    @property
    def md5(self) -> str:
        """The MD5 of its content, in hexadecimal."""
        return md5(self.source.read_bytes(), usedforsecurity=False).hexdigest()

    @property
    def updated_at(self) -> str:
        """When it changed last, in UTC."""
        return datetime.fromtimestamp(self.source.stat().st_mtime, tz=timezone.utc).isoformat()

    def download(self, root: Any = ".", replace: bool = False, exist_ok: bool = False, api: Any = None) -> IO[str]:
        """Copy it into a folder, and open the copy for reading.

        Args:
            root: The folder.
            replace: Whether a file that is there is written over.
            exist_ok: Whether a file that is there serves as it is.
            api: Does nothing here.

        Raises:
            CommError: There is no such file, or one is there that may not be written over.
        """
        if not self.source.is_file():
            raise CommError(f"file {self.name!r} is not in {self.source.parent}: run.files() lists those that are")
        target = Path(root, self.name)
        if target.exists() and not replace:
            if not exist_ok:
                raise CommError(f"File already exists at {target}: give replace=True to write over it, or exist_ok=True")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.source, target)
        return open(target, encoding="utf-8", errors="replace")

    def __getattr__(self, name: str) -> Any:
        limits.missing("File", name)

    def __repr__(self) -> str:
        return f"<File {self.name} {self.size} bytes>"


def files_of(folder: Path, names: Sequence[str] | None = None, pattern: str | None = None) -> list[File]:
    """Return the files of an experiment's folder: all, or those of some names, or of a pattern; no versions of artifacts."""
    base = folder / "files"
    paths = sorted(path for path in base.rglob("*") if path.is_file())
    files = [File(path.relative_to(base).as_posix(), path) for path in paths]
    return [
        file
        for file in files
        if not file.name.startswith(_OF_ARTIFACTS)
        and (not names or file.name in names)
        and (pattern is None or fnmatch(file.name, pattern.replace("%", "*")))
    ]
