"""Databases of SQLite, read without changing them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from mlv.importers.listing import begins_with

_MAGIC = b"SQLite format 3\x00"


def is_database(path: Path) -> bool:
    """Return whether a file is a database."""
    return begins_with(path, _MAGIC)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading; one beside which nothing can be written is read as it lies there.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    address = f"file:{quote(str(path.resolve()))}"
    connection = sqlite3.connect(f"{address}?mode=ro", uri=True)
    try:
        try:
            connection.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.OperationalError as error:  # a log of changes wants a file of its own beside the database
            if "locked" in str(error):  # it is being changed: as it lies there, it may be half of a change
                raise
            connection.close()
            connection = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
        yield connection
    finally:
        connection.close()


def columns_of(connection: sqlite3.Connection, table: str) -> set[str]:
    """Return the names of the columns of a table; none where there is no such table."""
    return {str(row[1]) for row in connection.execute(f'pragma table_info("{table}")')}


def tables_of(path: Path) -> set[str]:
    """Return the names of the tables of a file; none where it is no database, or cannot be read."""
    if not is_database(path):
        return set()
    try:
        with opened(path) as connection:
            return {str(row[0]) for row in connection.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.Error:
        return set()
