"""The store of the measurements: moto's S3 server, or rclone's, behind the proxy, each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.measuring import folder, variables
from tests.bucket import servers

BUCKET = "laboratory"
CREDENTIALS = servers.S3_KEYS


@dataclass(frozen=True)
class FarStore:
    """A bucket, some milliseconds away."""

    proxy: servers.Proxy

    @property
    def endpoint(self) -> str:
        """Where its S3 interface is."""
        return f"http://127.0.0.1:{self.proxy.port}"

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
        self.proxy.set(delay_s=latency_ms / 1000)

    def counts(self) -> dict[str, int]:
        """Return requests by kind, and bytes, since it began; those that the store failed at are billed by nobody."""
        counts = self.proxy.requests()
        return {name: count - counts.get(f"failed {name}", 0) for name, count in counts.items()}


@contextmanager
def far_store(latency_ms: float = 0.0, kind: Literal["moto", "rclone"] = "moto") -> Iterator[FarStore]:
    """Start a store with an empty bucket, and end it.

    moto does what S3 does, and sorts all its keys for each LIST; `rclone serve s3` lists a folder as fast as a disk does.
    """
    if reason := servers.why_missing(kind):
        raise RuntimeError(f"{reason}: `tox -e simulation` has all that is needed")
    with ExitStack() as stack:
        if kind == "moto":
            server = stack.enter_context(servers.running_moto())
        else:
            server = stack.enter_context(servers.running_rclone(stack.enter_context(folder(in_memory=True))))
        server.make(BUCKET)
        stack.enter_context(variables(CREDENTIALS))
        yield FarStore(stack.enter_context(servers.running_proxy(server, delay_s=latency_ms / 1000)))
