"""Queries of SQL over the views of experiments, run by DuckDB; only such as read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from mlv.errors import QueryFailed
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.sql.arrow import column
from mlv.query.sql.views import LONG_VIEWS, VIEWS, experiments
from mlv.query.unique_names import folded
from mlv.query.zones import local_zone

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


_NAMES = (*VIEWS, *LONG_VIEWS)


_READING = ("SELECT", "EXPLAIN")
"""With `SELECT` are `with`, `from`, `values`, `table`, `describe`, `summarize`, `show` and `unpivot`."""
_ADVICE = "give a select, from, with, values, describe, summarize, show, pivot or explain"


def refuse_unless_reading(statements: list[Any], text: str) -> None:
    """Accept what DuckDB took for one statement that reads.

    Raises:
        QueryFailed: There is none, there are several, or it would change something.
    """
    kinds = [statement.type.name for statement in statements]
    if is_pivot(statements):
        return
    if len(kinds) != 1:
        what = f"{len(kinds)} statements" if kinds else "no statement"
        raise QueryFailed(f"the query has {what}: give one", query=text)
    if kinds[0] not in _READING:
        raise QueryFailed(f"the query is a statement of type {kinds[0]}, and only reading ones are run: {_ADVICE}", query=text)


def is_pivot(statements: list[Any]) -> bool:
    """Whether it is a pivot whose columns are found by a statement of DuckDB's own."""
    kinds = [statement.type.name for statement in statements]
    if kinds == ["MULTI"]:
        return "pivot" in statements[0].query.lower()
    # Up to DuckDB 1.4 the statements that it adds are told apart, and none of them has a text.
    is_added = not any(statement.query for statement in statements)
    return is_added and len(kinds) > 1 and kinds[-1] == "SELECT" and set(kinds[:-1]) == {"CREATE"}
