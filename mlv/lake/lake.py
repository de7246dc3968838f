"""A lake to read: its tables, in Arrow and in DuckDB."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlv.bucket.store import ObjectStore, open_store
from mlv.digests import sha256
from mlv.errors import InvalidArgument, LakeDamaged, LakeError, LakeMissing, MlvError
from mlv.lake import plans, views
from mlv.lake.columns import TABLES, schemas
from mlv.lake.record import Look, latest_look, read_look, read_record
from mlv.lake.tables import CHECKPOINT, LOG, LakeTables, checked, files_of, is_entry, is_other_checkpoint
from mlv.optional import package
from mlv.query.sql.engine import SETTINGS, literal, pattern
from mlv.store import keys
from mlv.store.blobs import replace_whole
from mlv.store.mirrors import foreign_owner

Filters = Sequence[tuple[str, str, Any]]
"""Conditions that all hold: a column, an operator, a value."""
RAW = "tables"
"""The schema, in DuckDB, of the tables as they are."""
_REQUESTS = 16
_READ_WITHIN_S = 86_400
"""So long after they were last listed fetched files may be read."""


class Lake:
    """The tables that `mlv.lake.build` made."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        """Open a lake.

        Raises:
            LakeMissing: There is none.
            LakeTooNew, LakeDamaged: This version cannot read it.
            InvalidArgument: The URL cannot be used.
            MissingExtra: `deltalake` or `obstore` is not installed.
        """
        self.url = checked(url)
        if self.url.startswith("file://") and not os.path.isdir(unquote(urlsplit(self.url).path)):
            raise LakeMissing(f"there is no lake at {url}: `mlv lake build SRC {url}` makes one", url=self.url)
        self._store: ObjectStore = open_store(self.url)
        self._record = read_record(self._store)
        self._tables = LakeTables(self.url, self._record.id)

    def __repr__(self) -> str:
        return f"<Lake {self.url}>"

    def uri(self, table: str) -> str:
        """Return the address of a table, which any reader of Delta Lake takes: `polars.scan_delta(lake.uri("metrics"))`.

        Raises:
            InvalidArgument: There is no such table.
        """
        return self._tables.uri(_checked(table))

    def delta(self, table: str) -> Any:
        """Return the `deltalake.DeltaTable` of a table.

        Raises:
            LakeMissing: The table is not there.
            LakeDamaged: It is another one.
        """
        try:
            opened = self._tables.opened(_checked(table))
        except LakeDamaged:
            if read_record(self._store).id == self._record.id:
                raise
            raise LakeError(f"the lake {self.url} was rebuilt since it was opened: open it again", url=self.url) from None
        if opened is None:
            raise LakeMissing(f"{self.uri(table)} is not there: `mlv lake build SRC {self.url}` makes it", url=self.url)
        return opened

    def arrow(self, table: str, columns: Sequence[str] | None = None, filters: Filters | None = None) -> Any:
        """Return a table, or some columns and rows of it, as a `pyarrow.Table`: with superseded points, and NaN as logged.

        Args:
            table: Its name.
            columns: Of those that the table has, in the order of the result; None for all.
            filters: `(column, operator, value)`, all of which hold for the rows; the operators are those of `deltalake`.
        """
        schema, fs = schemas()[_checked(table)], package("pyarrow.fs")
        opened = self.delta(table)
        self._fetched(opened, table)
        whole = opened.to_pyarrow_table(
            columns=list(columns) if columns is not None else schema.names,
            filters=filters,
            # That of deltalake is Python: threads of Arrow that still hold it when Python ends abort the process.
            filesystem=fs.SubTreeFileSystem(self._folder(table), fs.LocalFileSystem()),
        )
        return whole if columns is not None else whole.cast(schema)

    def duckdb(self) -> Any:
        """Return a connection of DuckDB with a view for each table.

        `metrics` leaves out what a rewind superseded, `events` says so in a column, and all have `exp_name`, the name of the
        experiment as it is now. The tables as they are stand in the schema `tables`. Of an object store the files are fetched
        first, each once, into the user's cache.

        Raises:
            MissingExtra: duckdb is not installed.
        """
        connection = self.connected(*TABLES)
        for view in views.VIEWS:
            connection.execute(f"create view {view} as {views.sql_of(view, lambda table: f'{RAW}.{table}')}")
        return connection

    def connected(self, *tables: str) -> Any:
        """Return a connection of DuckDB with these tables as they are, in the schema `tables`; no others are looked at.

        Raises:
            MissingExtra: duckdb is not installed.
        """
        connection = package("duckdb", "sql").connect(config=SETTINGS)
        connection.execute(f"create schema {RAW}")
        for table in tables:
            connection.execute(f"create view {RAW}.{table} as {self.scan(table)}")
        return connection

    def scan(self, table: str) -> str:
        """Return the query of DuckDB over a table."""
        return self.scan_of(table, self.files(table))

    def scan_of(self, table: str, files: Sequence[str]) -> str:
        """Return the query of DuckDB over files of a table."""
        columns = ", ".join(f'cast("{name}" as {kind}) as "{name}"' for name, kind in _kinds(schemas()[table]).items())
        if not files:
            nothing = ", ".join(f'cast(null as {kind}) as "{name}"' for name, kind in _kinds(schemas()[table]).items())
            return f"select {nothing} where false"
        # Else DuckDB reads all files that a path with such a sign is a pattern of.
        paths = ", ".join(literal(pattern(path)) for path in files)
        options = "hive_partitioning = true, hive_types_autocast = false, union_by_name = true"
        return f"select {columns} from read_parquet([{paths}], {options})"  # noqa: S608 - of our own names

    def files(self, table: str) -> list[str]:
        """Return the paths of the Parquet files of a table on this machine; those of an object store are fetched first.

        Raises:
            LakeMissing: The table is not there.
            LakeError: It cannot be read, or there is no room for its files.
        """
        opened = self._opened_here(_checked(table))
        return self._fetched(self.delta(table) if opened is None else opened, table)

    def _opened_here(self, table: str) -> Any | None:
        """Return a handle of a table of an object store over a copy of its log; None where the log itself is to be read.

        `deltalake` reads the log anew each time, each commit twice, and a checkpoint by a dozen requests. What is in the log
        never changes: here one listing and the new objects suffice.
        """
        if "://" not in self.uri(table):
            return None
        folder, prefix = Path(self._folder(table), LOG), f"{table}/{LOG}"
        try:
            # Not for others, who may have no right to read the lake.
            folder.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(parents=True, exist_ok=True)
            held = os.listdir(folder)
            start = max((name for name in held if name.endswith(CHECKPOINT)), default="")
            # From the checkpoint itself on: one that a loss of power has cut off is fetched again.
            after = f"{prefix}/{start[:-1]}" if start else ""
            listed = {stored.key.removeprefix(f"{prefix}/"): stored.size for stored in self._store.objects(prefix, after=after)}
            if any(is_other_checkpoint(name) for name in listed):
                return None
            newest = max([start, *(name for name in listed if name.endswith(CHECKPOINT))])
            wanted = [
                name for name, size in listed.items()
                if is_entry(name) and (name == newest or name[:20] > newest[:20]) and not _is_fetched(folder / name, size)
            ]  # fmt: skip
            # The log of a lake that was rebuilt since has other entries of the same names: they must not stand behind these.
            if wanted and held and read_record(self._store).id != self._record.id:
                return None
            with ThreadPoolExecutor(_REQUESTS) as requests:
                list(requests.map(lambda name: self._fetch(f"{prefix}/{name}", folder / name), wanted))
            return LakeTables(checked(folder.parent.parent), self._record.id).opened(table)
        except (MlvError, OSError):
            return None  # the log itself says why, or can be read all the same

    def _folder(self, table: str) -> str:
        """Return the folder that holds the files of a table on this machine."""
        if "://" not in (root := self.uri(table)):
            return root
        lake = sha256(self._record.id.encode() + self.url.encode()).hexdigest()[:16]
        return os.path.join(keys.cache_folder(), "lakes", lake, table)

    def _fetched(self, opened: Any, table: str) -> list[str]:
        root, mirror = self.uri(table), Path(self._folder(table))
        # Not by `file_uris`: those of a folder with a name of other than plain letters are not below its path.
        actions = files_of(opened).select(["path", "size_bytes"]).to_pydict()
        sizes = dict(zip(map(unquote, actions["path"]), actions["size_bytes"], strict=True))
        plans.refuse_outside(sizes, self.url)
        if "://" not in root:
            return [os.path.join(root, name) for name in sizes]
        try:
            # Not for others, who may have no right to read the lake.
            mirror.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if (owner := foreign_owner(mirror.parent)) is not None:
                text = f"{mirror.parent} belongs to another user, of number {owner}"
                raise LakeError(f"{text}: set XDG_CACHE_HOME to a folder of your own", url=self.url)
            lacking = [name for name, size in sizes.items() if not _is_fetched(mirror / name, size)]
            with ThreadPoolExecutor(_REQUESTS) as requests:
                list(requests.map(lambda name: self._fetch(f"{table}/{name}", mirror / name), lacking))
        except MlvError:
            raise
        except OSError as error:
            raise LakeError(
                f"the files of {root} cannot be kept in {mirror}: {error.strerror or error}. Make room there, or set "
                f"XDG_CACHE_HOME to another folder",
                url=self.url,
            ) from error
        self._forget(mirror, set(sizes))
        return [str(mirror / name) for name in sizes]

    def _fetch(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, self._store.get(key))

    def _forget(self, mirror: Path, names: set[str]) -> None:
        """Remove fetched files that the table no longer names; others, which listed them before, may be reading them still."""
        for path in mirror.rglob("*.parquet") if mirror.is_dir() else ():
            if path.parent.name != LOG and path.relative_to(mirror).as_posix() not in names:
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > _READ_WITHIN_S:
                        path.unlink()

    @property
    def look(self) -> Look | None:
        """The latest build that has ended; None where none has."""
        return read_look(self._store)

    @property
    def as_of(self) -> datetime | None:
        """The moment from before which all lines are in the lake; None where no build has ended yet."""
        return latest_look(self._store)

    @property
    def age_s(self) -> float | None:
        """Seconds since `as_of`."""
        moment = self.as_of
        return None if moment is None else max(0.0, (datetime.now(timezone.utc) - moment).total_seconds())

    def sql(self, view: str = "metrics") -> str:
        """Return the query of a view, for engines that know the tables by their names, such as Spark and Trino.

        Raises:
            InvalidArgument: There is no such view.
        """
        return views.sql_of(_checked(view), lambda table: table)

    def info(self) -> dict[str, Any]:
        """Return what there is, as a mapping for JSON."""
        numbers = [plans.number_of(stored.key) for stored in self._store.objects(plans.FOLDER)]
        moment = self.as_of
        tables = {}
        for table in TABLES:
            opened = self.delta(table)
            actions = files_of(opened)
            tables[table] = {
                "rows": sum(actions["num_records"].to_pylist()), "files": actions.num_rows,
                "bytes": sum(actions["size_bytes"].to_pylist()), "version": opened.version(), "uri": self.uri(table),
            }  # fmt: skip
        return {
            "url": self.url, "id": self._record.id, "created": self._record.created,
            "plans": max((number for number in numbers if number is not None), default=0),
            "as_of": None if moment is None else moment.isoformat(), "age_s": self.age_s, "tables": tables,
        }  # fmt: skip


@contextmanager
def reading(lake: Lake) -> Iterator[None]:
    """Translate errors of DuckDB over the tables of a lake.

    Raises:
        LakeDamaged: A file is missing, or is not what it was.
    """
    try:
        yield
    except package("duckdb", "sql").Error as error:
        text = " ".join(str(error).partition("\n\nLINE ")[0].split())[:300]
        raise LakeDamaged(
            f"the tables of {lake.url} cannot be read ({text}): fresh=True (`--fresh`) reads the logs", url=lake.url
        ) from error


def _is_fetched(path: Path, size: int) -> bool:
    """Return whether a file was fetched, and not cut off since by a loss of power; note that it is about to be read."""
    with suppress(FileNotFoundError):
        with suppress(PermissionError):  # of another user
            os.utime(path)
        return path.stat().st_size == size
    return False


def _checked(table: str) -> str:
    if table not in TABLES:
        raise InvalidArgument(f"a lake has no table {table!r}: there are {', '.join(TABLES)}", table=table)
    return table


def _kinds(schema: Any) -> dict[str, str]:
    """Return the columns of a schema with the types of DuckDB."""
    return {field.name: _kind(field.type) for field in schema}


def _kind(type: Any) -> str:
    types = package("pyarrow").types
    if types.is_map(type):
        return "map(varchar, varchar)"
    if types.is_list(type):
        return f"{_kind(type.value_type)}[]"
    if types.is_struct(type):
        return f"struct({', '.join(f'{child.name} {_kind(child.type)}' for child in type)})"
    if types.is_timestamp(type):
        return "timestamptz"
    return {"string": "varchar", "double": "double", "int64": "bigint", "bool": "boolean"}[str(type)]
