"""Spellings of names that would coincide: no name changes in silence, and none stands for two.

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
"""The keys of a name, the outermost first."""
_DIGITS = 4  # as many again follow where the first are not enough
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def distinct(names: Iterable[str]) -> list[str]:
    """Spell different names so that SQL tells them apart."""
    names = list(names)
    readable = [_readable(name) for name in names]
    digits = [0 if name else _DIGITS for name in names]
    while True:
        each = zip(names, readable, digits, strict=True)
        spelled = [f"{text}#{_digest(name)[:count]}" if count else text for name, text, count in each]
        counts = Counter(map(folded, spelled))
        twins = [index for index, name in enumerate(spelled) if counts[folded(name)] > 1]
        if not twins:
            return spelled
        for index in twins:
            digits[index] += _DIGITS


def folded(name: str) -> str:
    """Return a name in lower case, for ASCII letters: SQL ignores their case."""
    return name.translate(_LOWER)


def _readable(name: str) -> str:
    return name.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def repeated(names: Iterable[str]) -> list[str]:
    """Number repeated names of a query's columns: `name name_1`."""
    names = list(names)
    existing = set(names)
    result: list[str] = []
    for name in names:
        new, number = name, 0
        while new in result or (number and new in existing):
            number += 1
            new = f"{name}_{number}"
        result.append(new)
    return result


def joined(paths: Iterable[Keys], separator: str = ".") -> dict[Keys, str]:
    """Return one name for each path; keys of paths that would have the same name stand in quotes, in all paths."""
    plain = {path: separator.join(path) for path in paths}
    result, in_quotes = plain, set[str]()
    while len(set(result.values())) < len(result):
        counts = Counter(result.values())
        more = {key for path, name in result.items() if counts[name] > 1 for key in path if separator in key or '"' in key}
        if more <= in_quotes:
            break  # not reached: names of quoted keys have one reading only
        in_quotes |= more
        quoted = {key: '"' + key.replace('"', '""') + '"' for key in in_quotes}
        result = {path: separator.join(quoted.get(key, key) for key in path) for path in plain}
    return result


def beside(existing: Iterable[str], names: Sequence[str], kind: str) -> dict[str, str]:
    """Spell names as columns beside existing ones: a name that exists, or looks like a prefixed one, gets the prefix `kind`."""
    begin, depths = f"{kind}.", dict[str, int]()
    for name in existing:
        depth, base = _stripped(name, begin)
        depths[base] = max(depth + 1, depths.get(base, 0))
    return {name: begin * depths.get(_stripped(name, begin)[1], 0) + name for name in names}


def _stripped(name: str, begin: str) -> tuple[int, str]:
    depth = 0
    while name.startswith(begin):
        depth, name = depth + 1, name[len(begin) :]
    return depth, name


def spelled(columns: Iterable[Column]) -> dict[Column, str]:
    """Spell the columns of a frame, which have a kind and a name: kind "" is fixed, each kind gives way to those before it."""
    result: dict[Column, str] = {}
    every = list(columns)
    for kind in _KINDS:
        names = [name for own, name in every if own == kind]
        unique = beside(list(result.values()), names, _FRONT.get(kind, kind)) if kind else dict(zip(names, names, strict=True))
        result.update(((kind, name), column) for name, column in unique.items())
    return result


Column = tuple[str, str]
_KINDS = ("", "at", "capture", "data", "metric")
_FRONT = {"capture": "at"}
"""Prefixes of kinds that differ from the kind: a capture of a pattern is a coordinate like others."""
