"""`mlv sql`: what a query over experiments gives, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from mlv.cli.chosen import show_columns
from mlv.cli.screen import progress, say
from mlv.errors import InvalidArgument
from mlv.experiment.many import find
from mlv.query.structs import distinct

_PLAN = ["explain_key", "explain_value"]


def run(root: Path, query: str, *, as_json: bool, as_csv: bool) -> None:
    """Print what a query gives.

    Raises:
        InvalidArgument: Both forms were asked for.
        QueryFailed: DuckDB does not accept the query.
        NotAnExperiment: There is none below the root.
    """
    if as_json and as_csv:
        raise InvalidArgument("--json and --csv together: give one of them")
    result = find(root).watched(progress).sql(query)
    for hole in result.skipped:
        say(f"passed over {hole}")
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows())
        return
    if result.columns == _PLAN and not as_json:
        print(*(plan for _, plan in result.rows()), sep="\n")
        return
    columns = distinct(result.columns)
    show_columns([dict(zip(columns, row, strict=True)) for row in result.rows()], columns, as_json)
