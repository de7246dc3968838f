"""Values of metrics of many experiments, as arrays in the order in which they were logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import orjson

from mlv.errors import InvalidArgument, UnknownMetric
from mlv.query import columns
from mlv.query.digest import Digest
from mlv.query.families import texts
from mlv.query.packages import package
from mlv.query.patterns import NamePattern, name_matcher
from mlv.store.streams import Skipped

STEP = "step"


@dataclass(frozen=True)
class Values:
    """Values with their metric, experiment and place; arrays of equal length."""

    metrics: list[str]
    member: Any
    """Place of the experiment among those given."""
    metric: Any
    """Place in `metrics`."""
    x: Any
    value: Any
    skipped: list[str]
    """Damaged lines that were passed over."""


def read(digests: Iterable[Digest], wanted: str | Iterable[str] | None, x: str | None) -> Values:
    """Read values of metrics.

    Args:
        digests: The experiments.
        wanted: Names, or patterns over names, of which those with stars may match none; None takes all.
        x: `step`, or the name of a coordinate: values without it are passed over. None takes the last value of each metric.

    Raises:
        UnknownMetric: Nobody logged such a metric.
        InvalidArgument: None of these has such a place.
        InvalidPattern: A pattern cannot be read.
        MissingExtra: pyarrow is not installed.
    """
    np = package("numpy")
    patterns = None if wanted is None else texts(wanted)
    if patterns is None and wanted is not None:
        raise InvalidArgument(f"metrics={wanted!r}: give names, or patterns over names, such as 'train/*'", metrics=wanted)
    is_wanted = _matcher(patterns)
    names: dict[str, int] = {}
    parts: list[tuple[Any, ...]] = []
    seen: set[str] = set()
    has_numbers = False
    skipped: list[str] = []
    for member, digest in enumerate(digests):
        holes: list[Skipped] = []
        table = columns.metrics(digest.path, skipped=holes)
        skipped += [f"{digest.path}/{hole}" for hole in holes]
        codes, own = _coded(np, table.column("name"))
        seen.update(own)
        numbers = np.array([names.setdefault(name, len(names)) if is_wanted(name) else -1 for name in own], np.int64)
        metric = numbers[codes] if len(own) else codes
        places = _places(np, table, x)
        value = _floats(np, table.column("value"))
        keep = in_order(table)
        keep = keep[(metric[keep] >= 0) & _are_numbers(np, table)[keep]]
        has_numbers |= len(keep) > 0
        keep = keep[~np.isnan(places[keep])]
        parts.append((np.full(len(keep), member), metric[keep], places[keep], value[keep]))
    _check_all_found(patterns, seen)
    if names and not has_numbers:
        raise InvalidArgument(f"no value of {', '.join(map(repr, sorted(names)[:5]))} is a number", metrics=wanted)
    if names and x is not None and not any(len(part[0]) for part in parts):
        raise InvalidArgument(f"x={x!r}: none of these metrics has such a {'step' if x == STEP else 'coordinate'}", x=x)
    joined = [np.concatenate([part[place] for part in parts] or [np.array([], float)]) for place in range(4)]
    return Values(list(names), joined[0].astype(np.int64), joined[1].astype(np.int64), joined[2], joined[3], skipped)


def _matcher(patterns: Sequence[str] | None) -> Callable[[str], bool]:
    if patterns is None:
        return lambda name: True
    matchers = [name_matcher(pattern) for pattern in patterns]
    return lambda name: any(matches(name) for matches in matchers)


def _check_all_found(patterns: Sequence[str] | None, seen: Iterable[str]) -> None:
    names = sorted(seen)
    for pattern in patterns or ():
        if NamePattern(pattern).names_one and not any(map(name_matcher(pattern), names)):
            raise unknown_metric(pattern.replace("{{", "{").replace("}}", "}"), names)


def unknown_metric(wanted: str, names: Sequence[str]) -> UnknownMetric:
    """The error for a metric that nobody logged."""
    close = get_close_matches(wanted, names)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are: {', '.join(names[:12]) or 'none'}"
    return UnknownMetric(f"nobody logged a metric {wanted!r}; {hint}", name=wanted)


def _coded(np: Any, names: Any) -> tuple[Any, list[str]]:
    """For each row the place of its text among the distinct ones, and those."""
    encoded = names.combine_chunks().dictionary_encode()
    if hasattr(encoded, "combine_chunks"):
        encoded = encoded.combine_chunks()
    return np.asarray(encoded.indices.fill_null(0)).astype(np.int64), encoded.dictionary.to_pylist()


def _places(np: Any, table: Any, x: str | None) -> Any:
    """Where each value belongs; NaN where that is not said."""
    if x is None:
        return np.zeros(table.num_rows)
    if x == STEP:
        return _floats(np, table.column("step"))
    at = table.column("at")
    if at.null_count == table.num_rows:
        return np.full(table.num_rows, np.nan)
    codes, texts = _coded(np, at)
    found = [orjson.loads(text).get(x) if text else None for text in texts]
    places = np.array([value if isinstance(value, (int, float)) else np.nan for value in found], float)
    return np.where(np.asarray(at.is_valid()), places[codes], np.nan)


def _floats(np: Any, column: Any) -> Any:
    return np.asarray(column.combine_chunks().cast("float64").to_numpy(zero_copy_only=False), float)


def _are_numbers(np: Any, table: Any) -> Any:
    """Whether the values are numbers: a NaN is one, a null stands for a text."""
    return np.asarray(table.column("value").is_valid())


def in_order(table: Any) -> Any:
    """Places of the rows in the order in which they were logged: by `seq` within a run, whatever the clock did."""
    np = package("numpy")
    runs, own = _coded(np, table.column("run"))
    seq = np.asarray(table.column("seq"))
    order = np.lexsort((seq, runs))
    if len(own) < 2:
        return order
    time = np.asarray(table.column("time").cast("int64"))[order]
    ends = np.flatnonzero(np.diff(runs[order])) + 1
    latest = np.concatenate([np.maximum.accumulate(part) for part in np.split(time, ends)])
    return order[np.argsort(latest, kind="stable")]
