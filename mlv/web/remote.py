"""The page of a folder on another machine: `mlv ui` is started there over ssh, and a port here leads to its socket."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from shlex import quote
from typing import IO

from mlv.errors import InvalidArgument, MlvError
from mlv.web.server import opened
from mlv.words import address_problem

_ADDRESS = re.compile(r"(?P<host>(?!-)[\w.@-]+|\[[0-9a-fA-F:]+\]):(?P<folder>.*)", re.DOTALL)
_SECRET = re.compile(r"http://localhost/([A-Za-z0-9_-]{43})/")
_ENDING_S = 10


def parsed(root: str) -> tuple[str, str] | None:
    """Return host and folder of an address such as `host:runs`; None for a path of this machine.

    A path of this machine that holds a colon is given with a slash in front of the colon, as for scp: `./a:b`.
    """
    match = _ADDRESS.fullmatch(root)
    if match is None or os.path.exists(root) or address_problem(root) is not None:
        return None
    if os.name == "nt" and len(match["host"]) == 1:  # a drive
        return None
    return match["host"].strip("[]"), match["folder"] or "."


def serve(
    host: str,
    folder: str,
    say: Callable[[str], None],
    *,
    port: int | None = None,
    opens: bool = True,
    options: Sequence[str] = (),
) -> None:
    """Show the page of a folder on a host until Ctrl-C; say its address here, and open the browser.

    `options` are further ones for `mlv ui` there, whose paths are of that machine.

    The socket there is for its user alone, and the secret comes through ssh: it stands in no list of processes.

    Raises:
        InvalidArgument: There is no ssh, or it ended without an address; its own message was printed.
        KeyboardInterrupt: It was ended.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        raise InvalidArgument(f"{host}:{folder} needs ssh, which is not on the PATH: install it", root=f"{host}:{folder}")
    number = port or _free_port()
    path = f"/tmp/mlv-ui-{secrets.token_hex(16)}.sock"  # noqa: S108 - nobody can know the name before, or connect after
    there = f"exec mlv ui {_path(folder)} --socket {path} --while-stdin"
    there = " ".join([there, *map(quote, options)])
    words = [ssh, "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{number}:{path}", "-T", host, there]
    # Its end is that of its input: the server there ends as well when the connection is lost.
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace")
    assert process.stdout is not None
    try:
        secret = _secret(process.stdout)
        if secret is None:
            code = process.wait(_ENDING_S)
            advice = f"is mlv with its extra [ui] on the PATH of `ssh {host} mlv --version`?"
            raise InvalidArgument(f"{host} gave no page: ssh ended with {code}; {advice}", host=host, code=code)
        address = f"http://127.0.0.1:{number}/{secret}/"
        say(address)
        with opened(address, opens):
            process.wait()
        raise ConnectionLost(f"the connection to {host} is lost: ssh ended with {process.returncode}; start again", host=host)
    finally:
        _end(process)


class ConnectionLost(MlvError, ConnectionError):
    """Ssh ended while the page was shown."""


def _secret(output: IO[str]) -> str | None:
    """Return the secret of the server there, once it listens; None if it ends without one."""
    for line in output:
        match = _SECRET.search(line)
        if match is not None:
            return match[1]
        sys.stderr.write(line)
    return None


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _path(folder: str) -> str:
    """Return a folder as the shell there reads it; a tilde leads to the home there."""
    if folder in ("~", "~/"):
        return "~"
    if folder.startswith("~/"):
        return f"~/{quote(folder[2:])}"
    return quote(f"./{folder}" if folder.startswith("-") else folder)
