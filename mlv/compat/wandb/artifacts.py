"""`wandb.Artifact`: a named set of files in versions, which runs log and use."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import IO, Any

from mlv import Exp, ExpRef, FileUnusable
from mlv.compat.wandb import limits, versions
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.image import Image
from mlv.compat.wandb.media import FileMedia
from mlv.compat.wandb.table import Table
from mlv.compat.wandb.values import plain_or_text

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_CHUNK_BYTES = 1 << 20


class Artifact:
    """A set of files under a name: new ones are added to, and logged; a version that was logged is read."""

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        **_: Any,
    ) -> None:
        """Begin an artifact without files.

        Args:
            name: Letters, digits, `_`, `-` and `.`.
            type: Such as `model` or `dataset`.
            description: A text for people.
            metadata: Values about it.
            incremental: Does nothing here.
            use_as: Does nothing here.

        Raises:
            ValueError: The name cannot be one.
        """
        if not _NAME.fullmatch(name) or not name.strip("."):
            raise ValueError(
                f'Artifact name may only contain alphanumeric characters, dashes, underscores, and dots. Invalid name: "{name}"'
            )
        self._name, self._type, self.description = name, type, description
        self.metadata: dict[str, Any] = plain_or_text(dict(metadata or {}))
        self.aliases: list[str] = []
        self._sources: dict[str, Path | str] = {}
        """Paths of files that are added, and addresses of what lies elsewhere, by their names in the artifact."""
        self._staging: str | None = None
        self._project: Path | None = None
        self._number: int | None = None
        self._entry: dict[str, Any] = {}

    # Identity.

    @property
    def name(self) -> str:
        """The name; with the version behind it where it was logged, such as `model:v0`."""
        return self._name if self._number is None else f"{self._name}:v{self._number}"

    @property
    def type(self) -> str:
        """The sort of artifact."""
        return self._type

    @property
    def version(self) -> str:
        """Such as `v0`.

        Raises:
            UsageError: It was not logged.
        """
        self._logged("version")
        return f"v{self._number}"

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents of its files."""
        return str(self._entry["digest"]) if self._entry else _digest(_described(self._sources))

    @property
    def size(self) -> int:
        """Bytes of its files."""
        files = self._entry["files"] if self._entry else _described(self._sources)
        return sum(file.get("size", 0) for file in files.values())

    @property
    def file_count(self) -> int:
        """How many files it has."""
        return len(self._entry["files"] if self._entry else self._sources)

    @property
    def qualified_name(self) -> str:
        """`<project>/<name>`."""
        return f"{self._project.name}/{self.name}" if self._project is not None else self.name

    @property
    def created_at(self) -> str:
        """When it was logged, in UTC.

        Raises:
            UsageError: It was not logged.
        """
        self._logged("created_at")
        return str(self._entry["created"])

    @property
    def exp(self) -> Exp:
        """The experiment that logged it.

        Raises:
            UsageError: It was not logged.
            NotAnExperiment: The experiment is gone.
        """
        return Exp.open(self.origin)

    @property
    def origin(self) -> Path:
        """The folder of the experiment that logged it, also where that was renamed since.

        Raises:
            UsageError: It was not logged.
        """
        self._logged("origin")
        assert self._project is not None
        folder = self._project / str(self._entry["experiment"])
        others = (path.parent for path in self._project.glob("*/meta.json"))
        # The name may be that of another experiment by now.
        return next((path for path in chain([folder], others) if _has_id(path, self._entry["exp"])), folder)

    # Adding.

    def add_file(self, local_path: Any, name: str | None = None, *_: Any, **__: Any) -> None:
        """Add a file, which is read when the artifact is logged.

        Raises:
            ValueError: There is no such file.
            UsageError: The artifact was logged, or the name leads out of it.
        """
        path = Path(local_path)
        if not path.is_file():
            raise ValueError(f"Path is not a file: {os.fspath(local_path)!r}")
        self._add(name or path.name, path.absolute())

    def add_dir(self, local_path: Any, name: str | None = None, *_: Any, **__: Any) -> None:
        """Add all files of a folder.

        Raises:
            ValueError: There is no such folder.
            UsageError: As `add_file`.
        """
        if not os.path.isdir(local_path):
            raise ValueError(f"Path is not a directory: {os.fspath(local_path)!r}")
        base = Path(local_path).absolute()
        for folder, _names, files in sorted(os.walk(base)):
            for file in sorted(files):
                path = Path(folder, file)
                self._add("/".join(filter(None, (name, path.relative_to(base).as_posix()))), path)

    def add_reference(self, uri: Any, name: str | None = None, *_: Any, **__: Any) -> None:
        """Add the address of something that stays where it is.

        Raises:
            UsageError: As `add_file`.
        """
        self._add(name or str(uri).rstrip("/").rpartition("/")[2], str(uri))

    def add(self, obj: Any, name: str, *_: Any, **__: Any) -> None:
        """Add a table, an image, or media that are a file.

        Raises:
            TypeError: It is nothing of these.
            UsageError: As `add_file`.
        """
        if isinstance(obj, Table):
            content = json.dumps({"columns": obj.columns, "data": plain_or_text(obj.data)}).encode()
            suffix = ".table.json"
        elif isinstance(obj, (Image, FileMedia)):
            content, suffix = obj.file()
        else:
            raise TypeError(f"a {type(obj).__name__} cannot be added to an artifact: save it, and add_file(path)")
        with self.new_file(name if name.endswith(suffix) else f"{name}{suffix}", "wb") as file:
            file.write(content)

    @contextmanager
    def new_file(self, name: str, mode: str = "x", encoding: str | None = None) -> Iterator[IO[Any]]:
        """Write a file that is added at the end of the block.

        Raises:
            UsageError: As `add_file`.
        """
        if self._staging is None:
            self._staging = tempfile.mkdtemp(prefix="wandb-artifact-")
            weakref.finalize(self, shutil.rmtree, self._staging, ignore_errors=True)
        path = Path(self._staging, _inside(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, mode.replace("x", "w"), encoding=encoding) as file:
            yield file
        self._add(name, path)

    def remove(self, item: Any) -> None:
        """Take a file away again.

        Raises:
            FileNotFoundError: There is none of that name.
        """
        name = _inside(str(getattr(item, "path", item)))
        if self._sources.pop(name, None) is None:
            raise FileNotFoundError(f"no such file in artifact {self._name}: {name}")

    # Reading.

    def files(self) -> list[Entry]:
        """Return its files.

        Raises:
            UsageError: It was not logged.
        """
        self._logged("files")
        origin = self.origin
        return [Entry(self, name, facts, origin) for name, facts in self._entry["files"].items()]

    def get_entry(self, name: Any) -> Entry:
        """Return one of its files.

        Raises:
            KeyError: There is none of that name.
            UsageError: It was not logged.
        """
        self._logged("get_entry")
        if str(name) not in self._entry["files"]:
            raise KeyError(f"Path not contained in artifact: {name}")
        return self._entry_of(str(name))

    get_path = get_entry

    def get(self, name: str) -> Table | None:
        """Return a table that was added under a name; None if there is none.

        Raises:
            UsageError: It was not logged.
        """
        self._logged("get")
        path = next((path for path in (name, f"{name}.table.json") if path in self._entry["files"]), None)
        if path is None or not path.endswith(".table.json"):
            return None
        content = json.loads(self._entry_of(path).source.read_bytes())
        return Table(columns=content["columns"], data=content["data"])

    def download(self, root: Any = None, *_: Any, path_prefix: str | None = None, **__: Any) -> str:
        """Copy its files into a folder, `artifacts/<name>:<version>` by default, and return that.

        Raises:
            UsageError: It was not logged.
            FileUnusable: A file is gone, with the experiment that logged it.
        """
        folder = self._folder(root)
        for entry in self.files():
            if entry.path.startswith(path_prefix or ""):
                entry.download(folder)
        return folder

    def file(self, root: Any = None) -> str:
        """Copy its only file into a folder, and return its path.

        Raises:
            ValueError: It has several.
            UsageError, FileUnusable: As `download`.
        """
        files = self.files()
        if len(files) != 1:
            raise ValueError(f"{self.name} has {len(files)} files: download() them, or get_entry(name)")
        return files[0].download(self._folder(root))

    def verify(self, root: Any = None) -> None:
        """Compare the files that were downloaded with those that were logged.

        Raises:
            ValueError: One is missing or another one.
        """
        folder = self._folder(root)
        for entry in self.files():
            if entry.ref is None and _sha256(Path(folder, entry.path)) != entry.digest:
                raise ValueError(f"Digest mismatch for file: {entry.path}")

    # Logging.

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return at once: what is logged is there."""
        return self

    def save(self, *_: Any, **__: Any) -> None:
        """Store changed aliases, metadata and description of a version; one that was not logged is for `run.log_artifact`.

        Raises:
            UsageError: It was not logged.
        """
        self._logged("save")
        assert self._project is not None
        assert self._number is not None
        changed = {"aliases": self.aliases, "metadata": plain_or_text(self.metadata), "description": self.description}
        self._entry.update(changed)
        versions.record(self._project, self._name, self._number, self._entry)

    def store(self, exp: Exp, project: Path, run_id: str, aliases: Sequence[str]) -> None:
        """Publish its files in an experiment as the next version, and record it; the latest one serves if it is the same.

        Called by runs. A version whose files are gone with their experiment does not serve.

        Raises:
            MlvError, OSError: A file cannot be published.
        """
        files = _described(self._sources)
        digest = _digest(files)
        latest = next(versions.recorded(project, self._name), None)
        if latest is not None and latest[1]["digest"] == digest and self._is_there(project, *latest):
            self._become(project, *latest)
            self.aliases = list(dict.fromkeys([*self.aliases, *aliases]))
            self.save()
        else:
            number = versions.taken_version(project, self._name)
            for name, source in self._sources.items():
                if isinstance(source, Path):
                    path = f"artifacts/{self._name}/v{number}/{name}"
                    target = exp.attach(source, path)
                    # The name may be another one that can be; where mlv is disabled, it is the source.
                    is_stored = target.is_relative_to(exp.path)
                    files[name]["path"] = target.relative_to(exp.path).as_posix() if is_stored else f"files/{path}"
            entry = {
                "name": self._name, "type": self._type, "aliases": list(dict.fromkeys(aliases)), "digest": digest,
                "description": self.description, "metadata": plain_or_text(self.metadata), "run": run_id, "exp": exp.id,
                "experiment": exp.name, "created": datetime.now(timezone.utc).isoformat(), "files": files,
            }  # fmt: skip
            versions.record(project, self._name, number, entry)
            self._become(project, number, entry)
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None
        log_event(exp, "log_artifact", self)

    @classmethod
    def of_version(cls, project: Path, reference: str) -> Artifact:
        """Return a version that was logged. Called by runs.

        Raises:
            UsageError: There is none.
        """
        name, number, entry = versions.chosen(project, reference)
        artifact = cls(name, entry["type"])
        artifact._become(project, number, entry)
        return artifact

    def _is_there(self, project: Path, number: int, entry: dict[str, Any]) -> bool:
        version = Artifact(self._name, entry["type"])
        version._become(project, number, entry)
        return all(file.ref is not None or file.source.is_file() for file in version.files())

    def _become(self, project: Path, number: int, entry: dict[str, Any]) -> None:
        self._project, self._number, self._entry, self._sources = project, number, entry, {}
        self.aliases, self.metadata, self.description = list(entry["aliases"]), entry["metadata"], entry.get("description")

    def _add(self, name: str, source: Path | str) -> None:
        if self._number is not None:
            raise UsageError(
                f"{self.name} was logged and stays as it is: add to a new Artifact({self._name!r}, {self._type!r})"
            )
        self._sources[_inside(name)] = source

    def _logged(self, call: str) -> None:
        if self._number is None:
            raise UsageError(f"{call} of artifact {self._name!r} is there after run.log_artifact(artifact): log it first")

    def _entry_of(self, name: str) -> Entry:
        return Entry(self, name, self._entry["files"][name], self.origin)

    def _folder(self, root: Any) -> str:
        return (
            os.fspath(root)
            if root is not None
            else os.path.join(os.environ.get("WANDB_ARTIFACT_DIR") or "artifacts", self.name)
        )

    def __getattr__(self, name: str) -> Any:
        limits.missing("Artifact", name)

    def __repr__(self) -> str:
        return f"<Artifact {self.qualified_name}>"


class Entry:
    """A file of a version."""

    def __init__(self, artifact: Artifact, path: str, facts: Mapping[str, Any], experiment: Path) -> None:
        """Describe a file. Not called by users: `artifact.files()` gives entries."""
        self._artifact, self.path, self.name = artifact, path, path
        self.ref: str | None = facts.get("ref")
        """The address of what lies elsewhere."""
        self.digest: str = facts.get("sha256", "")
        self.size: int = facts.get("size", 0)
        self.source = experiment / str(facts.get("path", ""))
        """The file in the experiment."""

    def download(self, root: Any = None, *_: Any, **__: Any) -> str:
        """Copy it into a folder, and return the path; what lies elsewhere stays there, and its address is returned.

        Raises:
            FileUnusable: It is gone, with the experiment that logged it.
        """
        if self.ref is not None:
            return self.ref
        target = Path(self._artifact._folder(root), self.path)
        if not self.source.is_file():
            text = f"{self._artifact.name} is not there any more: {self.source} was moved or removed. Bring its experiment back"
            raise FileUnusable(text, path=str(self.source))
        if not (target.is_file() and _sha256(target) == self.digest):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(self.source, target)
        return str(target)


def log_event(exp: Exp, call: str, artifact: Artifact) -> None:
    """Record in an experiment that an artifact was logged or used; a used one with the experiment that it comes from."""
    reference = {"experiment": ExpRef(artifact.origin)} if call == "use_artifact" else {}
    exp.log(f"wandb/{call}", {"artifact": artifact.name, "type": artifact.type, "digest": artifact.digest, **reference})


def _inside(name: str) -> str:
    """Return a name of a file in an artifact.

    Raises:
        UsageError: It leads out of it.
    """
    clean = os.path.normpath(name).replace(os.sep, "/")
    if clean.startswith(("/", "../")) or clean in (".", ".."):
        raise UsageError(f"{name!r} leads out of the artifact: give a name below it")
    return clean


def _described(sources: Mapping[str, Path | str]) -> dict[str, dict[str, Any]]:
    return {
        name: {"size": source.stat().st_size, "sha256": _sha256(source)} if isinstance(source, Path) else {"ref": source}
        for name, source in sorted(sources.items())
    }


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    lines = (f"{file.get('sha256') or file.get('ref')}  {name}\n" for name, file in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _has_id(folder: Path, exp_id: str) -> bool:
    try:
        return _sha256(folder / "meta.json") == exp_id
    except OSError:
        return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
