"""`mlv ui`: the page of a folder of experiments."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mlv import words
from mlv.cli import choose, lakes, urls
from mlv.cli.screen import progress, say
from mlv.errors import InvalidArgument
from mlv.web import built, remote, server
from mlv.web import export as export_
from mlv.web.guard import LOOPBACK


def run(
    root: str,
    *,
    host: str,
    port: int | None,
    socket: Path | None,
    allowed_hosts: list[str],
    opens: bool,
    new_token: bool,
    while_stdin: bool = False,
    lake: str | None = None,
    fresh: bool = False,
) -> None:
    """Serve the page of a folder here, or of one on another machine, until Ctrl-C.

    Raises:
        InvalidArgument, MissingExtra: As `server.serve` and `remote.serve`.
        LakeError, BucketError: As `lakes.listing`.
    """
    address = remote.parsed(root)
    if address is not None:
        if socket is not None or allowed_hosts or new_token or host not in LOOPBACK:
            raise InvalidArgument(
                f"{root} is on another machine: give it no option but --port, --no-open, --lake and --fresh", root=root
            )
        options = [*([] if lake is None else ["--lake", lake]), *(["--fresh"] if fresh else [])]
        with _until_ctrl_c():
            remote.serve(*address, _show, port=port, opens=opens, options=options)
        return
    url, path = urls.url_of(root), Path(root)
    if url is None:
        choose.checked_root(path)
    listing = lakes.listing(path, lake, fresh)
    folder = choose.readable_root(root) if listing is None else listing.folder
    # With a lake an experiment of a bucket is brought when it is opened, and all of them if a reader asks for the logs.
    bring = None if url is None or listing is None else urls.refresher(url, is_fresh=False)
    if not built.is_built():
        say(built.NOT_BUILT)

    with _until_ctrl_c(), urls.refreshing(url if listing is None else None):
        server.serve(folder, _show, host=host, port=port, socket_path=socket, allowed_hosts=allowed_hosts, opens=opens,
                     new_token=new_token, while_stdin=while_stdin, lake=listing, bring=bring)  # fmt: skip


def _show(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _until_ctrl_c() -> Iterator[None]:
    try:
        yield
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
