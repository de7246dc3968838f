"""Resolve words on the command line to experiments: a path, an ID prefix or a name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from math import inf
from pathlib import Path

from mlv.cli import urls
from mlv.errors import FileUnusable, InvalidArgument, MlvError, NotAnExperiment
from mlv.store import layout
from mlv.store.meta import read_meta
from mlv.store.paths import unread_address
from mlv.words import address_problem, did_you_mean

_ID = re.compile(r"[0-9a-f]{4,64}")
_MOST_NAMED = 8
_READ = ("EXP", "ROOT", "SRC")
"""Arguments that name experiments."""


def experiment(word: str, root: Path, *, reads: bool = False) -> Path:
    """Return the folder of the experiment that a word names.

    It may be a path (of the folder, or of a file in it), the beginning of an ID (four digits or more) or the name of an
    experiment at or below the root; a name may have the names of folders above it, as in `squeeze/subexp_1`. For a command
    that only `reads`, word and root may be URLs of a bucket.

    Raises:
        NotAnExperiment: It names none, or a folder in one; the message suggests similar names.
        InvalidArgument: It names several; the message lists them.
        BucketError, MissingExtra, ExperimentBusy, FileUnusable: As `urls.folder`.
    """
    if reads and (url := urls.url_of(word)) is not None:
        return urls.experiment(url)
    no_address(word, "EXP")
    path = layout.absolute(word)
    if path.exists() and (enclosing := _experiment_around(path)) is not None:
        match = Path(os.path.relpath(enclosing)) if not os.path.isabs(word) else enclosing
        if path.is_dir() and enclosing != path:
            raise NotAnExperiment(
                f"{word!r} is no experiment, but a folder in one: give {str(match)!r}{_advice_below(path)}", path=word
            )
        return match
    # Only now: a path needs no walk through a tree of a million folders.
    root = readable_root(root) if reads else checked_root(root)
    folders = list(layout.walk(root))
    matches = [folder for folder in folders if _is_named(folder, word) or _has_id(folder, word.lower())]
    if len(matches) == 1:
        return matches[0]
    if matches:
        more = ", or more of the ID" if len(set(map(layout.exp_id, matches))) > 1 else ": they are copies"
        raise InvalidArgument(f"{word!r} means {len(matches)} experiments: {_listed(matches)}. Give the path{more}", word=word)
    renamed = [folder for folder in folders if _made_as(folder) == word]
    if renamed:
        raise NotAnExperiment(f"{word!r} was renamed since it was made: give {_listed(renamed)}", word=word)
    if path.is_dir() and next(layout.walk(path), None) is not None:
        raise NotAnExperiment(f"{word!r} is no experiment, but holds some: `mlv ls {word}` lists them", path=word)
    raise NotAnExperiment(f"there is no experiment {word!r} {_nearby(word, folders, root)}", word=word)


def experiment_or_log(word: str, root: Path) -> Path:
    """Resolve a word as `experiment` does, or return the path of a log file that belongs to no experiment.

    Raises:
        NotAnExperiment, InvalidArgument: As `experiment`, for a command that only reads.
    """
    path = Path(word)
    if path.is_file() and layout.stream_of(path.name) and not layout.is_experiment(path.absolute().parent):
        return path
    return experiment(word, root, reads=True)


def experiments_or_log(words: Sequence[str], root: Path) -> list[Path]:
    """Resolve words as `experiments` does; a single one may be a log file that belongs to no experiment.

    Raises:
        NotAnExperiment, InvalidArgument: As `experiments`.
    """
    if len(words) == 1 and Path(words[0]).is_file():
        return [experiment_or_log(words[0], root)]
    return experiments(words, root)


def logical_stream_of(path: Path) -> str:
    """Return the stream of a log file."""
    return layout.logical_stream(layout.stream_of(path.name) or layout.DEFAULT_STREAM)


def experiments(words: Iterable[str], root: Path) -> list[Path]:
    """Return the folders of the experiments that words name; a folder that is none stands for all below it.

    Raises:
        NotAnExperiment, InvalidArgument: As `experiment`; or a folder holds none.
    """
    return list(labels(words, root))


def labels(words: Iterable[str], root: Path) -> dict[Path, Path]:
    """Map the folders of the experiments that words name to relative paths that tell them apart.

    An experiment below a named folder is called by its path there, an experiment that is named itself by the name of its
    folder. Where two would be called alike, all are called by their paths below the innermost folder around all of them.
    An experiment that several words name counts once.

    Raises:
        NotAnExperiment, InvalidArgument: As `experiment`; or a folder holds none.
    """
    result: dict[Path, Path] = {}
    real: set[str] = set()
    for word in words:
        for folder, label in _labels_of(word, root):
            # By the real path: a link and its target are one experiment.
            if os.path.realpath(folder) not in real:
                real.add(os.path.realpath(folder))
                result[folder] = label
    if len(set(result.values())) < len(result):
        top = os.path.commonpath([os.path.realpath(folder.parent) for folder in result])
        return {folder: Path(os.path.relpath(os.path.realpath(folder), top)) for folder in result}
    return result


def _labels_of(word: str, root: Path) -> list[tuple[Path, Path]]:
    """Return the experiments that one word names, each with its path below the named folder."""
    if (url := urls.url_of(word)) is None:
        no_address(word, "EXP")
    folder = Path(word) if url is None else urls.folder(url)
    if folder.is_dir() and _experiment_around(layout.absolute(folder)) != layout.absolute(folder):
        below = list(layout.walk(folder))
        if below:
            return [(match, Path(os.path.relpath(match, folder))) for match in below]
        if _experiment_around(layout.absolute(folder)) is None:
            text = f"no experiments at or below {word!r}: give the folder that was the savedir"
            raise NotAnExperiment(text, path=word)
    match = experiment(word, root, reads=True) if url is None else folder
    return [(match, Path(os.path.basename(os.path.realpath(match))))]


def no_address(path: Path | str | None, argument: str) -> None:
    """Accept a path of this machine.

    Raises:
        InvalidArgument: It is an address, such as a URL, or empty, as that of a variable of the shell that is not set.
    """
    if path is not None and argument in _READ:
        urls.refuse(path, argument)
    if path == "":
        raise InvalidArgument(f"{argument} '' is empty: give a path, or `.` for the current folder", path="")
    if path is not None and argument in _READ and unread_address(path) is not None:
        path = urls.with_slashes(path)
    problem = address_problem(path)
    if problem is not None:
        raise InvalidArgument(f"{argument} {str(path)!r} {problem}", path=str(path))


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Explain why a file or folder of `--out` cannot be written.

    Raises:
        FileUnusable: It cannot.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, MlvError) or not _concerns(out, error.filename):
            raise
        text = f"--out {str(out)!r} cannot be written ({error.strerror}): give a path in a folder that you may write to"
        raise FileUnusable(text, path=str(out)) from error


def _concerns(out: Path, path: object) -> bool:
    """Return whether a path is around, at, below, or temporarily beside what is written."""
    if not isinstance(path, (str, os.PathLike)):
        return False
    own, other = str(layout.absolute(out)), str(layout.absolute(path))
    beside = os.path.join(os.path.dirname(own), layout.TEMPORARY)
    return own == other or own.startswith(os.path.join(other, "")) or other.startswith((os.path.join(own, ""), beside))


def readable_root(root: Path | str) -> Path:
    """Accept a folder to search for experiments, or the URL of a bucket, for a command that only reads.

    Raises:
        InvalidArgument: It is none.
        BucketError, NotAnExperiment, MissingExtra, ExperimentBusy, FileUnusable: As `urls.folder`.
    """
    url = urls.url_of(root)
    return checked_root(Path(root)) if url is None else urls.folder(url)


def checked_root(root: Path) -> Path:
    """Accept a folder to search for experiments.

    Raises:
        InvalidArgument: It is no folder.
    """
    no_address(root, "ROOT")
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise InvalidArgument(f"{str(root)!r} {problem}: give a folder that holds experiments", root=str(root))
    return root


def seconds(value: float, option: str) -> float:
    """Accept a length of time.

    Raises:
        InvalidArgument: It is none.
    """
    if not 0 <= value < inf:
        raise InvalidArgument(f"{option} {value:g} is no length of time: give seconds, 0 or more", option=option)
    return value


def _experiment_around(path: Path) -> Path | None:
    """Return the experiment at a path or around it; a folder with a log counts, even without a meta.json."""
    if layout.is_experiment(path) or (path.is_dir() and layout.streams_in(path)):
        return path
    return layout.enclosing_experiment(path)


def _advice_below(folder: Path) -> str:
    """Return advice that lists the experiments below a folder, empty where there are none."""
    folders = [Path(os.path.relpath(path)) for path in layout.walk(folder)]
    return f", or one of those below, {_listed(folders)}" if folders else ""


def _made_as(folder: Path) -> str | None:
    try:
        return layout.made_as(folder, read_meta(folder).content)
    except NotAnExperiment:
        return None


def _is_named(folder: Path, word: str) -> bool:
    names = Path(word).parts
    return bool(names) and layout.absolute(folder).parts[-len(names) :] == names


def _has_id(folder: Path, word: str) -> bool:
    return _ID.fullmatch(word) is not None and layout.exp_id(folder).startswith(word)


def _listed(folders: Iterable[Path]) -> str:
    texts = [f"{folder} ({layout.exp_id(folder)[:8]})" for folder in folders]
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more


def _nearby(word: str, folders: list[Path], root: Path) -> str:
    where = f"at or below {str(root)!r}"
    if not folders:
        return f"{where}, nor any other: give a path, or --root with the folder that holds experiments"
    close = _close(word, sorted({folder.name for folder in folders}))
    hint = did_you_mean(map(repr, close)) if close else "`mlv ls` lists those that are there"
    return f"{where}, by path, ID or name: {hint}"


def _close(word: str, names: list[str]) -> list[str]:
    """Return the names that contain the word, then those that are similar."""
    holding = [name for name in names if word.lower() in name.lower()]
    return list(dict.fromkeys([*holding, *get_close_matches(word, names, cutoff=0.5)]))[:3]
