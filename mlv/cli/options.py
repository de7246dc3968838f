"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer


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


def _default_address(ctx: typer.Context, param: typer.CallbackParam, value: str) -> str:
    return str(_default_folder(ctx, param, Path(value))) if value == "." else value


Root = Annotated[
    Path,
    typer.Argument(
        metavar="ROOT",
        help="Folder to search for experiments, at any depth.",
        show_default="MLV_DIR, or the current one",
        callback=_default_folder,
    ),
]
Address = Annotated[
    str,
    typer.Argument(
        metavar="ROOT",
        help="Folder to search for experiments, at any depth.",
        show_default="MLV_DIR, or the current one",
        callback=_default_address,
    ),
]
"""As `Root`, where an address of another machine may stand as well: a path would lose one of two slashes."""
Experiment = Annotated[
    str, typer.Argument(metavar="EXP", help="Path, beginning of an ID, or name below --root.", show_default=False)
]
Below = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Folder to search for an ID or a name.",
        show_default="MLV_DIR, or the current one",
        callback=_default_folder,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
# Not `str | None`: the oldest typer that is allowed cannot read it.
StreamName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--stream", "-s", metavar="NAME", help="One stream only, such as val.", show_default=False),
]
Types = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--type", "-t", metavar="TYPE", help="One type only; may be given several times.", show_default=False),
]
Where = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--where", metavar="SQL", help="Only experiments for which this holds: 'params.lr < 0.1'.", show_default=False
    ),
]
NamePattern = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--name", metavar="PATTERN", help="Only names like this: * is one segment, ** any number.", show_default=False
    ),
]
Safe = Annotated[
    bool, typer.Option("--safe", help="In CSV, write an apostrophe before what a spreadsheet would take for a formula.")
]
Bom = Annotated[bool, typer.Option("--bom", help="Begin CSV with the mark (BOM) by which Excel knows UTF-8.")]
Experiments = Annotated[
    list[str], typer.Argument(metavar="EXP", help="Experiments, or folders that hold some.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print the changes.")]
Lake = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--lake",
        metavar="URL",
        help="Read the tables of this lake, not the logs.",
        show_default="MLV_LAKE, or ROOT/.mlv/lake of a bucket",
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Read the logs, whatever lake there is.")]
On = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--on",
        metavar="EXECUTOR",
        help="Where the work is done: processes:4, or dask://HOST:8786 for a Dask scheduler.",
        show_default="this process",
    ),
]
