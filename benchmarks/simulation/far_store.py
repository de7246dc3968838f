"""The store of the measurements: moto's S3 server behind the proxy, each a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

BUCKET = "laboratory"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
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

        access = {"access_key_id": "testing", "secret_access_key": "testing", "region": "us-east-1"}
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


@contextmanager
def far_store(latency_ms: float = 0.0) -> Iterator[FarStore]:
    """Start a store with an empty bucket, and end it."""
    with ExitStack() as stack:
        behind, before = free_port(), free_port()
        stack.enter_context(_process("-m", "moto.server", "-H", "127.0.0.1", "-p", str(behind)))
        stack.enter_context(_process("-m", "benchmarks.simulation.proxy", str(before), str(behind)))
        for port in (behind, before):
            _await(port)
        store = FarStore(before)
        client = FarStore(behind)
        _make_bucket(client)
        store.move(latency_ms)
        yield store


def _make_bucket(store: FarStore) -> None:
    from urllib.request import Request

    request = Request(
        f"{store.endpoint}/{BUCKET}",
        method="PUT",
        headers={"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"},
    )
    with urlopen(request, timeout=30):
        pass


@contextmanager
def _process(*arguments: str) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *arguments], env=environment, **quiet)  # type: ignore[call-overload]
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
