"""The store of the simulation, behind the proxy."""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import suppress
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from benchmarks.simulation.far_store import FarStore
from tests.bucket.servers import Server, running_proxy


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self._answer(b"%d" % len(self.rfile.read(int(self.headers["Content-Length"]))))

    def do_GET(self):
        self._answer(self.path.encode(), 500 if "broken" in self.path else 200)

    def log_message(self, *_):
        pass

    def _answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def store():
    """A store of two verbs behind the proxy."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with running_proxy(Server("s3", server.server_port, {}, print)) as proxy:
        yield FarStore(proxy)
    server.shutdown()
    server.server_close()


def test_requests_are_passed_on_and_counted(store):
    """A large body arrives whole; requests are counted by kind, and bytes without their headers."""
    body = bytes(1_000_000)
    with urlopen(Request(f"{store.endpoint}/a/b", body, method="PUT")) as answer:
        assert json.load(answer) == len(body)
    for path in ("/a?list-type=2&prefix=x", "/a/b"):
        with urlopen(f"{store.endpoint}{path}") as answer:
            assert answer.read() == path.encode()

    bytes_down = len("1000000" + "/a?list-type=2&prefix=x" + "/a/b")
    assert store.counts() == {"PUT": 1, "GET": 1, "LIST": 1, "bytes_up": 1_000_000, "bytes_down": bytes_down}


def test_failures_are_not_counted(store):
    """A request that the store answers with an error of its own is not among those that count."""
    for path in ("/broken", "/a"):
        with suppress(HTTPError), urlopen(f"{store.endpoint}{path}") as answer:
            answer.read()

    assert (store.counts()["GET"], store.counts()["failed GET"]) == (1, 1)


def test_requests_take_as_long_as_is_set(store):
    """No request comes back before the latency is over."""
    store.move(150)
    began = time.monotonic()
    with urlopen(f"{store.endpoint}/a/b") as answer:
        answer.read()

    assert time.monotonic() - began >= 0.15
