"""The command that ships experiments to a bucket: `push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mlv.cli.application import NOT_WELL, app
from mlv.cli.options import AsJson, DryRun


@app.command()
def push(
    root: Annotated[
        Path, typer.Argument(metavar="DIR", help="An experiment, or a folder that holds some.", show_default=False)
    ],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="s3://bucket/prefix, gs://, az:// or file:///folder.", show_default=False)
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until SIGTERM or Ctrl-C.")] = False,
    every: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--every", metavar="SECONDS", min=0.1, help="Pause with --follow.", show_default="MLV_SHIP_EVERY, or 10"),
    ] = None,
    no_files: Annotated[bool, typer.Option("--no-files", help="Ship the logs alone, no attachments and checkpoints.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Ship experiments to a bucket: what it lacks of their logs, files and checkpoints.

    DIR appears at URL: DIR/a/b is shipped to URL/a/b. An experiment that was shipped to URL goes on at its path there. Objects
    are made, and never changed, so that pushing again, or two at once, does no harm; with nothing new it costs no upload.
    Credentials come from the variables and files of each store's own client, such as AWS_ACCESS_KEY_ID or AWS_PROFILE.

    The exit status is 1 if the bucket holds other bytes under a name, or something readable was not shipped. With --follow,
    SIGTERM and Ctrl-C ship once more; a second Ctrl-C ends it.
    """
    from mlv import settings  # the other commands do without
    from mlv.cli import push as push_  # the other commands do without

    every_s = settings.SHIP_EVERY.get() if every is None else every
    if not push_.run(root, url, with_files=not no_files, follow=follow, every_s=every_s, dry_run=dry_run, as_json=as_json):
        raise typer.Exit(NOT_WELL)
