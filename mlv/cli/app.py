"""The commands, their arguments and their help."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from mlv.errors import MlvError, MlvWarning
from mlv.projections.registry import FORMS

_NOT_WELL, _ERROR, _INTERRUPTED, _PIPE = 1, 2, 130, 141


class _Commands(TyperGroup):
    """Turns what goes wrong in any command into one line on stderr and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        warnings.showwarning = _shown_by(warnings.showwarning)
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # `mlv ls | head`: nobody reads any more, also not what Python would flush at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_PIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except MlvError as error:
            _complain(str(error))
        except OSError as error:
            _complain(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
        raise typer.Exit(_ERROR)


def _shown_by(usual: Callable[..., None]) -> Callable[..., None]:
    """Show warnings of mlv as its errors are: a line of its own code helps nobody who typed a command."""

    def show(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, MlvWarning):
            _complain(str(message))
        else:
            usual(message, category, *place, **options)

    return show


def _complain(text: str) -> None:
    from mlv.words import printable  # the other commands do without

    sys.stdout.flush()
    shown = printable(text, keep="\n")
    print(f"mlv: {shown}", file=sys.stderr)


app = typer.Typer(
    cls=_Commands,
    help="Experiments in plain files: list them, read them, follow them, prove them.",
    epilog="EXP is a path, the beginning of an ID (four digits or more), or a name below --root.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _where_they_are(ctx: typer.Context, param: typer.CallbackParam, value: Path) -> Path:
    """The folder given, else the one that a setting names, else the current one."""
    source = ctx.get_parameter_source(param.name or "")
    if source is None or source.name != "DEFAULT":
        return value
    from mlv.settings import DIR  # the other commands do without

    if DIR.look_up().source == "default":
        return value
    named = DIR.get()
    return Path(os.path.relpath(named)) if named.is_relative_to(Path.cwd()) else named


_Root = Annotated[
    Path,
    typer.Argument(
        metavar="ROOT",
        help="Folder to look in, at any depth.",
        show_default="MLV_DIR, or the current one",
        callback=_where_they_are,
    ),
]
_Exp = Annotated[str, typer.Argument(metavar="EXP", help="Path, beginning of an ID, or name below --root.", show_default=False)]
_Below = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Where to look for an ID or a name.",
        show_default="MLV_DIR, or the current one",
        callback=_where_they_are,
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
# Not `str | None`: the oldest typer that is allowed cannot read it.
_Stream = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--stream", "-s", metavar="NAME", help="One stream only, such as val.", show_default=False),
]
_Types = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--type", "-t", metavar="TYPE", help="One type only; may be given several times.", show_default=False),
]
_Where = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--where", metavar="SQL", help="Only where this holds: 'params.lr < 0.1'.", show_default=False),
]
_Name = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--name", metavar="PATTERN", help="Only names like this: * is one segment, ** any number.", show_default=False
    ),
]


_Safe = Annotated[
    bool, typer.Option("--safe", help="In CSV, write an apostrophe before what a spreadsheet would take for a formula.")
]
_Bom = Annotated[bool, typer.Option("--bom", help="Begin CSV with the mark (BOM) by which Excel knows UTF-8.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from mlv import __version__  # the other commands do without

        print(f"mlv {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Experiments in plain files: list them, read them, follow them, prove them."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot show


@app.command("ls")
def ls(
    root: _Root = Path("."),
    where: _Where = None,
    sort: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN: the greatest first.", show_default=False),
    ] = None,
    columns: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--columns",
            metavar="A,B",
            help="Columns: name,params.lr,metrics.acc.max; params.*; varying (params that differ).",
            show_default=False,
        ),
    ] = None,
    newest: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--newest", "-n", min=1, metavar="N", help="Only so many, whose latest run began last.", show_default=False
        ),
    ] = None,
    watch: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--watch", "-w", metavar="SECONDS", help="List again and again, until Ctrl-C.", show_default=False),
    ] = None,
    as_json: _Json = False,
) -> None:
    """List the experiments at and below a folder.

    Status, start and duration are those of the latest run.

    Sub-experiments stand below the experiment that they lie in, but in a list that is chosen or sorted.
    """
    from mlv.cli import choose, ls, screen  # the other commands do without

    root = choose.checked_root(root)

    def show() -> None:
        if where is None and sort is None and columns is None and newest is None:
            ls.run(root, as_json)
        else:
            from mlv.cli import chosen  # with all of the pool and SQL, 30 of 280 ms: a plain list does without

            chosen.run(root, as_json, where=where, sort=sort, columns=columns, newest=newest)

    if watch is None:
        show()
    else:
        screen.again(show, watch)


@app.command("show")
def show(exp: _Exp, as_json: _Json = False, root: _Below = Path(".")) -> None:
    """Show everything about one experiment."""
    from mlv.cli import choose, show  # the other commands do without

    show.run(choose.experiment(exp, root), as_json)


@app.command("tail")
def tail(
    exp: _Exp,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with the events to come, until no run goes on.")
    ] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="How many of the last events.")] = 20,
    stream: _Stream = None,
    types: _Types = None,
    name: _Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they stand in the log.")] = False,
    root: _Below = Path("."),
) -> None:
    """Print the last events of an experiment.

    Seals, heartbeats and system metrics are left out unless --type or --stream asks for them.
    """
    from mlv.cli import choose, tail  # the other commands do without

    path = choose.experiment_or_log(exp, root)
    tail.run(path, count, follow=follow, types=types or (), name=name, stream=stream, as_lines=as_json)


@app.command("verify")
def verify(
    exp: _Exp,
    expect: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--expect", metavar="DIGEST", help="What Exp.close() told, kept elsewhere.", show_default=False),
    ] = None,
    as_json: _Json = False,
    root: _Below = Path("."),
) -> None:
    """Prove that an experiment is what was written, and all of it.

    The verdict is intact, unproven, truncated, missing or edited.

    It tells damage. Who can write the folder can seal it anew, or cut it off at an earlier end: that only --expect tells.

    The exit status is 0 if it is intact, else 1.
    """
    from mlv.cli import choose, verify  # the other commands do without

    if not verify.run(choose.experiment_or_log(exp, root), as_json, expect):
        raise typer.Exit(_NOT_WELL)


@app.command("whence")
def whence(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file or a folder, whatever its name is now.")],
    root: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="ROOT", help="Folder with experiments, at any depth.", show_default="see above"),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Say which experiment, run, event and step produced a file, and through which parents.

    The file is known by its SHA-256. Those that refer to it are listed as well.

    Without ROOT the search begins beside the outermost experiment around the file; for a file in no experiment, in the folder
    runs of the current one, else in the current one.

    The exit status is 1 if nothing names the file.
    """
    from mlv.cli import whence  # the other commands do without

    if not whence.run(file, root, as_json):
        raise typer.Exit(_NOT_WELL)


@app.command("recover")
def recover(
    root: _Root = Path("."),
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to try, for each experiment.")] = 30,
    as_json: _Json = False,
) -> None:
    """Finish what killed processes left.

    Waiting events come into the log; dead runs get their end and their seals.

    The exit status is 1 if something could not be finished.
    """
    from mlv.cli import choose, recover  # the other commands do without

    if not recover.run(choose.checked_root(root), timeout, as_json):
        raise typer.Exit(_NOT_WELL)


@app.command("merge")
def merge(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="The copy to read: an experiment, or a folder with some.")],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="The copy to complete; made if it is missing.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: _Json = False,
) -> None:
    """Bring what one copy of a tree has of its experiments into another copy.

    Experiments are the same where their IDs are, whatever their names. Runs may go on in both. Nothing is overwritten or
    deleted, and doing it again changes nothing.

    The exit status is 1 if bytes that should be equal in both are not.
    """
    from mlv.cli import merge  # the other commands do without

    if not merge.run(src, dst, dry_run=dry_run, as_json=as_json):
        raise typer.Exit(_NOT_WELL)


@app.command("redact")
def redact(
    exp: _Exp,
    patterns: Annotated[
        list[str],
        typer.Option("--pattern", "-p", metavar="REGEX", help="What leaked; may be given several times.", show_default=False),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")] = "",
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop the hashes of the lines too: a value could be guessed from them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: _Json = False,
    root: _Below = Path("."),
) -> None:
    """Take a value that leaked out of an experiment and the ones below it.

    A line of the log that holds it is replaced by its hash, so that the rest can still be proven; texts lose what matches,
    other files go. A redacted event says who did it, when and why.

    It waits for nobody: a run that goes on has to end before.
    """
    from mlv.cli import choose, redact  # the other commands do without

    folder = choose.experiment(exp, root)
    redact.run(folder, patterns, reason=reason, forget=forget, dry_run=dry_run, as_json=as_json)


@app.command("compare")
def compare(exps: _Exps, as_json: _Json = False, root: _Below = Path(".")) -> None:
    """Show what is not the same in two experiments or more: params, git, packages, machine and final metrics."""
    from mlv.cli import choose, compare  # the other commands do without

    labels = choose.labels(exps, root)
    if len(exps) == 2 and len(labels) <= 2:
        first, second = [*labels, *labels][:2]  # the same one may be named twice
        compare.run(first, second, as_json)
    else:
        compare.run_many(labels, as_json)


@app.command("sql")
def sql(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder to look in, at any depth.", show_default=False)],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A select of DuckDB's SQL.", show_default=False)],
    as_json: _Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    safe: _Safe = False,
    bom: _Bom = False,
) -> None:
    """Ask SQL of the experiments at and below a folder.

    The views are experiments, runs, events, metrics and files.

    Params and metrics are structs: select name, params.lr, metrics."test/loss".min from experiments
    """
    from mlv.cli import choose, sql  # the other commands do without

    sql.run(choose.checked_root(root), query, as_json=as_json, as_csv=as_csv, safe=safe, bom=bom)


_Exps = Annotated[list[str], typer.Argument(metavar="EXP", help="Experiments, or folders that hold some.", show_default=False)]
_Over = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--over", metavar="PARAM", help="What may differ in a family; may be given several times.", show_default="seed"
    ),
]


_Reruns = Annotated[
    str, typer.Option("--reruns", metavar="RULE", help="Of experiments with an equal seed too: latest, all, or error.")
]
_Limits = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="FROM:TO", help="Ends of the axis; either may be left open.", show_default="all values"),
]


@app.command("plot")
def plot(
    exps: _Exps,
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
        str,
        typer.Option(
            "--x", metavar="NAME", help="step, a coordinate, time, elapsed, active (elapsed without pauses), or metrics.NAME."
        ),
    ] = "step",
    by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--by", metavar="PARAM", help="The param that the colours tell.", show_default="all that differ"),
    ] = None,
    over: _Over = None,
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
    xlim: _Limits = None,
    ylim: _Limits = None,
    reruns: _Reruns = "latest",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Draw into a .png, .svg, .pdf or .html.", show_default="the terminal"),
    ] = None,
    root: _Below = Path("."),
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


@app.command("summary")
def summary(exp: _Exp, as_json: _Json = False, root: _Below = Path(".")) -> None:
    """Show each metric of an experiment in a few numbers: last, min, max, mean, best, and how many there are."""
    from mlv.cli import choose, summary  # the other commands do without

    summary.run(choose.experiment_or_log(exp, root), as_json)


@app.command("export")
def export(
    exps: _Exps,
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
    safe: _Safe = False,
    bom: _Bom = False,
    root: _Below = Path("."),
) -> None:
    """Build an output of each experiment from its log.

    It is what Exp(outputs=[OUTPUT]) keeps while a run goes on; what is there already is continued. Steps that a later run
    repeated are there twice, and TensorBoard draws a loop, unless it was opened with rewind_to. `mlv dump` writes tables of
    many experiments.

    Names and texts of experiments of others may be formulas, which a spreadsheet runs: give --safe before you open CSV in one.
    """
    from mlv.cli import (
        choose,  # the other commands do without
        outputs,  # the other commands do without
    )

    outputs.run(choose.labels(exps, root), to, out, follow=follow, safe=safe, bom=bom)


@app.command("dump")
def dump(
    exps: _Exps,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="csv, parquet or jsonl.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that is new, or empty.", show_default=False)],
    safe: _Safe = False,
    bom: _Bom = False,
    root: _Below = Path("."),
) -> None:
    """Write experiments as five tables: experiments, runs, events, files and metrics.

    They are the views of `mlv sql`. Metrics of several experiments as Parquet are a dataset, partitioned by experiment.

    Names and texts of experiments of others may be formulas, which a spreadsheet runs: give --safe before you open CSV in one.
    """
    from mlv.cli import (
        choose,  # the other commands do without
        dump,  # the other commands do without
    )

    dump.run(root, list(choose.labels(exps, root)), to, out, safe=safe, bom=bom)


@app.command("doctor")
def doctor(
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="FOLDER", help="Where experiments go, or will go.", show_default="MLV_DIR, or runs"),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show the settings in force, try what mlv relies on, and say what to change.

    Nothing is left on the disk. The exit status is 1 if something needs a change.
    """
    from mlv.cli import doctor  # the other commands do without

    if not doctor.run(folder, as_json):
        raise typer.Exit(_NOT_WELL)
