"""Continuing, clearing or refusing a logdir that exists already."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import mlv
from mlv.compat.room import ROOM

_CONTINUE, _CLEAR, _ABORT = ("c", "continue", ""), ("cl", "clear"), ("a", "abort")
_ANSWERS = (*_CONTINUE, *_CLEAR, *_ABORT)
_TRIES = 3
_LOG = re.compile(r"\d+_.+\.log")
_EVENTS = re.compile(r".+\.h5(\..+)?|.*tfevents.*")  # also files that a kill left half done, or that were set aside


def settle(logdir: str, policy: str) -> None:
    """Carry out `default_path_exists`: continue, clear, abort, or ask at the terminal.

    Raises:
        SystemExit: It says abort.
        RuntimeError: It says something else; there is nobody to ask; or the logdir holds files of others, or is in use.
    """
    folder = Path(logdir)
    if not folder.exists():
        return
    answer = (_answer(logdir) if policy == "ask" else policy).lower()
    if answer not in _ANSWERS:
        raise RuntimeError("Unrecognized response. Valid responses are 'c', 'cl' or 'a'")
    if answer in _ABORT:
        raise SystemExit(1)
    if answer in _CLEAR:
        print(f"Clearing loggdir {logdir}")
        _clear(folder)


def _answer(logdir: str) -> str:
    """Return the answer from stdin, which is asked for again after a slip, but only a few times."""
    answer = _ask(logdir)
    for _ in range(_TRIES - 1):
        if answer.lower() in _ANSWERS:
            break
        print("Valid responses are 'c', 'cl' or 'a'")
        try:
            answer = _ask(logdir)
        except RuntimeError:  # that was all
            break
    return answer


def _ask(logdir: str) -> str:
    try:
        return input(f"logdir {logdir} already exists [(C)ontinue/(cl)ear/(a)bort: ")
    except (EOFError, OSError, RuntimeError, ValueError) as error:  # no stdin, a closed one, or one that gives nothing
        text = f"logdir {logdir} already exists, and nobody answers: give default_path_exists='c', 'cl' or 'a'"
        raise RuntimeError(text) from error


def _clear(folder: Path) -> None:
    """Remove the files of allogger in a folder; where there are any others, nothing is removed."""
    foreign = _foreign(folder)
    if foreign is not None:
        text = f"logdir {folder} is not cleared: {foreign} was not written by allogger. Move it away, or give another logdir"
        raise RuntimeError(text)
    for exp in mlv.find(folder):
        if exp.status == "running":
            raise RuntimeError(f"logdir {folder} is not cleared: {exp.path} is being written. End that process first")
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _foreign(folder: Path) -> Path | None:
    """Return a path in a logdir that allogger does not write, None if there is none; a link counts as foreign."""
    for path in folder.iterdir():
        if path.is_symlink():
            return path
        if not path.is_dir():
            if not _LOG.fullmatch(path.name):
                return path
        elif path.name == "events":
            foreign = _foreign_event(path)
            if foreign is not None:
                return foreign
        elif path.name != ROOM:
            foreign = _foreign(path) if any(path.iterdir()) else path  # the logdir of another scope
            if foreign is not None:
                return foreign
    return None


def _foreign_event(folder: Path) -> Path | None:
    for path in folder.rglob("*"):  # groups of scalars have folders of their own
        if path.is_symlink() or not (path.is_dir() or _EVENTS.fullmatch(path.name)):
            return path
    return None
