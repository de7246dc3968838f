"""Commands that take experiments together: `compare`, `plot`, `sql`, `export` and `dump`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mlv.cli.application import app
from mlv.cli.options import AsJson, Below, Bom, Experiments, Fresh, Lake, Safe
from mlv.projections.registry import FORMS

Over = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--over",
        metavar="PARAM",
        help="Param that may differ within a family; may be given several times.",
        show_default="seed",
    ),
]
Reruns = Annotated[
    str,
    typer.Option(
        "--reruns", metavar="RULE", help="Experiments that count, of those with equal params and seeds: latest, all, or error."
    ),
]
Limits = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="FROM:TO", help="Ends of the axis; either may be left open.", show_default="all values"),
]


@app.command("compare")
def compare(exps: Experiments, as_json: AsJson = False, root: Below = Path(".")) -> None:
    """Show the differences between experiments: params, git, packages, machine and final metrics."""
    from mlv.cli import choose, compare  # the other commands do without

    labels = choose.labels(exps, root)
    if len(exps) == 2 and len(labels) <= 2:
        first, second = [*labels, *labels][:2]  # the same one may be named twice
        compare.run(first, second, as_json)
    else:
        compare.run_many(labels, as_json)


@app.command("plot")
def plot(
    exps: Experiments,
    metric: Annotated[
        list[str],
        typer.Option(
            "--metric",
            "-m",
            metavar="NAME",
            help="Full name, or a pattern over names; may be given several times.",
            show_default=False,
        ),
    ],
    x: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--x",
            metavar="NAME",
            help="step, a coordinate, time, elapsed, active (elapsed without pauses), or metrics.NAME.",
            show_default="as log.describe(metric, x=) says, or step",
        ),
    ] = None,
    by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--by", metavar="PARAM", help="Param that the colours stand for.", show_default="all that differ"),
    ] = None,
    over: Over = None,
    grid: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--grid", metavar="GRID", help="exact, interpolate, or a number of bins.", show_default="exact, or interpolate"
        ),
    ] = None,
    smooth: Annotated[float, typer.Option("--smooth", metavar="WEIGHT", help="Moving average, from 0 to below 1.")] = 0.0,
    center: Annotated[str, typer.Option("--center", metavar="STAT", help="median or mean.")] = "median",
    band: Annotated[
        str, typer.Option("--band", metavar="STATS", help="p10-p90, p25-p75, min-max, std, ci or none.")
    ] = "p10-p90",
    log: Annotated[str, typer.Option("--log", metavar="AXES", help="Logarithmic axes: x, y or xy.")] = "",
    xlim: Limits = None,
    ylim: Limits = None,
    reruns: Reruns = "latest",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Draw into a .png, .svg, .pdf or .html.", show_default="the terminal"),
    ] = None,
    root: Below = Path("."),
) -> None:
    """Plot metrics of experiments: a line per family, with a band over its seeds.

    The line is the median, the band reaches from the 10th to the 90th percentile. Where seeds have values at different x,
    they are interpolated, and the x axis says so.
    """
    from mlv.cli import choose, plot  # the other commands do without
    from mlv.query.many.plot import Style, View

    folders = choose.experiments(exps, root)
    style = Style(center, band, int(grid) if grid is not None and grid.isdecimal() else grid, smooth)
    view = View(log, plot.limits(xlim, "--xlim"), plot.limits(ylim, "--ylim"))
    plot.run(
        root, folders, metric, x=x, by=by, over=over or ["seed"], out=out, style=style, view=view, reruns=reruns
    )  # fmt: skip


@app.command("sql")
def sql(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder to look in, at any depth.", show_default=False)],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A select of DuckDB's SQL.", show_default=False)],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    safe: Safe = False,
    bom: Bom = False,
    lake: Lake = None,
    fresh: Fresh = False,
) -> None:
    """Query the experiments at and below a folder with SQL.

    The views are experiments, runs, events, metrics and files.

    Params and metrics are structs: select name, params.lr, metrics."test/loss".min from experiments
    """
    from mlv.cli import choose, lakes, sql  # the other commands do without
    from mlv.experiment.experiments import find, in_lake

    reader = lakes.opened(root, lake, fresh)
    experiments = find(choose.readable_root(root), fresh=True) if reader is None else in_lake(reader)
    sql.run(experiments, query, as_json=as_json, as_csv=as_csv, safe=safe, bom=bom)


@app.command("export")
def export(
    exps: Experiments,
    to: Annotated[
        str, typer.Option("--to", metavar="OUTPUT", help=f"{', '.join(FORMS[:-1])} or {FORMS[-1]}.", show_default=False)
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="Where to write.", show_default="the folder OUTPUT of each experiment"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until no run goes on; for one experiment.")
    ] = False,
    safe: Safe = False,
    bom: Bom = False,
    root: Below = Path("."),
) -> None:
    """Build an output of each experiment from its log.

    It is the output that Exp(outputs=[OUTPUT]) writes during a run; an existing output is continued. Steps that a later run
    repeated are there twice, and TensorBoard draws a loop, unless the run was opened with rewind_to. `mlv dump` writes tables
    of many experiments.

    Names and texts of experiments of others may be formulas, which a spreadsheet runs: give --safe before you open CSV in one.
    """
    from mlv.cli import choose, outputs  # the other commands do without

    outputs.run(choose.labels(exps, root), to, out, follow=follow, safe=safe, bom=bom)


@app.command("dump")
def dump(
    exps: Experiments,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="csv, parquet or jsonl.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that is new, or empty.", show_default=False)],
    safe: Safe = False,
    bom: Bom = False,
    root: Below = Path("."),
) -> None:
    """Write experiments as five tables: experiments, runs, events, files and metrics.

    They are the views of `mlv sql`. Metrics of several experiments as Parquet are a dataset, partitioned by experiment.

    Names and texts of experiments of others may be formulas, which a spreadsheet runs: give --safe before you open CSV in one.
    """
    from mlv.cli import choose, dump  # the other commands do without

    dump.run(root, list(choose.labels(exps, root)), to, out, safe=safe, bom=bom)
