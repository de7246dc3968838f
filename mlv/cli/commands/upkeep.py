"""Commands that keep a folder of experiments in order: tags, notes, the archive, `mv` and `rm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mlv.cli.application import app
from mlv.cli.options import Below, DryRun, Where

SomeExperiments = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="EXP", help="Experiments; may be left out with --where.", show_default=False),
]
Tags = Annotated[str, typer.Argument(metavar="TAG", help="A word, or several with commas.", show_default=False)]


@app.command("tag")
def tag(tags: Tags, exps: SomeExperiments = None, where: Where = None, root: Below = Path(".")) -> None:
    """Add tags to experiments.

    Their status and runs stay as they are.
    """
    from mlv.cli import housekeeping  # the other commands do without

    housekeeping.tag(housekeeping.chosen(exps, where, root), tags)


@app.command("untag")
def untag(tags: Tags, exps: SomeExperiments = None, where: Where = None, root: Below = Path(".")) -> None:
    """Take tags away from experiments, also those they were made with."""
    from mlv.cli import housekeeping  # the other commands do without

    housekeeping.untag(housekeeping.chosen(exps, where, root), tags)


@app.command("note")
def note(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="For people.", show_default=False)],
    exps: SomeExperiments = None,
    where: Where = None,
    root: Below = Path("."),
) -> None:
    """Add a note to experiments."""
    from mlv.cli import housekeeping  # the other commands do without

    housekeeping.note(housekeeping.chosen(exps, where, root), text)


@app.command("archive")
def archive(exps: SomeExperiments = None, where: Where = None, root: Below = Path(".")) -> None:
    """Have `mlv ls` leave out experiments, with those below them.

    Nothing is moved; `mlv ls --all` lists them, and every other command takes them as before.
    """
    from mlv.cli import housekeeping  # the other commands do without

    housekeeping.archive(housekeeping.chosen(exps, where, root))


@app.command("unarchive")
def unarchive(exps: SomeExperiments = None, where: Where = None, root: Below = Path(".")) -> None:
    """Have `mlv ls` list experiments again."""
    from mlv.cli import housekeeping  # the other commands do without

    housekeeping.unarchive(housekeeping.chosen(exps, where, root))


@app.command("mv")
def mv(
    exps: Annotated[list[str], typer.Argument(metavar="EXP... DEST", help="Experiments, then where to.", show_default=False)],
    where: Where = None,
    dry_run: DryRun = False,
    root: Below = Path("."),
) -> None:
    """Move or rename experiments, with those below them.

    DEST is a folder that is there, into which they go, or for one experiment its new path. References between experiments go on
    leading to the same ones. An experiment in which a run goes on is not moved.
    """
    from mlv.cli import housekeeping  # the other commands do without

    *words, target = exps
    housekeeping.mv(housekeeping.chosen(words, where, root), target, dry_run=dry_run)


@app.command("rm")
def rm(
    exps: SomeExperiments = None,
    where: Where = None,
    now: Annotated[bool, typer.Option("--now", help="Delete them instead.")] = False,
    dry_run: DryRun = False,
    root: Below = Path("."),
) -> None:
    """Move experiments, with those below them, into the trash: .mlv/trash in the folder around them.

    `mlv mv` brings them back from there. An experiment in which a run goes on is not removed.
    """
    from mlv.cli import housekeeping  # the other commands do without

    housekeeping.rm(housekeeping.chosen(exps, where, root), now=now, dry_run=dry_run)
