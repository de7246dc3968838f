"""Commands that prove, complete and clean experiments: `verify`, `recover`, `whence`, `merge`, `pull`, `redact`, `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mlv.cli.application import NOT_WELL, app
from mlv.cli.options import AsJson, Below, DryRun, Experiment, Experiments, On, Root, Where


@app.command("verify")
def verify(
    exps: Experiments,
    expect: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--expect",
            metavar="DIGEST",
            help="Digest that Exp.close() printed, and that you kept elsewhere.",
            show_default=False,
        ),
    ] = None,
    on: On = None,
    files: Annotated[bool, typer.Option("--files", help="In a bucket, hash the files too: on a disk they always are.")] = False,
    as_json: AsJson = False,
    root: Below = Path("."),
) -> None:
    """Check that experiments are complete and unchanged since they were written.

    The verdict is intact, unproven, truncated, missing or edited. A folder that is no experiment stands for all below it.

    Seals reveal damage. They do not reveal a person who can write to the folder and seals it anew, or cuts it off at an earlier
    end: only --expect does.

    With the URL of an experiment, or of a root that holds some, segments are read and proven in memory. What has not arrived is
    unproven, not missing, until all was shipped.

    The exit status is 0 if every verdict is intact, else 1.
    """
    from mlv.cli import choose, urls, verify  # the other commands do without

    url = urls.url_of(exps[0]) if len(exps) == 1 else None
    paths = choose.experiments_or_log(exps, root) if url is None else []
    is_one = len(paths) == 1 and (on is None or expect is not None or paths[0].is_file())
    url = urls.mirrored_url(paths[0]) if is_one else url
    if url is not None:
        is_intact = verify.run_url(url, as_json, expect, on, with_files=files)
    elif is_one:
        is_intact = verify.run(paths[0], as_json, expect)
    else:
        is_intact = verify.run_many(paths, as_json, expect, on, with_files=files)
    if not is_intact:
        raise typer.Exit(NOT_WELL)


@app.command("recover")
def recover(
    root: Root = Path("."),
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Time limit for each experiment.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Finish the runs that killed processes left.

    Waiting events are written to the log; dead runs get their end and their seals.

    The exit status is 1 if something could not be finished.
    """
    from mlv.cli import choose, recover  # the other commands do without

    if not recover.run(choose.checked_root(root), choose.seconds(timeout, "--timeout"), as_json):
        raise typer.Exit(NOT_WELL)


@app.command("whence")
def whence(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file or a folder, whatever its name is now.")],
    root: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="ROOT", help="Folder with experiments, at any depth.", show_default="see above"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which experiment, run, event and step produced a file, and through which parents.

    The file is identified by its SHA-256. Experiments that refer to it are listed as well.

    Without ROOT, the folder around the outermost experiment that holds the file is searched; for a file outside any experiment,
    the folder runs, else the current folder.

    The exit status is 1 if no experiment names the file.
    """
    from mlv.cli import whence  # the other commands do without

    if not whence.run(file, root, as_json):
        raise typer.Exit(NOT_WELL)


@app.command("merge")
def merge(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="The copy to read: an experiment, or a folder with some.")],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="The copy to complete; made if it is missing.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add the lines and files of one copy of a tree of experiments to another copy.

    Two experiments with the same ID are copies of each other, whatever their names. Runs may go on in both. Nothing is
    overwritten or deleted. A second merge changes nothing.

    The exit status is 1 if bytes that should be equal in both copies are not.
    """
    from mlv.cli import merge  # the other commands do without

    if not merge.run(src, dst, dry_run=dry_run, as_json=as_json):
        raise typer.Exit(NOT_WELL)


@app.command("pull")
def pull(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where experiments were shipped to: s3://lab/runs.")],
    dst: Annotated[Path, typer.Argument(metavar="DIR", help="A tree of experiments to complete; made if it is missing.")],
    where: Where = None,
    files: Annotated[bool, typer.Option("--files", help="Files and checkpoints too, not only the logs.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring the experiments of a bucket into a folder.

    They are united with those that are there as `mlv merge` does it: nothing is overwritten or deleted, and a second pull
    brings only what is new. Runs may go on in both.

    The exit status is 1 if bytes that should be equal are not, or an object could not be used.
    """
    from mlv.cli import pull  # the other commands do without

    if not pull.run(url, dst, where=where, files=files, dry_run=dry_run, as_json=as_json):
        raise typer.Exit(NOT_WELL)


@app.command("redact")
def redact(
    exp: Experiment,
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
    dry_run: DryRun = False,
    as_json: AsJson = False,
    root: Below = Path("."),
) -> None:
    """Remove a leaked value from an experiment and those below it.

    A line of the log that holds it is replaced by its hash, so that all other lines can still be verified. Text files lose the
    matching text; other files that match are removed. A redacted event records who did it, when and why.

    End the runs first: while one goes on, nothing is redacted.
    """
    from mlv.cli import choose, redact  # the other commands do without

    folder = choose.experiment(exp, root)
    redact.run(folder, patterns, reason=reason, forget=forget, dry_run=dry_run, as_json=as_json)


@app.command("doctor")
def doctor(
    folder: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="FOLDER|URL",
            help="Where experiments go, or will go; or the URL of a bucket, such as `s3://lab/runs`.",
            show_default="MLV_DIR, or runs",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the settings in force, test everything that mlv relies on, and say what to change.

    Nothing is left on the disk. The exit status is 1 if something needs a change.

    For a bucket: try what the store promises, and say which uses are safe: shipping, a lake by one builder, a lake by several.
    The exit status is 1 if shipping is not safe.
    """
    from mlv.bucket.urls import is_url  # the other commands do without
    from mlv.cli import doctor

    bucket = folder if folder is not None and is_url(folder) else None
    if not (doctor.run(folder, as_json) if bucket is None else doctor.run_on_bucket(bucket, as_json)):
        raise typer.Exit(NOT_WELL)
