"""Where everything of an experiment lies, and which names are allowed there."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from mlv.errors import InvalidName

META = "meta.json"
FILES = "files"
MODELS = "models"
TEMPORARY = ".tmp-"
"""Beginning of the names of files that are not finished; a killed process leaves them behind."""
DEFAULT_STREAM = "log"
MERGED = "@merged"
"""End of the names of streams that a merge made beside those that were not its to write."""
REWOUND = "rewound"
"""The stream of `rewound` events: who reads others need not look for them there."""
SYSTEM_STREAM = "system"
CONSOLE_STREAM = "console"
HOUSEKEEPING = ".mlv"
"""Folder of an experiment for claims and torn tails; nothing in it is needed to read the experiment."""

KEEPING = (FILES, MODELS, HOUSEKEEPING)
"""Folders of an experiment in which there are no other experiments."""

RESERVED = re.compile(r"(log|files|models|system|console|rewound|rank\d+)\Z", re.IGNORECASE)


def stream_file(stream: str) -> str:
    """File name of a stream: `log.jsonl` for the default one, `NAME.log.jsonl` for the others."""
    return "log.jsonl" if stream == DEFAULT_STREAM else f"{stream}.log.jsonl"


def rank_stream(rank: int) -> str:
    """The stream of a rank above 0."""
    return f"rank{rank}"


def stream_of(file_name: str) -> str | None:
    """The stream that a file holds, None if it is no log."""
    if file_name == "log.jsonl":
        return DEFAULT_STREAM
    return file_name[: -len(".log.jsonl")] if file_name.endswith(".log.jsonl") else None


def logical_stream(stream: str) -> str:
    """`val` for `val@rk3v9x2m`, the file that a second writer made beside `val`."""
    return stream.partition("@")[0]


def followed_by(stream: str) -> str | None:
    """The stream whose runs go on in this one: `val` for `val@merged`; None for a stream that stands alone."""
    return stream[: -len(MERGED)] if stream.endswith(MERGED) else None


def streams_in(folder: Path) -> list[str]:
    """The streams that have a file, the default one first."""
    names = [stream_of(name) for name in os.listdir(folder) if not name.startswith(".")]
    return sorted((name for name in names if name), key=lambda name: (logical_stream(name) != DEFAULT_STREAM, name))


def claim_path(folder: Path, stream: str) -> Path:
    """The file that says which process may append to the stream."""
    return folder / HOUSEKEEPING / "claims" / f"{stream}.json"


def torn_path(folder: Path, stream: str, offset: int) -> Path:
    """Where a half line is kept that a crash left at `offset` of the stream."""
    return folder / HOUSEKEEPING / "torn" / f"{stream_file(stream)}.{offset}"


def errors_path(folder: Path, output: str) -> Path:
    """Where the process of an output leaves what went wrong."""
    return folder / HOUSEKEEPING / "outputs" / f"{output}.err"


def position_name(output: str) -> str:
    """Name of the file in an output's folder that says how far the output has come."""
    return f".mlv-{output}.json"


def is_position(file_name: str) -> bool:
    """Whether a file of that name says how far an output has come."""
    return file_name.startswith(".mlv-") and file_name.endswith(".json")


def is_experiment(folder: Path) -> bool:
    """Whether the folder holds an experiment; one that may not be entered holds none that can be read."""
    return os.path.isfile(folder / META)


def exp_id(folder: Path) -> str:
    """ID of the experiment in a folder, the SHA-256 of its meta.json; empty where that cannot be read."""
    try:
        return hashlib.sha256((folder / META).read_bytes()).hexdigest()
    except OSError:
        return ""


def enclosing_experiment(path: Path) -> Path | None:
    """The innermost experiment that holds the path, None if there is none.

    A copy of an experiment among the files or checkpoints of another is none, as in `walk`.
    """
    found = None
    for folder in reversed(path.parents):
        if is_experiment(folder):
            found = folder
            if path.relative_to(folder).parts[0] in KEEPING and _has_params(folder):
                break
    return found


def _has_params(folder: Path) -> bool:
    """Whether a meta.json is mlv's: a project may have one of its own, and keep its experiments in `models`."""
    try:
        content = orjson.loads((folder / META).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format", "params"} <= content.keys()


def is_own(folder: Path, path: Path) -> bool:
    """Whether a path within an experiment is one that mlv gives a meaning to."""
    first = path.relative_to(folder).parts[0]
    return first in (META, *KEEPING) or stream_of(first) is not None


def walk(root: Path) -> Iterator[Path]:
    """Every experiment at or below the root, parents before their sub-experiments, in order of name.

    A copy of an experiment among the files or checkpoints of another is none of these, nor is what is not finished.
    """
    passed_over: tuple[str, ...] = (HOUSEKEEPING,)
    if is_experiment(root):
        yield root
        passed_over = KEEPING
    try:
        with os.scandir(root) as entries:
            folders = sorted(entry.name for entry in entries if may_hold_experiments(entry, passed_over))
    except OSError:
        return  # removed or forbidden meanwhile: what cannot be listed holds nothing that can be read
    for name in folders:
        yield from walk(root / name)


def may_hold_experiments(entry: os.DirEntry[str], passed_over: tuple[str, ...]) -> bool:
    """Whether it is a folder to look for experiments in."""
    is_folder = entry.is_dir(follow_symlinks=False)
    return is_folder and entry.name not in passed_over and not entry.name.startswith(TEMPORARY)


def problem_of_locale(text: str) -> str:
    """Why this process can give no file such a name: its locale may be `C`, without UTF-8; empty where it can."""
    try:
        os.fsencode(text)
        return ""
    except UnicodeEncodeError as error:
        return (
            f"has {error.object[error.start]!r}, which file names of this process cannot hold ({error.encoding}): set "
            f"PYTHONUTF8=1 or a locale of UTF-8, or give an ASCII name"
        )


def check_name(name: object, what: str) -> str:
    """Accept a name for one folder or file.

    Raises:
        InvalidName: It is no text, is empty or only dots, has a separator or a control character, or this process can give no
            file such a name.
    """
    if not isinstance(name, str):
        kind = type(name).__name__
        hint = " (params are the third argument: Exp(savedir, name, params))" if isinstance(name, dict) else ""
        raise InvalidName(f"{what} {name!r} is of type {kind}: give a text{hint}", name=name)
    if not name.strip(". "):
        raise InvalidName(f"{what} {name!r} is empty or only dots: give it at least one other character", name=name)
    if "/" in name or "\\" in name:
        raise InvalidName(f"{what} {name!r} holds a path separator: give one name, and the folders in savedir", name=name)
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise InvalidName(f"{what} {name!r} holds a control character: leave it out", name=name)
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise InvalidName(f"{what} {name!r} is no text that UTF-8 can hold: choose another", name=name)
    if name == HOUSEKEEPING or len(name.encode()) > 200:
        raise InvalidName(f"{what} {name!r} is reserved or longer than 200 bytes: choose another", name=name)
    if problem := problem_of_locale(name):
        raise InvalidName(f"{what} {name!r} {problem}", name=name)
    return name


def check_label(name: object, what: str) -> str:
    """Accept the name of a kind or of a stream.

    Raises:
        InvalidName: As for any name, or it is reserved (log, files, models, system, console, rewound, rank<N>, or holds @).
    """
    text = check_name(name, what)
    if RESERVED.match(text) or "@" in text or text.startswith("."):
        raise InvalidName(
            f"{what} {text!r} is reserved: log, files, models, system, console, rewound, rank<N>, names with @ and "
            f"names that begin with a dot are mlv's own; choose another",
            name=text,
        )
    return text
