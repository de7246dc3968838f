"""The commands, their arguments and their help."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

from mlv.errors import MlvError, MlvWarning
from mlv.projections.registry import FORMS

_NOT_WELL, _ERROR, _INTERRUPTED, _PIPE = 1, 2, 130, 141


_BY_USE = (
    "ls", "ui", "show", "summary", "tail", "compare", "plot", "sql", "export", "dump",
    "verify", "recover", "whence", "merge", "redact", "doctor",
)  # fmt: skip
"""The order of the commands in the help; any other command comes last."""


class _Commands(TyperGroup):
    """The commands, with every error of theirs as one line on stderr and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        warnings.showwarning = _warn_like_errors(warnings.showwarning)
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # `mlv ls | head`: Python must not flush into the closed pipe at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_PIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except MlvError as error:
            _complain(str(error))
        except OSError as error:
            _complain(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
        raise typer.Exit(_ERROR)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands, the most used first."""
        return sorted(self.commands, key=lambda name: _BY_USE.index(name) if name in _BY_USE else len(_BY_USE))

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, without a type behind flags."""
        return _without_types(super().get_params(ctx))


class _Command(TyperCommand):
    """A command whose help has no `<bool>` behind flags and no braces around arguments: newer versions of typer add both."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, without a type behind flags."""
        return _without_types(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [word.replace("{", "").replace("}", "") for word in super().collect_usage_pieces(ctx)]


def _without_types(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class _App(typer.Typer):
    """An application whose commands are of the class `_Command`, each with its function's docstring as help."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Register a command."""

        def register(function: CommandFunctionType) -> CommandFunctionType:
            # typer would keep the line breaks of the source within a paragraph.
            paragraphs = cleandoc(function.__doc__ or "").split("\n\n")
            text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
            return super(_App, self).command(name, cls=_Command, help=text, **options)(function)

        return register


def _warn_like_errors(usual: Callable[..., None]) -> Callable[..., None]:
    """Return a hook that prints warnings of mlv as its errors: a source line helps nobody who typed a command."""

    def show(message: Any, category: type[Warning], *location: Any, **options: Any) -> None:
        if issubclass(category, MlvWarning):
            _complain(str(message))
        else:
            usual(message, category, *location, **options)

    return show


def _complain(text: str) -> None:
    from mlv.words import printable  # the other commands do without

    sys.stdout.flush()
    line = printable(text, keep="\n")
    print(f"mlv: {line}", file=sys.stderr)


app = _App(
    cls=_Commands,
    help="Experiments in plain files: list, read, follow and verify them.",
    epilog="EXP is a path, the beginning of an ID (four digits or more), or a name below --root.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _default_folder(ctx: typer.Context, param: typer.CallbackParam, value: Path) -> Path:
    """Return the folder from the command line, else the one from the settings, else the current one."""
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
        help="Folder to search for experiments, at any depth.",
        show_default="MLV_DIR, or the current one",
        callback=_default_folder,
    ),
]
_Exp = Annotated[str, typer.Argument(metavar="EXP", help="Path, beginning of an ID, or name below --root.", show_default=False)]
_Below = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Folder to search for an ID or a name.",
        show_default="MLV_DIR, or the current one",
        callback=_default_folder,
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
    typer.Option(
        "--where", metavar="SQL", help="Only experiments for which this holds: 'params.lr < 0.1'.", show_default=False
    ),
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


def _show_version(is_requested: bool) -> None:
    if is_requested:
        from mlv import __version__  # the other commands do without

        print(f"mlv {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up the output streams for every command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot show


@app.command("ls")
def ls(
    root: _Root = Path("."),
    where: _Where = None,
    sort: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN puts the greatest first.", show_default=False),
    ] = None,
    columns: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--columns",
            metavar="A,B",
            help="Columns such as name,params.lr,metrics.acc.max; params.* for all params; varying for those that differ.",
            show_default=False,
        ),
    ] = None,
    newest: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--newest", "-n", min=1, metavar="N", help="Only the N whose latest run began last.", show_default=False),
    ] = None,
    watch: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--watch", "-w", metavar="SECONDS", help="Repeat the list at this interval, until Ctrl-C.", show_default=False
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """List the experiments at and below a folder.

    Status, start and duration are those of the latest run.

    Sub-experiments are indented under their parent, except with --where, --sort, --columns or --newest.
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


@app.command("ui")
def ui(
    root: _Root = Path("."),
    port: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--port", min=0, max=65535, metavar="N", help="Port; 0 for any free one.", show_default="8484, or the next free one"
        ),
    ] = None,
    socket: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--socket", metavar="PATH", help="A socket that only you reach, instead of a port.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at.")] = "127.0.0.1",
    allow_host: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--allow-host", metavar="NAME", help="Host name to answer to; may be given several times.", show_default=False
        ),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address only.")] = False,
    new_token: Annotated[bool, typer.Option("--new-token", help="Make a new address; former ones no longer work.")] = False,
) -> None:
    """Show the experiments at and below a folder in the browser, until Ctrl-C.

    The address holds a secret: who has it reads all below ROOT. Nothing is written into an experiment.
    """
    from mlv.cli import choose, ui  # the other commands do without

    ui.run(
        choose.checked_root(root), host=host, port=port, socket=socket, allowed_hosts=allow_host or [], opens=not no_open,
        new_token=new_token,
    )  # fmt: skip


@app.command("show")
def show(exp: _Exp, as_json: _Json = False, root: _Below = Path(".")) -> None:
    """Show everything about one experiment."""
    from mlv.cli import choose, show  # the other commands do without

    show.run(choose.experiment(exp, root), as_json)


@app.command("tail")
def tail(
    exp: _Exp,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Also print new events, until no run goes on.")] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="Number of events.")] = 20,
    stream: _Stream = None,
    types: _Types = None,
    name: _Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines of the log unchanged.")] = False,
    root: _Below = Path("."),
) -> None:
    """Print the last events of an experiment.

    Seals, heartbeats and system metrics are printed only if --type or --stream selects them.
    """
    from mlv.cli import choose, tail  # the other commands do without

    path = choose.experiment_or_log(exp, root)
    tail.run(path, count, follow=follow, types=types or (), name=name, stream=stream, as_lines=as_json)


@app.command("verify")
def verify(
    exp: _Exp,
    expect: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--expect",
            metavar="DIGEST",
            help="Digest that Exp.close() printed, and that you kept elsewhere.",
            show_default=False,
        ),
    ] = None,
    as_json: _Json = False,
    root: _Below = Path("."),
) -> None:
    """Check that an experiment is complete and unchanged since it was written.

    The verdict is intact, unproven, truncated, missing or edited.

    Seals reveal damage. They do not reveal a person who can write to the folder and seals it anew, or cuts it off at an earlier
    end: only --expect does.

    The exit status is 0 if the verdict is intact, else 1.
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

    The file is identified by its SHA-256. Experiments that refer to it are listed as well.

    Without ROOT, the folder around the outermost experiment that holds the file is searched; for a file outside any experiment,
    the folder runs, else the current folder.

    The exit status is 1 if no experiment names the file.
    """
    from mlv.cli import whence  # the other commands do without

    if not whence.run(file, root, as_json):
        raise typer.Exit(_NOT_WELL)


@app.command("recover")
def recover(
    root: _Root = Path("."),
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Time limit for each experiment.")] = 30,
    as_json: _Json = False,
) -> None:
    """Finish the runs that killed processes left.

    Waiting events are written to the log; dead runs get their end and their seals.

    The exit status is 1 if something could not be finished.
    """
    from mlv.cli import choose, recover  # the other commands do without

    if not recover.run(choose.checked_root(root), timeout, as_json):
        raise typer.Exit(_NOT_WELL)


@app.command("merge")
def merge(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="The copy to read: an experiment, or a folder with some.")],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="The copy to complete; made if it is missing.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the changes.")] = False,
    as_json: _Json = False,
) -> None:
    """Add the lines and files of one copy of a tree of experiments to another copy.

    Two experiments with the same ID are copies of each other, whatever their names. Runs may go on in both. Nothing is
    overwritten or deleted. A second merge changes nothing.

    The exit status is 1 if bytes that should be equal in both copies are not.
    """
    from mlv.cli import merge  # the other commands do without

    if not merge.run(src, dst, dry_run=dry_run, as_json=as_json):
        raise typer.Exit(_NOT_WELL)


@app.command("redact")
def redact(
    exp: _Exp,
    patterns: Annotated[
        list[str],
        typer.Option(
            "--pattern", "-p", metavar="REGEX", help="Text that leaked; may be given several times.", show_default=False
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, for the log.")] = "",
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop the hashes of the lines too: a value could be guessed from them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the changes.")] = False,
    as_json: _Json = False,
    root: _Below = Path("."),
) -> None:
    """Remove a leaked value from an experiment and those below it.

    A line of the log that holds it is replaced by its hash, so that all other lines can still be verified. Text files lose the
    matching text; other files that match are removed. A redacted event records who did it, when and why.

    End the runs first: while one goes on, nothing is redacted.
    """
    from mlv.cli import choose, redact  # the other commands do without

    folder = choose.experiment(exp, root)
    redact.run(folder, patterns, reason=reason, forget=forget, dry_run=dry_run, as_json=as_json)


@app.command("compare")
def compare(exps: _Exps, as_json: _Json = False, root: _Below = Path(".")) -> None:
    """Show the differences between experiments: params, git, packages, machine and final metrics."""
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
    """Query the experiments at and below a folder with SQL.

    The views are experiments, runs, events, metrics and files.

    Params and metrics are structs: select name, params.lr, metrics."test/loss".min from experiments
    """
    from mlv.cli import choose, sql  # the other commands do without

    sql.run(choose.checked_root(root), query, as_json=as_json, as_csv=as_csv, safe=safe, bom=bom)


_Exps = Annotated[list[str], typer.Argument(metavar="EXP", help="Experiments, or folders that hold some.", show_default=False)]
_Over = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--over",
        metavar="PARAM",
        help="Param that may differ within a family; may be given several times.",
        show_default="seed",
    ),
]


_Reruns = Annotated[
    str,
    typer.Option(
        "--reruns", metavar="RULE", help="Experiments that count, of those with equal params and seeds: latest, all, or error."
    ),
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
        typer.Option("--by", metavar="PARAM", help="Param that the colours stand for.", show_default="all that differ"),
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
    """Show each metric of an experiment in a few numbers: last, min, max, mean, best and count."""
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

    It is the output that Exp(outputs=[OUTPUT]) writes during a run; an existing output is continued. Steps that a later run
    repeated are there twice, and TensorBoard draws a loop, unless the run was opened with rewind_to. `mlv dump` writes tables
    of many experiments.

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
    """Show the settings in force, test everything that mlv relies on, and say what to change.

    Nothing is left on the disk. The exit status is 1 if something needs a change.
    """
    from mlv.cli import doctor  # the other commands do without

    if not doctor.run(folder, as_json):
        raise typer.Exit(_NOT_WELL)
