"""`log_<seed>.hdf5`: a projection of the log with a dataset that grows for each column."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mlv import CannotResume, InvalidArgument
from mlv.compat.mle_logging.columns import SeedColumn, in_group
from mlv.compat.mle_logging.hdf import opened
from mlv.compat.mle_logging.records import Change, changes
from mlv.compat.room import put_away, room_in
from mlv.projections import Output

_GROUPS = ("meta", "stats", "time")


@dataclass(kw_only=True)
class SeedFile(Output):
    """Group `/<seed>` with `meta`, `stats` and `time`: numbers of 64 bits, texts of any length in UTF-8.

    The file exists from the first row on. An earlier file of its name, of another experiment or of the original
    package, is moved to `.mlv-experiments/.replaced`; so is a file that cannot be read. It is opened for each commit only, and
    a commit that was interrupted leaves a mark, after which the file is built again.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("h5py", "numpy")
    EXTRA: ClassVar[str] = "compat"
    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    name = "mle_logging"
    seed_id: str
    types: Collection[str] | None = ("event", "metrics")

    _path: Path = field(init=False, repr=False, compare=False)
    _exp: dict[str, str] = field(init=False, repr=False, compare=False)
    _columns: dict[str, SeedColumn] = field(init=False, repr=False, compare=False)
    _is_there: bool = field(init=False, repr=False, compare=False)

    def open(self, place: Path, resume: Any) -> None:
        """Begin, or go on from the last commit.

        Raises:
            CannotResume: The file is gone, is another one, or was being written when its process was killed.
        """
        self._path = place / f"log_{self.seed_id}.hdf5"
        self._exp = resume["exp"] if resume else {}
        self._columns = {name: SeedColumn(*state) for name, state in resume["columns"].items()} if resume else {}
        self._is_there = bool(resume and resume["is_there"])
        if self._is_there:
            if self._mark.exists():
                raise CannotResume(f"{self._path} was being written when its process was killed", path=str(self._path))
            with self._opened() as group:
                for group_name in _GROUPS:
                    for name in list(group[group_name]):
                        if f"{group_name}/{name}" in self._columns:
                            self._columns[f"{group_name}/{name}"].cut_back(group[group_name][name])
                        else:
                            del group[group_name][name]

    def write(self, batch: Any) -> None:
        """Take the rows."""
        if not self._exp:
            self._exp = _identity(batch.folder)
        for event in batch:
            for change in changes(event):
                self._add(change)

    def _add(self, change: Change) -> None:
        name = f"{change.group}/{in_group(change.key)}"
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = SeedColumn.of(change)
        column.add(change)

    def commit(self) -> Any:
        """Add the rows to the file, which is closed behind them."""
        if any(column.is_changed for column in self._columns.values()):
            if not self._is_there:
                self._begin()
            with self._opened() as group:
                for name, column in self._columns.items():
                    if column.is_changed:
                        column.write(group, name)
        columns = {name: column.state() for name, column in self._columns.items()}
        return {"exp": self._exp, "columns": columns, "is_there": self._is_there}

    def close(self) -> None:
        """Do nothing: the file is open for each commit only."""

    @property
    def _mark(self) -> Path:
        return self._path.with_name(f".{self._path.name}.writing")

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Open the seed's group for writing.

        Raises:
            CannotResume: The file is gone, or is not the one that was written.
        """
        with ExitStack() as stack:
            try:
                group = self._own(stack.enter_context(opened(self._path, "r+")))
            except (OSError, KeyError, RuntimeError) as error:
                raise CannotResume(f"{self._path} cannot be gone on with: {error}", path=str(self._path)) from error
            self._mark.touch()
            yield group
        self._mark.unlink(missing_ok=True)

    def _own(self, file: Any) -> Any:
        if file.attrs.get("mlv_exp") != self._exp["id"]:
            raise CannotResume(f"{self._path} is no more that of this experiment", path=str(self._path))
        return file[self.seed_id]

    def _begin(self) -> None:
        """Put an empty file in place.

        Raises:
            InvalidArgument: The file there is of a later experiment.
        """
        attributes = _attributes(self._path)
        if attributes.get("mlv_created", "") > self._exp["created"]:
            text = f"{self._path} holds by now what a later logger of seed {self.seed_id!r} wrote: this log goes on without it"
            raise InvalidArgument(text, path=str(self._path))
        if attributes.get("mlv_exp") != self._exp["id"]:
            put_away(self._path, room_in(self._path.parents[1]))
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        with opened(temporary, "w") as file:
            file.attrs["mlv_exp"], file.attrs["mlv_created"] = self._exp["id"], self._exp["created"]
            for group_name in _GROUPS:
                file.create_group(f"{self.seed_id}/{group_name}")
        temporary.replace(self._path)
        self._mark.unlink(missing_ok=True)
        self._is_there = True


def _identity(folder: Path) -> dict[str, str]:
    meta = (folder / "meta.json").read_bytes()
    return {"id": hashlib.sha256(meta).hexdigest(), "created": str(json.loads(meta).get("created", ""))}


def _attributes(path: Path) -> dict[str, str]:
    """Return the attributes of a file, which name its experiment; none where it is missing or cannot be read."""
    try:
        with opened(path, "r") as file:
            return {key: str(value) for key, value in file.attrs.items()}
    except (OSError, RuntimeError):
        return {}
