"""The folders below the root of a tracking URI: experiments of MLflow, and the runs and models in them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlv
from mlv.errors import FileUnusable
from mlv.integrations.mlflow.errors import missing, refused, taken

DEFAULT_ID, DEFAULT_NAME = "0", "Default"
"""MLflow's experiment in which a run lies when nobody names another one: here the root itself."""
FILE = "mlflow.log.jsonl"
"""The log beside the runs of an experiment of MLflow, of its name, its tags and its deletion."""
MODEL = "logged_model"
"""The kind of the sub-experiments that hold MLflow's logged models."""
_META = "meta.json"
_TRASH = Path(".mlv", "trash")
_NAME = re.compile(r"\w[\w .=+-]{0,99}")
"""What may name a folder without further ado."""
_NAME_BYTES = 180
"""The name of an experiment has at most 200; a digest or a number may follow."""


def root_of(uri: str) -> Path:
    """Return the folder of a URI such as `mlv:runs`; `mlv:` alone is the folder that experiments go to by default."""
    address = urlparse(uri)
    path = unquote(address.netloc + address.path) or os.environ.get("MLV_DIR", "runs")
    return Path(path).expanduser().absolute()


def folder_name(name: str) -> str:
    """Return a name for a folder: the same, or its beginning and a digest where it is too long or has other characters."""
    content = name.encode(errors="surrogatepass")
    if _NAME.fullmatch(name) and len(content) <= _NAME_BYTES and name not in (_META, FILE):
        return name
    beginning = re.sub(r"[^\w.=+-]+", "_", name)[:80].encode()[:_NAME_BYTES].decode(errors="ignore")
    return beginning.strip("_. ") + f"_{hashlib.sha256(content).hexdigest()[:8]}"


def milliseconds(time: Any) -> int:
    """Return a moment as MLflow has it: milliseconds since 1970."""
    return int(time.timestamp() * 1000)


@dataclass(frozen=True)
class FolderIdentity:
    """The identity of an experiment of mlv, read from its `meta.json`."""

    path: Path
    id: str
    """Its SHA-256, which is the ID of the run for MLflow."""
    kind: str | None

    @property
    def is_model(self) -> bool:
        """Whether it holds one of MLflow's logged models."""
        return self.kind == MODEL

    @property
    def own_id(self) -> str:
        """The ID under which MLflow has it."""
        return f"m-{self.id[:32]}" if self.is_model else self.id

    @property
    def is_deleted(self) -> bool:
        """Whether it lies in the trash."""
        return _trash_of(self.path) is not None

    @property
    def former_path(self) -> Path:
        """The path from where it came into the trash."""
        trash = _trash_of(self.path)
        if trash is None:
            return self.path
        relative = self.path.relative_to(trash)
        return trash.parent.parent / Path(*relative.parts[1:])  # the first one is the time of the deletion

    @property
    def path_back(self) -> Path:
        """The path to which it comes back: the former one, or one beside that where another experiment has it now.

        Where the experiment around it is in the trash too, it comes out of that, into the folder of both.
        """
        path, trash = self.former_path, _trash_of(self.path)
        if trash is not None and not (path.parent.is_dir() or (path.parent.parent / _META).exists()):
            path = trash.parent.parent / path.name
        names = (path.name, *(f"{path.name}_{number}" for number in range(1, 1000)))
        return next((path.with_name(name) for name in names if not os.path.lexists(path.with_name(name))), path)


def identity_of(path: Path) -> FolderIdentity | None:
    """Return the identity of the experiment in a folder; None where there is none that can be read."""
    meta = path / _META
    try:
        if not stat.S_ISREG(meta.lstat().st_mode):  # a pipe may never end, and a link leads anywhere
            return None
        content = meta.read_bytes()
        return FolderIdentity(path, hashlib.sha256(content).hexdigest(), json.loads(content).get("kind"))
    except (OSError, ValueError, AttributeError):
        return None


def _trash_of(path: Path) -> Path | None:
    return next((around for around in path.parents if around.parts[-2:] == _TRASH.parts), None)


@dataclass
class Group:
    """An experiment of MLflow: a folder in which its runs lie."""

    folder: Path
    id: str
    name: str
    created: int = 0
    updated: int = 0
    is_deleted: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    def take(self, event: mlv.Event) -> None:
        """Take account of an event of its log."""
        self.updated = milliseconds(event.time)
        if event.name == "created":
            self.created = self.created or self.updated
        if event.name in ("created", "renamed"):
            self.name = str(event.data["name"])
        elif event.name == "tags":
            self.tags = without_none({**self.tags, **event.data})
        elif event.name in ("deleted", "restored"):
            self.is_deleted = event.name == "deleted"

    def note(self, event: str, data: Mapping[str, Any]) -> None:
        """Append an event to its log."""
        with mlv.log_to(self.folder / FILE) as log:
            log(event, dict(data))


def without_none(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return tags without those that were deleted."""
    return {key: value for key, value in tags.items() if value is not None}


class Folders:
    """What lies below the root."""

    def __init__(self, root: Path) -> None:
        """Keep the root; nothing is made before the first run."""
        self.root = root
        self._paths: dict[str, Path] = {}
        """Where an ID was met last."""
        self._unstored: dict[str, Group] = {}
        """Experiments of MLflow by ID that were made where nothing is stored, as under MLV_DISABLED."""

    # Experiments of MLflow.

    def groups(self) -> list[Group]:
        """Return the experiments of MLflow: the root, the folders in it that have a log of MLflow, or hold experiments."""
        folders = () if (self.root / _META).exists() else _folders_in(self.root)
        stored = (self._group(folder) for folder in folders if _is_group(folder))
        return [self._group(self.root), *stored, *self._unstored.values()]

    def group(self, id: Any) -> Group:
        """Return the experiment of an ID of MLflow.

        Raises:
            MlflowException: There is none.
        """
        if id is None or str(id) == DEFAULT_ID:
            return self._group(self.root)
        for folder in _folders_in(self.root):
            if _id_of(folder.name) == str(id) and _is_group(folder):
                return self._group(folder)
        if str(id) in self._unstored:
            return self._unstored[str(id)]
        raise missing(f"No experiment with ID {id} exists in {self.root}")

    def group_named(self, name: str) -> Group | None:
        """Return the experiment of a name of MLflow; None where there is none."""
        return next((group for group in self.groups() if group.name == name), None)

    def make_group(self, name: str, tags: Mapping[str, str]) -> Group:
        """Make an experiment of MLflow.

        Raises:
            MlflowException: There is one of that name, or an experiment of mlv is in its place.
        """
        self.check_new(name)
        own = folder_name(name)
        if (self.root / own / _META).exists():
            raise refused(f"{self.root / own} is an experiment of mlv, which holds no others of MLflow: choose another name")
        # A former experiment of that name, which has another one now, keeps its folder.
        names = (own, *(f"{own}_{number}" for number in range(1, 1000)))
        folder = next(self.root / each for each in names if not _is_group(self.root / each))
        group = self._group(folder)
        group.note("created", {"name": name})
        if tags:
            group.note("tags", tags)
        if not folder.exists():
            group.name, group.tags = name, dict(tags)
            return self._unstored.setdefault(group.id, group)
        return self._group(folder)

    def check_new(self, name: str) -> None:
        """Refuse a name that another experiment of MLflow has.

        Raises:
            MlflowException: One has it.
        """
        group = self.group_named(name)
        if group is not None:
            state = " in deleted state. You can restore it, or choose another name" if group.is_deleted else ""
            raise taken(f"Experiment(name={name}) already exists{state}.")

    def group_id(self, identity: FolderIdentity) -> str:
        """Return the ID of the experiment of MLflow in which a run or a model lies."""
        if self.root not in identity.path.parents:
            return DEFAULT_ID  # it is the root, or nothing is stored
        parts = identity.former_path.relative_to(self.root).parts
        is_single = (self.root / _META).exists()
        is_in_root = is_single or len(parts) < 2 or (self.root / parts[0] / _META).exists() or _is_in(identity, self.root)
        return DEFAULT_ID if is_in_root else _id_of(parts[0])

    def _group(self, folder: Path) -> Group:
        is_root = folder == self.root
        group = Group(folder, DEFAULT_ID if is_root else _id_of(folder.name), DEFAULT_NAME if is_root else folder.name)
        try:
            for event in mlv.read(folder / FILE, "event"):
                group.take(event)
        except FileUnusable:  # it was not made by MLflow
            if folder.exists():
                group.created = group.updated = int(folder.stat().st_mtime * 1000)
        return group

    # Runs and models.

    def inside(self, group: Group, *, is_deleted: bool = False) -> Iterator[FolderIdentity]:
        """Yield the runs and models of an experiment of MLflow: those that are there, or those in the trash."""
        if is_deleted:
            tops: Iterable[Path] = [group.folder / _TRASH]
        elif group.folder != self.root or (self.root / _META).exists():
            tops = [group.folder]
        else:
            tops = [folder for folder in _folders_in(self.root) if (folder / _META).exists()]
        for top in tops:
            for path in mlv.find(top).paths if top.is_dir() else ():
                identity = identity_of(path)
                if identity is not None:
                    yield identity

    def identity(self, id: str) -> FolderIdentity:
        """Return the run of an ID, or the model of an ID that begins with `m-`.

        Raises:
            MlflowException: There is none.
        """
        latest = identity_of(self._paths[id]) if id in self._paths else None
        if latest is not None and id == latest.own_id:
            return latest
        for is_deleted in (False, True):
            for group in self.groups():
                for identity in self.inside(group, is_deleted=is_deleted):
                    self._paths[identity.own_id] = identity.path
                    if id == identity.own_id:
                        return identity
        raise missing(f"{'Logged model' if id.startswith('m-') else 'Run'} '{id}' not found in {self.root}")

    def note(self, exp: mlv.Exp) -> FolderIdentity:
        """Take note of the path of an experiment, which may lie elsewhere where nothing is stored."""
        identity = FolderIdentity(exp.path, exp.id, exp.kind)
        self._paths[identity.own_id] = identity.path
        return identity

    def outermost(self, identities: Iterable[FolderIdentity]) -> list[FolderIdentity]:
        """Return those that lie in no other of them."""
        paths = {identity.path: identity for identity in identities}
        return [identity for path, identity in paths.items() if not any(around in paths for around in path.parents)]


def _is_in(identity: FolderIdentity, root: Path) -> bool:
    """Return whether it was deleted from the root itself."""
    trash = _trash_of(identity.path)
    return trash is not None and trash.parent.parent == root


def _id_of(name: str) -> str:
    """Return the ID of an experiment of MLflow, by the name of its folder, which stays: a number, as MLflow's own."""
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:15], 16))


def _folders_in(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _is_group(folder: Path) -> bool:
    """Return whether a folder is an experiment of MLflow: it has its log, or holds experiments of mlv."""
    if (folder / _META).exists() or not folder.is_dir():
        return False
    return (folder / FILE).exists() or (folder / _TRASH).exists() or bool(mlv.find(folder).paths)
