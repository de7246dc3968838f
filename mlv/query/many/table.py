"""Experiments as the rows of one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.query.digest import STATS, Digest
from mlv.query.metrics.schema import EXACT
from mlv.query.unique_names import Keys, joined

_GIT, _MACHINE = ("commit", "branch", "dirty"), ("host", "cpu", "memory_bytes")


def frame(digests: Sequence[Digest], stats: Sequence[str], now: datetime) -> Any:
    """Return a DataFrame with a row per experiment; `stats` are numbers of each metric beside the value that
    stands for it, mostly the last.

    Raises:
        MissingExtra: pandas is not installed.
        InvalidArgument: A stat is unknown.
    """
    for stat in stats:
        if stat not in STATS:
            raise InvalidArgument(f"stats has {stat!r}: give some of {', '.join(STATS)}", stat=stat)
    pandas = package("pandas")
    records = rows(digests, stats, now)
    result = pandas.DataFrame(records, columns=columns(records))
    for column in result.columns:
        values = [record.get(column) for record in records]
        if _has_rounded(values):
            result[column] = pandas.Series(values, dtype=object)
    return result


def _has_rounded(values: Sequence[Any]) -> bool:
    """Return whether one of the integers would be rounded in a column of floats, beside a missing value or a fraction."""
    kinds = set(map(type, values))
    return int in kinds and len(kinds) > 1 and any(type(value) is int and abs(value) > EXACT for value in values)


def rows(digests: Sequence[Digest], stats: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """Return a mapping per experiment, by the names of the columns; a value that an experiment lacks has no key."""
    every = [dict(leaves_of(digest.params, ("params",))) for digest in digests]
    metrics = dict.fromkeys(name for digest in digests for name in digest.metrics)
    # All stats take part, so that no name depends on the requested ones.
    stated = (path for name in metrics for path in (_metric(name), *(_metric(name, stat) for stat in STATS)))
    spelled = joined((*(path for params in every for path in params), *stated))
    return [
        {
            **_fixed(digest, now),
            **{spelled[path]: value for path, value in params.items()},
            **{spelled[path]: value for path, value in _metrics(digest, stats)},
            **_captured(digest),
        }
        for digest, params in zip(digests, every, strict=True)
    ]


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of all rows; params stand together, as do metrics, whichever experiment had them first."""
    return sorted(dict.fromkeys(column for row in rows for column in row), key=_group_number)


_GROUPS = ("params.", "metrics.", "git.", "machine.")


def _group_number(column: str) -> int:
    return next((number for number, begin in enumerate(_GROUPS, 1) if column.startswith(begin)), 0)


def _fixed(digest: Digest, now: datetime) -> dict[str, Any]:
    runs = digest.runs(now)
    return {
        "id": digest.id,
        "name": digest.name,
        "made_as": digest.made_as,
        "kind": digest.kind,
        "status": digest.status(now),
        "path": str(digest.path),
        "created": digest.created_at,
        "started": runs[-1].started if runs else None,
        "duration_s": runs[-1].duration_s if runs else None,
        "total_s": digest.total_s(now),
        "tags": list(digest.tags),
        "notes": list(digest.notes),
        "parent": digest.parent_id,
    }


def flat(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return params by their dotted names; empty mappings, and references, stay as they are."""
    leaves = dict(leaves_of(params))
    spelled = joined(leaves)
    return ((spelled[path], value) for path, value in leaves.items())


def leaves_of(params: Mapping[str, Any], path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield params by the keys that lead to them; empty mappings, and references, stay as they are."""
    for key, value in params.items():
        if isinstance(value, Mapping) and value and "_mlv" not in value:
            yield from leaves_of(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def _metric(name: str, *stat: str) -> Keys:
    return ("metrics", name, *stat)


def _metrics(digest: Digest, stats: Sequence[str]) -> Iterator[tuple[Keys, Any]]:
    for name, summary in digest.metrics.items():
        if summary.has_value:
            yield _metric(name), summary.value
        for stat in stats:
            yield _metric(name, stat), getattr(summary, stat)


def _captured(digest: Digest) -> dict[str, Any]:
    chosen = (("git", _GIT), ("machine", _MACHINE))
    return {f"{section}.{key}": digest.captured(section).get(key) for section, keys in chosen for key in keys}
