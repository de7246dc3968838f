"""`mlv ls`: a table of the experiments at and below a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mlv import words
from mlv.cli.overview import Branch, Overview, look_at, tree
from mlv.cli.screen import Screen, joined, passed_over, print_json, say, styled
from mlv.store import layout

_METRICS_SHOWN = 4


def run(root: Path, as_json: bool) -> None:
    """Print the table, or one JSON object per experiment."""
    found = overviews(root)
    if as_json:
        for overview in found:
            print_json(to_data(overview))
        return
    screen = Screen()
    branches = tree(found, root, screen.speaks_unicode)
    if not branches:
        say(f"no experiments at or below {str(root)!r}")
        return
    screen.show(table(branches, screen.width))
    for branch in branches:
        if branch.overview.error:
            screen.show(Text.assemble((f"{branch.label}: ", "bold"), (words.printable(branch.overview.error), "red")))
        if branch.overview.damage:
            say(passed_over(branch.overview.path, branch.overview.damage))


def overviews(root: Path) -> Iterator[Overview]:
    """Every experiment at or below a folder, as it is now."""
    for folder in layout.walk(root):
        yield look_at(folder, datetime.now(timezone.utc))


def table(branches: list[Branch], width: int) -> Table:
    """The experiments as rows; what would be empty is left out, and where there is little room, what can be missed."""
    columns = {heading: [cell(branch) for branch in branches] for heading, cell in _COLUMNS.items()}
    columns = {heading: cells for heading, cells in columns.items() if any(cell.plain for cell in cells)}
    if _least_width(columns) > width:
        columns["started"] = [_started(branch, "day") for branch in branches]
    for heading in ("duration", "kind", "started"):
        if _least_width(columns) > width:
            columns.pop(heading, None)
    result = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for heading, cells_width in _widths(columns, width).items():
        result.add_column(heading, width=cells_width, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        result.add_row(*row)
    return result


def _least_width(columns: Mapping[str, list[Text]]) -> int:
    least = [min(natural, _MAY_WRAP.get(heading, natural)) for heading, natural in _natural_widths(columns).items()]
    return sum(least) + _GAP * (len(least) - 1)


def _natural_widths(columns: Mapping[str, list[Text]]) -> dict[str, int]:
    return {heading: max(cell.cell_len for cell in [Text(heading), *cells]) for heading, cells in columns.items()}


def _widths(columns: Mapping[str, list[Text]], width: int) -> dict[str, int]:
    """How wide each column becomes: those that may wrap give way, the widest first."""
    widths = _natural_widths(columns)
    too_much = sum(widths.values()) + _GAP * (len(widths) - 1) - width
    while too_much > 0:
        giving = max(_MAY_WRAP.keys() & widths.keys(), key=lambda heading: widths[heading] - _MAY_WRAP[heading])
        if widths[giving] <= _MAY_WRAP[giving]:
            break
        widths[giving] -= 1
        too_much -= 1
    return widths


def _name(branch: Branch) -> Text:
    return Text.assemble((branch.guide, "dim"), (words.printable(branch.label), "" if branch.guide else "bold"))


def _kind(branch: Branch) -> Text:
    return styled(words.printable(branch.overview.kind or ""))


def _status(branch: Branch) -> Text:
    return styled(branch.overview.status, words.STATUS_STYLES.get(branch.overview.status, ""))


def _started(branch: Branch, precision: str = "minute") -> Text:
    overview = branch.overview
    return styled(words.moment(overview.started, overview.now or datetime.now(timezone.utc), precision))


def _duration(branch: Branch) -> Text:
    return styled(words.duration(branch.overview.duration_s))


def _metrics(branch: Branch) -> Text:
    overview = branch.overview
    shown = [
        Text.assemble((f"{words.printable(name)}=", "dim"), words.number(latest.value, overview.format_of(name)))
        for name, latest in overview.first_metrics(_METRICS_SHOWN).items()
    ]
    error = [styled("see below", "red")] if overview.error else []
    return joined([*error, *shown])


def _id(branch: Branch) -> Text:
    return styled(branch.overview.id[:8], "dim")


_COLUMNS: dict[str, Callable[[Branch], Text]] = {
    "name": _name,
    "kind": _kind,
    "status": _status,
    "started": _started,
    "duration": _duration,
    "metrics": _metrics,
    "id": _id,
}
_MAY_WRAP = {"name": 20, "metrics": 14}
"""Columns that may be narrower than what stands in them, and how narrow at most."""
_GAP = 2


def to_data(overview: Overview) -> dict[str, Any]:
    """The row as a mapping for JSON."""
    return {
        "path": overview.path,
        "name": overview.name,
        "id": overview.id or None,
        "kind": overview.kind,
        "status": overview.status,
        "created": overview.created,
        "started": overview.started,
        "duration_s": overview.duration_s,
        "tags": overview.tags,
        "parent": overview.parent.get("id"),
        "metrics": {name: latest.value for name, latest in overview.metrics.items()},
        "damaged": [str(hole) for hole in overview.damage],
        "error": overview.error,
    }
