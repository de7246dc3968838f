"""The command that brings experiments of other tools along: `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mlv.cli.application import NOT_WELL, app
from mlv.cli.options import AsJson, DryRun, On


@app.command("import")
def import_(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="Files or folders of another tool; they stay as they are.")
    ],
    into: Annotated[
        Path,
        typer.Option("--into", metavar="ROOT", help="Folder for the experiments; made if it is missing.", show_default=False),
    ],
    format: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", metavar="FORMAT", help="Format of the sources.", show_default="as each file shows"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    step: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--step", metavar="COLUMN", help="Column of a table that holds the steps.", show_default=False),
    ] = None,
    time: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--time", metavar="COLUMN", help="Column of a table that holds the times.", show_default=False),
    ] = None,
    name_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--name-column", metavar="COLUMN", help="Column of a long table that holds the metrics' names.", show_default=False
        ),
    ] = None,
    value_column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--value-column", metavar="COLUMN", help="Column of a long table that holds the values.", show_default=False
        ),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="The sources are complete: take a last line that has no end as it stands.")
    ] = False,
    links: Annotated[
        bool, typer.Option("--links", help="Follow symbolic links that lead out of a source; they are left behind otherwise.")
    ] = False,
    parse_params: Annotated[
        bool,
        typer.Option("--parse-params", help="Read params that a tool keeps as text as numbers, where they look like some."),
    ] = False,
    on: On = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring experiments of other tools along, with their times, files and machines.

    A format is recognised by its files; an unknown FORMAT lists all of them. Importing again adds what the sources have by
    then, and changes nothing that is there: to import twice, or after a kill, is to import once. Credentials are kept out as in
    runs of mlv itself.

    A last line without an end may be cut within a number: it stays behind, and is reported, unless the sources are --whole.

    The exit status is 1 if something of a source did not come over; the report says what, and why.
    """
    from mlv.cli import importing  # the other commands do without
    from mlv.importers.reading import Options

    options = Options(
        follows=follow,
        is_whole=whole,
        follows_links=links,
        parse_params=parse_params,
        step=step,
        time=time,
        name_column=name_column,
        value_column=value_column,
    )
    if not importing.run(sources, into, format=format, options=options, dry_run=dry_run, as_json=as_json, on=on):
        raise typer.Exit(NOT_WELL)
