"""Fixtures over real object stores; where one is not installed, the test is skipped with a reason.

`moto`, `azurite` and `rclone` are one of each for all tests; `far` is a proxy of the test's own before moto, and `any_bucket` a
new bucket in each of them, and a folder. Their credentials are in the environment of the test, which knows no others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bucket.servers import RUNNING, Bucket, Proxy, Server, running_proxy, why_missing

_VARIABLES = ("AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "GCLOUD_")
"""The beginnings of variables that clients of stores read."""


@pytest.fixture(scope="session")
def object_servers() -> Iterator[Callable[[str], Server]]:
    """Start a store at its first use, and end all with the tests."""
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def server(kind: str) -> Server:
            if reason := why_missing(kind):
                pytest.skip(reason)
            if kind not in running:
                running[kind] = stack.enter_context(RUNNING[kind]())
            return running[kind]

        yield server


def _server_of(kind: str) -> Any:
    """Make the fixture of a store, whose credentials are in the environment of the test."""

    @pytest.fixture(name=kind)
    def server(object_servers: Callable[[str], Server], cloud_variables: Callable[[Bucket], str]) -> Server:
        server = object_servers(kind)
        cloud_variables(server.reach("none"))
        return server

    return server


moto, azurite, rclone = map(_server_of, ("moto", "azurite", "rclone"))


@pytest.fixture
def far(moto: Server) -> Iterator[Proxy]:
    """A proxy before moto, without faults until the test sets some."""
    with running_proxy(moto) as proxy:
        yield proxy


@pytest.fixture
def cloud_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Bucket], str]:
    """Open a bucket in the environment of the test, which knows no other account, and return its URL."""
    for name in [name for name in os.environ if name.startswith(_VARIABLES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))

    def enter(bucket: Bucket) -> str:
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
        return bucket.url

    return enter


@pytest.fixture(params=["file", "moto", "azurite", "rclone"])
def any_bucket(
    request: pytest.FixtureRequest,
    object_servers: Callable[[str], Server],
    cloud_variables: Callable[[Bucket], str],
    tmp_path: Path,
) -> str:
    """The URL of a new bucket in each store in turn, whose credentials are in the environment of the test."""
    if request.param == "file":
        pytest.importorskip("obstore")
        return f"file://{tmp_path}/bucket"
    return cloud_variables(object_servers(request.param).bucket())
