"""Making the folder of a new experiment, safely among others who do the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path

from mlv import settings
from mlv.errors import ExperimentExists, MlvError, SavedirUnusable
from mlv.experiment import disabled


def timestamp_name(now: datetime) -> str:
    """Name of an experiment that was given none: local time, without colons, in order when sorted."""
    return now.strftime("%Y-%m-%d_%H-%M-%S")


def make_folder(savedir: Path, name: str, suffix: bool) -> Path:
    """Make `<savedir>/<name>`; where that is taken and `suffix` is true, `<name>_1`, `<name>_2` and so on.

    The folder is made by `mkdir`, which succeeds for one process only: no two get the same one. Where nothing is to be stored,
    it is one that is made when somebody looks into it.

    Raises:
        ExperimentExists: The name is taken, and no suffix wanted.
        SavedirUnusable: The savedir is a file, or nothing can be made in it.
    """
    if _is_pretended(savedir):
        return disabled.place(name)
    _make_savedir(savedir)
    for number in count():
        folder = savedir / (name if number == 0 else f"{name}_{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            if not suffix:
                raise ExperimentExists(
                    f"{folder} exists: choose another name, or on_exists='suffix' or 'open'", path=str(folder)
                ) from None
        except OSError as error:
            raise _unusable(savedir, error) from error
    raise AssertionError("count() does not end")


def numbered_folder(parent: Path, prefix: str) -> Path:
    """Make `<prefix>_1`, or the next number that is free; or as `make_folder`, where nothing is to be stored.

    Raises:
        SavedirUnusable: Nothing can be made there.
    """
    if _is_pretended(parent):
        return disabled.place(f"{prefix}_1")
    _make_savedir(parent)
    taken = [name[len(prefix) + 1 :] for name in os.listdir(parent) if name.startswith(prefix + "_")]
    first = max((int(number) for number in taken if number.isdecimal()), default=0) + 1
    for number in count(first):
        try:
            (parent / f"{prefix}_{number}").mkdir()
            return parent / f"{prefix}_{number}"
        except FileExistsError:
            continue
        except OSError as error:
            raise _unusable(parent, error) from error
    raise AssertionError("count() does not end")


@contextmanager
def explained(what: str, path: Path) -> Iterator[None]:
    """Translate what the system refuses while an experiment is made or opened.

    Raises:
        SavedirUnusable: The system refuses something.
    """
    try:
        yield
    except MlvError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        text = (
            f"{what} cannot be made or opened in {str(path)!r}: {error.strerror or error}{where}. Make room, or give a folder"
        )
        raise SavedirUnusable(f"{text} that you may write to", path=str(path), errno=error.errno) from error


def _is_pretended(savedir: Path) -> bool:
    return settings.DISABLED.get() and not disabled.holds(savedir)


def is_taken(folder: Path) -> bool:
    """Whether something of that name is there."""
    return os.path.lexists(folder)


def _make_savedir(savedir: Path) -> None:
    try:
        savedir.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SavedirUnusable(f"savedir {str(savedir)!r} is a file: give a folder", path=str(savedir)) from error
    except (OSError, ValueError) as error:
        raise _unusable(savedir, error) from error


def _unusable(savedir: Path, error: Exception) -> SavedirUnusable:
    reason = getattr(error, "strerror", None) or str(error)
    return SavedirUnusable(
        f"nothing can be made in savedir {str(savedir)!r}: {reason}. Give a folder that you may write to", path=str(savedir)
    )
