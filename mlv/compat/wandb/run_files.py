"""The files of a run: those that a script saves, and its artifacts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlv.compat.wandb import folders
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.run_identity import Identity
from mlv.compat.wandb.terminal import termwarn

_POLICIES = ("live", "end", "now")


class Files(Identity):
    """The part of `Run` that attaches, restores and versions files."""

    if TYPE_CHECKING:
        _saved: dict[str, tuple[str, float]]

        def _check_unfinished(self, call: str) -> None: ...
        def _guarded(self, subject: str, do: Callable[..., Any], *arguments: Any) -> Any: ...

    def save(self, glob_str: Any = None, base_path: Any = None, policy: str = "live", glob: bool = True) -> bool | list[str]:
        """Attach files to the experiment, `files/<path below base_path>`.

        Args:
            glob_str: A path, or a pattern.
            base_path: The folder below which paths are kept; the current one, or for an absolute path the one above its own.
            policy: `now`, or `live` or `end`: those are attached again at the end of the run if they have changed.
            glob: Whether the path is a pattern.

        Returns:
            The paths of the attachments.

        Raises:
            ValueError: The policy is none, or the path is not below `base_path`.
            UsageError: The run is finished.
        """
        self._check_unfinished("save")
        if glob_str is None:
            return True
        if policy not in _POLICIES:
            raise ValueError('Only "live", "end" and "now" policies are currently supported.')
        text = os.fsdecode(glob_str)
        if text.startswith(("gs://", "s3://")):
            termwarn(f"{text} is a cloud storage url, can't save file to W&B.")
            return []
        absolute = Path(os.path.abspath(text))
        base = Path(os.path.abspath(base_path)) if base_path is not None else self._base_of(text, absolute)
        if not absolute.is_relative_to(base):
            raise ValueError(f"{text} is not below base_path={base}: give a folder above it")
        if self._exp is None:
            return []
        from glob import glob as matching  # a run that saves nothing does without

        paths = sorted(matching(str(absolute))) if glob else [str(absolute)] if absolute.exists() else []
        targets = [self._attach(path, Path(path).relative_to(base).as_posix()) for path in paths]
        if policy != "now":
            self._saved.update((path, (Path(path).relative_to(base).as_posix(), _changed_at(path))) for path in paths)
        return [str(target) for target in targets if target is not None]

    def restore(self, name: str, run_path: str | None = None, replace: bool = False, root: str | None = None) -> IO[str] | None:
        """Copy a file of the experiment into a folder, and open it.

        Args:
            name: Below `files`, or below `dir`.
            run_path: Of another run, `entity/project/id`.
            replace: Whether a file that is there is written over.
            root: The folder; that of the run by default.

        Raises:
            ValueError: There is no such file, or no such run.
        """
        if run_path not in (None, self.path):
            from mlv.compat.wandb.apis import public  # most scripts read their own files

            return public.restored(name, str(run_path), replace, self.dir if root is None else root)
        if self._exp is None:
            return None
        source = next((path for path in (Path(self.dir, name), self._exp.path / "files" / name) if path.is_file()), None)
        if source is None:
            raise ValueError(f"File {name} not found in {self.path or None}.")
        target = Path(self.dir if root is None else root, name)
        if target != source and (replace or not target.exists()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        return open(target, encoding="utf-8", errors="replace")

    def log_code(self, root: str | None = ".", name: str | None = None, include_fn: Any = None, exclude_fn: Any = None) -> None:
        """Attach source files, `files/code/...`; commit, changes and script are in `meta.json` anyway.

        Args:
            root: The folder.
            name: Does nothing here.
            include_fn: Decides by the path, and the folder if it takes two arguments; files of Python by default.
            exclude_fn: Decides which of those are left out.
        """
        if self._exp is None:
            return
        base = Path(os.path.abspath(root or "."))
        for folder, names, files in os.walk(base):
            names[:] = sorted(
                word for word in names if not word.startswith(".") and not (Path(folder, word) / "meta.json").exists()
            )
            for path in (Path(folder, file) for file in sorted(files)):
                is_wanted = path.suffix == ".py" or path.name.startswith("requirements")
                if _decides(include_fn, path, base, is_wanted) and not _decides(exclude_fn, path, base, False):
                    self._attach(str(path), f"code/{path.relative_to(base).as_posix()}")

    def _attach(self, path: str, name: str) -> Path | None:
        return self._guarded(path, self._exp.attach, path, name) if self._exp is not None else None

    def _attach_at_end(self) -> None:
        """Attach what lies in `dir`, and again those saved files that have changed."""
        for path, (name, changed_at) in self._saved.items():
            if os.path.exists(path) and _changed_at(path) != changed_at:
                self._attach(path, name)
        saved = {name for name, _ in self._saved.values()}
        if self._dir is not None and os.path.isdir(self._dir):
            for folder, _, files in sorted(os.walk(self._dir)):
                for file in sorted(files):
                    path = os.path.join(folder, file)
                    name = Path(path).relative_to(self._dir).as_posix()
                    if name not in saved:
                        self._attach(path, name)

    def _base_of(self, text: str, path: Path) -> Path:
        """Return the folder below which the path of a saved file is kept."""
        if self._dir is not None and path.is_relative_to(self._dir):
            return Path(self._dir)
        return path.parent.parent if os.path.isabs(text) else Path(os.path.abspath("."))

    def log_artifact(
        self,
        artifact_or_path: Any,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Any:
        """Store a set of files as the next version of its name; one that is equal to the latest version is that.

        Args:
            artifact_or_path: An `Artifact`, or the path of a file or folder.
            name: Of an artifact for a path; `run-<id>-<name of the file>` by default.
            type: Of an artifact for a path.
            aliases: Names of the version, beside `latest`.
            tags: Further ones.

        Raises:
            UsageError: The run is finished.
            ValueError: There is nothing at the path, or an alias holds `/` or `:`.
        """
        from mlv.compat.wandb import artifacts  # most scripts do without

        self._check_unfinished("log_artifact")
        artifact = artifact_or_path
        if not isinstance(artifact, artifacts.Artifact):
            artifact = self._artifact_of(artifact_or_path, name, type)
        words = [*_listed(aliases), *_listed(tags)]
        if wrong := [word for word in words if {*word} & {"/", ":"}]:
            raise ValueError(
                f"Aliases must not contain any of the following characters: '/', ':'. Leave them out of {wrong[0]!r}"
            )
        if self._exp is not None:
            self._guarded(artifact.name, artifact.store, self._exp, self._exp.path.parent, self._id, words)
        return artifact

    upsert_artifact = finish_artifact = log_artifact

    def use_artifact(
        self, artifact_or_name: Any, type: str | None = None, aliases: Sequence[str] | None = None, use_as: str | None = None
    ) -> Any:
        """Return a version of an artifact of the project, and record that this run uses it.

        Args:
            artifact_or_name: `name`, `name:alias`, `name:v3`, with a project in front where it is another one; or an
                `Artifact`, which is logged if it is new.
            type: What it has to be, if anything.
            aliases: Of a new one.
            use_as: Does nothing here.

        Raises:
            UsageError: There is none, or it is of another type; or the run is finished.
        """
        from mlv.compat.wandb import artifacts  # most scripts do without

        self._check_unfinished("use_artifact")
        artifact = artifact_or_name
        if isinstance(artifact, artifacts.Artifact):
            if ":" not in artifact.name:
                artifact = self.log_artifact(artifact, aliases=aliases)
        else:
            project, _, reference = str(artifact_or_name).rpartition("/")
            folder = folders.project_folder(self._settings.root_dir, project.rpartition("/")[2] or self._project)
            artifact = artifacts.Artifact.of_version(folder, reference)
        if type is not None and artifact.type != type:
            raise UsageError(f"artifact {artifact.name} is of type {artifact.type!r}, not {type!r}")
        if self._exp is not None:
            self._guarded(artifact.name, artifacts.log_event, self._exp, "use_artifact", artifact)
        return artifact

    def _artifact_of(self, path_or_address: Any, name: str | None, type: str | None) -> Any:
        """Return an artifact of a file, a folder, or what lies at an address."""
        from mlv.compat.wandb import artifacts  # most scripts do without

        text = os.fspath(path_or_address)
        is_address = "://" in text
        path = Path(text if is_address else os.path.abspath(text))
        # Letters that no artifact can have become underscores.
        own_name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"run-{self._id}-{path.name}")[:128]
        artifact = artifacts.Artifact(name or own_name, type or "unspecified")
        if is_address:
            artifact.add_reference(text)
        elif path.is_dir():
            artifact.add_dir(path, policy="immutable")
        else:
            artifact.add_file(path, policy="immutable")
        return artifact

    def log_model(self, path: Any, name: str | None = None, aliases: Sequence[str] | None = None) -> None:
        """Store a model, a file or folder, as an artifact of the type `model`."""
        self.log_artifact(path, name, "model", aliases)

    def use_model(self, name: str) -> str:
        """Return the path of a model that was stored, copied below `artifacts`.

        Raises:
            UsageError: There is none of that name.
        """
        artifact = self.use_artifact(name)
        folder = str(artifact.download())
        files = artifact.files()
        return os.path.join(folder, files[0].path) if len(files) == 1 else folder


def _listed(words: str | Sequence[str] | None) -> list[str]:
    return [words] if isinstance(words, str) else [str(word) for word in words or ()]


def _decides(function: Any, path: Path, root: Path, default: bool) -> bool:
    if function is None:
        return default
    try:
        return bool(function(str(path), str(root)))
    except TypeError:
        return bool(function(str(path)))


def _changed_at(path: str) -> float:
    with suppress(OSError):
        return os.stat(path).st_mtime
    return 0.0
