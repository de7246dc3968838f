"""How names are spelled where several would be one: no name changes in silence, and none stands for two.

- Exact names stand in the log, in `metrics.name` of SQL, in CSV, in JSON lines, in TensorBoard and in columns of frames.
- SQL and Parquet do not tell `lr` from `LR`. Names that differ only in the case of ASCII letters all end in `#` and the first
  four digits of their SHA-256 (more, where that is taken): `params."LR#096d"`. The plain name is then of none of them, and an
  error that lists them. So ends the empty name: `"#e3b0"`. NUL and halves of surrogates are written as escapes.
- Dots join the keys of params, and metrics with their stats. Where two come to the same, keys with a dot or a quote stand in
  quotes: `{"a.b": 3, "a": {"b": 4}}` are `params."a.b"` and `params.a.b`; `metrics."loss.min"` is a metric beside the least
  `metrics.loss.min`. TensorBoard's hyperparameters do the same with slashes.
- In a frame of one table a coordinate named like a fixed column is `at.step`, a metric named like a fixed column or a
  coordinate `metric.step`; in CSV and Parquet, coordinates are `at.` always.
"""

from __future__ import annotations

import hashlib
import string
from collections import Counter
from collections.abc import Iterable, Sequence

Keys = tuple[str, ...]
"""A name by its keys, the outermost first."""
_DIGITS = 4
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def distinct(names: Iterable[str]) -> list[str]:
    """Different names as SQL tells them apart."""
    names = list(names)
    readable = [_readable(name) for name in names]
    digits = [0 if name else _DIGITS for name in names]
    while True:
        each = zip(names, readable, digits, strict=True)
        spelled = [f"{text}#{_digest(name)[:count]}" if count else text for name, text, count in each]
        counts = Counter(map(folded, spelled))
        twins = [place for place, name in enumerate(spelled) if counts[folded(name)] > 1]
        if not twins:
            return spelled
        for place in twins:
            digits[place] += _DIGITS


def folded(name: str) -> str:
    """A name without what SQL does not look at: the case of ASCII letters."""
    return name.translate(_LOWER)


def _readable(name: str) -> str:
    return name.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def repeated(names: Iterable[str]) -> list[str]:
    """Names of a query's columns, those that come again with a number: `name name_1`."""
    names = list(names)
    taken = set(names)
    result: list[str] = []
    for name in names:
        new, number = name, 0
        while new in result or (number and new in taken):
            number += 1
            new = f"{name}_{number}"
        result.append(new)
    return result


def joined(paths: Iterable[Keys], separator: str = ".") -> dict[Keys, str]:
    """One name for each path; keys stand in quotes, in all of them, where two paths would have the same name."""
    plain = {path: separator.join(path) for path in paths}
    result, in_quotes = plain, set[str]()
    while len(set(result.values())) < len(result):
        counts = Counter(result.values())
        more = {key for path, name in result.items() if counts[name] > 1 for key in path if separator in key or '"' in key}
        if more <= in_quotes:
            break  # not reached: names of keys in quotes are read in one way only
        in_quotes |= more
        quoted = {key: '"' + key.replace('"', '""') + '"' for key in in_quotes}
        result = {path: separator.join(quoted.get(key, key) for key in path) for path in plain}
    return result


def beside(taken: Iterable[str], names: Sequence[str], kind: str) -> dict[str, str]:
    """Names as columns beside others: one that is taken says what it is in front, and so does what would look like that."""
    begin, depths = f"{kind}.", dict[str, int]()
    for name in taken:
        depth, base = _stripped(name, begin)
        depths[base] = max(depth + 1, depths.get(base, 0))
    return {name: begin * depths.get(_stripped(name, begin)[1], 0) + name for name in names}


def _stripped(name: str, begin: str) -> tuple[int, str]:
    depth = 0
    while name.startswith(begin):
        depth, name = depth + 1, name[len(begin) :]
    return depth, name


def spelled(columns: Iterable[Column]) -> dict[Column, str]:
    """Columns of a frame by kind and name; those of no kind are fixed, and each kind gives way to those before it."""
    result: dict[Column, str] = {}
    every = list(columns)
    for kind in _KINDS:
        names = [name for own, name in every if own == kind]
        shown = beside(list(result.values()), names, _FRONT.get(kind, kind)) if kind else dict(zip(names, names, strict=True))
        result.update(((kind, name), column) for name, column in shown.items())
    return result


Column = tuple[str, str]
_KINDS = ("", "at", "capture", "data", "metric")
_FRONT = {"capture": "at"}
"""What a pattern takes out of a name is a coordinate like others."""
