"""`mlv ui`: the page of a folder of experiments."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlv.cli.screen import say
from mlv.web import app, server


def run(
    root: Path, *, host: str, port: int | None, socket: Path | None, allowed_hosts: list[str], opens: bool, new_token: bool
) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        InvalidArgument, MissingExtra: As `server.serve`.
    """
    if not (app.STATIC / "index.html").is_file():
        say(app.NOT_BUILT)

    def show(line: str) -> None:
        print(line, flush=True)

    try:
        server.serve(root, show, host=host, port=port, socket_path=socket, allowed_hosts=allowed_hosts, opens=opens,
                     new_token=new_token)  # fmt: skip
    except KeyboardInterrupt:
        # A thread that waits for a disk must not keep the process.
        sys.stdout.flush()
        os._exit(130)
