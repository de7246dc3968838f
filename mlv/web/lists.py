"""The questions that the page asks of a list of experiments, whether it is read from logs or from a lake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from mlv.query.digest import Digest
from mlv.query.sql.engine import LongView
from mlv.web.rows import IndexRow


class ExperimentList(Protocol):
    """The experiments at and below a folder, at present or as of a moment."""

    @property
    def root(self) -> Path:
        """The folder."""

    @property
    def version(self) -> int:
        """A number that grows with every change."""

    @property
    def asof(self) -> datetime | None:
        """The moment, if it is not the present."""

    @property
    def waiting(self) -> Mapping[str, Any] | None:
        """The folder that does not answer, and for how many seconds; None while all do."""

    def refresh(self) -> bool:
        """Look for changes, unless another thread is doing so; return whether this one did."""

    def refresh_soon(self, wait_s: float) -> None:
        """Look for changes in another thread; wait for it, unless it takes long."""

    def wait(self, words: Iterable[str] | None, wait_s: float) -> bool:
        """Return whether the experiments of some IDs, or all, are there in time."""

    def news(self, cursor: str, wait_s: float) -> dict[str, Any]:
        """Return the rows that have changed since a cursor."""

    def row(self, word: str) -> IndexRow:
        """Return the experiment whose ID begins with a word, as the list has it."""

    def current(self, word: str) -> IndexRow:
        """Return an experiment as its log says now."""

    def bring(self, folders: Sequence[Path]) -> None:
        """Bring the logs of experiments to this machine."""

    def name_of(self, exp: str) -> str | None:
        """Return the name of an experiment; None where it is not in the list."""

    def children(self, exp: str) -> list[IndexRow]:
        """Return the experiments that started from another one."""

    def ids(self) -> list[str]:
        """Return the IDs of all experiments."""

    def experiments(self) -> Any:
        """Return the view `experiments` of SQL."""

    def digests(self) -> Sequence[Digest]:
        """Return the experiments of which SQL makes the views that `views` lacks."""

    @property
    def views(self) -> Mapping[str, LongView]:
        """The functions that make the views of SQL."""
