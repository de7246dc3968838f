"""Commands of the lake: `mlv lake build`, `info`, `check` and `rebuild`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from mlv.cli.application import NOT_WELL, App, CommandGroup, app
from mlv.cli.options import AsJson, On

lake = App(
    name="lake",
    cls=CommandGroup,
    help="Build tables of Delta Lake from the logs of many experiments, for any engine.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(lake)

Source = Annotated[
    str,
    typer.Argument(metavar="SRC", help="Folder with experiments, at any depth, or the URL of a bucket.", show_default=False),
]
Url = Annotated[str, typer.Argument(metavar="URL", help="Of the lake: a folder, or s3://, gs:// or az://.", show_default=False)]


@lake.command("build")
def build(
    src: Source,
    url: Url,
    on: On = None,
    every: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--every", min=1, metavar="SECONDS", help="Build again and again, until Ctrl-C.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Read the lines again that were taken before.")] = False,
    moved: Annotated[bool, typer.Option("--moved", help="SRC is what the source of earlier builds was.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a lake up to what the logs say now; it is made where there is none.

    Each line becomes rows once: a build that was killed is completed by the next, and several may build at the same time. A log
    that was redacted or replaced since has its rows replaced.
    """
    from mlv.cli import lake as lake_  # the other commands do without

    lake_.build(src, url, on, every_s=every, everything=everything, moved=moved, as_json=as_json)


@lake.command("info")
def info(
    url: Url,
    sql: Annotated[bool, typer.Option("--sql", help="Print the views in SQL, for Spark and Trino.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the tables of a lake, their addresses, and how old it is."""
    from mlv.cli import lake as lake_  # the other commands do without

    lake_.info(url, with_sql=sql, as_json=as_json)


@lake.command("check")
def check(
    url: Url,
    src: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="SRC", help="Folder with the experiments.", show_default="that of the latest build"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All experiments, not 100 of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count and hash the rows of a lake, beside what the logs say.

    The exit status is 1 if they differ.
    """
    from mlv.cli import lake as lake_  # the other commands do without

    if not lake_.check(url, src, everything=everything, as_json=as_json):
        raise typer.Exit(NOT_WELL)


@lake.command("rebuild")
def rebuild(src: Source, url: Url, on: On = None, as_json: AsJson = False) -> None:
    """Remove the tables of a lake, and build them anew: until then they are missing."""
    from mlv.cli import lake as lake_  # the other commands do without

    lake_.rebuild(src, url, on, as_json=as_json)
