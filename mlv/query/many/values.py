"""Values of metrics of many experiments, as arrays in the order in which they were logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from typing import Any

import orjson

from mlv.errors import InvalidArgument, UnknownMetric
from mlv.optional import package
from mlv.order import rows_in_order
from mlv.query.digest import Digest
from mlv.query.many import axes
from mlv.query.many.families import texts
from mlv.query.metrics import long_table, parse_many_logs
from mlv.query.metrics.columns import numbered
from mlv.query.metrics.parse import PARSERS, in_threads
from mlv.query.metrics.parse_json import NotPlain
from mlv.query.metrics.parse_many_logs import STEP, LogValues
from mlv.query.name_patterns import NamePattern, name_matcher
from mlv.store.streams import Skipped


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
        x: `step`, the name of a coordinate, `time elapsed active` or `metrics.NAME` as in `axes`: values without it are passed
            over. None takes the last value of each metric.
            A metric of which no value of an experiment has a step is numbered there from 0, over all runs.

    Raises:
        UnknownMetric: Nobody logged such a metric.
        InvalidArgument: None of these has such a place.
        InvalidPattern: A pattern cannot be read.
        MissingExtra: pyarrow is not installed.
    """
    reading = Reading(wanted, x)
    found = joined(reading.values(enumerate(digests)))
    reading.check()
    return replace(found, metrics=list(reading.metrics))


def joined(parts: Iterable[Values]) -> Values:
    """Parts as one; the names of the metrics are left out."""
    np = package("numpy")
    none, nowhere = np.array([], np.int64), np.array([], float)
    found = [Values([], none, none, nowhere, nowhere, []), *parts]
    member, metric, x, value = (
        np.concatenate([getattr(part, name) for part in found]) for name in ("member", "metric", "x", "value")
    )
    return Values([], member, metric, x, value, [hole for part in found for hole in part.skipped])


_BATCH = 16
"""So many experiments are parsed at once."""


class Reading:
    """Reads values of metrics, of one experiment after the other, and knows at the end what was not there."""

    def __init__(self, wanted: str | Iterable[str] | None, x: str | None) -> None:
        self._wanted = None if wanted is None else texts(wanted)
        if self._wanted is None and wanted is not None:
            raise InvalidArgument(f"metrics={wanted!r}: give names, or patterns over names, such as 'train/*'", metrics=wanted)
        self._is_wanted = _matcher(self._wanted)
        self._x = x
        self._seen: set[str] = set()
        self._has_numbers = self._has_places = False
        self.metrics: dict[str, int] = {}
        """Names of those that were read, and their numbers."""

    def values(self, members: Iterable[tuple[int, Digest]]) -> Iterator[Values]:
        """Values of some experiments, given with their numbers: as parts, in which those of one experiment are together."""
        np, members = package("numpy"), iter(members)
        pieces = iter(lambda: list(islice(members, _BATCH)), [])
        for parts in in_threads(self._parts, pieces, PARSERS):
            for part in parts:
                self._seen.update(part.seen)
                self._has_numbers |= part.has_numbers
                self._has_places |= len(part.x) > 0
                codes = [
                    self.metrics.setdefault(name, len(self.metrics)) if self._is_wanted(name) else -1 for name in part.seen
                ]
                metric = np.array(codes, np.int64)[part.metric] if codes else part.metric
                yield Values([], part.member, metric, part.x, part.value, part.skipped)

    def check(self) -> None:
        """Raise where nothing of what was wanted was found."""
        _check_all_found(self._wanted, self._seen)
        if self.metrics and not self._has_numbers:
            names = ", ".join(map(repr, sorted(self.metrics)[:5]))
            raise InvalidArgument(f"no value of {names} is a number", metrics=self._wanted)
        if self.metrics and self._x is not None and not self._has_places:
            raise InvalidArgument(f"x={self._x!r}: none of these metrics has such a {self._kind_of_x()}", x=self._x)

    def _kind_of_x(self) -> str:
        x = str(self._x)
        if x == STEP or x in axes.TIMES:
            return "step" if x == STEP else "time"
        if x.startswith(axes.METRICS):
            return f"metric beside it{_nearby(x.removeprefix(axes.METRICS), sorted(self._seen))}"
        return f"coordinate; for the metric of that name give x='metrics.{x}'" if x in self._seen else "coordinate"

    def _parts(self, batch: Sequence[tuple[int, Digest]]) -> list[LogValues]:
        """Together what is plain, the rest one by one."""
        if axes.is_special(self._x):
            return [self._part(member, digest) for member, digest in batch]
        for sifted in (False, True):
            alone, blocks = set[int](), list[tuple[int, bytes]]()
            for member, digest in batch:
                try:
                    block = parse_many_logs.block_of(digest.path, sifted=sifted)
                except (NotPlain, OSError):
                    alone.add(member)
                else:
                    blocks += [(member, block)] if block else []
            with suppress(NotPlain):
                part, several = parse_many_logs.parsed(blocks, self._x, self._is_wanted) if blocks else (None, set[int]())
                others = [self._part(member, digest) for member, digest in batch if member in alone | several]
                return [*others, *([part] if part is not None else [])]
        return [self._part(member, digest) for member, digest in batch]

    def _part(self, member: int, digest: Digest) -> LogValues:
        """Of one experiment, whatever it holds."""
        np = package("numpy")
        holes: list[Skipped] = []
        table = long_table.metrics_of_many(digest.path, holes)
        codes, own = _coded(np, table.column("name"))
        is_wanted = np.array([self._is_wanted(name) for name in own], bool)
        value, is_number = _numbers(np, table)
        order = in_order(table)
        places = _places(np, table, self._x, order, digest)
        at = numbered(places[order], codes[order]) if self._x == STEP else places[order]
        is_kept = (is_wanted[codes] if own else codes > 0)[order] & is_number[order]
        has_numbers = bool(is_kept.any())
        is_kept &= ~np.isnan(at)
        keep = order[is_kept]
        skipped = [f"{digest.path}/{hole}" for hole in holes]
        return LogValues(own, np.full(len(keep), member), codes[keep], at[is_kept], value[keep], has_numbers, skipped)


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


def _nearby(wanted: str, names: Sequence[str]) -> str:
    close = get_close_matches(wanted, names)
    return f": did you mean {' or '.join(f'{axes.METRICS}{name}' for name in close)}?" if close and wanted not in names else ""


def _coded(np: Any, names: Any) -> tuple[Any, list[str]]:
    """For each row the place of its text among the distinct ones, and those."""
    encoded = names.combine_chunks().dictionary_encode()
    if hasattr(encoded, "combine_chunks"):
        encoded = encoded.combine_chunks()
    return np.asarray(encoded.indices.fill_null(0)).astype(np.int64), encoded.dictionary.to_pylist()


def _places(np: Any, table: Any, x: str | None, order: Any, digest: Digest) -> Any:
    """Where each value belongs; NaN where that is not said."""
    if x is None:
        return np.zeros(table.num_rows)
    if x == STEP:
        return _floats(np, table.column("step"))
    if x in axes.TIMES:
        return axes.times(table, x, digest)
    if x.startswith(axes.METRICS):
        return axes.of_metric(table, x.removeprefix(axes.METRICS), order)
    x = x.removeprefix(axes.AT)
    at = table.column("at")
    if at.null_count == table.num_rows:
        return np.full(table.num_rows, np.nan)
    codes, texts = _coded(np, at)
    found = [orjson.loads(text).get(x) if text else None for text in texts]
    places = np.array([value if isinstance(value, (int, float)) else np.nan for value in found], float)
    return np.where(np.asarray(at.is_valid()), places[codes], np.nan)


def _floats(np: Any, column: Any) -> Any:
    return np.asarray(column.combine_chunks().cast("float64").to_numpy(zero_copy_only=False), float)


def _numbers(np: Any, table: Any) -> tuple[Any, Any]:
    """The values as floats, and whether each is a number: NaN is one; truth values count as 1 and 0."""
    value, is_number = _floats(np, table.column("value")), np.asarray(table.column("value").is_valid())
    if table.column("text").null_count < table.num_rows:
        pc = package("pyarrow.compute")
        for text, number in (("true", 1.0), ("false", 0.0)):
            is_text = np.asarray(pc.equal(table.column("text"), text).fill_null(False))
            value, is_number = np.where(is_text, number, value), is_number | is_text
    return value, is_number


def ordered(table: Any) -> Any:
    """A table of metrics in the order in which they were logged."""
    np, order = package("numpy"), in_order(table)
    is_ordered = bool((np.diff(order) > 0).all())
    return table if is_ordered else table.take(package("pyarrow").array(order))


def in_order(table: Any) -> Any:
    """Places of the rows in the order in which they were logged."""
    np = package("numpy")
    runs, own = _coded(np, table.column("run"))
    return rows_in_order(runs, own, np.asarray(table.column("seq")), np.asarray(table.column("time").cast("int64")))
