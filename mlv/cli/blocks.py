"""Texts and tables as lines for any width of terminal, without a break inside a word, number or ID.

Where columns have no room beside one another, their cells are printed one below the other. The terminal breaks a word that is
wider than itself: such a word can still be copied as a whole.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

GAP = 2
"""Blanks between two columns."""
_LEAST_LAST = 12
"""Least width of the last column, which holds the long texts; with less room there are no columns."""
_INDENT = 2

WORDS = re.compile(r"\s*\S+\s*")
"""Units that are not broken: words, numbers and IDs."""
WHOLE = re.compile(r".+")
"""A cell that is not broken at all."""
NAMES = re.compile(r"\s*(?:[^-_/=,\s]|-(?=[\d.]))+(?:[_/=,\s]|-(?![\d.]))*|(?:[_/=,\s]|-(?![\d.]))+")
"""Units of a name that are not broken: from one of its signs to the next, and numbers such as `1e-05` and `-0.5`."""

Row = Sequence[Text]


class Block(ABC):
    """Something that is printed as lines."""

    @abstractmethod
    def lines(self, width: int) -> list[Text]:
        """Return the lines, none wider than the width except those that hold a wider word."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the lines as they are."""
        for line in self.lines(options.max_width):
            yield Text.assemble(line, no_wrap=True, overflow="ignore")


def wrapped(text: Text, width: int, units: re.Pattern[str] = WORDS) -> list[Text]:
    """Return a text as lines, broken between its units only."""
    result: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        if line.cell_len <= width:
            result.append(line)
            continue
        breaks, room = [], width
        for unit in units.finditer(line.plain):
            needed = cell_len(unit[0].rstrip(" "))
            if needed > room and unit.start():
                breaks.append(unit.start())
                room = width
            room -= cell_len(unit[0])
        broken = line.divide(breaks)
        for fragment in broken:
            fragment.rstrip()
        result += broken
    return result


def least_width(text: Text, units: re.Pattern[str] = WORDS) -> int:
    """Return the number of cells of the widest unit."""
    return max((cell_len(unit[0].strip()) for unit in units.finditer(text.plain)), default=0)


def _natural_width(text: Text) -> int:
    return max(map(cell_len, text.plain.split("\n")))


@dataclass
class Rows(Block):
    """Rows of cells in columns; without room for columns, the cells of a row follow one another."""

    rows: Sequence[Row]
    right: Collection[int] = ()
    """Columns whose cells are aligned to the right."""
    units: Mapping[int, re.Pattern[str]] = field(default_factory=dict)
    """Units that are not broken, by column; words by default."""

    def lines(self, width: int) -> list[Text]:
        """Return the rows."""
        widths = self.widths(width)
        if widths is None:
            return [line for row in self.rows for line in _flowed(row, width)]
        return [line for row in self.rows for line in self._in_columns(row, widths)]

    def fits(self, width: int) -> bool:
        """Return whether the columns have room beside one another, with every unit whole."""
        return sum(self._least) + GAP * (len(self._least) - 1) <= width

    def widths(self, width: int) -> list[int] | None:
        """Return the width of each column: the widest are narrowed first. None where there is too little room."""
        result, least = list(self._natural), self._least
        too_much = sum(result) + GAP * (len(result) - 1) - width
        while too_much > 0:
            # One cell at a time from the widest: so the columns end up as even as their words allow.
            column = max(range(len(result)), key=lambda index: (result[index] > least[index], result[index]))
            if result[column] <= least[column]:
                result[-1] -= too_much
                return result if result[-1] >= _LEAST_LAST else None
            result[column] -= 1
            too_much -= 1
        return result

    @cached_property
    def _natural(self) -> list[int]:
        return [max(map(_natural_width, column)) for column in self._columns]

    @cached_property
    def _least(self) -> list[int]:
        return [
            max(least_width(cell, self.units.get(number, WORDS)) for cell in column)
            for number, column in enumerate(self._columns)
        ]

    @property
    def _columns(self) -> Iterable[Iterable[Text]]:
        return zip(*self.rows, strict=True)

    def _in_columns(self, row: Row, widths: Sequence[int]) -> list[Text]:
        cells = [wrapped(cell, widths[number], self.units.get(number, WORDS)) for number, cell in enumerate(row)]
        return [
            _joined([cell[height] if height < len(cell) else Text() for cell in cells], widths, self.right)
            for height in range(max(map(len, cells), default=0))
        ]


def _joined(cells: Iterable[Text], widths: Sequence[int], right: Collection[int] = ()) -> Text:
    line = Text()
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        blanks = " " * max(0, width - cell.cell_len)
        line.append(" " * GAP if number else "")
        line.append_text(Text.assemble(blanks, cell) if number in right else Text.assemble(cell, blanks))
    line.rstrip()
    return line


def _flowed(row: Row, width: int) -> list[Text]:
    """Return cells as lines, each cell on one line where it has room; all lines but the first are indented."""
    lines: list[Text] = []
    for cell in row:
        indent = _INDENT if lines else 0
        if lines and "\n" not in cell.plain and lines[-1].cell_len + GAP + cell.cell_len <= width:
            lines[-1].append(" " * GAP if cell.plain else "").append_text(cell)
        elif cell.plain:
            lines += [Text.assemble(" " * indent, line) for line in wrapped(cell.copy(), width - indent)]
    return lines


@dataclass
class Listing(Block):
    """A table below headings; without room for it, a page for each row."""

    headings: Sequence[Text]
    rows: Sequence[Row]
    right: Collection[int] = ()
    units: Mapping[int, re.Pattern[str]] = field(default_factory=dict)
    narrow: Mapping[int, re.Pattern[str]] = field(default_factory=dict)
    """Units that are not broken on a page without room for a word, by column."""
    titles: int = 0
    """Number of first columns that are the title of a page; in the table they are not repeated from row to row."""

    def lines(self, width: int) -> list[Text]:
        """Return the table, or the pages."""
        if not self.fits(width):
            return [line for row in self.rows for line in (*self._page(row, width), Text())]
        return self._table.lines(width)

    def fits(self, width: int) -> bool:
        """Return whether there is room for the table."""
        return self._table.fits(width)

    @cached_property
    def _table(self) -> Rows:
        rows = [[_styled(heading) for heading in self.headings]]
        for first, same in groupby(self.rows, lambda row: row[0].plain if self.titles else None):
            for number, row in enumerate(same):
                rows.append([Text(), *row[1:]] if number and first is not None else list(row))
        return Rows(rows, self.right, self.units)

    def _page(self, row: Row, width: int) -> Iterable[Text]:
        if self.titles:
            yield from _flowed([_styled(cell) for cell in row[: self.titles]], width)
        indent = _INDENT if self.titles else 0
        headings = self.headings[self.titles :]
        heading_width = max(heading.cell_len for heading in headings)
        beside = width - indent - heading_width - GAP
        for column, (heading, cell) in enumerate(zip(headings, row[self.titles :], strict=True), self.titles):
            room = beside if beside >= _LEAST_LAST else width - indent - _INDENT
            units = WORDS if least_width(cell) <= room else self.narrow.get(column, WORDS)
            lines = wrapped(cell.copy(), room, units)
            if beside >= _LEAST_LAST or _natural_width(cell) <= beside:
                pairs = zip([_styled(heading), *[Text()] * len(lines)], lines, strict=False)
                below = [_joined(pair, [heading_width, beside]) for pair in pairs]
            else:
                below = [_styled(heading), *(Text.assemble(" " * _INDENT, line) for line in lines)]
            yield from (Text.assemble(" " * indent, line) for line in below)


def _styled(text: Text) -> Text:
    return Text.assemble((text.plain, "bold"))


@dataclass
class Page(Block):
    """Sections beside their headings; a section without room there is below its heading."""

    sections: Sequence[tuple[Text, Sequence[Text | Block]]]

    def lines(self, width: int) -> list[Text]:
        """Return the sections."""
        heading_width = max((heading.cell_len for heading, _ in self.sections), default=0)
        return [line for heading, bodies in self.sections for line in _section(heading, bodies, heading_width, width)]


def _section(heading: Text, bodies: Sequence[Text | Block], heading_width: int, width: int) -> Iterable[Text]:
    beside = width - heading_width - GAP
    lines = _lines(bodies, beside)
    if all(line.cell_len <= beside for line in lines):
        for number, line in enumerate(lines):
            yield _joined([Text() if number else heading, line], [heading_width, beside])
    else:
        yield heading
        for line in _lines(bodies, width - _INDENT):
            yield Text.assemble(" " * _INDENT, line)


def _lines(bodies: Iterable[Text | Block], width: int) -> list[Text]:
    return [line for body in bodies for line in (body.lines(width) if isinstance(body, Block) else wrapped(body.copy(), width))]
