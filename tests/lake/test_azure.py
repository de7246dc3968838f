"""A lake on Azure, as far as its emulator goes: behind a proxy that lists from the name on that is asked for, as Azure does."""

from __future__ import annotations

import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("deltalake")
pytest.importorskip("pyarrow")
pytest.importorskip("obstore")


from lakes import check_growing

pytest_plugins = ["bucket.stores"]


class Listing(BaseHTTPRequestHandler):
    """Passes requests on, and cuts listings off before the name in `startFrom`, which Azurite 3.35 does not look at."""

    protocol_version = "HTTP/1.1"
    port = 0

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = http.client.HTTPConnection("127.0.0.1", self.port)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)
        server.endheaders(content)
        answer = server.getresponse()
        body = answer.read()
        server.close()
        start = parse_qs(urlsplit(self.path).query).get("startFrom", [""])[0].encode()
        if start:
            body = re.sub(rb"<Blob><Name>(.*?)</Name>.*?</Blob>", lambda blob: blob[0] * (blob[1] >= start), body)
        length = str(len(body)) if self.command != "HEAD" else answer.getheader("Content-Length", "0")
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_HEAD = do_POST = do_DELETE = do_GET

    def log_message(self, *args: object) -> None:
        """Print nothing."""


def test_a_lake_on_azure(azurite, tmp_path):
    """A lake is built, built on, checked and read on Azure."""
    handler = type("OfAzurite", (Listing,), {"port": azurite.port})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever).start()
        try:
            check_growing(tmp_path / "runs", azurite.bucket(proxy.server_port).url)
        finally:
            proxy.shutdown()
