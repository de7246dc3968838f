"""`mlv ui`: the page of a folder of experiments."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from mlv import words
from mlv.cli.screen import progress, say
from mlv.web import built, server
from mlv.web import export as export_


def run(
    root: Path, *, host: str, port: int | None, socket: Path | None, allowed_hosts: list[str], opens: bool, new_token: bool
) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        InvalidArgument, MissingExtra: As `server.serve`.
    """
    if not built.is_built():
        say(built.NOT_BUILT)

    def show(line: str) -> None:
        print(line, flush=True)

    try:
        server.serve(root, show, host=host, port=port, socket_path=socket, allowed_hosts=allowed_hosts, opens=opens,
                     new_token=new_token)  # fmt: skip
    except KeyboardInterrupt:
        # A thread that waits for a disk must not keep the process.
        sys.stdout.flush()
        os._exit(130)


def export(root: Path, to: Path, *, where: str | None, files: str) -> None:
    """Write the page into a folder, or into a file; say what was left out.

    Raises:
        InvalidArgument, FileUnusable, QueryFailed, MissingExtra: As `mlv.web.export.export`.
    """
    written = export_.export(root, to, where=where or "", with_files=files, watch=partial(progress, description="exporting"))
    for sentence in written.left_out:
        say(sentence)
    print(f"{written.path}: {words.counted(written.experiments, 'experiment')}, {words.size(written.size)}")
