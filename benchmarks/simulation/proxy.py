"""A proxy that is as far away as one likes, and counts requests: `python -m benchmarks.simulation.proxy PORT UPSTREAM`.

It speaks about itself at `/-/counts` and `/-/latency/<ms>`; all else goes to the store, which listens at the port UPSTREAM.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from contextlib import suppress

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_FAILURE = re.compile(rb"HTTP/1\.[01] 5")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_CHUNK = 1 << 18


class Proxy:
    """Delays the first bytes of each request, so that a request takes one round trip more, whatever its size."""

    def __init__(self, upstream: int, latency_s: float = 0.0) -> None:
        self._upstream, self._latency_s = upstream, latency_s
        self._counts: Counter[str] = Counter()

    async def serve(self, port: int) -> None:
        """Serve until the process is ended."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=_CHUNK)
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=_CHUNK)
        turn = _Turn()
        back = asyncio.create_task(self._answers(behind_reader, writer, turn))
        try:
            while data := await reader.read(_CHUNK):
                # Clients of object stores send a request once the last one is answered: its head is what comes first.
                if turn.is_over and (head := _REQUEST.match(data)):
                    if head[2].startswith(b"/-/"):
                        writer.write(self._about_itself(head[2].decode()))
                        await writer.drain()
                        continue
                    turn.is_over = False
                    turn.kind = self._count(head[1].decode(), head[2].decode(), data)
                    await asyncio.sleep(self._latency_s)
                behind_writer.write(data)
                await behind_writer.drain()
        except ConnectionError:
            pass
        finally:
            back.cancel()
            for each in (writer, behind_writer):
                with suppress(ConnectionError):
                    each.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, turn: _Turn) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                if not turn.is_over and _FAILURE.match(data):
                    # moto fails now and then to list what another thread adds to. Clients ask again; S3 bills no failure.
                    self._counts[turn.kind] -= 1
                    self._counts["failed"] += 1
                turn.is_over = True
                writer.write(data)
                await writer.drain()
            writer.close()

    def _count(self, method: str, path: str, head: bytes) -> str:
        kind = "LIST" if method == "GET" and "list-type=2" in path else method
        if method == "POST" and "delete" in path.partition("?")[2]:
            kind = "DELETE"
        self._counts[kind] += 1
        if (length := _LENGTH.search(head)) is not None:
            self._counts["bytes up"] += int(length[1])
        return kind

    def _about_itself(self, path: str) -> bytes:
        if path.startswith("/-/latency/"):
            self._latency_s = float(path.rpartition("/")[2]) / 1000
        body = json.dumps(self._counts).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class _Turn:
    """Whether the store has answered, so that the next bytes begin a request."""

    is_over = True
    kind = ""


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(Proxy(int(sys.argv[2])).serve(int(sys.argv[1])))
