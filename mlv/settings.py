"""The settings: their names, the sources of their values, and the values that they accept.

An argument wins over an environment variable, that over `[tool.mlv]` in the project's `pyproject.toml`, that over the default.
A variable that is set and empty means the default. The file is the nearest one at or above the current folder; its relative
paths begin in its own folder.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from mlv.errors import InvalidArgument, MlvWarning
from mlv.frozen import FrozenDict, FrozenRecord
from mlv.notices import warn
from mlv.words import address_problem, did_you_mean, url_without_secrets

T = TypeVar("T")

PROJECT_FILE = "pyproject.toml"
SYSTEM_EVERY_S = 10.0  # 8,640 lines a day, less than a log of any training
SYSTEM_AT_MOST_EVERY_S = 0.1
SHIP_AT_MOST_EVERY_S = 0.1
RELATIONS = ("auto", "together", "apart")
"""Whether the processes of a launch share one experiment, make one each, or their arguments decide."""


class SettingValue(FrozenRecord, Generic[T]):
    """The value of a setting at this moment."""

    value: T
    """The default, if the configured value cannot be used."""
    source: str
    """`default`, the name of the variable, or the path of the file."""
    problem: str | None = None
    """The fault of an unusable value, with advice."""


class Setting(FrozenRecord, Generic[T]):
    """One setting."""

    key: str
    """In `[tool.mlv]`."""
    env: str
    default: T
    read: Callable[[Any, str], T]
    """Converts a raw value, with the folder in which relative paths begin; raises ValueError."""
    meaning: str

    def look_up(self, environ: Mapping[str, str] = os.environ) -> SettingValue[T]:
        """Return the value that is in force, and why; never raises."""
        text = environ.get(self.env)
        if text is not None:
            return self._resolved(text, self.env, f"{self.env}={text!r}", "") if text else SettingValue(self.default, "default")
        file = project_file()
        if file is None or self.key not in file.table:
            return SettingValue(self.default, "default")
        raw = file.table[self.key]
        return self._resolved(raw, str(file.path), f"{self.key} = {raw!r} in [tool.mlv] of {file.path}", str(file.path.parent))

    def get(self) -> T:
        """Return the value that is in force.

        Raises:
            InvalidArgument: The configured value cannot be used.
        """
        current = self.look_up()
        if current.problem is not None:
            raise InvalidArgument(current.problem, source=current.source, setting=self.key)
        return current.value

    def get_or_default(self) -> T:
        """Return the value that is in force; if it cannot be used, warn and return the default."""
        current = self.look_up()
        if current.problem is not None:
            warn(f"{current.problem}. The default serves: {value_text(self.default)}", MlvWarning)
        return current.value

    def _resolved(self, raw: Any, source: str, assignment: str, folder: str) -> SettingValue[T]:
        try:
            return SettingValue(self.read(raw, folder), source)
        except (ValueError, OSError) as error:
            return SettingValue(self.default, source, f"{assignment} {error}")


def value_text(value: object) -> str:
    """Return the text of a value: `on`, `off`, `none`, seconds, words or a path."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "none" if value is None else f"{value:g} s" if isinstance(value, float) else str(value)


def _flag(raw: Any, _: str) -> bool:
    word = str(raw).lower() if isinstance(raw, (bool, int, str)) else ""
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither on nor off: give 1 or 0")


def _seconds(raw: Any, _: str) -> float:
    try:
        number = math.nan if isinstance(raw, bool) else float(raw)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("is no number: give seconds, 0 or more")
    return number


def _pause(raw: Any, folder: str) -> float:
    seconds = _seconds(raw, folder)
    if seconds < SHIP_AT_MOST_EVERY_S:
        raise ValueError(f"is too short: give seconds from {SHIP_AT_MOST_EVERY_S:g} on")
    return seconds


def _url(raw: Any, _: str) -> str:
    # Whether it names a bucket is seen where it is opened. It is refused there for a credential, which is not shown here.
    if isinstance(raw, str) and "://" in raw:
        return url_without_secrets(raw)
    raise ValueError("is no URL: give one such as s3://bucket/runs")


def _lake(raw: Any, folder: str) -> str:
    return _url(raw, folder) if isinstance(raw, str) and "://" in raw else str(_folder(raw, folder))


def _relation(raw: Any, _: str) -> str:
    if raw in RELATIONS:
        return str(raw)
    raise ValueError(f"is none of {', '.join(RELATIONS)}: give one of them")


def _word(raw: Any, _: str) -> str:
    if isinstance(raw, str) and raw:
        return raw
    raise ValueError("is no text: give a name")


def _words(raw: Any, _: str) -> tuple[str, ...]:
    words = raw.split(",") if isinstance(raw, str) else raw
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(filter(None, map(str.strip, words)))
    raise ValueError("are no words: give them with commas between them, or as a list")


def interval(raw: Any, _: str = "") -> float | None:
    """Return the seconds between two samples; None for `off`, False and 0.

    Raises:
        ValueError: It is neither.
    """
    word = raw.strip().lower() if isinstance(raw, str) else raw
    if word is True or word == "on":
        return SYSTEM_EVERY_S
    if word is False or word in ("off", "0", 0):
        return None
    try:
        number = float(word)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if not SYSTEM_AT_MOST_EVERY_S <= number < math.inf:
        text = f"cannot be: give seconds between two samples, from {SYSTEM_AT_MOST_EVERY_S:g} on, or False ('off')"
        raise ValueError(text)
    return number


def _folder(raw: Any, folder: str) -> Path:
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise ValueError("is no path: give a folder")
    problem = address_problem(raw)
    if problem is not None:
        raise ValueError(problem)
    return Path(os.path.abspath(os.path.join(folder, os.path.expanduser(raw))))


DISABLED = Setting("disabled", "MLV_DISABLED", False, _flag, "nothing is stored, by whatever a script logs")
DIR = Setting("dir", "MLV_DIR", Path("runs"), _folder, "where Exp(None, name) makes experiments, and `mlv` looks for them")
NAME: Setting[str | None] = Setting("name", "MLV_NAME", None, _word, "the name of experiments that a script gives none")
TAGS: Setting[tuple[str, ...]] = Setting("tags", "MLV_TAGS", (), _words, "tags of new experiments, beside their own: a,b")
EXP: Setting[Path | None] = Setting(
    "exp", "MLV_EXP", None, _folder, "the experiment that Exp() without a name opens, or makes where it is missing"
)
SPOOL: Setting[Path | None] = Setting("spool", "MLV_SPOOL", None, _folder, "a local folder for what waits to be written")
FSYNC_INTERVAL = Setting("fsync_interval", "MLV_FSYNC_INTERVAL", 1.0, _seconds, "seconds between two fsyncs of the logs")
PATIENCE = Setting("patience", "MLV_PATIENCE_S", 60.0, _seconds, "seconds that log() waits for a disk that hangs or is full")
INLINE = Setting("inline", "MLV_INLINE", False, _flag, "the training process writes by itself, without a writer")
SYSTEM: Setting[float | None] = Setting(
    "system", "MLV_SYSTEM", SYSTEM_EVERY_S, interval, "seconds between two samples of the machine, or off"
)
RANKS_TIMEOUT = Setting("ranks_timeout", "MLV_RANKS_TIMEOUT_S", 300.0, _seconds, "seconds that ranks wait for rank 0")
SHIP: Setting[str | None] = Setting("ship", "MLV_SHIP", None, _url, "the bucket that runs are shipped to: s3://lab/runs")
SHIP_EVERY = Setting("ship_every", "MLV_SHIP_EVERY", 10.0, _pause, "seconds between two shipments of a run that goes on")
LAKE: Setting[str | None] = Setting("lake", "MLV_LAKE", None, _lake, "the lake that experiments below its source are read from")
RANKS = Setting("ranks", "MLV_RANKS", "auto", _relation, "whether the processes of a launch share experiments: together, apart")

SETTINGS: tuple[Setting[Any], ...] = (
    DISABLED, DIR, NAME, TAGS, EXP, SPOOL, FSYNC_INTERVAL, PATIENCE, INLINE, SYSTEM, RANKS_TIMEOUT, RANKS, SHIP, SHIP_EVERY,
    LAKE,
)  # fmt: skip


def as_environment() -> dict[str, str]:
    """Return the values in force as variables for a process that is started elsewhere; unusable ones are empty."""
    return {setting.env: _as_variable(setting.look_up()) for setting in SETTINGS}


def _as_variable(current: SettingValue[Any]) -> str:
    if current.source == "default" or current.problem is not None:
        return ""
    if current.value is None:
        return "off"
    if isinstance(current.value, tuple):
        return ",".join(current.value)
    return str(int(current.value)) if isinstance(current.value, bool) else str(current.value)


class ProjectFile(FrozenRecord):
    """A pyproject.toml, and its table `[tool.mlv]`."""

    path: Path
    table: Mapping[str, Any] = FrozenDict()
    problems: tuple[str, ...] = ()
    """Unknown keys, or the reason why the file could not be read."""


def project_file() -> ProjectFile | None:
    """Return the nearest pyproject.toml, at or above the current folder; None if there is none."""
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        return None
    while True:
        path = os.path.join(folder, PROJECT_FILE)
        try:
            status = os.stat(path)
            return _project_file(path, status.st_mtime_ns, status.st_size)
        except OSError:
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                return None


def warn_of_problems() -> None:
    """Warn of the problems of the project's file, once for each state of it."""
    file = project_file()
    if file is not None and file.problems and file not in _problems_warned:
        _problems_warned.append(file)
        for problem in file.problems:
            warn(problem, MlvWarning)


_problems_warned: list[ProjectFile] = []


@lru_cache(maxsize=8)
def _project_file(path: str, *_: int) -> ProjectFile:  # time and size make the cache see each state of the file
    try:
        content = Path(path).read_bytes()
        # Importing and running the TOML parser takes longer than all else for a setting; most projects have no such table.
        tool = _parsed(content).get("tool") if b"mlv" in content else None
    except (OSError, ValueError, ImportError, RecursionError) as error:
        return ProjectFile(Path(path), problems=(f"{path} cannot be read: {error}. Its [tool.mlv] is passed over",))
    table = tool.get("mlv", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        return ProjectFile(Path(path), problems=(f"mlv = {table!r} in [tool] of {path} is no table: write [tool.mlv]",))
    return ProjectFile(Path(path), table, tuple(_unknown(key, path) for key in table if key not in _KEYS))


_KEYS = [setting.key for setting in SETTINGS]


def _parsed(content: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    table: dict[str, Any] = tomllib.loads(content.decode())
    return table


def _unknown(key: str, path: str) -> str:
    from difflib import get_close_matches  # only after a mistyped key

    close = get_close_matches(key, _KEYS, 2, cutoff=0.5)
    hint = did_you_mean(map(repr, close)) if close else f"it may have {', '.join(_KEYS)}"
    return f"[tool.mlv] of {path} has {key!r}, which is no setting: {hint}"
