"""The proxy in front of the store."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from benchmarks.simulation.far_store import FarStore, free_port


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self._answer(b"%d" % len(self.rfile.read(int(self.headers["Content-Length"]))))

    def do_GET(self):
        self._answer(self.path.encode())

    def log_message(self, *_):
        pass

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def store():
    """A store of two verbs behind the proxy."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.simulation.proxy", str(port), str(server.server_port)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    far = FarStore(port)
    deadline = time.monotonic() + 30
    while True:
        try:
            far.counts()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    yield far
    process.terminate()
    process.wait()
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

    assert store.counts() == {"PUT": 1, "GET": 1, "LIST": 1, "bytes up": 1_000_000}


def test_requests_take_as_long_as_is_set(store):
    """No request comes back before the latency is over."""
    store.move(150)
    began = time.monotonic()
    with urlopen(f"{store.endpoint}/a/b") as answer:
        answer.read()

    assert time.monotonic() - began >= 0.15
