"""Experiments as the rows of one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mlv.encoding import BadLine, parse_time
from mlv.errors import InvalidArgument
from mlv.query.digest import STATS, Digest
from mlv.query.packages import package

_GIT, _MACHINE = ("commit", "branch", "dirty"), ("host", "cpu", "memory_bytes")


def frame(digests: Sequence[Digest], stats: Sequence[str], now: datetime) -> Any:
    """A DataFrame with a row per experiment; `stats` asks for more of each metric than the last value.

    Raises:
        MissingExtra: pandas is not installed.
        InvalidArgument: A stat is unknown.
    """
    for stat in stats:
        if stat not in STATS:
            raise InvalidArgument(f"stats has {stat!r}: give some of {', '.join(STATS)}", stat=stat)
    pandas = package("pandas")
    found = rows(digests, stats, now)
    return pandas.DataFrame(found, columns=columns(found))


def rows(digests: Sequence[Digest], stats: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """A mapping per experiment, by the names of the columns; of what an experiment lacks it has no key."""
    return [
        {**_fixed(digest, now), **_params(digest), **dict(_metrics(digest, stats)), **_captured(digest)} for digest in digests
    ]


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of all rows; params stand together, as do metrics, whichever experiment had them first."""
    return sorted(dict.fromkeys(column for row in rows for column in row), key=_place)


_GROUPS = ("params.", "metrics.", "git.", "machine.")


def _place(column: str) -> int:
    return next((place for place, begin in enumerate(_GROUPS, 1) if column.startswith(begin)), 0)


def _fixed(digest: Digest, now: datetime) -> dict[str, Any]:
    runs = digest.runs(now)
    return {
        "id": digest.id,
        "name": digest.name,
        "made_as": digest.made_as,
        "kind": digest.kind,
        "status": digest.status(now),
        "path": str(digest.path),
        "created": moment(digest.created),
        "started": runs[-1].started if runs else None,
        "duration_s": runs[-1].duration_s if runs else None,
        "total_s": digest.total_s(now),
        "tags": list(digest.tags),
        "parent": digest.parent_id,
    }


def moment(text: str) -> datetime | None:
    """A recorded time; None where it is none."""
    try:
        return parse_time(text)
    except BadLine:
        return None


def _params(digest: Digest) -> dict[str, Any]:
    return {f"params.{name}": value for name, value in flat(digest.params)}


def flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Params by their dotted names; what is empty, and references, stay as they are."""
    for key, value in params.items():
        if isinstance(value, Mapping) and value and "_mlv" not in value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _metrics(digest: Digest, stats: Sequence[str]) -> Iterable[tuple[str, Any]]:
    for name, summary in digest.metrics.items():
        yield f"metrics.{name}", summary.last
        for stat in stats:
            yield f"metrics.{name}.{stat}", getattr(summary, stat)


def _captured(digest: Digest) -> dict[str, Any]:
    chosen = (("git", _GIT), ("machine", _MACHINE))
    return {f"{what}.{key}": digest.captured(what).get(key) for what, keys in chosen for key in keys}
