"""The command that runs scripts of others: `run`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from mlv.cli.application import app


@app.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    replaced: Annotated[
        str, typer.Option("--as", metavar="NAMES", help="Libraries to replace, with commas.", show_default=False)
    ],
    words: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="COMMAND", help="A script with its arguments, -m MODULE, or a program.", show_default=False),
    ] = None,
) -> None:
    """Run a script unchanged, with drop-ins of mlv in the places of other loggers: wandb, tensorboard.

    So does every Python that it starts, such as the workers of torchrun. Exit status and signals are those of the script.
    """
    from mlv.cli import run as run_  # the other commands do without

    run_.run(replaced, words or [])
