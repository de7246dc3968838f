"""Experiments that workers of an executor make of sources: whole, beside the tree, and then moved into it in their order."""

from __future__ import annotations

import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mlv.audit.merge import Tree
from mlv.errors import MlvError, TaskNotDone
from mlv.executors import On, executor_of, run_tasks
from mlv.experiment.importing.writing import Imported, PreparedExperiment, prepare
from mlv.importers.reading import Options, SourceReading, Unit
from mlv.importers.units import opened
from mlv.store import blobs
from mlv.words import counted

_MOST, _MOST_BYTES = 16, 32 << 20
"""Sources in a task: each task looks for what the tree has."""


@dataclass
class Made:
    """An account of what a worker made of a source."""

    done: PreparedExperiment | Imported | None = None
    events: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    """The reason why nothing was made of it."""
    host: str = ""
    """The host that does not see the source; empty where it does."""


@dataclass(frozen=True)
class _Sources:
    """A task."""

    units: tuple[Unit, ...]

    def __str__(self) -> str:
        return f"of {counted(len(self.units), 'source')} from {self.units[0].path} on"


@contextmanager
def made_elsewhere(
    units: Sequence[Unit], root: Path, options: Options, dry_run: bool, on: On
) -> Iterator[Callable[[Unit], Made | None]]:
    """Let workers make experiments; gives a function that waits for one of them, to be asked in the order of the units.

    It returns None for one that has to be made here: that of a source below another, or that cannot be sent, or is gone. What
    was made, and was not moved into the tree, is removed in the end.

    Raises:
        InvalidArgument, MissingExtra, TaskNotDone: As `executor_of` and `run_tasks`; or a worker does not see what is here.
    """
    if on is None:
        yield lambda unit: None
        return
    sent = [unit for unit in units if not unit.parent and _can_be_sent(unit)]
    numbers = set(map(id, sent))
    is_new = not root.exists()
    beside = None if dry_run else blobs.temporary_beside(root / "import")
    try:
        if beside is not None:
            beside.mkdir()
        with executor_of(on) as executor:
            answers = run_tasks(executor, partial(_made, root, options, beside), _tasks(sent))
            with closing(_each(answers)) as each:  # type: ignore[type-var]
                yield lambda unit: _checked(unit, next(each)) if id(unit) in numbers else None
    finally:
        if beside is not None:
            blobs.remove(beside)
            if is_new:
                with suppress(OSError):  # something was imported
                    root.rmdir()


def _can_be_sent(unit: Unit) -> bool:
    try:
        pickle.dumps(unit)
    except Exception:  # a reader that holds what pickle cannot take, such as a database
        return False
    return True


def _tasks(units: Iterable[Unit]) -> Iterator[_Sources]:
    batch: list[Unit] = []
    for unit in units:
        batch.append(unit)
        if len(batch) >= _MOST or sum(one.size_bytes for one in batch) >= _MOST_BYTES:
            yield _Sources(tuple(batch))
            batch = []
    if batch:
        yield _Sources(tuple(batch))


def _each(answers: Iterator[list[Made]]) -> Iterator[Made]:
    for answer in answers:
        yield from answer


def _checked(unit: Unit, made: Made) -> Made | None:
    if not made.host:
        return made
    if os.path.lexists(unit.path):
        text = f"a worker on {made.host} does not see {unit.path}: workers need the sources at the same absolute paths"
        raise TaskNotDone(text, path=str(unit.path), host=made.host)
    return None


def _made(root: Path, options: Options, beside: Path | None, sources: _Sources) -> list[Made]:
    """Make experiments in a folder beside the tree; without one, preview them."""
    if beside is not None and not beside.is_dir():
        text = f"a worker on {socket.gethostname()} does not see {root}: workers need it at the same absolute path"
        raise TaskNotDone(text, path=str(root))
    tree = Tree(root)
    return [_made_one(unit, options, tree, beside) for unit in sources.units]


def _made_one(unit: Unit, options: Options, tree: Tree, beside: Path | None) -> Made:
    made = Made()
    if not os.path.lexists(unit.path):
        made.host = socket.gethostname()
        return made
    reading = SourceReading(options, unit.root, lambda size: None, made.left, made.notes)
    try:
        experiment, items = opened(unit, reading, tree, made.events)
        temporary = None if beside is None else beside / os.urandom(6).hex()
        made.done = prepare(experiment, items, tree, temporary)
    except MlvError as error:
        made.error = str(error)
    return made
