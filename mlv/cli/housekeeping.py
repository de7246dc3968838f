"""`mlv tag`, `untag`, `note`, `archive`, `unarchive`, `mv` and `rm`: keep a folder of experiments in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mlv import words
from mlv.cli import choose
from mlv.errors import InvalidArgument
from mlv.experiment.exp import Exp
from mlv.store import layout


def chosen(names: Sequence[str] | None, where: str | None, root: Path) -> list[Path]:
    """Return the named experiments, and with a predicate those of them, or of all below the root, for which it holds.

    A folder that holds experiments and is none stands for none of them: with `--where` and `--root` all can be meant.

    Raises:
        InvalidArgument: Neither names nor a predicate are there, or no experiment is chosen.
        NotAnExperiment, QueryFailed: As `choose.experiment` and `find`.
    """
    if not names and where is None:
        raise InvalidArgument("no experiment is named: give EXP, or --where with a predicate such as \"status = 'failed'\"")
    named = [choose.experiment(name, root) for name in names or ()]
    if where is None:
        return _distinct(named)
    from mlv.experiment.experiments import find  # with SQL: commands on named experiments do without

    real = set(map(os.path.realpath, named))
    # As they are now: a lake may be a day old, and a failed run of then may go on.
    below = find(choose.checked_root(root), where=where, fresh=True).paths
    matching = [path for path in below if not named or os.path.realpath(path) in real]
    if not matching:
        raise InvalidArgument(f"no experiment matches --where {where}: see `mlv ls --where`", where=where)
    return _distinct([Path(os.path.relpath(path)) for path in matching])


def _distinct(folders: Iterable[Path]) -> list[Path]:
    return list({os.path.realpath(folder): folder for folder in folders}.values())


def tag(folders: Sequence[Path], text: str) -> None:
    """Add tags, given with commas."""
    tags = _tags(text)
    _each(folders, lambda exp: exp.add_tags(*tags), f"tagged {', '.join(tags)}")


def untag(folders: Sequence[Path], text: str) -> None:
    """Take tags away, given with commas."""
    tags = _tags(text)
    _each(folders, lambda exp: exp.remove_tags(*tags), f"no longer tagged {', '.join(tags)}")


def note(folders: Sequence[Path], text: str) -> None:
    """Add a note."""
    _each(folders, lambda exp: exp.add_note(text), "noted")


def archive(folders: Sequence[Path]) -> None:
    """Have lists leave experiments out."""
    _each(folders, lambda exp: exp.archive(), "archived")


def unarchive(folders: Sequence[Path]) -> None:
    """Have lists show experiments again."""
    _each(folders, lambda exp: exp.unarchive(), "no longer archived")


def mv(folders: Sequence[Path], target: str, *, dry_run: bool) -> None:
    """Move experiments into a folder that is there, or one to a new path.

    Raises:
        InvalidArgument: The target is an experiment, or several experiments have no folder to go to.
        MlvError: As `Exp.move`.
    """
    choose.no_address(target, "DEST")
    goal = Path(target)
    if layout.is_experiment(goal):
        raise InvalidArgument(f"{target} is an experiment: give a folder, or a path that is free", path=target)
    if not goal.is_dir() and len(folders) != 1:
        raise InvalidArgument(
            f"{target!r} is no folder: {len(folders)} experiments are moved into one that is there", path=target
        )
    for folder in _outer(folders):
        to = goal / layout.name_of(folder) if goal.is_dir() else goal
        along = _along(folder)
        if not dry_run:
            Exp.open(folder).move(to)
        _print(f"{folder}: {'would be moved' if dry_run else 'moved'} to {to}{along}")


def rm(folders: Sequence[Path], *, now: bool, dry_run: bool) -> None:
    """Move experiments into the trash, or delete them.

    Raises:
        MlvError: As `Exp.remove`.
    """
    for folder in _outer(folders):
        along = _along(folder)
        trash = None if dry_run else Exp.open(folder).remove(now=now)
        verb = "would be " * dry_run + ("deleted" if now else "moved into the trash")
        _print(f"{folder}: {verb}{along}{'' if trash is None else f': {os.path.relpath(trash)}'}")


def _tags(text: str) -> list[str]:
    return [tag for tag in map(str.strip, text.split(",")) if tag]


def _each(folders: Iterable[Path], change: Callable[[Exp], object], result: str) -> None:
    for folder in folders:
        change(Exp.open(folder))
        _print(f"{folder}: {result}")


def _print(text: str) -> None:
    print(words.printable(text))


def _outer(folders: Sequence[Path]) -> list[Path]:
    """Return the folders without those that lie in another of them, and go along with it."""
    real = {Path(os.path.realpath(folder)): folder for folder in folders}
    return [folder for path, folder in real.items() if not any(around in real for around in path.parents)]


def _along(folder: Path) -> str:
    """Return a remark that names the sub-experiments of an experiment; empty where it has none."""
    inner = [str(below.relative_to(folder)) for below in layout.walk(folder) if below != folder]
    shown = ", ".join(inner[:8]) + (f" and {len(inner) - 8} more" if len(inner) > 8 else "")
    return f", with {words.counted(len(inner), 'sub-experiment')} ({shown})" if inner else ""
