"""Tables over families of experiments: statistics over their members' metrics, and differences between two sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mlv.errors import InvalidArgument
from mlv.executors import On, executor_of
from mlv.optional import package
from mlv.query import logged_tables, unique_names
from mlv.query.digest import Digest
from mlv.query.events import Events, refuse_unknown_stream
from mlv.query.many import axes, families, grids
from mlv.query.many import values as values_
from mlv.query.many.families import Family, ParentOf, texts
from mlv.query.many.grids import Grid
from mlv.query.many.statistics import Samples, aggregated, samples_of
from mlv.query.many.tasks import MOST, MOST_BYTES, TaskBatch, batches, light, named, run_on_experiments, size_bytes
from mlv.query.metrics import data_frames
from mlv.query.rewinds import SURVIVING, rewinds_of
from mlv.query.unreadable import leaving_out
from mlv.store.streams import Skipped

Show = Callable[[Sequence[Digest]], Iterable[Digest]]
"""Iterates over experiments while they are read, and may show progress."""
Points = Callable[[Sequence[Digest], Callable[[str], bool]], values_.TableOf]
"""Gives the stored points of experiments, of the metrics of which a function says that they are wanted."""


def aggregate(
    digests: Sequence[Digest],
    parent_of: ParentOf,
    over: str | Iterable[str],
    metrics: str | Iterable[str] | None,
    x: str | None,
    stats: str | Iterable[str],
    ci: float | None,
    show: Show = iter,
    grid: Grid = grids.EXACT,
    on: On = None,
    points: Points | None = None,
) -> Any:
    """Implement `Experiments.aggregate`; with `points`, from where these are stored, in this process."""
    grids.checked_grid(grid)
    np, pandas = package("numpy"), package("pandas")
    all_families = families.families(digests, over, parent_of)
    # Each task reads them again.
    metrics = metrics if texts(metrics) is None else texts(metrics)
    named_stats = texts(stats)
    reading = values_.Reading(metrics, x)
    table_of = None
    if points is not None:
        is_requested, axis = values_.matcher(texts(metrics)), str(x).removeprefix(axes.METRICS)
        members = [digests[number] for family in all_families for number in family.members]
        table_of, on = points(members, lambda name: is_requested(name) or name == axis), None
    pooling = partial(_pooled, metrics, x, stats if named_stats is None else named_stats, ci, grid, table_of)
    tables, skipped = [], list[str]()
    with executor_of(on) as executor:
        for pooled in run_on_experiments(executor, pooling, _portions(all_families, digests, show)):
            numbers, table = np.array(reading.logged.include(pooled.logged), np.int64), pooled.table
            table["metric"] = numbers[table["metric"]] if len(numbers) else table["metric"]
            if (np.diff(numbers) < 0).any():  # an earlier family logged them in another order
                order = np.lexsort((table["metric"], table["family"]))
                table = {name: column[order] for name, column in table.items()}
            tables.append(table)
            skipped += pooled.skipped
    reading.check()
    whole = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]} if tables else {}
    positions, none = whole.pop("x", np.array([])), np.array([], np.int64)
    columns = {
        **described(all_families, whole.pop("family", none)),
        "metric": _spread([*reading.logged.metrics, ""], whole.pop("metric", none)),
        **({} if x is None else {x: _as_shown(pandas, np, x, positions)}),
        **whole,
    }
    table = pandas.DataFrame(columns, copy=False)  # all arrays are new
    return _with_skipped(table, skipped)


@dataclass(frozen=True)
class _Portion:
    """A task: whole families, which are in memory together."""

    first: int
    """Number of the first family."""
    sizes: tuple[int, ...]
    """The number of members of each."""
    digests: tuple[Digest, ...]
    """Their members, one family after the other."""

    @property
    def folders(self) -> list[Path]:
        """The folders of the members."""
        return [digest.path for digest in self.digests]

    def __str__(self) -> str:
        return named(self.folders)


@dataclass
class _Pooled:
    """The statistics of a portion: no value of a single experiment leaves its worker."""

    table: dict[str, Any]
    """Arrays, with the numbers of families and, as in `logged`, of metrics."""
    logged: values_.Logged
    skipped: list[str]


def _portions(all_families: Sequence[Family], digests: Sequence[Digest], show: Show) -> Iterator[_Portion]:
    """Yield families in tasks, each of some experiments, or of one larger family."""
    watched = iter(show([digests[number] for family in all_families for number in family.members]))
    first, sizes, members, size = 0, list[int](), list[Digest](), 0
    for number, family in enumerate(all_families):
        own = list(islice(watched, len(family.members)))
        sizes.append(len(own))
        members += map(light, own)
        size += sum(size_bytes(digest.path) for digest in own)
        if len(members) >= MOST or size >= MOST_BYTES or number == len(all_families) - 1:
            yield _Portion(first, tuple(sizes), tuple(members))
            first, sizes, members, size = number + 1, [], [], 0


def _pooled(
    metrics: Any, x: str | None, stats: Any, ci: float | None, grid: Grid, table_of: values_.TableOf | None, portion: _Portion
) -> _Pooled:
    """Read the members of some families, and return the statistics of each."""
    np = package("numpy")
    reading = values_.Reading(metrics, x, table_of=table_of)
    values = values_.joined(reading.values(enumerate(portion.digests)))
    width = max(1, len(reading.logged.metrics))
    ends = np.cumsum(portion.sizes)
    own = [Family(None, {}, list(range(end - size, end))) for end, size in zip(ends, portion.sizes, strict=True)]
    samples, sizes = samples_of(values, own, width)
    table = aggregated(grids.on_grid(samples, grid), sizes, stats, ci)
    group = table.pop("group")
    return _Pooled({"family": portion.first + group // width, "metric": group % width, **table}, reading.logged, values.skipped)


def _with_skipped(table: Any, skipped: list[str]) -> Any:
    if skipped:
        table.attrs["skipped"] = skipped
    return table


def described(all_families: Sequence[Family], rows: Any) -> dict[str, Any]:
    """Return columns that describe the family of each row: its number, its kind, and the settings in which families differ."""
    columns = {"kind": [family.kind for family in all_families]}
    for name in families.varying(all_families):
        columns[families.column_of(name)] = [family.settings.get(name) for family in all_families]
    return {"family": rows, **{name: _spread(values, rows) for name, values in columns.items()}}


def _spread(values: Sequence[Any], numbers: Any) -> Any:
    """Return the value of each number as a column, whose type pandas chooses by the values that occur."""
    np, pandas = package("numpy"), package("pandas")
    occurring, codes = np.unique(numbers, return_inverse=True)
    # Of a million rows pandas would look at each value.
    return pandas.Series([values[number] for number in occurring]).array.take(codes.reshape(-1))


def _as_shown(pandas: Any, np: Any, x: str, positions: Any) -> Any:
    """Return the column of an x axis: moments as such, whole numbers as integers."""
    return pandas.to_datetime(positions, unit="s", utc=True) if x == axes.TIME else as_integers(np, positions)


def as_integers(np: Any, numbers: Any) -> Any:
    """Return numbers as integers, if all are whole: steps nearly always are."""
    is_whole = len(numbers) > 0 and bool(np.all(numbers == np.floor(numbers))) and bool(np.all(abs(numbers) < 2**53))
    return numbers.astype(np.int64) if is_whole else numbers


def tables(digests: Iterable[Digest], name: str | None) -> Any:
    """Implement `Experiments.tables`."""
    pandas = package("pandas")
    frames, skipped = [], list[str]()
    for digest in digests:
        with leaving_out(digest.path):
            events = Events(digest.path, "table", name, rewinds=rewinds_of(digest.path))
            logged = logged_tables.tables(digest.path, events)
            skipped += [f"{digest.path}: {hole}" for hole in logged.attrs.pop("skipped", ())]
            logged.insert(0, "exp_name", digest.name)
            logged.insert(0, "exp", digest.id)
            frames.append(logged)
    filled = [frame for frame in frames if len(frame)] or frames
    table = pandas.concat(filled, ignore_index=True) if filled else pandas.DataFrame()
    return _with_skipped(table, skipped)


def history(
    digests: Iterable[Digest], pattern: str | None, keys: Iterable[str] | None, stream: str | None, wide: bool, on: On = None
) -> Any:
    """Implement `Experiments.history`."""
    pandas = package("pandas")
    requested = keys if keys is None or isinstance(keys, str) else list(keys)
    ordered, all_columns = list[Digest](), list[_Columns | None]()
    logged_names, skipped = dict[str, None](), list[str]()
    reading = partial(_histories, pattern, requested, stream, wide)

    def folders() -> Iterator[Path]:
        for digest in digests:
            ordered.append(digest)
            yield digest.path

    with executor_of(on) as executor:
        for columns, names, holes in run_on_experiments(executor, reading, batches(folders(), Path)):
            all_columns += columns
            logged_names.update(names)
            skipped += holes
    histories = [(digest, own) for digest, own in zip(ordered, all_columns, strict=True) if own is not None]
    if histories:
        refuse_unknown_stream([digest.path for digest, _ in histories], stream)
        data_frames.refuse_unknown(pattern, requested, logged_names)
    # Names of all experiments together: a coordinate of one and a metric of another are two columns.
    spelled = unique_names.spelled(
        dict.fromkeys([("", "exp"), ("", "exp_name"), *(key for _, columns in histories for key in columns)])
    )
    tables = [_owned(pandas, digest, data_frames.framed(columns, spelled)) for digest, columns in histories]
    # A frame without rows has columns of no type, which would change those of the others.
    tables = [frame for frame in tables if len(frame)] or tables[:1]
    table = pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame(columns=["exp", "exp_name"])
    return _with_skipped(table, skipped)


_Columns = dict[unique_names.Column, Any]


def _histories(
    pattern: str | None, keys: Any, stream: str | None, wide: bool, batch: TaskBatch[Path]
) -> tuple[list[_Columns | None], dict[str, None], list[str]]:
    """Return the columns of each experiment, the names that were logged, and the damaged lines."""
    result: list[_Columns | None] = []
    logged_names, skipped = dict[str, None](), list[str]()
    for folder in batch.items:
        holes: list[Skipped] = []
        columns = None
        with leaving_out(folder):
            columns = data_frames.columns_of(folder, pattern, keys, stream, wide, None, SURVIVING, logged_names, holes)
        result.append(columns)
        skipped += [f"{folder}/{hole}" for hole in holes]
    return result, logged_names, skipped


def _owned(pandas: Any, digest: Digest, frame: Any) -> Any:
    owner = pandas.DataFrame({"exp": digest.id, "exp_name": digest.name}, index=frame.index)
    return pandas.concat([owner, frame], axis=1)  # the cost of an insertion grows with the number of columns


def paired(
    a: Sequence[Digest],
    b: Sequence[Digest],
    parent_of: ParentOf,
    over: str | Iterable[str],
    metrics: str | Iterable[str] | None,
    x: str | None,
    stats: str | Iterable[str],
    ci: float | None,
) -> Any:
    """Implement `Experiments.paired`."""
    np, pandas = package("numpy"), package("pandas")
    nuisance = families.checked_over(over)
    first, second = (_by_key(side, parent_of, nuisance, name) for side, name in ((a, "a"), (b, "b")))
    common = [key for key in first if key in second]
    if not common:
        raise InvalidArgument(f"a and b have no {' and '.join(nuisance)} in common: there is nothing to pair", over=over)
    values = values_.read([*(first[key] for key in common), *(second[key] for key in common)], metrics, x)
    group, member, position, value = _differences(np, values, len(common))
    numbers = aggregated(Samples(group, member, position, value), [len(common)] * max(1, len(values.metrics)), stats, ci)
    group, position = numbers.pop("group"), numbers.pop("x")
    table = pandas.DataFrame({
        "metric": np.array(values.metrics, object)[group] if values.metrics else [],
        **({} if x is None else {x: _as_shown(pandas, np, x, position)}),
        **numbers,
        "only_a": len(first) - len(common),
        "only_b": len(second) - len(common),
    })  # fmt: skip
    return _with_skipped(table, values.skipped)


def _by_key(side: Sequence[Digest], parent_of: ParentOf, over: Sequence[str], name: str) -> dict[bytes, Digest]:
    """Return the experiments of a side by the values of the keys that pair them."""
    result: dict[bytes, Digest] = {}
    for digest in side:
        key = families.key_of(families.settings(digest, parent_of), over)
        if key in result:
            text = f"{name} has {result[key].name} and {digest.name} with equal {' and '.join(over)}: choose one family"
            raise InvalidArgument(text, a=str(result[key].path), b=str(digest.path))
        result[key] = digest
    if not result:
        raise InvalidArgument(f"{name} has no experiments: choose some", side=name)
    return result


def _differences(np: Any, values: values_.Values, count: int) -> tuple[Any, Any, Any, Any]:
    """Return metric, pair, x and difference (second side minus first) where both sides have a value."""
    side = values.member // count
    pair = values.member % count
    keys = np.stack([values.metric.astype(float), pair.astype(float), values.x], axis=1)
    latest = []
    for number in (0, 1):
        own, later = keys[side == number], values.value[side == number]
        unique, last = np.unique(own[::-1], axis=0, return_index=True)  # of equal keys the later value wins
        latest.append((unique, later[::-1][last]))
    (first, a), (second, b) = latest
    both, of_first = np.unique(np.concatenate([first, second]), axis=0, return_inverse=True)
    of_first = of_first.reshape(-1)
    sides = np.full((2, len(both)), np.nan)
    is_there = np.zeros((2, len(both)), bool)
    for number, (where, side_values) in enumerate(((of_first[: len(first)], a), (of_first[len(first) :], b))):
        sides[number, where], is_there[number, where] = side_values, True
    keep = is_there.all(axis=0)
    with np.errstate(invalid="ignore"):
        difference = (sides[1] - sides[0])[keep]
    return both[keep, 0].astype(np.int64), both[keep, 1].astype(np.int64), both[keep, 2], difference
