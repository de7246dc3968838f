"""The base of outputs that keep tables of metrics: for each stream some files; files of others are set aside."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlv.errors import CannotResume
from mlv.projections.appending import inside, set_aside
from mlv.projections.output import Output
from mlv.projections.steps import Point, PointCounter
from mlv.protocols import Batch


class Tables(Protocol):
    """The files of one stream."""

    points: PointCounter

    def add(self, point: Point) -> None:
        """Add a value."""

    def commit(self) -> dict[str, Any]:
        """Write the rows in memory, and return how far the files are complete."""

    def close(self) -> None:
        """Close the files."""


@dataclass(kw_only=True)
class TablesOutput(Output, ABC):
    """An output that keeps a long table for each stream, and a wide one beside it."""

    wide: bool = True
    """Whether to write the wide files as well."""

    _folder: Path = field(init=False, repr=False, compare=False)
    _streams: dict[str, Tables] = field(init=False, repr=False, compare=False)
    _foreign: set[str] = field(init=False, repr=False, compare=False)

    @abstractmethod
    def names_of(self, file: str) -> tuple[str, str]:
        """Return the names of the long and of the wide table of a stream."""

    @abstractmethod
    def tables_of(self, file: str, state: Mapping[str, Any] | None) -> Tables:
        """Return the tables of a stream, as its last `commit` left them.

        Raises:
            CannotResume: They are not all there.
        """

    def open(self, place: Path, resume: Any) -> None:
        """Go on with the files, or begin them.

        Raises:
            CannotResume: They are not all there.
        """
        self._folder, self._streams = place, {}
        self._foreign = set(os.listdir(place) if resume is None else resume["foreign"])
        try:
            for file, state in (resume["streams"] if resume else {}).items():
                for name in self.names_of(file):
                    inside(place, name)
                self._streams[file] = self.tables_of(file, state)
        except CannotResume:
            self.close()
            raise

    def write(self, batch: Batch) -> None:
        """Add the metrics."""
        file: str = getattr(batch, "file", batch.stream)
        if file not in self._streams:
            for name in self._foreign.intersection(self.names_of(file)):
                set_aside(self._folder / name)
                self._foreign.remove(name)
            self._streams[file] = self.tables_of(file, None)
        stream = self._streams[file]
        for point in stream.points.of(batch):
            stream.add(point)

    def commit(self) -> Any:
        """Write the rows in memory."""
        return {"foreign": sorted(self._foreign), "streams": {file: stream.commit() for file, stream in self._streams.items()}}

    def close(self) -> None:
        """Close the files."""
        for stream in self._streams.values():
            stream.close()

    def discard(self, place: Path, resume: Any) -> None:
        """Remove the files."""
        for file in resume["streams"]:
            for name in self.names_of(file):
                path = inside(place, name)
                shutil.rmtree(path, ignore_errors=True)
                with suppress(FileNotFoundError):
                    path.unlink()
