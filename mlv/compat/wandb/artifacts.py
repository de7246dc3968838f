"""`wandb.Artifact`: a named set of files in versions, which runs log and use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

from mlv import Exp, ExpRef
from mlv.compat.wandb import active, limits, versions
from mlv.compat.wandb.artifact_draft import Draft
from mlv.compat.wandb.artifact_entries import Entry, described, digest_of, local_path_of, sha256
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.folders import clean
from mlv.compat.wandb.values import plain_or_text

_MOST_LETTERS = 128
_OF_ARTIFACT = "wandb-artifact://"
"""What addresses of files in other artifacts begin with: `<project>/<name>:v<N>/<path>` follows."""


class Artifact(Draft):
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
            ValueError: The name or the type cannot be one.
            TypeError: The metadata are no mapping.
        """
        super().__init__()
        if not versions.is_name(name):
            raise ValueError(
                f"Artifact name may only contain alphanumeric characters, dashes, underscores, and dots. Invalid name: {name!r}"
            )
        if len(name) > _MOST_LETTERS:
            raise ValueError(f"Artifact name is longer than {_MOST_LETTERS} characters: {name!r}")
        if type == "job" or str(type).startswith("wandb-"):
            raise ValueError(f"Artifact type {type!r} is reserved for internal use. Please use a different type.")
        if metadata is not None and not isinstance(metadata, Mapping):
            raise TypeError(f"Cannot parse {metadata.__class__} as artifact metadata: give a mapping")
        self._name, self._type, self.description = name, type, description
        self.metadata: dict[str, Any] = plain_or_text(dict(metadata or {}))
        self.aliases: list[str] = []
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
        return str(self._entry["digest"]) if self._entry else digest_of(described(self._sources))

    @property
    def size(self) -> int:
        """Bytes of its files."""
        files = self._entry["files"] if self._entry else described(self._sources)
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
    def project(self) -> str | None:
        """The project that it was logged in; None before."""
        return None if self._project is None else self._project.name

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

    # Reading.

    def files(self) -> list[Entry]:
        """Return its files.

        Raises:
            UsageError: It was not logged.
        """
        self._logged("files")
        origin = self.origin
        return [self._entry_of(name, origin) for name in self._entry["files"]]

    def get_entry(self, name: Any) -> Entry:
        """Return one of its files.

        Raises:
            KeyError: There is none of that name.
            UsageError: It was not logged.
        """
        self._logged("get_entry")
        if str(name) not in self._entry["files"]:
            raise KeyError(f"Path not contained in artifact: {name}")
        return self._entry_of(str(name), self.origin)

    get_path = get_entry

    def get(self, name: str) -> Any:
        """Return a table, a join of tables, or other media that were added under a name; None if there is none.

        Raises:
            UsageError: It was not logged.
            FileUnusable: Its files are gone, with the experiment that logged it.
        """
        from mlv.compat.wandb import artifact_objects  # most artifacts are made of files

        self._logged("get")
        return artifact_objects.get(self, name, list(self._entry["files"]))

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
            if entry.ref is None and sha256(Path(folder, entry.path)) != entry.digest:
                raise ValueError(f"Digest mismatch for file: {entry.path}")

    # Logging.

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return at once: what is logged is there."""
        return self

    def save(self, project: str | None = None, settings: Any = None) -> None:
        """Store changed aliases, metadata and description of a version; or log a new artifact.

        The run that goes on logs it, or a run of its own, of the job type `auto`.

        Args:
            project: That of a run of its own.
            settings: Those of a run of its own.
        """
        if self._number is None:
            run = active.latest()
            if run is not None:
                run.log_artifact(self)
            else:
                with active.begin(project=project, job_type="auto", settings=settings) as own:
                    own.log_artifact(self)
            return
        assert self._project is not None
        changed = {"aliases": self.aliases, "metadata": plain_or_text(self.metadata), "description": self.description}
        self._entry.update(changed)
        versions.record(self._project, self._name, self._number, self._entry)

    def is_draft(self) -> bool:
        """Return whether it was not logged yet."""
        return self._number is None

    def store(self, exp: Exp, project: Path, run_id: str, aliases: Sequence[str]) -> None:
        """Publish its files in an experiment as the next version, and record it; the latest one serves if it is the same.

        Called by runs. A version whose files are gone with their experiment does not serve.

        Raises:
            MlvError, OSError: A file cannot be published.
        """
        files = described(self._sources)
        digest = digest_of(files)
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
        self._unstage()
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
        return all(file.source is None or file.source.is_file() for file in version.files())

    def _become(self, project: Path, number: int, entry: dict[str, Any]) -> None:
        self._project, self._number, self._entry, self._sources = project, number, entry, {}
        self.aliases, self.metadata, self.description = list(entry["aliases"]), entry["metadata"], entry.get("description")

    def _logged(self, call: str) -> None:
        if self._number is None:
            raise UsageError(f"{call} of artifact {self._name!r} is there after run.log_artifact(artifact): log it first")

    def _entry_of(self, name: str, origin: Path) -> Entry:
        facts = self._entry["files"][name]
        source = self._target_of(facts["ref"]) if "ref" in facts else origin / str(facts.get("path", ""))
        project = self._project.name if self._project is not None else ""
        return Entry(name, facts, source, self._folder, self.name, f"{_OF_ARTIFACT}{project}/{self.name}/{name}")

    def _target_of(self, address: str) -> Path | None:
        """Return the file that an address leads to, here or in another artifact; None where it is none of this machine."""
        if not address.startswith(_OF_ARTIFACT) or self._project is None:
            return local_path_of(address)
        project, _, path = address.removeprefix(_OF_ARTIFACT).partition("/")
        name, _, path = path.partition("/")
        return Artifact.of_version(self._project.parent / (clean(project) or "-"), name).get_entry(path).source

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


def log_event(exp: Exp, call: str, artifact: Artifact) -> None:
    """Record in an experiment that an artifact was logged or used; a used one with the experiment that it comes from."""
    reference = {"experiment": ExpRef(artifact.origin)} if call == "use_artifact" else {}
    facts = {"artifact": artifact.name, "project": artifact.project, "type": artifact.type, "digest": artifact.digest}
    exp.log(f"wandb/{call}", {**facts, **reference})


def _has_id(folder: Path, exp_id: str) -> bool:
    try:
        return sha256(folder / "meta.json") == exp_id
    except OSError:
        return False
