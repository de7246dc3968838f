"""Real object stores for tests and benchmarks: moto's S3, Azurite, `rclone serve s3`, and a proxy that makes them far or bad.

Each is a process on a free port of this machine, and ends with the process that started it, even where that is killed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path
from typing import Any

START_S = 120.0
"""The most that a store may take to start, on a machine that is busy."""
S3_KEYS = {"AWS_ACCESS_KEY_ID": "testkey1234", "AWS_SECRET_ACCESS_KEY": "testsecret1234", "AWS_REGION": "us-east-1"}
AZURE_KEYS = {
    "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
    # The key of every Azurite, as its documentation has it.
    "AZURE_STORAGE_ACCOUNT_KEY": ("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="),
}


@dataclass(frozen=True)
class Bucket:
    """A bucket that was made for a test, empty."""

    url: str
    variables: dict[str, str] = field(default_factory=dict)
    """The variables of the environment that open it."""


@dataclass(frozen=True)
class Server:
    """A store that is at work."""

    kind: str
    """`s3` or `az`."""
    port: int
    variables: dict[str, str]
    make: Callable[[str], None]
    """Make a bucket of a name."""

    def bucket(self, port: int | None = None) -> Bucket:
        """Make a bucket; its URL goes by another port, such as that of a proxy, where one is given."""
        name = f"lab-{uuid.uuid4().hex[:12]}"
        self.make(name)
        return self.reach(name, port)

    def reach(self, name: str, port: int | None = None) -> Bucket:
        """Return a bucket by its name, whether it is there or not."""
        account = "/devstoreaccount1" if self.kind == "az" else ""
        return Bucket(f"{self.kind}://{name}?endpoint=http://127.0.0.1:{port or self.port}{account}", self.variables)


class Proxy:
    """A proxy before a store, steered while it runs; `proxy.py` says what its faults are."""

    def __init__(self, port: int, server: Server) -> None:
        self.port, self.server = port, server

    def bucket(self) -> Bucket:
        """Make a bucket that is reached through the proxy."""
        return self.server.bucket(self.port)

    def set(self, **faults: Any) -> None:
        """Replace the faults in force by these fields of `Faults`; without any all is well again."""
        self._asked("POST", "faults", faults)

    def requests(self, reset: bool = False) -> dict[str, int]:
        """Return how many requests of each kind came since the last reset, with `bytes_up` and `bytes_down`.

        Those that the store itself answered with an error of its own (5xx) count again by names such as `failed LIST`.
        """
        counts: dict[str, int] = self._asked("POST" if reset else "GET", "requests", {})
        return counts

    def _asked(self, method: str, name: str, content: dict[str, Any]) -> Any:
        return json.loads(_request(self.port, method, f"/-/{name}", json.dumps(content).encode()))


def why_missing(kind: str) -> str:
    """Return why a store (`moto`, `azurite` or `rclone`) cannot be started here; an empty text where it can."""
    if find_spec("obstore") is None:
        return "obstore is not installed"
    if kind == "moto":
        missing = [name for name in ("moto", "flask", "boto3") if find_spec(name) is None]
        return f"{missing[0]} is not installed" if missing else ""
    command = {"azurite": "azurite-blob", "rclone": "rclone"}[kind]
    return "" if executable(command) else f"{command} is not installed"


def executable(name: str) -> str | None:
    """Return the path of a program: beside this interpreter, where wheels put theirs, or on the PATH."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    if spec := find_spec("obstore"):  # of another environment whose packages are on the path
        folders.append(str(Path(spec.origin or "").parents[4] / "bin"))
    return shutil.which(name, path=os.pathsep.join(folders))


@contextmanager
def running_moto() -> Iterator[Server]:
    """Run moto's S3 server; all it holds is in its memory."""
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p"]
    with _running(lambda port: [*command, str(port)]) as port:
        yield Server("s3", port, S3_KEYS, lambda name: _send(port, "PUT", f"/{name}"))


@contextmanager
def running_azurite() -> Iterator[Server]:
    """Run Azurite, Microsoft's emulator of Azure's blobs."""
    program = str(executable("azurite-blob"))
    with tempfile.TemporaryDirectory(prefix="azurite-", ignore_cleanup_errors=True) as folder:
        options = ["--silent", "--location", folder, "--skipApiVersionCheck", "--disableTelemetry", "--blobPort"]
        with _running(lambda port: [program, *options, str(port)]) as port:
            yield Server("az", port, AZURE_KEYS, lambda name: _make_container(port, name))


@contextmanager
def running_rclone(parent: Path | None = None) -> Iterator[Server]:
    """Run `rclone serve s3` over a folder, a temporary one below another: a store that ignores the conditions of a request."""
    program, keys = str(executable("rclone")), f"{S3_KEYS['AWS_ACCESS_KEY_ID']},{S3_KEYS['AWS_SECRET_ACCESS_KEY']}"
    with tempfile.TemporaryDirectory(prefix="rclone-", dir=parent, ignore_cleanup_errors=True) as folder:
        command = [program, "serve", "s3", "--config", os.devnull, "--auth-key", keys]
        with _running(lambda port: [*command, "--addr", f"127.0.0.1:{port}", folder]) as port:
            key, _, secret = keys.partition(",")
            remote = f":s3,provider=Other,endpoint='http://127.0.0.1:{port}',access_key_id={key},secret_access_key={secret}:"
            yield Server("s3", port, S3_KEYS, lambda name: _run([program, "mkdir", "--config", os.devnull, remote + name]))


@contextmanager
def running_proxy(server: Server, **faults: Any) -> Iterator[Proxy]:
    """Run a proxy before a store, with faults from the beginning."""
    script = str(Path(__file__).with_name("proxy.py"))
    with _running(lambda port: [sys.executable, script, str(port), str(server.port)], path="/-/requests") as port:
        proxy = Proxy(port, server)
        proxy.set(**faults)
        yield proxy


@contextmanager
def _running(command: Callable[[int], list[str]], path: str = "/") -> Iterator[int]:
    """Run a server on a free port until the end of the block; it is there when it answers."""
    port = free_port()
    with tempfile.TemporaryFile() as output:
        # The pipe ends with this process, however that ends; then the keeper kills the server.
        keeper = subprocess.Popen(
            [sys.executable, __file__, *command(port)], stdin=subprocess.PIPE, stdout=output, stderr=output
        )
        try:
            _wait_for_answer(port, path, keeper, output)
            yield port
        finally:
            keeper.terminate()
            keeper.communicate()


def _wait_for_answer(port: int, path: str, keeper: subprocess.Popen[bytes], output: Any) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with suppress(OSError, http.client.HTTPException):
            _request(port, "GET", path)
            return
        if keeper.poll() is not None or time.monotonic() > deadline:
            output.seek(0)
            raise RuntimeError(f"{keeper.args} did not answer: {output.read()[-2000:].decode(errors='replace')}")
        time.sleep(0.05)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _keep(command: list[str]) -> int:
    """Run a command until the input ends or a signal arrives, and kill it then: whoever started this may be gone."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end this in order
    signal.signal(signal.SIGCHLD, lambda *_: os._exit(1) if server.poll() is not None else None)
    sys.stdin.buffer.read()
    end()
    return 0


def _request(port: int, method: str, path: str, content: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """Make a request, whatever its status, and return the content of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, content, headers or {})
        return connection.getresponse().read()
    finally:
        connection.close()


def _send(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> None:
    """Make a request that must succeed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, b"", headers or {})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 300, (method, path, answer.status, content)
    finally:
        connection.close()


def _run(command: list[str]) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _make_container(port: int, name: str) -> None:
    """Make a container of Azure, with the signature that it asks for: `obstore` and its like have no call for it."""
    account, date = AZURE_KEYS["AZURE_STORAGE_ACCOUNT_NAME"], formatdate(usegmt=True)
    lines = ["PUT", *[""] * 11, f"x-ms-date:{date}", "x-ms-version:2021-12-02"]
    signed = "\n".join([*lines, f"/{account}/{account}/{name}", "restype:container"])
    key = base64.b64decode(AZURE_KEYS["AZURE_STORAGE_ACCOUNT_KEY"])
    signature = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02", "Authorization": f"SharedKey {account}:{signature}"}
    _send(port, "PUT", f"/{account}/{name}?restype=container", headers)


RUNNING = {"moto": running_moto, "azurite": running_azurite, "rclone": running_rclone}


if __name__ == "__main__":
    sys.exit(_keep(sys.argv[1:]))
