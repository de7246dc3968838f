"""Commands that look at experiments: `ls`, `ui`, `show`, `tail` and `summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mlv.cli.application import app
from mlv.cli.options import Address, AsJson, Below, Experiment, Fresh, Lake, NamePattern, Root, StreamName, Types, Where
from mlv.errors import InvalidArgument


@app.command("ls")
def ls(
    root: Root = Path("."),
    where: Where = None,
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
    everything: Annotated[bool, typer.Option("--all", "-a", help="Archived ones too.")] = False,
    lake: Lake = None,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """List the experiments at and below a folder, or the URL of a bucket.

    Status, start and duration are those of the latest run.

    Sub-experiments are indented under their parent, except with --where, --sort, --columns or --newest.
    """
    from mlv.cli import choose, lakes, ls, screen, urls  # the other commands do without

    url = urls.url_of(root)
    if watch is not None and lake is not None:
        raise InvalidArgument("--watch is about logs, which grow: leave --lake out")
    reader = lakes.opened(root, lake, fresh or watch is not None)
    folder = choose.readable_root(root) if reader is None else root if url is None else reader.folder

    def show() -> None:
        if where is None and sort is None and columns is None and newest is None:
            ls.run(folder, as_json, everything, reader)
        else:
            from mlv.cli import chosen  # with all of the pool and SQL, 30 of 280 ms: a plain list does without

            options = {"where": where, "sort": sort, "columns": columns}
            chosen.run(folder, as_json, **options, newest=newest, with_archived=everything, lake=reader)

    if watch is None:
        show()
    else:
        with urls.refreshing(url):
            screen.again(show, watch)


@app.command("ui")
def ui(
    root: Address = ".",
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
    export: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--export",
            metavar="PATH",
            help="Write the page into a new folder, or a .html file, to open offline.",
            show_default=False,
        ),
    ] = None,
    where: Where = None,
    files: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--files", metavar="CHOICE", help="Files in the export: none, media or all.", show_default="none"),
    ] = None,
    lake: Lake = None,
    fresh: Fresh = False,
    while_stdin: Annotated[bool, typer.Option("--while-stdin", hidden=True)] = False,
) -> None:
    """Show the experiments at and below a folder in the browser, until Ctrl-C.

    ROOT may be on another machine: `host:folder` starts `mlv ui` there over ssh. It may be the URL of a bucket: s3://lab/runs.

    With a lake the list comes from its tables, and the logs of an experiment are read when it is opened or drawn.

    The address holds a secret: who has it reads all below ROOT. Nothing is written into an experiment.
    """
    from mlv.cli import choose, ui  # the other commands do without

    if export is not None:
        if lake is not None:
            raise InvalidArgument("--lake is about a page that is served, an export reads the logs: leave one of them out")
        ui.export(choose.readable_root(root), export, where=where, files=files or "none")
        return
    if where is not None or files is not None:
        raise InvalidArgument("--where and --files are about an export: give --export PATH as well")
    ui.run(
        root, host=host, port=port, socket=socket, allowed_hosts=allow_host or [], opens=not no_open,
        new_token=new_token, while_stdin=while_stdin, lake=lake, fresh=fresh,
    )  # fmt: skip


@app.command("show")
def show(exp: Experiment, as_json: AsJson = False, root: Below = Path(".")) -> None:
    """Show everything about one experiment."""
    from mlv.cli import choose, show  # the other commands do without

    show.run(choose.experiment(exp, root, reads=True), as_json)


@app.command("summary")
def summary(exp: Experiment, as_json: AsJson = False, root: Below = Path(".")) -> None:
    """Show each metric of an experiment in a few numbers: last, min, max, mean, best and count."""
    from mlv.cli import choose, summary  # the other commands do without

    summary.run(choose.experiment_or_log(exp, root), as_json)


@app.command("tail")
def tail(
    exp: Experiment,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Also print new events, until no run goes on.")] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="Number of events.")] = 20,
    stream: StreamName = None,
    types: Types = None,
    name: NamePattern = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines of the log unchanged.")] = False,
    root: Below = Path("."),
) -> None:
    """Print the last events of an experiment.

    Seals, heartbeats and system metrics are printed only if --type or --stream selects them.
    """
    from mlv.cli import choose, tail, urls  # the other commands do without

    path = choose.experiment_or_log(exp, root)
    url = urls.url_of(exp) or urls.url_of(root)
    refresh = urls.refresher(url) if follow and url is not None else None
    tail.run(
        path, count, follow=follow, types=types or (), name=name, stream=stream, as_lines=as_json, refresh=refresh
    )  # fmt: skip
