"""`wandb.Api`: runs, files and artifacts of projects, which are folders of experiments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import mlv
from mlv.compat.wandb import folders, limits, versions
from mlv.compat.wandb.apis.files import File
from mlv.compat.wandb.apis.listing import Runs
from mlv.compat.wandb.apis.runs import StoredRun
from mlv.compat.wandb.artifacts import Artifact
from mlv.compat.wandb.errors import NotFound, UsageError
from mlv.compat.wandb.settings import resolved

Run = StoredRun


class Project:
    """A project: a folder of experiments."""

    def __init__(self, folder: Path, entity: str) -> None:
        """Name a project. Not called by users."""
        self.name, self.id, self.entity = folder.name, folder.name, entity
        self.url = folder.absolute().as_uri()

    @property
    def path(self) -> list[str]:
        """Entity and name."""
        return [self.entity, self.name]

    def __repr__(self) -> str:
        return f"<Project {'/'.join(filter(None, self.path))}>"


class Api:
    """Reads what was logged: below `WANDB_DIR`, or the folder that `MLV_DIR` names. Nobody is asked, and no key is needed."""

    def __init__(
        self, overrides: Mapping[str, Any] | None = None, timeout: int | None = None, api_key: str | None = None
    ) -> None:
        """Choose a default project.

        Args:
            overrides: `project`, `entity`.
            timeout: Does nothing here.
            api_key: Is neither read nor kept.
        """
        self._overrides = dict(overrides or {})
        chosen = resolved(None)
        self._root_dir = chosen.root_dir
        self.default_entity = str(self._overrides.get("entity") or chosen.entity or "")
        self._project: str | None = self._overrides.get("project") or chosen.project

    @property
    def settings(self) -> dict[str, Any]:
        """The default entity and project."""
        return {"entity": self.default_entity, "project": self._project, "base_url": None}

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = False,
        lazy: bool = True,
    ) -> Runs:
        """Return the runs of a project.

        Args:
            path: `entity/project` or `project`; the default one without it.
            filters: As MongoDB has them, over `config.<key>`, `summary_metrics.<key>`, `state`, `tags`, `display_name`, ...
            order: A field of filters, with `-` in front for the greatest first.
            per_page: Does nothing here.
            include_sweeps: Does nothing here.
            lazy: Does nothing here: what a run holds is read when it is asked for.

        Raises:
            NotFound: There is no such project.
            UsageError: A filter cannot be read; when the runs are read.
        """
        project = self._project_of(path)
        return Runs(lambda: self._every(project), filters or {}, order or "+created_at")

    def run(self, path: str = "") -> StoredRun:
        """Return a run.

        Args:
            path: `entity/project/id`, `project/id`, or `id` in the default project; `runs` may stand in front of the ID.

        Raises:
            NotFound: There is none.
        """
        words = [word for word in path.strip("/").split("/") if word and word != "runs"]
        if not words:
            raise UsageError(f"run({path!r}): give <entity>/<project>/<id>")
        project = self._project_of("/".join(words[:-1]) or None)
        folder = folders.with_id(project, words[-1])
        if folder is not None:
            return self._stored(mlv.Exp.open(folder), project)
        run = next((run for run in self._every(project) if words[-1] in (run.id, run.exp.id)), None)
        if run is None:
            raise NotFound(f"there is no run {words[-1]!r} in {project}: Api().runs({project.name!r}) lists those that are")
        return run

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """Return a version of an artifact: `entity/project/name:alias`, `project/name:alias` or `name:alias`.

        Raises:
            UsageError: There is none, or it is of another type.
        """
        project, _, reference = name.rpartition("/")
        artifact = Artifact.of_version(self._project_of(project or None), reference)
        if type is not None and artifact.type != type:
            raise UsageError(f"artifact {artifact.name} is of type {artifact.type!r}, not {type!r}")
        return artifact

    def artifacts(
        self, type_name: str, name: str, order: str | None = None, per_page: int = 50, tags: Any = None
    ) -> list[Artifact]:
        """Return the versions of an artifact, the latest first; with `tags`, those that have all of them as aliases.

        Raises:
            NotFound: There is no such artifact.
            UsageError: It is of another type.
        """
        path, _, own = name.rpartition("/")
        project = self._project_of(path or None)
        all_versions = [Artifact.of_version(project, f"{own}:v{number}") for number, _ in versions.recorded(project, own)]
        if not all_versions:
            raise NotFound(f"there is no artifact {own!r} in {project}")
        if type_name != all_versions[0].type:
            raise UsageError(f"artifact {own} is of type {all_versions[0].type!r}, not {type_name!r}")
        wanted = {tags} if isinstance(tags, str) else {*(tags or ())}
        return [artifact for artifact in all_versions if wanted <= {*artifact.aliases}]

    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> list[Artifact]:
        """Return what `artifacts` returns."""
        return self.artifacts(type_name, name)

    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Return whether there is such a version."""
        try:
            self.artifact(name, type)
        except UsageError:
            return False
        return True

    def artifact_collection_exists(self, name: str, type: str) -> bool:
        """Return whether there is an artifact of that name."""
        return self.artifact_exists(name, type)

    def projects(self, entity: str | None = None, per_page: int = 200) -> list[Project]:
        """Return the projects: the folders that hold experiments."""
        root = folders.project_folder(self._root_dir, "p").parent
        paths = sorted(path for path in root.glob("*") if any(path.glob("*/meta.json")))
        return [Project(path, entity or self.default_entity) for path in paths]

    def project(self, name: str, entity: str | None = None) -> Project:
        """Return a project.

        Raises:
            NotFound: There is none of that name.
        """
        return Project(self._project_of(name), entity or self.default_entity)

    def sweep(self, path: str = "") -> Any:
        """Return a sweep: `entity/project/id`, `project/id` or `id`.

        Raises:
            NotFound: There is none.
        """
        project, _, sweep_id = path.strip("/").rpartition("/")
        return self._sweep_of(self._project_of(project or None).name, sweep_id.removeprefix("sweeps/"))

    def from_path(self, path: str) -> StoredRun | Project:
        """Return the run, or the project, that a path names."""
        words = path.strip("/").split("/")
        return self.project(words[0]) if len(words) == 1 else self.run(path)

    def flush(self) -> None:
        """Do nothing: each call reads anew."""

    def _every(self, project: Path) -> Iterator[StoredRun]:
        for exp in mlv.find(project):
            yield self._stored(exp, project)

    def _stored(self, exp: mlv.Exp, project: Path) -> StoredRun:
        return StoredRun(exp, project.name, self._sweep_of)

    def _sweep_of(self, project: str, sweep_id: str) -> Any:
        from mlv.compat.wandb.apis.sweeps import StoredSweep  # few scripts sweep

        return StoredSweep(self._project_of(project), sweep_id, lambda filters: self.runs(project, filters))

    def _project_of(self, path: str | None) -> Path:
        """Return the folder of a project.

        Raises:
            NotFound: There is none.
        """
        words = [word for word in (path or "").strip("/").split("/") if word]
        name = words[-1] if words else self._project or folders.default_project()
        folder = folders.project_folder(self._root_dir, name)
        if not folder.is_dir():
            others = ", ".join(project.name for project in self.projects()) or "none"
            raise NotFound(f"Could not find project {path or name!r} in {folder.parent}; there are: {others}")
        return folder

    def __getattr__(self, name: str) -> Any:
        limits.missing("Api", name)

    def __repr__(self) -> str:
        return f"<Api of {os.fspath(folders.project_folder(self._root_dir, 'p').parent)}>"


def restored(name: str, run_path: str, replace: bool, root: Any) -> IO[str]:
    """Copy a file of a run into a folder, unless it is there and may stay, and open it.

    Raises:
        ValueError: There is no such file, or no such run.
    """
    file = Api().run(run_path).file(name)
    if not file.source.is_file():
        raise ValueError(f"File {name} not found in {run_path}.")
    return file.download(root, replace=replace, exist_ok=True)


PublicApi = Api


def __getattr__(name: str) -> Any:
    limits.missing("wandb.apis.public", name)


__all__ = ["Api", "Artifact", "File", "Project", "Run", "Runs"]
