"""`mlv compare`: what differs between two experiments, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from mlv import words
from mlv.cli.screen import MOST_ROWS, Screen, print_json, say, say_more, styled
from mlv.experiment.identity import read_meta
from mlv.query.compare import ABSENT, Difference, compare
from mlv.query.digest import Digest, read_digest


def run(a: Path, b: Path, as_json: bool) -> None:
    """Print what differs.

    Raises:
        NotAnExperiment: A folder has no readable meta.json.
    """
    first, second = _digest(a), _digest(b)
    found = compare(first, second)
    if as_json:
        differing = {section: {name: _sides(pair) for name, pair in pairs.items()} for section, pairs in found.items()}
        print_json({"a": {"path": a, "id": first.id}, "b": {"path": b, "id": second.id}, "differs": differing})
        return
    if not found:
        say(f"{a} and {b} have equal params, git, packages, machine and final metrics")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("", "", first.name, second.name):
        table.add_column(styled(words.printable(heading)), overflow="fold")
    rows = [
        (section, place, name, pair) for section, pairs in found.items() for place, (name, pair) in enumerate(pairs.items())
    ]
    for section, place, name, pair in rows[:MOST_ROWS]:
        first_cell = styled(section if place == 0 else "", "bold")
        table.add_row(first_cell, styled(words.printable(name)), *(_cell(value) for value in pair))
    Screen().show(table)
    say_more(len(rows))


def _digest(folder: Path) -> Digest:
    meta = read_meta(folder)
    return read_digest(folder, meta.id, meta.content)


def _sides(pair: Difference) -> dict[str, Any]:
    return {side: value for side, value in pair._asdict().items() if value is not ABSENT}


def _cell(value: Any) -> Any:
    return styled("absent", "dim") if value is ABSENT else styled(words.number(value))
