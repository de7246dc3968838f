"""The artifacts of a run of MLflow, or of a logged model: the files of its experiment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from mlv.integrations.mlflow import sessions
from mlv.integrations.mlflow.errors import absent, missing, refused, translated
from mlv.integrations.mlflow.folders import identity_of, root_of

FILES = "files"
"""The folder of an experiment in which its artifacts lie."""


def uri_of(folder: Path) -> str:
    """Return the URI of a folder."""
    return f"mlv:{quote(str(folder))}"


class Artifacts(ArtifactRepository):  # type: ignore[misc]  # MLflow has no types where it is not installed
    """The files of an experiment, or those below one of its folders: each is published whole, with an event and its SHA-256."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        """Keep the URI; the experiment is opened when something is written."""
        super().__init__(artifact_uri)  # older versions take no more
        self.tracking_uri, self.registry_uri = tracking_uri, registry_uri
        self._folder = root_of(artifact_uri)
        self._local = LocalArtifactRepository(self._folder.as_uri())

    def log_artifact(self, local_file: Any, artifact_path: str | None = None) -> None:
        """Attach a file; one of the same name gets the new content."""
        self._attach({Path(local_file).name: Path(local_file)}, artifact_path)

    def log_artifacts(self, local_dir: Any, artifact_path: str | None = None) -> None:
        """Attach the files of a folder, each under its path in that."""
        top = Path(local_dir)
        self._attach({path.relative_to(top).as_posix(): path for path in sorted(_files_in(top))}, artifact_path)

    def _attach(self, files: dict[str, Path], artifact_path: str | None) -> None:
        verify_artifact_path(artifact_path)
        identity = next(filter(None, map(identity_of, self._folder.parents)), None)
        if identity is None:
            raise missing(f"There is no experiment around {self._folder}: it was moved, or removed")
        below = PurePosixPath(self._folder.relative_to(identity.path / FILES).as_posix(), artifact_path or "")
        for name in files:
            if (identity.path / FILES / below / name).is_dir():
                raise refused(f"{below / name} is a folder of artifacts: give the file another name")
        with translated(), sessions.writing(identity) as exp:
            for name, path in files.items():
                exp.attach(path, str(below / name))

    def list_artifacts(self, path: str | None = None) -> Any:
        """Return what lies directly in a folder."""
        return self._local.list_artifacts(path)

    def _is_directory(self, artifact_path: str) -> bool:
        return bool(self._local._is_directory(artifact_path))

    def get_local_path(self, artifact_path: str) -> Any:
        """Return the path of a file."""
        return self._local.get_local_path(artifact_path)

    def download_artifacts(self, artifact_path: str, dst_path: Any = None) -> Any:
        """Return the path of a file or folder, or that of a copy where a folder is given."""
        return self._local.download_artifacts(artifact_path, dst_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._local._download_file(remote_file_path, local_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Refuse to delete.

        Raises:
            MlflowException: Always: the log of an experiment goes on telling of its files.
        """
        raise absent("run without its artifacts", f"{self._folder} stays as it is until the run itself is deleted")


def _files_in(top: Path) -> Iterator[Path]:
    """Yield the files below a folder, also by links to folders, as MLflow's own stores have them; but none in a circle."""
    for parent, folders, names in os.walk(top, followlinks=True):
        around = {os.path.realpath(each) for each in (Path(parent), *Path(parent).parents)}
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(parent, name)) not in around]
        yield from (Path(parent, name) for name in names)
