"""The layout of an experiment: the paths of its files, and the names that are allowed there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlv.digests import sha256
from mlv.errors import InvalidName, MlvWarning
from mlv.notices import warn
from mlv.store import opening

META = "meta.json"
FILES = "files"
MODELS = "models"
TEMPORARY = ".tmp-"
"""Beginning of the names of files that are not finished; a killed process leaves them behind."""
DEFAULT_STREAM = "log"
MERGED = "@merged"
"""End of the names of streams that a merge made beside those that were not its to write."""
REWOUND = "rewound"
"""The stream of `rewound` events: readers of others need not search for them there."""
ANNOTATIONS = "annotations"
"""The stream of annotations that belong to no run, such as tags."""
SUMMARY = "summary"
"""The stream of `summary` events, and of the descriptions that choose a statistic: who reads the ends of a log alone sees by it
that they do not suffice."""
SYSTEM_STREAM = "system"
CONSOLE_STREAM = "console"
HOUSEKEEPING = ".mlv"
"""Folder of an experiment for claims and torn tails; nothing in it is needed to read the experiment."""

END = ".end"
"""Ending of the files there that remember ends; `log.json` would be one that users of drop-ins look for."""
SUPERSEDED = "superseded"
"""Folder in the housekeeping; its files may be deleted at any time."""

KEEPING = (FILES, MODELS, HOUSEKEEPING)
"""Folders of an experiment in which there are no other experiments."""

EVERY, TOP, LATEST = "every_k", "top_k", "latest"
SECTIONS = (EVERY, TOP, LATEST)
"""The folders of a portfolio; a checkpoint tends to stay longest in the first that has it."""

# Compiled where it is needed: `import mlv` does without.
_RESERVED = r"(?i:log|files|models|system|console|rewound|annotations|rank\d+)"
_ID = re.compile(r"[0-9a-f]{64}")
_BEGINNING = 1 << 16
"""Bytes of a log within which its first run says the ID of the experiment."""


def stream_file(stream: str) -> str:
    """Return the file name of a stream: `log.jsonl` for the default one, `NAME.log.jsonl` for the others."""
    return "log.jsonl" if stream == DEFAULT_STREAM else f"{stream}.log.jsonl"


def rank_stream(rank: int) -> str:
    """Return the stream of a rank above 0."""
    return f"rank{rank}"


def stream_of(file_name: str) -> str | None:
    """Return the stream that a file holds, None if it is no log."""
    if file_name == "log.jsonl":
        return DEFAULT_STREAM
    return file_name[: -len(".log.jsonl")] if file_name.endswith(".log.jsonl") else None


def logical_stream(stream: str) -> str:
    """Return `val` for `val@rk3v9x2m`, the file that a second writer made beside `val`."""
    return stream.partition("@")[0]


def followed_by(stream: str) -> str | None:
    """Return the stream whose runs go on in this one: `val` for `val@merged`; None for a stream that stands alone."""
    return stream[: -len(MERGED)] if stream.endswith(MERGED) else None


def streams_in(folder: str | os.PathLike[str]) -> list[str]:
    """List the streams that have a file, the default one first."""
    with os.scandir(folder) as entries:
        names = [stream_of(entry.name) for entry in entries if is_stream(entry)]
    return sorted((name for name in names if name), key=lambda name: (logical_stream(name) != DEFAULT_STREAM, name))


def is_stream(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a readable stream: a regular file, or a link to one. A pipe may never deliver anything."""
    return stream_of(entry.name) is not None and not entry.name.startswith(".") and entry.is_file()


def odd_streams(folder: Path) -> list[str]:
    """List the entries that have the name of a stream and are none, such as a pipe or a link to nothing."""
    named = (name for name in os.listdir(folder) if stream_of(name) is not None and not name.startswith("."))
    return sorted(name for name in named if not os.path.isfile(folder / name))


def claim_path(folder: Path, stream: str) -> Path:
    """Return the path of the file that names the process which may append to the stream."""
    return folder / HOUSEKEEPING / "claims" / f"{stream}.json"


def torn_path(folder: Path, stream: str, offset: int) -> Path:
    """Return the path at which a half line is kept that a crash left at `offset` of the stream."""
    return folder / HOUSEKEEPING / "torn" / f"{stream_file(stream)}.{offset}"


def end_path(folder: Path, stream: str) -> Path:
    """Return the path of the file that records the line with which a writer left the stream."""
    return folder / HOUSEKEEPING / "ends" / f"{stream}{END}"


def unfinished_path(folder: Path, path: str) -> Path:
    """Return the path of the mark of a folder that is being published at a path, and has no event yet."""
    return folder / HOUSEKEEPING / "unfinished" / sha256(os.fsencode(path)).hexdigest()[:16]


def superseded_path(folder: Path, path: str, sha256: str) -> Path:
    """Return the path at which a merge keeps a file that another copy published again later: a new name each time."""
    return folder / HOUSEKEEPING / SUPERSEDED / f"{path}.{sha256[:12]}-{os.urandom(3).hex()}"


def errors_path(folder: Path, output: str) -> Path:
    """Return the path at which the process of an output leaves its errors."""
    return folder / HOUSEKEEPING / "outputs" / f"{output}.err"


def position_name(output: str) -> str:
    """Return the name of the file in an output's folder that records how far the output has come."""
    return f".mlv-{output}.json"


def is_position(file_name: str) -> bool:
    """Return whether a file of that name records how far an output has come."""
    return file_name.startswith(".mlv-") and file_name.endswith(".json")


def is_experiment(folder: str | os.PathLike[str]) -> bool:
    """Return whether the folder holds an experiment; one that may not be entered holds none that can be read."""
    return os.path.isfile(os.path.join(folder, META))


def exp_id(folder: Path) -> str:
    """Return the ID of the experiment in a folder, the SHA-256 of its meta.json; empty where that cannot be read."""
    try:
        return sha256(opening.content(folder / META)).hexdigest()
    except OSError:
        return ""


def made_as(folder: Path, meta: Mapping[str, Any]) -> str | None:
    """Return the name that an experiment was made with, if its folder was renamed since; else None."""
    name = meta.get("name")
    return name if isinstance(name, str) and name != name_of(folder) else None


def name_of(folder: str | os.PathLike[str]) -> str:
    """Name of a folder, as `absolute(folder).name`: most paths end in it, which takes 1 us instead of 30."""
    name = os.path.basename(os.fspath(folder))
    return absolute(folder).name if name in ("", os.curdir, os.pardir) else name


def absolute(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute, without following the links in it.

    A `..` leads out of the folder that the path really names, as the system takes it: behind a link that is not the folder
    that holds the link.

    Raises:
        FileNotFoundError: It is relative to a current folder that is gone.
    """
    names = Path(os.fsdecode(path)).parts
    if os.pardir in names:
        climb = len(names) - names[::-1].index(os.pardir)
        names = (os.path.realpath(os.path.join(*names[:climb])), *names[climb:])
    return Path(os.path.abspath(os.path.join(*names) if names else os.curdir))


def is_id(text: str) -> bool:
    """Return whether a text can be the ID of an experiment."""
    return _ID.fullmatch(text) is not None


def holds(folder: Path, exp: str) -> bool:
    """Return whether the folder holds the experiment of that ID, perhaps with a meta.json that was edited since."""
    if not is_id(exp):
        return False
    if exp_id(folder) == exp:
        return True
    with suppress(OSError), opening.reading(folder / stream_file(DEFAULT_STREAM)) as file:
        return exp.encode() in file.read(_BEGINNING)
    return False


def enclosing_experiment(path: Path) -> Path | None:
    """Return the innermost experiment that holds the path, None if there is none.

    A copy of an experiment among the files or checkpoints of another is none, as in `walk`.
    """
    innermost = None
    for folder in reversed(path.parents):
        if is_experiment(folder):
            innermost = folder
            if path.relative_to(folder).parts[0] in KEEPING and _has_params(folder):
                break
    return innermost


def _has_params(folder: Path) -> bool:
    """Return whether a meta.json is mlv's: a project may have one of its own, and keep its experiments in `models`."""
    try:
        content = opening.json_content(folder / META)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format", "params"} <= content.keys()


def is_own(folder: Path, path: Path) -> bool:
    """Return whether a path within an experiment is one that mlv gives a meaning to."""
    first = path.relative_to(folder).parts[0]
    return first in (META, *KEEPING) or stream_of(first) is not None


def walk(root: Path, links: Links | None = None) -> Iterator[Path]:
    """Yield every experiment at or below the root, parents before their sub-experiments, in order of name.

    Copies of experiments among the files or checkpoints of another are left out, and so are unfinished folders. Links to
    folders are followed; each real folder is visited once.
    """
    return map(Path, walk_names(os.fspath(root), links))


def walk_names(root: str, links: Links | None = None) -> Iterator[str]:
    """Yield the names of the folders that `walk` yields: a path takes as long to make as a folder to list."""
    is_top, links = links is None, links or Links(root)
    passed_over: tuple[str, ...] = (HOUSEKEEPING,)
    if is_experiment(root):
        yield root
        passed_over = KEEPING
    try:
        with os.scandir(root) as entries:
            folders = sorted((entry.name, entry.is_symlink()) for entry in entries if may_hold_experiments(entry, passed_over))
    except OSError as error:
        if not (is_top and isinstance(error, FileNotFoundError)):  # a missing root is reported by the caller
            warn_of_unlisted(root, error)
        return
    for name, is_link in folders:
        if links.lead_on(os.path.join(root, name), is_link):
            yield from walk_names(os.path.join(root, name), links)


class Links:
    """The links to folders that were met below one root: each real folder is visited once.

    A link into the tree is passed over, as its folder is met where it lies; so is one to a folder around the tree, which is
    warned about: it would lead in circles. Folders behind links are recognised by device and inode.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.path.join(os.path.realpath(root), "")
        self._visited: set[tuple[int, int]] = set()

    def lead_on(self, folder: str, is_link: bool) -> bool:
        """Return whether a folder is to be visited: it was not met yet, and is not met elsewhere in the tree."""
        if not is_link and not self._visited:
            return True  # before the first link nothing is met twice
        try:
            if is_link and self._root.startswith(target := os.path.join(os.path.realpath(folder), "")):
                _warn_of_loop(folder, target)
                return False
            return not (is_link and target.startswith(self._root)) and self._is_new(os.stat(folder))
        except OSError:
            return False  # removed meanwhile

    def _is_new(self, status: os.stat_result) -> bool:
        count = len(self._visited)
        self._visited.add((status.st_dev, status.st_ino))
        return len(self._visited) > count


unlisted: set[str] = set()
"""Folders that could not be listed, and were warned about."""
_LOOPS: set[str] = set()
"""Links that were warned about: a tree is walked through several times."""


def _warn_of_loop(link: str, target: str) -> None:
    if link not in _LOOPS:
        _LOOPS.add(link)
        warn(f"{link} is a link to {target}, a folder around it: it is passed over", MlvWarning)


def warn_of_unlisted(folder: str | os.PathLike[str], error: OSError) -> None:
    """Warn once that a folder was removed or forbidden: a folder that cannot be listed holds nothing readable."""
    if (path := os.fspath(folder)) not in unlisted:
        unlisted.add(path)
        warn(f"{path} cannot be listed ({error.strerror}): it is passed over, with what may be in it", MlvWarning)


def may_hold_experiments(entry: os.DirEntry[str], passed_over: tuple[str, ...]) -> bool:
    """Return whether an entry is a folder, or a link to one, to search for experiments."""
    if entry.name in passed_over or entry.name.startswith(TEMPORARY):
        return False
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle


def problem_of_locale(text: str) -> str:
    """Explain why this process can give no file such a name (its locale may be `C`, without UTF-8); empty where it can."""
    try:
        os.fsencode(text)
        return ""
    except UnicodeEncodeError as error:
        return (
            f"has {error.object[error.start]!r}, which file names of this process cannot hold ({error.encoding}): set "
            f"PYTHONUTF8=1 or a locale of UTF-8, or give an ASCII name"
        )


def check_name(name: object, subject: str) -> str:
    """Accept a name for one folder or file.

    Raises:
        InvalidName: It is no text, is empty or only dots, has a separator or a control character, or this process can give no
            file such a name.
    """
    if not isinstance(name, str):
        kind = type(name).__name__
        hint = " (params are the third argument: Exp(savedir, name, params))" if isinstance(name, dict) else ""
        raise InvalidName(f"{subject} {name!r} is of type {kind}: give a text{hint}", name=name)
    if not name.strip(". "):
        raise InvalidName(f"{subject} {name!r} is empty or only dots: give it at least one other character", name=name)
    if "/" in name or "\\" in name:
        raise InvalidName(f"{subject} {name!r} holds a path separator: give one name, and the folders in savedir", name=name)
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise InvalidName(f"{subject} {name!r} holds a control character: leave it out", name=name)
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise InvalidName(f"{subject} {name!r} is no text that UTF-8 can hold: choose another", name=name)
    if name == HOUSEKEEPING or len(name.encode()) > 200:
        raise InvalidName(f"{subject} {name!r} is reserved or longer than 200 bytes: choose another", name=name)
    if problem := problem_of_locale(name):
        raise InvalidName(f"{subject} {name!r} {problem}", name=name)
    return name


def check_stream(name: object) -> str:
    """Accept the name of a stream that is written, also one of mlv's own.

    Raises:
        InvalidName: As for any name, or it begins with a dot: no file of a stream does.
    """
    text = check_name(name, "stream")
    if text.startswith("."):
        raise InvalidName(f"stream {text!r} begins with a dot: choose another name", name=text)
    return text


def is_label(name: str) -> bool:
    """Return whether `check_label` accepts a name."""
    try:
        check_label(name, "name")
    except InvalidName:
        return False
    return True


def check_label(name: object, subject: str) -> str:
    """Accept the name of a kind or of a stream.

    Raises:
        InvalidName: As for any name, or it is reserved (log, files, models, system, console, rewound, annotations,
            rank<N>, or holds @).
    """
    text = check_name(name, subject)
    if re.fullmatch(_RESERVED, text) or "@" in text or text.startswith("."):
        raise InvalidName(
            f"{subject} {text!r} is reserved: log, files, models, system, console, rewound, annotations, rank<N>, names "
            f"with @ and names that begin with a dot are mlv's own; choose another",
            name=text,
        )
    return text
