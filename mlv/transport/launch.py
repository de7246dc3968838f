"""Starting the writer as a process that belongs to nobody."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlv import settings
from mlv.interpreter import OUR_MLV, is_available, module_path
from mlv.store import layout
from mlv.store.home import Home
from mlv.transport import spool

_PROGRAM = f"""
import os, sys
if os.fork():
    os._exit(0)
COUNT = 3 + int(sys.argv[2])
PATH = sys.argv[COUNT:]
{OUR_MLV}
from importlib import import_module
import_module(sys.argv[1]).main(*sys.argv[3:COUNT])
"""
_LAUNCH_WITHIN_S = 10.0  # what is awaited only forks and ends: longer, and the machine starts nothing at all
unfinished: list[Any] = []
"""Launchers that were not awaited, as a signal handler raised: dropped, they would warn; the next launch reaps them."""


def can_launch() -> bool:
    """Return whether a writer process can be started at all from this one."""
    return hasattr(os, "fork") and hasattr(os, "posix_fallocate") and is_available()


def launch(folder: Path, spool_folder: Path, home: Home | None = None) -> None:
    """Start the writer of a spool; returns once it runs on its own. It holds the experiment's folder from the beginning on.

    It is nobody's child, so no `os.wait()` of the user's meets it; it has a session of its own, so Ctrl-C passes it by.
    Its modules are those of this process: the standard library comes first, and the current folder not at all, so that a
    `queue.py` lying there is never imported.

    Raises:
        OSError: It cannot be started.
    """
    held = home if home is not None else Home(folder, layout.exp_id(folder))
    fds = [held.fd] if held.fd is not None else []
    with open(spool.opened(spool_folder / spool.ERRORS, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as errors:
        arguments = (str(folder), str(spool_folder), *map(str, fds))
        launch_module("mlv.transport.writer", arguments, errors=errors.fileno(), pass_fds=fds)


def launch_module(
    module: str, arguments: Sequence[str] = (), *, errors: Any = None, also: Sequence[str] = (), pass_fds: Sequence[int] = ()
) -> None:
    """Start a process that calls `main` of a module of mlv with some texts; as `launch`.

    Args:
        module: Such as `mlv.transport.writer`.
        arguments: The texts.
        errors: File or descriptor for its stderr; None discards it.
        also: Folders to import from, after all others.
        pass_fds: Descriptors that it inherits.

    Raises:
        OSError: It cannot be started.
    """
    try:
        import subprocess  # costs 3 ms, which `import mlv` shall not
    except Exception as error:  # a `selectors.py` of the user's own beside the script, say, may raise anything
        raise OSError(
            f"subprocess cannot be imported ({error!r}): does a file beside the script have a module's name?"
        ) from error

    path = module_path()
    count = str(len(arguments))
    # Without site: it starts sooner, and no `.pth` file of the user's runs.
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, module, count, *arguments, *path[:-1], *also, path[-1]]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if errors is None else errors, cwd="/", pass_fds=pass_fds,
        env={**os.environ, **settings.as_environment()}, start_new_session=True, close_fds=True,
    )  # fmt: skip
    unfinished[:] = [launcher for launcher in unfinished if launcher.poll() is None]
    try:
        process.wait(_LAUNCH_WITHIN_S)
    except BaseException as error:
        if not isinstance(error, subprocess.TimeoutExpired):  # a signal handler raised: it ends by itself, and is reaped later
            unfinished.append(process)
            raise
        process.kill()
        process.wait(_LAUNCH_WITHIN_S)
        raise OSError(f"starting {sys.executable} took longer than {_LAUNCH_WITHIN_S:g} s") from None
    if process.returncode != 0:
        raise OSError(f"{sys.executable} ended with status {process.returncode}")
