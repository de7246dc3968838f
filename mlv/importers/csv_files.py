"""Tables of CSV and TSV: Keras's CSVLogger, exports of W&B and TensorBoard, spreadsheets."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from mlv.importers import tables, values
from mlv.importers.listing import SourceListing
from mlv.importers.reading import SourceReading, Unit

NAME = "csv"
_LONGEST_CELL = 1 << 24
_SEPARATORS = ",;\t|"
_QUOTED_NUMBERS = re.compile(r'(?:"(?:[-+.0-9eE]*|NaN|-?Infinity)"(?:[,;\t|]|\Z))+\Z')
"""A line of which nothing is missing, also without an end: a text in quotes might go on with one of its own."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_WORDS = {"True": True, "False": False, "true": True, "false": False}


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the tables that were named."""
    for path in tables.files(listing, (".csv", ".tsv")):
        yield tables.unit(NAME, path, listing, rows_of)


def header_of(path: Path) -> list[str]:
    """Return the names of the columns of a file; none where it cannot be read, or has no header."""
    try:
        return rows_of(path, SourceReading())[0]
    except (OSError, ValueError, csv.Error):
        return []


def rows_of(path: Path, reading: SourceReading) -> tuple[list[str], tables.Rows]:
    """Return the names of the columns of a file, and its rows."""
    csv.field_size_limit(_LONGEST_CELL)
    with open(path, encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        first = file.readline(_LONGEST_CELL)
    separator = "\t" if path.suffix.lower() == ".tsv" else max(_SEPARATORS, key=first.count)
    header = next(csv.reader([first], delimiter=separator), [])
    # Without a name is the index that pandas writes in front.
    names = values.unique(name.strip() or f"column_{number}" for number, name in enumerate(header, 1))
    return names, _rows(path, names, separator, reading)


def _rows(path: Path, names: list[str], separator: str, reading: SourceReading) -> Iterator[Mapping[str, Any]]:
    with open(path, encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        lines = _CountedLines(file, reading)
        reader = csv.reader(iter(lines), delimiter=separator)
        next(reader, None)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                reading.leave("rows that are no CSV")
                continue
            if lines.is_open and any(cells) and not reading.takes_open_line(is_torn=len(cells) < len(names)):
                return
            if len(cells) > len(names):
                reading.leave("rows with more cells than there are columns")
            elif len(cells) < len(names) and any(cells):
                reading.leave("rows with fewer cells than there are columns")
            elif any(cells):
                yield {name: value_of(cell) for name, cell in zip(names, cells, strict=True) if cell}


class _CountedLines:
    """The lines of a file."""

    def __init__(self, file: TextIO, reading: SourceReading) -> None:
        self._file, self._reading = file, reading
        self.is_open = False
        """Whether the latest one has no end."""

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self._reading.advance(len(line))
            self.is_open = not line.endswith(("\n", "\r")) and not (line.endswith('"') and _QUOTED_NUMBERS.match(line))
            yield line


def value_of(cell: str) -> Any:
    """Return the value of a cell: a number, true or false, or a text."""
    if _INTEGER.match(cell):
        return int(cell)
    if "_" in cell:  # Python reads 1_000 as a number; whoever writes it means a name, or a date
        return cell
    try:
        return float(cell)
    except ValueError:
        return _WORDS.get(cell, cell)
