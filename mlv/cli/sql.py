"""`mlv sql`: the result of a query over experiments, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import sys
from codecs import BOM_UTF8

from mlv.cli.chosen import show_columns
from mlv.cli.screen import progress, raw, say
from mlv.errors import InvalidArgument
from mlv.experiment.experiments import Experiments
from mlv.query.unique_names import repeated
from mlv.words import inert

_PLAN = ["explain_key", "explain_value"]


def run(experiments: Experiments, query: str, *, as_json: bool, as_csv: bool, safe: bool = False, bom: bool = False) -> None:
    """Print what a query gives; as CSV that is `safe`, without formulas, with `bom` as Excel reads it.

    Raises:
        InvalidArgument: Both forms were asked for, or what is only for CSV and CSV was not.
        QueryFailed: DuckDB does not accept the query.
        NotAnExperiment: There is none below the root.
    """
    if as_json and as_csv:
        raise InvalidArgument("--json and --csv together: give one of them")
    if safe and not as_csv:
        raise InvalidArgument("--safe is about formulas in CSV: give --csv as well", safe=safe)
    if bom and not as_csv:
        raise InvalidArgument("--bom is about CSV in Excel: give --csv as well", bom=bom)
    result = experiments.watched(progress).sql(query)
    for hole in result.skipped:
        say(f"passed over {hole}")
    if as_csv:
        if bom:
            _begin_as_utf8()
        # In quotes if safe: where cells end at a semicolon, a text could begin one.
        writer = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_ALL if safe else csv.QUOTE_MINIMAL)
        writer.writerows([_cell(value, safe) for value in row] for row in (result.columns, *result.rows()))
        return
    if result.columns == _PLAN and not as_json:
        print(*(raw(plan) for _, plan in result.rows()), sep="\n")
        return
    columns = repeated(result.columns)
    show_columns([dict(zip(columns, row, strict=True)) for row in result.rows()], columns, as_json)


def _begin_as_utf8() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale: it is what the mark says
    sys.stdout.write(BOM_UTF8.decode())


def _cell(value: object, safe: bool) -> object:
    """Return a cell of CSV: numbers stay what they are."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = raw(str(value))
    return inert(text) if safe else text
