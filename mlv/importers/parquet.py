"""Tables of Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlv.importers import tables
from mlv.importers.listing import SourceListing
from mlv.importers.reading import SourceReading, Unit
from mlv.optional import package

NAME = "parquet"
_BATCH_ROWS = 4096


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the tables that were named."""
    for path in tables.files(listing, (".parquet", ".pq")):
        yield tables.unit(NAME, path, listing, rows_of)


def rows_of(path: Path, reading: SourceReading) -> tuple[list[str], tables.Rows]:
    """Return the names of the columns of a file, and its rows."""
    file = package("pyarrow.parquet").ParquetFile(path)
    return list(file.schema_arrow.names), _rows(file, path, reading)


def _rows(file: Any, path: Path, reading: SourceReading) -> Iterator[Mapping[str, Any]]:
    count, size = file.metadata.num_rows or 1, path.stat().st_size
    with file:
        for batch in file.iter_batches(_BATCH_ROWS):
            reading.advance(size * batch.num_rows // count)
            for row in batch.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}
