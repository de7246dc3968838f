"""Experiments as views for SQL: `experiments`, `runs`, `events`, `metrics` and `files`, on DuckDB."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import orjson

from mlv.encoding import TAG, Huge, loads
from mlv.errors import QueryFailed
from mlv.optional import package
from mlv.query.digest import STATS, Digest
from mlv.query.many.table import moment
from mlv.query.metrics.schema import from_json_text
from mlv.query.rewinds import is_superseded
from mlv.query.runs import RunView
from mlv.query.statements import is_pivot, refuse_unless_reading
from mlv.query.structs import column, nearest_float, struct
from mlv.query.structs import text as text_of
from mlv.query.unique_names import distinct, folded
from mlv.query.unreadable import leaving_out
from mlv.query.zones import local_zone
from mlv.store import layout
from mlv.store.reading import Lines, looks_whole
from mlv.store.streams import Skipped

_GIT = ("commit", "branch", "dirty", "message", "date")
_MACHINE = ("host", "user", "platform", "os", "arch", "cpu", "memory_bytes")
_SETTINGS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False, "python_enable_replacements": False}
"""A query sees the views, and no variables of Python; nothing is fetched from the network."""
_LOCKS = ("enable_external_access = false", "lock_configuration = true")
"""Nor does it see files, or write them."""
_NAMES_TOLD, _NAMES_LISTED = 3, 12
_LONGEST = 400


class Result:
    """What a query gave, as an Arrow table; anything that speaks Arrow can take it as it is: `polars.DataFrame(result)`."""

    def __init__(self, table: Any, skipped: Iterable[str] = ()) -> None:
        self._table = table
        self._fetched = 0
        self.skipped = list(dict.fromkeys(skipped))
        """Damaged lines that were passed over, with their files and byte ranges."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._table.column_names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows as Python values."""
        return list(zip(*(values.to_pylist() for values in self._table.columns), strict=True))

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, None after the last one."""
        return next(iter(self._fetch(1)), None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that were not fetched yet: at first all; `rows()` gives all of them each time."""
        return self._fetch(len(self))

    def _fetch(self, count: int) -> list[tuple[Any, ...]]:
        table = self._table.slice(self._fetched, count)
        self._fetched += int(table.num_rows)
        return Result(table).rows()

    def arrow(self) -> Any:
        """As a `pyarrow.Table`."""
        return self._table

    def pl(self) -> Any:
        """As a polars DataFrame.

        Raises:
            MissingExtra: polars is not installed.
        """
        return package("polars", None).DataFrame(self._table)

    def df(self) -> Any:
        """As a pandas DataFrame.

        Raises:
            MissingExtra: pandas is not installed.
        """
        package("pandas")
        return self._table.to_pandas()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<Result of {len(self)} rows: {', '.join(self.columns)}>"


def query(
    text: str, digests: Callable[[bool], Sequence[Digest]], watch: Callable[[Sequence[Digest]], Iterable[Digest]] = iter
) -> Result:
    """Run a query over the views; only those that it names are read.

    Args:
        text: One statement that reads; it sees the views, and no files.
        digests: Gives the experiments; it is told whether their metrics are wanted.
        watch: Goes through them while their lines are read, and may show how far it is.

    Raises:
        QueryFailed: DuckDB does not accept it, or it gives no table.
        MissingExtra: duckdb or pyarrow is not installed.
    """
    _check_text(text, "query", "select name from experiments")
    session = _Session()
    names = session.views_in(text)
    found = digests("experiments" in names) if names else []
    skipped: list[str] = []
    for name in names:
        session.register(name, VIEWS[name](found) if name in VIEWS else LONG_VIEWS[name](watch(found), skipped))
    return Result(session.run(text), skipped)


def matching(predicate: str, digests: Sequence[Digest]) -> list[bool]:
    """Whether a predicate over the view `experiments` holds, for each experiment.

    Raises:
        QueryFailed, MissingExtra: As `query`.
    """
    _check_text(predicate, "where", "params.lr < 0.1")
    session = _Session()
    table = experiments(digests)
    session.register("experiments", table.append_column("_row", column(range(table.num_rows))))
    # The end of the line keeps a comment in the predicate from taking the parenthesis with it.
    text = f"select _row from experiments where ({predicate}\n)"  # noqa: S608 - the user's own
    session.parsed(text, predicate)
    for name in session.tables_in(text):
        if name != "experiments":  # in a query within the predicate
            session.register(name, VIEWS[name](digests) if name in VIEWS else LONG_VIEWS[name](digests, []))
    found = session.run(text, predicate)
    rows = set(found.column(0).to_pylist())
    return [row in rows for row in range(table.num_rows)]


def _check_text(text: object, what: str, example: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise QueryFailed(f"{what}={text!r} is no text, or empty: give one, such as {example!r}", query=text)


class _Session:
    """One connection, and the names that it knows."""

    def __init__(self) -> None:
        package("pyarrow", "sql")
        self._duckdb = package("duckdb", "sql")
        self._connection = self._duckdb.connect(config=_SETTINGS)
        # Before any text of a query is looked at: the names of its tables are asked for, and a file may be one.
        self._set_zone()
        for setting in _LOCKS:
            self._connection.execute(f"set {setting}")
        self._known: set[str] = set()

    def _set_zone(self) -> None:
        """Take the zone in which times are shown, so that `created::date = '2026-11-30'` holds of what is shown so."""
        for name in filter(None, (local_zone(), "UTC")):
            try:
                self._connection.execute("set TimeZone = '{}'".format(name.replace("'", "''")))
                return
            except self._duckdb.Error:  # a zone that DuckDB does not know
                continue

    def views_in(self, text: str) -> list[str]:
        """The views that a query names; all, where it asks for their names."""
        statements = self.parsed(text)
        if re.match(r"\s*(show|describe|desc)(\s+(all\s+)?tables)?[\s;]*$", text, re.IGNORECASE):
            return list(_NAMES)
        # In what cannot be looked into, any word may be a view's name.
        words = {word.lower() for word in re.findall(r"\w+", text)}
        return (not is_pivot(statements) and self.tables_in(text)) or [name for name in _NAMES if name in words]

    def tables_in(self, text: str) -> list[str]:
        """The views that a query names as tables, as far as DuckDB can tell."""
        try:
            named = {name.lower() for name in self._connection.get_table_names(text)}
        except self._duckdb.Error:
            named = set()  # it binds what it looks into: `using` wants columns of views that are not there yet
        return [name for name in _NAMES if name in named]

    def parsed(self, text: str, shown: str | None = None) -> list[Any]:
        """What DuckDB makes of a query.

        Raises:
            QueryFailed: It is not one statement that reads.
        """
        try:
            statements = list(self._connection.extract_statements(text))
        except self._duckdb.Error as error:
            raise self._translated(error, shown or text) from None
        refuse_unless_reading(statements, shown or text)
        return statements

    def register(self, name: str, table: Any) -> None:
        self._connection.register(name, table)
        self._known |= {name, *_dotted(table.schema)}

    def run(self, text: str, shown: str | None = None) -> Any:
        """The table that a query gives."""
        try:
            relation = self._connection.sql(text)
            if relation is None:
                raise QueryFailed("the query gives no table: give a select", query=shown or text)
            return _in_utc(relation.to_arrow_table())
        except self._duckdb.Error as error:
            raise self._translated(error, shown or text) from None

    def _translated(self, error: Exception, text: str) -> QueryFailed:
        said, _, _ = str(error).partition("\n\nLINE ")
        sentence = " ".join(said.split())
        sentence = re.sub(r" ?(Candidate \w+|Did you mean):? .*$", "", sentence)
        return QueryFailed(f"{sentence[:_LONGEST].rstrip('!.')}{self._hint(said, text)}", query=text)

    def _hint(self, said: str, text: str) -> str:
        """What to write instead: names that are close to the one that is not there, or a form that DuckDB takes."""
        unknown = _UNKNOWN.search(said)
        if "Permission Error" in said:
            return f". A query sees {', '.join(_NAMES)}, and no files: those are for DuckDB itself"
        if "VARCHAR[]" in said:
            return ". Tags and notes are lists: 'paper' in tags; array_to_string(notes, ' ') like '%first%'"
        if "Function with name" in said:
            return ""  # of DuckDB's own
        if unknown is None and "STRUCT(" in said:
            return ". Of a metric give one number, such as metrics.acc.max"
        if unknown is None and _MIXED.search(said):
            return _HINT_OF_MIXED
        if unknown is None:
            is_at = "syntax error" in said and re.search(r'(?<!["\w])at(?!["\w])', text, re.IGNORECASE)
            return '. The column at has the name of a word of SQL: write "at"' if is_at else ""
        wanted = folded(next(filter(None, unknown.groups())))
        if "table" in unknown[0] and any(name.startswith(f"{wanted}.") for name in self._known):
            return f". {wanted} is a column, and no table here: unnest({wanted}) spreads it, {wanted}.NAME is one of it"
        return self._close(wanted, self._around(wanted, text) if "in struct" in said else "")

    def _around(self, wanted: str, text: str) -> str:
        """What stands before a key of a struct in a query: `metrics.`; the structs whose keys there are."""
        before = re.search(rf'([\w.]+\.)"?{re.escape(wanted)}', text, re.IGNORECASE)
        begins = [folded(before[1])] if before else []
        begins += [begin.partition(".")[2] for begin in begins]  # without the name of a table
        return next((begin for begin in begins if begin and any(name.startswith(begin) for name in self._known)), "")

    def _close(self, wanted: str, begin: str) -> str:
        """Twins of a name, or those that are close to it, or those that there are."""
        known = {*self._known, *(() if begin else _NAMES)}
        names = sorted((name for name in known if name.startswith(begin)), key=lambda name: ("." in name, name))
        own = {name: name.removeprefix(begin) if begin else name.rsplit(".", 1)[-1] for name in names}
        twins = [name for name in names if re.fullmatch(rf'"{re.escape(wanted)}#[0-9a-f]+"', folded(_last(name)))]
        if twins:
            return (
                f": SQL does not look at case, so give {' or '.join(twins)}"
                f"{', or ask the view metrics, which has names as they are' if begin == 'metrics.' else ''}"
            )
        ends = {folded(_last(end).strip('"')): name for name, end in reversed(own.items())}
        close = [] if begin else get_close_matches(wanted, names, cutoff=0.6)
        close += [ends[end] for end in get_close_matches(wanted, ends, cutoff=0.6)]
        told = list(dict.fromkeys(close))[:_NAMES_TOLD]
        if told:
            return f": did you mean {' or '.join(told)}?"
        depth = begin.count(".")
        there = [name for name in names if name[0] != "_" and (not begin or len(_LEVELS.findall(name)) == depth + 1)]
        return f": there are {', '.join(there[:_NAMES_LISTED])}" if there else ""


def _in_utc(table: Any) -> Any:
    """A table whose moments are in UTC, as everywhere in the log: the zone is for what a query writes and compares."""
    pa = package("pyarrow", "sql")
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            column = table.column(place).cast(pa.timestamp(field.type.unit, "UTC"))
            table = table.set_column(place, pa.field(field.name, column.type), column)
    return table


_UNKNOWN = re.compile(
    r'(?:column|table|key|name) (?:"([^"]+)"|(\w+)).*? (?:not found|in struct|not exist)|column named "([^"]+)"'
)
_MIXED = re.compile(
    r"type VARCHAR and type|Cannot mix values of type VARCHAR|argument types '[^']*VARCHAR"
    r"|Could not convert string .* to (?:DECIMAL|DOUBLE|FLOAT|U?(?:TINY|SMALL|BIG|HUGE)?INT)"
)
_HINT_OF_MIXED = (
    ". Where some values are text, all are: try_cast(params.lr as double) gives the numbers;"
    " of a metric, metrics.acc.text has what is no number"
)
_LEVELS = re.compile(r'"(?:[^"]|"")*"|[^."]+')
"""The names of which a dotted one is made."""


def _last(name: str) -> str:
    return str(_LEVELS.findall(name)[-1])


def _dotted(fields: Any, prefix: str = "") -> Iterator[str]:
    """Names of all columns, as they are written in SQL."""
    for field in fields:
        name = field.name if re.fullmatch(r"[A-Za-z_]\w*", field.name) else '"' + field.name.replace('"', '""') + '"'
        yield prefix + name
        if hasattr(field.type, "num_fields") and str(field.type).startswith("struct<"):
            yield from _dotted([field.type.field(place) for place in range(field.type.num_fields)], f"{prefix}{name}.")


def experiments(digests: Sequence[Digest]) -> Any:
    """A row per experiment; params and metrics are structs, and null stands for a summary that is NaN."""
    now = datetime.now(timezone.utc)
    latest = [next(reversed(digest.runs(now)), None) for digest in digests]
    return of_columns({
        "id": [digest.id for digest in digests],
        "name": [digest.name for digest in digests],
        "made_as": _texts(digest.made_as for digest in digests),
        "kind": _texts(digest.kind for digest in digests),
        "status": [digest.status(now) for digest in digests],
        "path": [str(digest.path) for digest in digests],
        "created": _moments(moment(digest.created) for digest in digests),
        "started": _moments(run.started if run else None for run in latest),
        "duration_s": _numbers(run.duration_s if run else None for run in latest),
        "total_s": _numbers(digest.total_s(now) for digest in digests),
        "tags": _lists(digest.tags for digest in digests),
        "notes": _lists(digest.notes for digest in digests),
        "parent": _texts(digest.parent_id for digest in digests),
        "params": [digest.params or None for digest in digests],
        "metrics": _summaries(digests),
        "git": [{key: digest.captured("git").get(key) for key in _GIT} for digest in digests],
        "machine": [{key: digest.captured("machine").get(key) for key in _MACHINE} for digest in digests],
    })  # fmt: skip


def _summaries(digests: Sequence[Digest]) -> Any:
    names = dict.fromkeys(name for digest in digests for name in digest.metrics)
    if not names:
        return column([None] * len(digests))
    children = {}
    for name in names:
        found = [digest.metrics.get(name) for digest in digests]
        stats = {
            stat: _numbers(None if summary is None else _known(getattr(summary, stat)) for summary in found) for stat in STATS
        }
        others = [None if summary is None or _is_number(summary.last) else summary.last for summary in found]
        if any(other is not None for other in others):
            has_numbers = any(summary is not None and _is_number(summary.last) for summary in found)
            stats["last"] = stats["last"] if has_numbers else column(others)
            stats["text"] = _texts(None if other is None else text_of(other) for other in others)
        children[name] = struct(stats, [summary is None for summary in found])
    return struct(children, [False] * len(digests))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, Huge)


def _known(value: Any) -> float | None:
    """Null for NaN, which SQL takes for the greatest number: `metrics.acc.last > 0.9` must not hold of what diverged."""
    return nearest_float(value) if _is_number(value) and value == value else None


def runs(digests: Sequence[Digest]) -> Any:
    """A row per run, those of children included."""
    return of_columns(columns_of_runs(digests))


def columns_of_runs(digests: Sequence[Digest]) -> dict[str, Any]:
    """The columns of `runs`: lists of values, and arrays."""
    now = datetime.now(timezone.utc)
    found = [(digest, run) for digest in digests for run in _with_children(digest.runs(now))]
    return {
        **_of([digest for digest, _ in found]),
        "run": [run.id for _, run in found],
        "status": [run.status for _, run in found],
        "started": _moments(run.started for _, run in found),
        "ended": _moments(run.ended for _, run in found),
        "duration_s": _numbers(run.duration_s for _, run in found),
        "paused": [run.paused for _, run in found],
        "parent_run": _texts(run.parent_run for _, run in found),
        "exception": _texts((run.exception or {}).get("type") for _, run in found),
        "message": _texts((run.exception or {}).get("message") for _, run in found),
        "host": _texts((run.process or {}).get("host") for _, run in found),
        "params": [dict(run.params) or None for _, run in found],
    }  # fmt: skip


def _with_children(views: Iterable[RunView]) -> Iterator[RunView]:
    for view in views:
        yield view
        yield from _with_children(view.children)


def events(digests: Iterable[Digest], skipped: list[str]) -> Any:
    """A row per event, superseded ones too, in the order of the files; `data`, `at` and `nonfinite` are JSON as it stands.

    Damaged lines are passed over, and added to `skipped`: so in `metrics` and `files`.
    """
    cells: dict[str, list[Any]] = {name: [] for name in _EVENT}
    for digest in digests:
        rewinds = digest.state.rewinds
        for stream, fields, when in _lines(digest, skipped):
            step = fields.get("step")
            row = (
                digest.id, digest.name, stream, fields["run"], fields["seq"], when, fields["type"], fields.get("name") or "",
                float(step) if isinstance(step, (int, float)) else None,
                *(orjson.dumps(fields[key]).decode() if key in fields else None for key in ("at", "data", "nonfinite")),
                is_superseded(rewinds, fields["run"], fields["seq"], step),
            )  # fmt: skip
            for values, value in zip(cells.values(), row, strict=True):
                values.append(value)
    return of_columns(_typed(cells))


_EVENT = ("exp", "exp_name", "stream", "run", "seq", "time", "type", "name", "step", "at", "data", "nonfinite", "superseded")


def metrics(digests: Iterable[Digest], skipped: list[str]) -> Any:
    """A row per value of each metric, in the order of logging: `value` where it is a number, infinities included, else `text`.

    SQL takes NaN for the greatest number, so that it is no `value` but the text `nan`: no query for the best gives what
    diverged. A text is as it was logged, anything else its JSON; so is an integer that a float cannot hold, beside the
    nearest float.
    """
    from mlv.query.many import values as values_
    from mlv.query.metrics import long_table  # start threads: not for what `import mlv` imports

    pa = package("pyarrow", "sql")
    parts = []
    for digest in digests:
        holes: list[Skipped] = []
        found = _fenced(values_.ordered(long_table.metrics_of_many(digest.path, holes)))
        skipped += told(digest.path, holes)
        owner = [pa.repeat(pa.scalar(text, pa.string()), found.num_rows) for text in (digest.id, digest.name)]
        parts.append(pa.table([*owner, *found.columns], names=["exp", "exp_name", *found.column_names]))
    return pa.concat_tables(parts)


def _fenced(found: Any) -> Any:
    """Metrics of which NaN is a text, and texts are no JSON."""
    pa, compute = package("pyarrow", "sql"), package("pyarrow.compute", "sql")
    values, texts = found["value"], found["text"]
    if texts.null_count < len(texts):
        texts = pa.array([None if text is None else text_of(from_json_text(text)) for text in texts.to_pylist()], pa.string())
    is_nan = compute.is_nan(values)
    if compute.any(is_nan).as_py():
        texts = compute.if_else(compute.fill_null(is_nan, False), "nan", texts)
        values = compute.if_else(is_nan, pa.scalar(None, pa.float64()), values)
    places = {"value": values, "text": texts}
    return pa.table([places.get(name, found[name]) for name in found.column_names], names=found.column_names)


def files(digests: Iterable[Digest], skipped: list[str]) -> Any:
    """A row per reference to a file in an event, in the order of the files."""
    cells: dict[str, list[Any]] = {name: [] for name in _FILE}
    for digest in digests:
        for stream, fields, when in _lines(digest, skipped, containing=b'"_mlv":"file"'):
            for place, reference in _references(fields.get("data"), ""):
                step, size = fields.get("step"), reference.get("size")
                row = (
                    digest.id, digest.name, stream, fields["run"], fields["seq"], when, fields["type"], fields.get("name", ""),
                    float(step) if isinstance(step, (int, float)) else None, place, str(reference.get("path")),
                    size if isinstance(size, int) else None, reference.get("sha256"), reference.get("media_type"),
                )  # fmt: skip
                for values, value in zip(cells.values(), row, strict=True):
                    values.append(value)
    return of_columns(_typed(cells))


_FILE = (
    "exp", "exp_name", "stream", "run", "seq", "time", "type", "name", "step", "place", "path", "size", "sha256", "media_type",
)  # fmt: skip


def _references(data: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where in an event's data files are referred to, and the references."""
    if isinstance(data, dict):
        if data.get(TAG) == "file":
            yield place, data
            return
        for key, value in data.items():
            yield from _references(value, f"{place}.{key}" if place else key)
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from _references(value, f"{place}[{position}]")


def _lines(digest: Digest, skipped: list[str], containing: bytes = b"") -> Iterator[tuple[str, dict[str, Any], datetime]]:
    """Stream, fields and time of the lines that are whole events."""
    lines = Lines(digest.path, [])
    with leaving_out(digest.path):
        lines.streams = layout.streams_in(digest.path)
    for stream in lines.streams:
        for start, line in _raw(lines, stream):
            if containing not in line and looks_whole(line):
                continue
            event = lines.event(stream, start, line)
            if event is not None and containing in line:
                yield layout.logical_stream(stream), loads(line), event.time
    skipped += told(digest.path, lines.skipped)


def _raw(lines: Lines, stream: str) -> Iterator[tuple[int, bytes]]:
    with leaving_out(lines.folder):
        yield from lines.raw(stream)


def told(folder: Path, holes: Iterable[Skipped]) -> list[str]:
    """Damaged lines as texts, with the file that each stands in."""
    return [f"{folder}/{hole}" for hole in holes]


def _typed(cells: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Columns whose type does not depend on what stands in them."""
    pa = package("pyarrow", "sql")
    types = {
        "seq": pa.int64(),
        "size": pa.int64(),
        "step": pa.float64(),
        "time": pa.timestamp("us", tz="UTC"),
        "superseded": pa.bool_(),
    }
    return {name: _fitted(values, types.get(name, pa.string())) for name, values in cells.items()}


def _fitted(values: list[Any], type: Any) -> Any:
    """A column of a type; in a log that was tampered with, values of other types are left out."""
    pa = package("pyarrow", "sql")

    def fits(value: Any) -> bool:
        try:
            return bool(pa.array([value], type))
        except (pa.ArrowException, TypeError, OverflowError):
            return False

    try:
        return pa.array(values, type)
    except (pa.ArrowException, TypeError, OverflowError):
        return pa.array([value if fits(value) else None for value in values], type)


def _of(digests: Sequence[Digest]) -> dict[str, Any]:
    return {"exp": [digest.id for digest in digests], "exp_name": [digest.name for digest in digests]}


def of_columns(cells: Mapping[str, Any]) -> Any:
    """An Arrow table of columns, each a list of values or an array."""
    pa = package("pyarrow", "sql")
    arrays = [column(values) if isinstance(values, list) else values for values in cells.values()]
    return pa.table(arrays, names=distinct(cells))


def _texts(values: Iterable[Any]) -> Any:
    pa = package("pyarrow", "sql")
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _lists(values: Iterable[Iterable[str]]) -> Any:
    pa = package("pyarrow", "sql")
    return pa.array([list(texts) for texts in values], pa.list_(pa.string()))


def _numbers(values: Iterable[float | None]) -> Any:
    return package("pyarrow", "sql").array(list(values), "float64")


def _moments(values: Iterable[datetime | None]) -> Any:
    pa = package("pyarrow", "sql")
    return pa.array(list(values), pa.timestamp("us", tz="UTC"))


VIEWS: dict[str, Callable[[Sequence[Digest]], Any]] = {"experiments": experiments, "runs": runs}
"""Views of what is known of each experiment, and what makes them."""
LONG_VIEWS: dict[str, Callable[[Iterable[Digest], list[str]], Any]] = {"events": events, "metrics": metrics, "files": files}
"""Views for which the logs are read line by line."""
_NAMES = (*VIEWS, *LONG_VIEWS)
