"""Figures: what was measured, beside its reference and its bar, and the table of them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured figure; `result` is what the bar is about."""

    what: str
    unit: str
    """Of the reference and of mlv's value."""
    reference: float | None
    """W by hand, a bare interpreter, or the loop without logging; None where there is nothing to compare with."""
    mlv: float
    result: float
    result_unit: str
    bar: float | None = None
    """None: for information only."""
    at_most: bool = True
    """Whether the result must not be above the bar; else not below."""

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is reached, None where there is none."""
        if self.bar is None:
            return None
        return self.result <= self.bar if self.at_most else self.result >= self.bar

    def to_data(self) -> dict[str, Any]:
        """A mapping for JSON, which has no NaN."""
        return {key: None if value != value else value for key, value in {**asdict(self), "is_met": self.is_met}.items()}


def ratio(what: str, unit: str, by_hand: float, mlv: float, bar: float | None = None, *, at_most: bool = True) -> Figure:
    """mlv's value as a multiple of W's."""
    return Figure(what, unit, by_hand, mlv, mlv / by_hand, "x W", bar, at_most)


def plain(what: str, unit: str, mlv: float, bar: float) -> Figure:
    """A value that has a bar of its own."""
    return Figure(what, unit, None, mlv, mlv, unit, bar)


def absent(what: str) -> Figure:
    """A row that says why nothing could be measured."""
    return Figure(what, "", None, math.nan, math.nan, "")


def command_line(prog: str, about: str, rows: Iterable[str]) -> argparse.ArgumentParser:
    """The options of a command that measures rows and prints the table."""
    names = list(rows)
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter repetitions: a look, no measurement")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--markdown", action="store_true", help="print the table for docs/reference/figures.md")
    return parser


def as_text(figures: Sequence[Figure]) -> str:
    """The table for a terminal."""
    rows = [_HEADER, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def as_markdown(figures: Sequence[Figure]) -> str:
    """The table for a page of `docs/`."""
    rows = [_HEADER, ("---", "---:", "---:", "---:", "---:", ":---:"), *map(_cells, figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_HEADER = ("what", "reference", "mlv", "result", "bar", "met")


def _cells(figure: Figure) -> tuple[str, ...]:
    reference = "" if figure.reference is None else f"{_number(figure.reference)} {figure.unit}"
    sign = "<=" if figure.at_most else ">="
    bar = "" if figure.bar is None else f"{sign} {figure.bar:g} {figure.result_unit}"
    met = {None: "", True: "yes", False: "NO"}[figure.is_met]
    value = f"{_number(figure.mlv)} {figure.unit}"
    return figure.what, reference, value, f"{_number(figure.result)} {figure.result_unit}", bar, met


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"
