"""Objects that are saved as extras: as JSON or arrays if these can hold them, pickled only on request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mlv.encoding import shown
from mlv.errors import ExtraNotFound, ExtraUnusable, FileUnusable, MlvError, NotStorable
from mlv.experiment.files.attachments import Attachments
from mlv.experiment.opening.captures import warn_of_redactions
from mlv.experiment.session import DRAIN_TIMEOUT_S, Session
from mlv.store import attached, contents, layout, paths, trees

EXTRA = "extra"
"""Folder below `files` where extras lie."""

_SUFFIXES = (".json", ".npz", ".pkl")


class Extras(Attachments):
    """The part of `Exp` that is about files, extras included."""

    __slots__ = ()

    if TYPE_CHECKING:
        _session: Session

    def save_extra(self, name: str, obj: Any, *, pickle: bool = False, step: float | None = None) -> Path:
        """Save an object; `load_extra(name)` gives it back, equal and of the same types.

        It becomes `files/extra/<name>.json`, or `<name>.npz` where there are arrays in it. None, booleans, numbers, text,
        bytes, arrays and scalars of numpy can be saved so, and lists, tuples, named tuples and mappings of them. Arrays of
        torch and JAX come back as numpy's (bfloat16 as float32), mappings of any kind as dicts.

        Args:
            name: Such as `confusion`.
            obj: The object.
            pickle: Pickle it, whatever it is: `files/extra/<name>.pkl`.
            step: When it was, for the event.

        Returns:
            The path of the file.

        Raises:
            InvalidName: As `file`.
            NotStorable: It holds what has no such form, or cannot be pickled.
            FileUnusable: As `file`.
        """
        base = f"{EXTRA}/{self._extra(name)}"
        if pickle:
            suffix = ".pkl"
            with self.file(base + suffix, "wb", step=step) as file:
                _pickle(name, obj, file)
        else:
            arrays, structure = _flattened(name, obj)
            structure = self._redactor.data(structure, "extra")
            warn_of_redactions(self._redactor)
            suffix = ".npz" if arrays else ".json"
            with self.filepath(base + suffix, step=step) as path:
                if arrays:
                    trees.write_npz(path, arrays, structure)
                else:
                    path.write_bytes(orjson.dumps(structure, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        return self._target(base + suffix, step).path

    def load_extra(self, name: str, *, trust: bool = False) -> Any:
        """Load the object that `save_extra` saved last under a name.

        Args:
            name: As given there.
            trust: Unpickle it if it is a pickle, which runs whatever code is in it.

        Raises:
            ExtraNotFound: There is none of that name.
            ExtraUnusable: It is damaged, or is a pickle and not trusted.
        """
        path = self._saved(self._extra(name))
        if path.suffix == ".pkl" and not trust:
            text = (
                f"extra {name!r} is a pickle, and loading it runs whatever code is in it: if you know who made it, give "
                f"load_extra({name!r}, trust=True)"
            )
            raise ExtraUnusable(text, path=str(path))
        try:
            return _loaded(path)
        except Exception as error:  # a pickle may raise anything
            raise ExtraUnusable(f"extra {name!r} cannot be loaded from {path}: {shown(error)}", path=str(path)) from error

    def _extra(self, name: Any) -> str:
        """Check and return the name of an extra."""
        folder = self._folder / layout.FILES / EXTRA
        return paths.checked_inside(folder, name).relative_to(folder).as_posix()

    def _saved(self, name: str) -> Path:
        """Return the latest file of an extra: it may have been saved in several formats."""
        files = self._folder / layout.FILES
        paths = {suffix: self._unlinked(name, f"{EXTRA}/{name}{suffix}") for suffix in _SUFFIXES}
        existing = {f"{EXTRA}/{name}{suffix}": path for suffix, path in paths.items() if path.is_file()}
        if not existing:
            raise ExtraNotFound(
                f"there is no extra {name!r} in {files / EXTRA}; there is: {_extra_names(files / EXTRA)}", name=name
            )
        if len(existing) > 1:
            from mlv.query.events import Events  # reads much that `import mlv` does without

            events = Events(self._folder, "file", before=lambda: self._session.drain(DRAIN_TIMEOUT_S))
            saved = [event.name for event in events if event.name in existing]
            return existing[saved[-1]] if saved else max(existing.values(), key=lambda path: path.stat().st_mtime_ns)
        return next(iter(existing.values()))

    def _unlinked(self, name: str, path: str) -> Path:
        """Return the path of a file of an extra, without following a symbolic link, which somebody else may have made."""
        try:
            return attached.checked(self._folder, f"{layout.FILES}/{path}")
        except FileUnusable as error:
            raise ExtraUnusable(f"extra {name!r} is not loaded: {error}", path=path) from None


def _flattened(name: str, obj: Any) -> tuple[dict[str, Any], Any]:
    try:
        return trees.flatten(obj)
    except TypeError as error:
        text = (
            f"extra {name!r} cannot be saved: {error}. Convert that, or give save_extra(..., pickle=True), which only "
            f"Python reads, with the same libraries"
        )
        raise NotStorable(text, name=name) from error


def _pickle(name: str, obj: Any, file: Any) -> None:
    import pickle

    try:
        pickle.dump(obj, file)
    except (OSError, MlvError):
        raise
    except Exception as error:  # whatever the object's own methods raise
        raise NotStorable(f"extra {name!r} cannot be pickled: {shown(error)}", name=name) from error


def _loaded(path: Path) -> Any:
    if path.suffix == ".npz":
        return trees.load_npz(path)
    if path.suffix == ".json":
        return trees.unflatten({}, orjson.loads(path.read_bytes()))
    import pickle

    return pickle.loads(path.read_bytes())  # noqa: S301 - only where the caller trusts it


def _extra_names(folder: Path) -> str:
    files = [name.rpartition(".") for name in contents.files_in(folder)] if folder.is_dir() else []
    return ", ".join(dict.fromkeys(name for name, _, suffix in files if f".{suffix}" in _SUFFIXES)) or "none"
