"""`mlv summary`: each metric of an experiment in a few numbers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from mlv import words
from mlv.cli.screen import Screen, passed_over, print_json, say, styled
from mlv.experiment.identity import read_meta
from mlv.query.digest import STATS, read_digest
from mlv.store.streams import Skipped


def run(folder: Path, as_json: bool) -> None:
    """Print a row per metric.

    Raises:
        NotAnExperiment: There is no readable meta.json.
    """
    meta = read_meta(folder)
    skipped: list[Skipped] = []
    digest = read_digest(folder, meta.id, meta.content, skipped=skipped)
    if skipped:
        say(passed_over(folder, skipped))
    if as_json:
        print_json({name: asdict(summary) for name, summary in digest.metrics.items()})
        return
    if not digest.metrics:
        say(f"no metrics in {str(folder)!r}")
        return
    shown = [stat for stat in STATS if stat in _ALWAYS or any(getattr(one, stat) for one in digest.metrics.values())]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("metric", overflow="fold")
    for stat in shown:
        table.add_column(stat, justify="right", overflow="fold")
    for name, summary in digest.metrics.items():
        shape = digest.state.descriptions.get(name, {}).get("format")
        cells = (_cell(getattr(summary, stat), None if stat in _COUNTS else shape) for stat in shown)
        table.add_row(styled(words.printable(name)), *cells)
    Screen().show(table)


_ALWAYS, _COUNTS = ("last", "min", "max", "mean", "count"), ("count", "nans")


def _cell(value: Any, shape: Any) -> Any:
    return styled("" if value is None else words.number(value, shape if isinstance(shape, str) else None))
