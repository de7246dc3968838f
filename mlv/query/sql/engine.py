"""SQL queries over the views of experiments, run by DuckDB; only queries that read are accepted."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from mlv import words
from mlv.errors import QueryFailed
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.sql.arrow import column
from mlv.query.sql.views import LONG_VIEWS, VIEWS, experiments
from mlv.query.unique_names import folded
from mlv.query.zones import local_zone

SETTINGS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False, "python_enable_replacements": False}
"""Settings that hide variables of Python from a query, and keep it from fetching extensions from the network."""
_LOCKS = ("enable_external_access = false", "lock_configuration = true")
"""Settings that keep a query from reading and writing files, and from changing settings."""
_MOST_SUGGESTIONS, _MOST_LISTED = 3, 12
_LONGEST = 400  # DuckDB repeats the whole query in its messages


@dataclass(frozen=True)
class Limits:
    """Limits of a query that somebody else sends."""

    seconds: float
    rows: int
    """Rows that are returned, from the first on."""
    threads: int = 2
    memory: str = "512MB"


@dataclass(frozen=True)
class Stored:
    """A view over Parquet files, of which DuckDB reads what a query needs."""

    select: str
    paths: Sequence[str]
    tables: Mapping[str, Any] = field(default_factory=dict)
    """Arrow tables that the view joins with, by name in the schema `beside`."""
    functions: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """Functions from text to text that the view calls, by name."""
    reading: Callable[[], AbstractContextManager[None]] = nullcontext
    """Translates the errors of DuckDB about the files."""


LongView = Callable[[Iterable[Digest], list[str]], "Any | Stored"]
"""Makes a view of experiments, and adds the damaged lines that it passes over."""


class Result:
    """The result of a query, as an Arrow table; libraries that speak Arrow take it as it is: `polars.DataFrame(result)`."""

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
        """Return the rows as Python values."""
        return list(zip(*(values.to_pylist() for values in self._table.columns), strict=True))

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, None after the last one."""
        return next(iter(self._fetch(1)), None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows that were not fetched yet: at first all; `rows()` returns all of them each time."""
        return self._fetch(len(self))

    def _fetch(self, count: int) -> list[tuple[Any, ...]]:
        table = self._table.slice(self._fetched, count)
        self._fetched += int(table.num_rows)
        return Result(table).rows()

    def arrow(self) -> Any:
        """Return a `pyarrow.Table`."""
        return self._table

    def pl(self) -> Any:
        """Return a polars DataFrame.

        Raises:
            MissingExtra: polars is not installed.
        """
        return package("polars", None).DataFrame(self._table)

    def df(self) -> Any:
        """Return a pandas DataFrame.

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
    text: str,
    digests: Callable[[bool], Sequence[Digest]],
    watch: Callable[[Sequence[Digest]], Iterable[Digest]] = iter,
    limits: Limits | None = None,
    long_views: Mapping[str, LongView] = LONG_VIEWS,
) -> Result:
    """Run a query over the views; only the views that it names are read.

    Args:
        text: One statement that reads; it sees the views, and no files.
        digests: Returns the experiments; its argument says whether their metrics are needed.
        watch: Iterates over them while their lines are read, and may show progress.
        limits: Of DuckDB's work, not of reading the views.
        long_views: The functions that make the views of which digests do not suffice, or that come from elsewhere.

    Raises:
        QueryFailed: DuckDB does not accept it, it returns no table, or it takes too long.
        MissingExtra: duckdb or pyarrow is not installed.
    """
    _check_text(text, "query", "select name from experiments")
    with closing(_Session(limits)) as session:
        names = session.views_in(text)
        chosen = digests("experiments" in names) if names else []
        skipped: list[str] = []
        views = {
            name: long_views[name](watch(chosen), skipped) if name in long_views else VIEWS[name](chosen) for name in names
        }
        with _having(session, views, limits, text) as able:
            return Result(able.run(text), skipped)


def matching(
    predicate: str,
    digests: Sequence[Digest],
    table: Any = None,
    limits: Limits | None = None,
    long_views: Mapping[str, LongView] = LONG_VIEWS,
) -> list[bool]:
    """Return for each experiment whether a predicate over the view `experiments` holds.

    Args:
        predicate: In SQL.
        digests: The experiments.
        table: Their view, where it was made before: that takes a hundred times as long as the predicate.
        limits: As in `query`.
        long_views: As in `query`.

    Raises:
        QueryFailed, MissingExtra: As `query`.
    """
    _check_text(predicate, "where", "params.lr < 0.1")
    with closing(_Session(limits)) as session:
        table = experiments(digests) if table is None else table
        views = {"experiments": table.append_column("_row", column(range(table.num_rows)))}
        # The end of the line keeps a comment in the predicate from taking the parenthesis with it.
        text = f"select _row from experiments where ({predicate}\n)"  # noqa: S608 - the user's own
        session.register("experiments", views["experiments"])
        session.parsed(text, predicate)
        for name in session.tables_in(text):
            if name != "experiments":  # in a query within the predicate
                views[name] = long_views[name](digests, []) if name in long_views else VIEWS[name](digests)
        with _having(session, views, limits, text, predicate) as able:
            matches = able.run(text, predicate)
    rows = set(matches.column(0).to_pylist())
    return [row in rows for row in range(table.num_rows)]


def _check_text(text: object, argument: str, example: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise QueryFailed(f"{argument}={text!r} is no text, or empty: give one, such as {example!r}", query=text)


@contextmanager
def _having(
    session: _Session, views: Mapping[str, Any], limits: Limits | None, text: str, original: str | None = None
) -> Iterator[_Session]:
    """Give a session that has the views of a query: this one, or where some are over files, another one.

    That one may read those files alone, and they hold more than the views. So the query is bound here first, where it may read
    none, to views without rows: it names no file then.

    Raises:
        QueryFailed: It does.
    """
    paths = [path for view in views.values() if isinstance(view, Stored) for path in view.paths]
    with closing(_Session(limits, paths)) if paths else nullcontext(session) as able:
        schemas = {name: able.register(name, view) for name, view in views.items()}
        if able is not session:
            for name, schema in schemas.items():
                session.register(name, schema.empty_table())
            session.bind(text, original)
        yield able


class _Session:
    """One connection, and the names that are registered in it."""

    def __init__(self, limits: Limits | None = None, paths: Sequence[str] = ()) -> None:
        package("pyarrow", "sql")
        self._duckdb = package("duckdb", "sql")
        self._limits = limits
        # Of its own, or none: DuckDB would make `.tmp` in the current folder.
        self._spill = _new_folder() if limits is None else ""
        own = {"threads": limits.threads, "memory_limit": limits.memory} if limits is not None else {}
        self._connection = self._duckdb.connect(config={**SETTINGS, **own, "temp_directory": self._spill})
        # Before any text of a query is parsed: DuckDB looks up the tables that it names, and one may be a file.
        self._set_zone()
        if paths:
            # As they stand in a query, and as DuckDB opens them.
            allowed = dict.fromkeys([*map(pattern, paths), *paths])
            self._connection.execute(f"set allowed_paths = [{', '.join(map(literal, allowed))}]")
        for setting in _LOCKS:
            self._connection.execute(f"set {setting}")
        self._registered_names: set[str] = set()

    def close(self) -> None:
        """Close the connection.

        Threads of DuckDB let go of the registered tables when they please. While Python ends they may not, and would abort the
        process.
        """
        self._connection.close()
        if self._spill:
            shutil.rmtree(self._spill, ignore_errors=True)

    def _set_zone(self) -> None:
        """Set the zone in which mlv shows times, so that `created::date = '2026-11-30'` holds for times shown as that day."""
        for name in filter(None, (local_zone(), "UTC")):
            try:
                self._connection.execute("set TimeZone = '{}'".format(name.replace("'", "''")))
                return
            except self._duckdb.Error:  # a zone that DuckDB does not know
                continue

    def views_in(self, text: str) -> list[str]:
        """Return the views that a query names; all, where it asks for their names."""
        statements = self.parsed(text)
        if re.match(r"\s*(show|describe|desc)(\s+(all\s+)?tables)?[\s;]*$", text, re.IGNORECASE):
            return list(_NAMES)
        # DuckDB does not list the tables of some statements: any word of theirs may be the name of a view.
        words = {word.lower() for word in re.findall(r"\w+", text)}
        return (not is_pivot(statements) and self.tables_in(text)) or [name for name in _NAMES if name in words]

    def tables_in(self, text: str) -> list[str]:
        """Return the views that a query names as tables, as far as DuckDB can tell."""
        try:
            named = {name.lower() for name in self._connection.get_table_names(text)}
        except self._duckdb.Error:
            named = set()  # it binds names while it parses: `using` needs columns of views that are not registered yet
        return [name for name in _NAMES if name in named]

    def parsed(self, text: str, original: str | None = None) -> list[Any]:
        """Parse a query into DuckDB's statements.

        Raises:
            QueryFailed: It is not one statement that reads.
        """
        try:
            statements = list(self._connection.extract_statements(text))
        except self._duckdb.Error as error:
            raise self._translated(error, original or text) from None
        refuse_unless_reading(statements, original or text)
        return statements

    def register(self, name: str, table: Any) -> Any:
        """Make a view; return its schema."""
        if isinstance(table, Stored):
            table = self._create(name, table)
        else:
            self._connection.register(name, table)
        self._registered_names |= {name, *_dotted(table.schema)}
        return table.schema

    def _create(self, name: str, view: Stored) -> Any:
        """Create a view over files; return a table without rows that has its columns."""
        self._connection.execute("create schema if not exists beside")
        for other, table in view.tables.items():
            self._connection.register(f"_{other}", table)
            self._connection.execute(f"create or replace table beside.{other} as from _{other}")
            self._connection.unregister(f"_{other}")
        for other, function in view.functions.items():
            self._connection.create_function(other, function, ["VARCHAR"], "VARCHAR")
        with view.reading():
            self._connection.execute(f"create view {name} as {view.select}")
            return self._connection.sql(f"from {name} limit 0").to_arrow_table()

    def run(self, text: str, original: str | None = None) -> Any:
        """Return the table that a query gives."""
        with self._translating(text, original), self._interrupted():
            relation = self._connection.sql(text)
            if relation is None:
                raise QueryFailed("the query gives no table: give a select", query=original or text)
            relation = relation.limit(self._limits.rows) if self._limits is not None else relation
            return _in_utc(relation.to_arrow_table())

    def bind(self, text: str, original: str | None = None) -> None:
        """Look up all that a query names.

        Raises:
            QueryFailed: Something is not there, or is a file.
        """
        try:
            with self._translating(text, original), self._interrupted():
                self._connection.sql(text)
        except QueryFailed:
            # The columns that a pivot makes are not there without rows.
            if not is_pivot(self.parsed(text, original)) or _FILES.search(text):
                raise

    @contextmanager
    def _translating(self, text: str, original: str | None) -> Iterator[None]:
        """Translate the errors of DuckDB over a query."""
        try:
            yield
        except self._duckdb.InterruptException:
            seconds = self._limits.seconds if self._limits is not None else 0
            raise QueryFailed(f"the query took longer than {seconds:g} s, and was ended: choose less", query=text) from None
        except self._duckdb.Error as error:
            if self._limits is not None and isinstance(error, self._duckdb.OutOfMemoryException):
                most = self._limits.memory
                raise QueryFailed(f"the query needs more memory than {most}, and was ended: choose less", query=text) from None
            raise self._translated(error, original or text) from None

    @contextmanager
    def _interrupted(self) -> Iterator[None]:
        """End DuckDB's work after the limit, if there is one."""
        if self._limits is None:
            yield
            return
        timer = threading.Timer(self._limits.seconds, self._connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _translated(self, error: Exception, text: str) -> QueryFailed:
        message, _, _ = str(error).partition("\n\nLINE ")
        sentence = " ".join(message.split())
        sentence = re.sub(r" ?(Candidate \w+|Did you mean):? .*$", "", sentence)
        return QueryFailed(f"{sentence[:_LONGEST].rstrip('!.')}{self._hint(message, text)}", query=text)

    def _hint(self, message: str, text: str) -> str:
        """Suggest a correction: names that are close to a missing one, or a form that DuckDB accepts."""
        unknown = _UNKNOWN.search(message)
        if "Permission Error" in message:
            return f". A query sees {', '.join(_NAMES)}, and no files: those are for DuckDB itself"
        if "VARCHAR[]" in message:
            return ". Tags and notes are lists: 'paper' in tags; array_to_string(notes, ' ') like '%first%'"
        if "Function with name" in message:
            return ""  # functions are DuckDB's own: no name of a view or a column is meant
        if unknown is None and "STRUCT(" in message:
            return ". Of a metric give one number, such as metrics.acc.max"
        if unknown is None and _MIXED.search(message):
            return _HINT_OF_MIXED
        if unknown is None:
            is_at = "syntax error" in message and re.search(r'(?<!["\w])at(?!["\w])', text, re.IGNORECASE)
            return '. The column at has the name of a word of SQL: write "at"' if is_at else ""
        missing = folded(next(filter(None, unknown.groups())))
        if "table" in unknown[0] and any(name.startswith(f"{missing}.") for name in self._registered_names):
            return f". {missing} is a column, and no table here: unnest({missing}) spreads it, {missing}.NAME is one of it"
        return self._suggestion(missing, self._prefix_of(missing, text) if "in struct" in message else "")

    def _prefix_of(self, missing: str, text: str) -> str:
        """Return the prefix of a missing struct key in a query, such as `metrics.`, if there are names with it; else ''."""
        before = re.search(rf'([\w.]+\.)"?{re.escape(missing)}', text, re.IGNORECASE)
        begins = [folded(before[1])] if before else []
        begins += [begin.partition(".")[2] for begin in begins]  # without the name of the table
        return next((begin for begin in begins if begin and any(name.startswith(begin) for name in self._registered_names)), "")

    def _suggestion(self, missing: str, begin: str) -> str:
        """Suggest the twins of a missing name, else names that are close to it, else all names."""
        candidates = {*self._registered_names, *(() if begin else _NAMES)}
        names = sorted((name for name in candidates if name.startswith(begin)), key=lambda name: ("." in name, name))
        own = {name: name.removeprefix(begin) if begin else name.rsplit(".", 1)[-1] for name in names}
        twins = [name for name in names if re.fullmatch(rf'"{re.escape(missing)}#[0-9a-f]+"', folded(_last(name)))]
        if twins:
            return (
                f": SQL does not look at case, so give {' or '.join(twins)}"
                f"{', or ask the view metrics, which has names as they are' if begin == 'metrics.' else ''}"
            )
        ends = {folded(_last(end).strip('"')): name for name, end in reversed(own.items())}
        close = [] if begin else get_close_matches(missing, names, cutoff=0.6)
        close += [ends[end] for end in get_close_matches(missing, ends, cutoff=0.6)]
        suggestions = list(dict.fromkeys(close))[:_MOST_SUGGESTIONS]
        if suggestions:
            return f": {words.did_you_mean(suggestions)}"
        depth = begin.count(".")
        listed = [name for name in names if name[0] != "_" and (not begin or len(_LEVELS.findall(name)) == depth + 1)]
        return f": there are {', '.join(listed[:_MOST_LISTED])}" if listed else ""


def _new_folder() -> str:
    """Make a folder for what does not fit into the memory, for this user alone; return "" where none can be made."""
    try:
        return tempfile.mkdtemp(prefix="mlv-sql-")
    except OSError:
        return ""


def _in_utc(table: Any) -> Any:
    """Return a table with moments in UTC, as everywhere in the log: the zone matters only within a query."""
    pa = package("pyarrow", "sql")
    for index, own in enumerate(table.schema):
        if pa.types.is_timestamp(own.type) and own.type.tz is not None:
            column = table.column(index).cast(pa.timestamp(own.type.unit, "UTC"))
            table = table.set_column(index, pa.field(own.name, column.type), column)
    return table


_FILES = re.compile("read_|parquet|glob|sniff|query", re.IGNORECASE)
"""Is in a query that may read a file: in its name, or in that of a function."""
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
"""Matches each level of a dotted name."""


def _last(name: str) -> str:
    return str(_LEVELS.findall(name)[-1])


def _dotted(fields: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of all columns, as they are written in SQL."""
    for own in fields:
        name = identifier(own.name)
        yield prefix + name
        if hasattr(own.type, "num_fields") and str(own.type).startswith("struct<"):
            yield from _dotted([own.type.field(index) for index in range(own.type.num_fields)], f"{prefix}{name}.")


def identifier(name: str) -> str:
    """Return a name as it is written in SQL: in quotes, unless it is a plain word."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as it is written in SQL."""
    return "'" + text.replace("'", "''") + "'"


def pattern(path: str) -> str:
    """Return the pattern of DuckDB that one path alone is like."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


_NAMES = (*VIEWS, *LONG_VIEWS)


_READING = ("SELECT", "EXPLAIN")
"""`SELECT` includes `with`, `from`, `values`, `table`, `describe`, `summarize`, `show` and `unpivot`."""
_ADVICE = "give a select, from, with, values, describe, summarize, show, pivot or explain"


def refuse_unless_reading(statements: list[Any], text: str) -> None:
    """Accept one statement that reads, as DuckDB parsed it.

    Raises:
        QueryFailed: There is none, there are several, or it would change something.
    """
    kinds = [statement.type.name for statement in statements]
    if is_pivot(statements):
        return
    if len(kinds) != 1:
        count = f"{len(kinds)} statements" if kinds else "no statement"
        raise QueryFailed(f"the query has {count}: give one", query=text)
    if kinds[0] not in _READING:
        raise QueryFailed(f"the query is a statement of type {kinds[0]}, and only reading ones are run: {_ADVICE}", query=text)


def is_pivot(statements: list[Any]) -> bool:
    """Return whether it is a pivot, for which DuckDB adds a statement that lists the columns."""
    kinds = [statement.type.name for statement in statements]
    if kinds == ["MULTI"]:
        return "pivot" in statements[0].query.lower()
    # Up to DuckDB 1.4 the statements that it adds are told apart, and none of them has a text.
    is_added = not any(statement.query for statement in statements)
    return is_added and len(kinds) > 1 and kinds[-1] == "SELECT" and set(kinds[:-1]) == {"CREATE"}
