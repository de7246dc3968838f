"""Values of metrics of many experiments, as arrays in the order of logging."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from mlv import words
from mlv.errors import InvalidArgument, UnknownMetric
from mlv.optional import package
from mlv.order import rows_in_order
from mlv.query.digest import Digest, read_digest
from mlv.query.many import axes
from mlv.query.many.families import texts
from mlv.query.metrics import long_table, parse_many_logs
from mlv.query.metrics.columns import numbered
from mlv.query.metrics.parse import PARSERS, in_threads
from mlv.query.metrics.parse_json import NotPlain
from mlv.query.metrics.parse_many_logs import STEP, LogValues
from mlv.query.metrics.summary import SUMMARIZED, Summary
from mlv.query.name_patterns import NamePattern, name_matcher
from mlv.query.sql.arrow import nearest_float
from mlv.state import LAST
from mlv.store.streams import Skipped


@dataclass(frozen=True)
class Values:
    """Values with their metric, experiment and position on the x axis; arrays of equal length."""

    metrics: list[str]
    member: Any
    """Index of the experiment."""
    metric: Any
    """Index in `metrics`."""
    x: Any
    value: Any
    skipped: list[str]
    """Damaged lines that were passed over."""


def read(digests: Iterable[Digest], requested: str | Iterable[str] | None, x: str | None) -> Values:
    """Read values of metrics.

    Args:
        digests: The experiments.
        requested: Names, or patterns over names; one with stars may match none. None takes all metrics.
        x: `step`, the name of a coordinate, `time elapsed active` or `metrics.NAME` as in `axes`: values without it are passed
            over. None takes the value that stands for each metric, mostly the last number.
            The values of a metric that an experiment logged without any step are numbered there from 0, over all runs.

    Raises:
        UnknownMetric: Nobody logged such a metric.
        InvalidArgument: None of these metrics has such an x.
        InvalidPattern: A pattern cannot be read.
        MissingExtra: pyarrow is not installed.
    """
    reading = Reading(requested, x)
    values = joined(reading.values(enumerate(digests)))
    reading.check()
    return replace(values, metrics=list(reading.metrics))


def joined(chunks: Iterable[Values]) -> Values:
    """Concatenate values; the names of the metrics are left out."""
    np = package("numpy")
    none, nowhere = np.array([], np.int64), np.array([], float)
    all_chunks = [Values([], none, none, nowhere, nowhere, []), *chunks]
    member, metric, x, value = (
        np.concatenate([getattr(chunk, name) for chunk in all_chunks]) for name in ("member", "metric", "x", "value")
    )
    return Values([], member, metric, x, value, [hole for chunk in all_chunks for hole in chunk.skipped])


TableOf = Callable[[Digest], Any]
"""Gives the points of an experiment, as `mlv.query.metrics.long_table` does: at least those that are requested."""

_BATCH = 16
"""Experiments that are parsed at once."""


@dataclass
class Logged:
    """What experiments logged, of which values were read."""

    names: set[str] = field(default_factory=set)
    """Names of all metrics."""
    metrics: dict[str, int] = field(default_factory=dict)
    """Numbers of the metrics that were read, by name, in the order of the experiments."""
    has_numbers: bool = False
    has_positions: bool = False
    """Whether any number has an x."""

    def include(self, later: Logged) -> list[int]:
        """Add what later experiments logged; return the number of each of their metrics here."""
        self.names |= later.names
        self.has_numbers |= later.has_numbers
        self.has_positions |= later.has_positions
        return [self.metrics.setdefault(name, len(self.metrics)) for name in later.metrics]


class Reading:
    """Reads values of metrics, of one experiment after the other, and checks at the end that all requested ones exist."""

    def __init__(
        self,
        requested: str | Iterable[str] | None,
        x: str | None,
        cuts: Mapping[Path, Mapping[str, int]] | None = None,
        table_of: TableOf | None = None,
    ) -> None:
        """Prepare to read: of an experiment with a cut, by its folder, only up to the last `seq` of each run in it.

        With `table_of` no log is read: it has the points, and the digests have the numbers of all metrics.
        """
        self._cuts = cuts or {}
        self._table_of = table_of
        self._requested = None if requested is None else texts(requested)
        if self._requested is None and requested is not None:
            raise InvalidArgument(
                f"metrics={requested!r}: give names, or patterns over names, such as 'train/*'", metrics=requested
            )
        self._is_requested = matcher(self._requested)
        self._x = x
        self.logged = Logged()

    def values(self, members: Iterable[tuple[int, Digest]]) -> Iterator[Values]:
        """Yield values of experiments, which come with their numbers; the values of one experiment come together."""
        np, members = package("numpy"), iter(members)
        batches = iter(lambda: list(islice(members, _BATCH)), [])
        for logs in in_threads(self._read_batch, batches, PARSERS):
            if len(logs) > 1:
                names = filter(self._is_requested, _in_order_of_members(logs))
                self.logged.include(Logged(metrics=dict.fromkeys(names, 0)))
            for log in logs:
                # Every name gets a number once, in the order of the experiments: groups are numbers from here on.
                requested = {name: 0 for name in log.names if self._is_requested(name)}
                self.logged.include(Logged(set(log.names), requested, log.has_numbers, len(log.x) > 0))
                codes = [self.metrics.get(name, -1) for name in log.names]
                metric = np.array(codes, np.int64)[log.metric] if codes else log.metric
                yield Values([], log.member, metric, log.x, log.value, log.skipped)

    @property
    def metrics(self) -> dict[str, int]:
        """Numbers of the metrics that were read, by name."""
        return self.logged.metrics

    def check(self) -> None:
        """Raise where no requested metric was logged, or none has a number, or none has the x."""
        _check_all_found(self._requested, self.logged.names)
        if self.metrics and not self.logged.has_numbers:
            names = ", ".join(map(repr, sorted(self.metrics)[:5]))
            raise InvalidArgument(f"no value of {names} is a number", metrics=self._requested)
        if self.metrics and self._x is not None and not self.logged.has_positions:
            raise InvalidArgument(f"x={self._x!r}: none of these metrics has such a {self._kind_of_x()}", x=self._x)

    def _kind_of_x(self) -> str:
        x = str(self._x)
        if x == STEP or x in axes.TIMES:
            return "step" if x == STEP else "time"
        if x.startswith(axes.METRICS):
            return f"metric beside it{_nearby(x.removeprefix(axes.METRICS), sorted(self.logged.names))}"
        return f"coordinate; for the metric of that name give x='metrics.{x}'" if x in self.logged.names else "coordinate"

    def _read_batch(self, batch: Sequence[tuple[int, Digest]]) -> list[LogValues]:
        """Read a batch of experiments: plain logs together, all others one by one."""
        if self._table_of is not None:
            return [self._read_stored(member, digest) for member, digest in batch]
        if axes.is_special(self._x) or self._cuts:
            return [self._read_one(member, digest) for member, digest in batch]
        alike = [pair for pair in batch if not self._chooses_values(pair[1])]
        chosen = [self._read_chosen(member, digest) for member, digest in batch if self._chooses_values(digest)]
        return [*chosen, *self._read_alike(alike)]

    def _chooses_values(self, digest: Digest) -> bool:
        """Return whether an experiment says itself which values stand for its metrics, and these are wanted."""
        return self._x is None and digest.state.is_summarized

    def _read_alike(self, batch: Sequence[tuple[int, Digest]]) -> list[LogValues]:
        """Read experiments of which the values in the log are wanted."""
        # First as they are: to sift out lines that are no metrics takes longer, and most short logs need it not.
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
                plain, several = parse_many_logs.parsed(blocks, self._x, self._is_requested) if blocks else (None, set[int]())
                separate = [self._read_one(member, digest) for member, digest in batch if member in alone | several]
                return [*separate, *([plain] if plain is not None else [])]
        return [self._read_one(member, digest) for member, digest in batch]

    def _read_chosen(self, member: int, digest: Digest) -> LogValues:
        """Read one experiment that says itself which values stand for its metrics."""
        summaries = read_digest(digest.path, digest.id, digest.meta).metrics
        return self._with_chosen(member, self._read_one(member, digest), summaries)

    def _with_chosen(self, member: int, log: LogValues, summaries: Mapping[str, Summary]) -> LogValues:
        """Return values with those that summaries choose in place of the others of their metrics."""
        np = package("numpy")
        numbers = {name: _chosen_number(summary) for name, summary in summaries.items() if summary.statistic != LAST}
        names = list(dict.fromkeys([*log.names, *numbers]))
        keep = np.array([name not in numbers for name in log.names], bool)[log.metric] if log.names else log.metric > 0
        chosen = [(names.index(name), number) for name, number in numbers.items() if number is not None]
        chosen = [(code, number) for code, number in chosen if self._is_requested(names[code])]
        codes, values = [code for code, _ in chosen], [number for _, number in chosen]
        return replace(
            log,
            names=names,
            member=np.full(int(keep.sum()) + len(chosen), member),
            metric=np.concatenate([log.metric[keep], np.array(codes, np.int64)]),
            x=np.zeros(int(keep.sum()) + len(chosen)),
            value=np.concatenate([log.value[keep], np.array(values, float)]),
            has_numbers=bool(keep.any()) or bool(chosen),
        )

    def _read_stored(self, member: int, digest: Digest) -> LogValues:
        """Read one experiment from where its points are stored, or from its digest, where that suffices."""
        np = package("numpy")
        # All but those of `exp.summarize` alone.
        logged = [
            name for name, own in digest.metrics.items() if own.statistic != SUMMARIZED or own.count or own.last is not None
        ]
        values = _standing(digest, self._is_requested) if self._x is None else None
        if values is None:
            assert self._table_of is not None
            log = self._of_table(member, digest, self._table_of(digest), [])
            names = list(dict.fromkeys([*logged, *log.names]))
            codes = np.array(list(map(names.index, log.names)) or [0], np.int64)
            log = replace(log, names=names, metric=codes[log.metric])
            return log if self._x is not None else self._with_chosen(member, log, digest.metrics)
        names = list(digest.metrics)
        codes, count = np.array(list(map(names.index, values)), np.int64), len(values)
        return LogValues(
            names, np.full(count, member), codes, np.zeros(count), np.array(list(values.values()), float), bool(values)
        )

    def _read_one(self, member: int, digest: Digest) -> LogValues:
        """Read one experiment, plain or not."""
        holes: list[Skipped] = []
        table = long_table.metrics_of_many(digest.path, holes, self._cuts.get(digest.path))
        return self._of_table(member, digest, table, holes)

    def _of_table(self, member: int, digest: Digest, table: Any, holes: Sequence[Skipped]) -> LogValues:
        """Return the values of a metrics table."""
        np = package("numpy")
        codes, own = coded(table.column("name"))
        value, is_number = numbers(table)
        # Later values win at equal x, so that the order of the events has to be known before anything is left out.
        order = in_order(table)
        if len(own) > 1:
            codes, own = _by_first_line(table, order, codes, own)
        is_requested = np.array([self._is_requested(name) for name in own], bool)
        position = positions(table, self._x, order, digest)
        at = numbered(position[order], codes[order]) if self._x == STEP else position[order]
        is_kept = (is_requested[codes] if own else codes > 0)[order] & is_number[order]
        has_numbers = bool(is_kept.any())
        # After `has_numbers`: a metric with numbers and without this x is another error than one without numbers.
        is_kept &= ~np.isnan(at)
        keep = order[is_kept]
        skipped = [f"{digest.path}/{hole}" for hole in holes]
        return LogValues(own, np.full(len(keep), member), codes[keep], at[is_kept], value[keep], has_numbers, skipped)


def _by_first_line(table: Any, order: Any, codes: Any, names: Sequence[str]) -> tuple[Any, list[str]]:
    """Return codes and names in the order of the first lines, stream by stream: a table has its rows as they were parsed."""
    np = package("numpy")
    streams, own_streams = coded(table.column("stream"))
    by_stream = order if len(own_streams) < 2 else order[np.argsort(streams[order], kind="stable")]
    firsts = np.zeros(len(names), np.int64)
    # Of equal indices the last one counts, which is the first from the end: a million rows take 5 ms, and to sort them 80.
    firsts[codes[by_stream][::-1]] = np.arange(len(codes))[::-1]
    ranks = np.argsort(firsts)
    codes_of_names = np.empty(len(names), np.int64)
    codes_of_names[ranks] = np.arange(len(names))
    return codes_of_names[codes], [names[number] for number in ranks]


_NOBODY = 1 << 60


def _in_order_of_members(logs: Sequence[LogValues]) -> list[str]:
    """Return the names of metrics in the order of the experiments with values of them, and of the lines of each.

    Plain logs were read together, before or after the others.
    """
    np = package("numpy")
    first: dict[str, tuple[int, int]] = {}
    for log in logs:
        member = np.full(len(log.names), _NOBODY, np.int64)
        np.minimum.at(member, log.metric, log.member)
        for index, name in enumerate(log.names):
            key = (int(member[index]), index)
            first[name] = min(first.get(name, key), key)
    return sorted(first, key=first.__getitem__)


def _standing(digest: Digest, is_requested: Callable[[str], bool]) -> dict[str, float] | None:
    """Return the number that stands for each metric by its digest; None where that does not tell the last number of one."""
    numbers: dict[str, float] = {}
    for name, summary in digest.metrics.items():
        if not is_requested(name):
            continue
        number = _chosen_number(summary)
        if number is not None:
            numbers[name] = number
        elif summary.statistic == LAST:
            return None
    return numbers


def _chosen_number(summary: Summary) -> float | None:
    """Return the value that stands for a metric as a float; truth values count as 1 and 0, others are none."""
    value = summary.value
    return nearest_float(value) if isinstance(value, (int, float)) else None


def matcher(patterns: Sequence[str] | None) -> Callable[[str], bool]:
    """Return a function that says whether a name is like one of some patterns; of any name, if there are none."""
    if patterns is None:
        return lambda name: True
    matchers = [name_matcher(pattern) for pattern in patterns]
    return lambda name: any(matches(name) for matches in matchers)


def _check_all_found(patterns: Sequence[str] | None, logged_names: Iterable[str]) -> None:
    names = sorted(logged_names)
    for pattern in patterns or ():
        if NamePattern(pattern).is_one_name and not any(map(name_matcher(pattern), names)):
            raise unknown_metric(pattern.replace("{{", "{").replace("}}", "}"), names)


def unknown_metric(name: str, names: Sequence[str]) -> UnknownMetric:
    """Return the error for a metric that nobody logged."""
    close = get_close_matches(name, names)
    hint = words.did_you_mean(map(repr, close)) if close else f"there are: {', '.join(names[:12]) or 'none'}"
    return UnknownMetric(f"nobody logged a metric {name!r}; {hint}", name=name)


def _nearby(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names)
    return f": {words.did_you_mean(f'{axes.METRICS}{name}' for name in close)}" if close and name not in names else ""


def coded(names: Any) -> tuple[Any, list[str]]:
    """Return for each row the index of its text among the distinct texts, and these."""
    np = package("numpy")
    encoded = names.combine_chunks().dictionary_encode()
    if hasattr(encoded, "combine_chunks"):
        encoded = encoded.combine_chunks()
    return np.asarray(encoded.indices.fill_null(0)).astype(np.int64), encoded.dictionary.to_pylist()


def positions(table: Any, x: str | None, order: Any, digest: Digest) -> Any:
    """Return the position of each value of a metrics table on the x axis; NaN where it has none."""
    np = package("numpy")
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
    # Each distinct text is parsed once: a million lines have few.
    codes, texts = coded(at)
    coordinates = [orjson.loads(text).get(x) if text else None for text in texts]
    numbers = np.array([value if isinstance(value, (int, float)) else np.nan for value in coordinates], float)
    return np.where(np.asarray(at.is_valid()), numbers[codes], np.nan)


def _floats(np: Any, column: Any) -> Any:
    return np.asarray(column.combine_chunks().cast("float64").to_numpy(zero_copy_only=False), float)


def numbers(table: Any) -> tuple[Any, Any]:
    """Return the values as floats, and whether each is a number: NaN is one; truth values count as 1 and 0."""
    np = package("numpy")
    value, is_number = _floats(np, table.column("value")), np.asarray(table.column("value").is_valid())
    if table.column("text").null_count < table.num_rows:
        pc = package("pyarrow.compute")
        for text, number in (("true", 1.0), ("false", 0.0)):
            is_text = np.asarray(pc.equal(table.column("text"), text).fill_null(False))
            value, is_number = np.where(is_text, number, value), is_number | is_text
    return value, is_number


def ordered(table: Any) -> Any:
    """Return a table of metrics in the order of logging."""
    np, order = package("numpy"), in_order(table)
    is_ordered = bool((np.diff(order) > 0).all())
    return table if is_ordered else table.take(package("pyarrow").array(order))


def in_order(table: Any) -> Any:
    """Return the row numbers in the order of logging."""
    np = package("numpy")
    runs, own = coded(table.column("run"))
    return rows_in_order(runs, own, np.asarray(table.column("seq")), np.asarray(table.column("time").cast("int64")))
