"""The server's process: its socket, its address, the browser, and its end."""

from __future__ import annotations

import errno
import html
import os
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.web.app import application
from mlv.web.guard import LOOPBACK
from mlv.web.token import state_folder, token

if TYPE_CHECKING:
    from mlv.lake.listing import LakeListing

PORT = 8484
"""The port without --port, or the first free one behind it."""
_PORTS_TRIED = 20


def serve(
    root: Path,
    say: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    socket_path: Path | None = None,
    allowed_hosts: Iterable[str] = (),
    opens: bool = True,
    new_token: bool = False,
    while_stdin: bool = False,
    lake: LakeListing | None = None,
    bring: Callable[[], object] | None = None,
) -> None:
    """Serve the page of a folder until Ctrl-C, or with `while_stdin` until the end of the standard input.

    It says the address, and opens the browser. `lake` and `bring` are those of `mlv.web.app.application`.

    Raises:
        InvalidArgument: The port or the socket is taken, or a host that others reach is not allowed by name.
        MissingExtra: starlette or uvicorn is not installed.
        KeyboardInterrupt: It was ended.
    """
    uvicorn = package("uvicorn", "ui")
    allowed_hosts = list(allowed_hosts)
    if host not in LOOPBACK and not allowed_hosts and socket_path is None:
        raise InvalidArgument(
            f"--host {host} lets other machines in: name the host they will ask for, --allow-host NAME", host=host
        )
    secret = token(new=new_token)
    app = application(root, secret, [*allowed_hosts, *([host] if host not in ("0.0.0.0", "::") else [])], lake, bring)  # noqa: S104
    listener = _unix(socket_path) if socket_path is not None else _tcp(host, port)
    former = signal.getsignal(signal.SIGTERM)
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _exit)  # else it would leave the socket, and the file for the browser
        # No access log: it would hold the secret.
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", ws="none", server_header=False,
                                h11_max_incomplete_event_size=1 << 18)  # fmt: skip
        server = _server(uvicorn, config)
        if while_stdin:
            threading.Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
        if socket_path is not None:
            say(f"{socket_path} (forward a port to it): http://localhost/{secret}/")
            server.run(sockets=[listener])
            return
        address = f"http://{_shown(host)}:{listener.getsockname()[1]}/{secret}/"
        say(address)
        if host not in LOOPBACK:
            say(f"other machines can reach it, and whoever has this address reads all below {root}")
        with opened(address, opens):
            server.run(sockets=[listener])
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former or signal.SIG_DFL)
        listener.close()
        if socket_path is not None:
            socket_path.unlink(missing_ok=True)


def _exit(signum: int, _: object) -> None:
    raise SystemExit(128 + signum)


def _server(uvicorn: Any, config: Any) -> Any:
    class Server(uvicorn.Server):  # type: ignore[misc]
        """A server that a first Ctrl-C ends, although pages hold their streams open."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            super().handle_exit(sig, frame)
            self.force_exit = True

    return Server(config)


def _tcp(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InvalidArgument: The port is taken, or there is no such host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in [port] if port is not None else [*range(PORT, PORT + _PORTS_TRIED), 0]:
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(128)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                if port is None:
                    continue
                raise InvalidArgument(f"port {port} is taken: give another, or --port 0 for any free one", port=port) from None
            raise InvalidArgument(f"--host {host} --port {number}: {error}", host=host, port=number) from None
    raise AssertionError("port 0 is never taken")


def _unix(path: Path) -> socket.socket:
    """Return a socket in the file system that only this user reaches.

    Raises:
        InvalidArgument: Something is at the path, or it cannot be made.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise InvalidArgument("--socket: this system has no such sockets, give --port", socket=str(path))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
        listener.listen(128)
    except OSError as error:
        listener.close()
        advice = "remove it, or give another path" if error.errno == errno.EADDRINUSE else "give another path"
        raise InvalidArgument(f"--socket {path}: {error.strerror or error}: {advice}", socket=str(path)) from None
    finally:
        os.umask(before)
    return listener


def _shown(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def _end_with_stdin(server: Any) -> None:
    """End the server when the other end of its input is closed: the process that started it over ssh is gone."""
    while os.read(0, 4096):
        pass
    server.should_exit = server.force_exit = True


@contextmanager
def opened(address: str, opens: bool = True) -> Iterator[None]:
    """Open the browser at an address, by a file that only this user reads: arguments of processes show in `ps`."""
    if not opens:
        yield
        return
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(".html", "open-", folder)  # of mode 0600
    target = html.escape(address)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={target}"><a href="{target}">mlv</a>')
    try:
        webbrowser.open(Path(name).as_uri())
        yield
    finally:
        Path(name).unlink(missing_ok=True)
