"""A proxy before an object store that delays, refuses, cuts and slows requests, and counts them by kind.

`python proxy.py PORT TARGET_PORT` runs it; a process of its own, so that it shares no interpreter with what is measured.
`Proxy` in `servers.py` starts and steers one: `POST /-/faults` sets the fields of `Faults`, `GET /-/requests` tells the counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

_CONTROL = "/-/"
_LIMIT_BYTES = 1 << 20
"""Of a connection that are read before anybody takes them."""
_CHUNK_BYTES, _SLOW_CHUNK_BYTES = 1 << 18, 1 << 14


@dataclass
class Faults:
    """The trouble in force; with none of its fields set requests pass as they are."""

    delay_s: float = 0.0
    """Before each request is passed on: the distance of the store."""
    fault: str = ""
    """One of `ANSWERS`, or `cut` (the connection ends in the middle of the answer's body), `lost` (the store does it, and the
    connection ends without an answer), `hole` (no answer ever), `reset` (the connection ends before the store hears of it)."""
    kinds: list[str] = field(default_factory=list)
    """The kinds of requests that meet the fault, of GET, HEAD, PUT, POST, DELETE, LIST; empty for all."""
    keys: str = ""
    """A text in the path of the requests that meet the fault; empty for all."""
    times: int = -1
    """Requests that meet the fault before it ends; negative for all."""
    bytes_per_s: float = 0.0
    """The speed of bodies in both directions; 0 for no limit."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers that are added to what is put."""
    clock_s: float = 0.0
    """Seconds by which the clock of the store is ahead, as the heads of its answers tell."""

    ANSWERS: ClassVar[dict[str, tuple[int, str, str]]] = {
        "503": (503, "SlowDown", "Please reduce your request rate."),
        "denied": (403, "AccessDenied", "Access Denied"),
        "expired": (403, "ExpiredToken", "The provided token has expired."),
        "skewed": (
            403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
        ),
        "large": (413, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"),
        "full": (507, "InsufficientStorage", "There is no space left for this object."),
    }  # fmt: skip
    """Faults that are an answer in place of the store's: status, code and message."""

    def meets(self, kind: str, path: str) -> bool:
        """Say whether a request meets the fault, and count it if so."""
        is_hit = bool(self.fault) and self.times != 0 and kind in (self.kinds or [kind]) and self.keys in unquote(path)
        if is_hit and self.times > 0:
            self.times -= 1
        return is_hit


@dataclass
class _Message:
    """The head of a request or an answer."""

    first: str
    headers: list[tuple[str, str]]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> _Message | None:
        """Read a head; None where the connection ended."""
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return cls(lines[0], [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])])

    def get(self, name: str) -> str:
        return next((value for header, value in self.headers if header.lower() == name), "")

    @property
    def status(self) -> str:
        return self.first.split()[1]

    def drop(self, name: str) -> None:
        self.headers = [(header, value) for header, value in self.headers if header.lower() != name]

    def encoded(self) -> bytes:
        return "\r\n".join([self.first, *(f"{name}: {value}" for name, value in self.headers), "", ""]).encode("latin-1")


def kind_of(method: str, target: str) -> str:
    """Return the kind of a request: its method, LIST for a GET that lists a bucket, DELETE for a POST that deletes many."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    is_listing = method == "GET" and (query.keys() & {"list-type", "prefix", "delimiter"} or query.get("comp") == ["list"])
    return "LIST" if is_listing else "DELETE" if method == "POST" and "delete" in query else method


class _Server:
    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._faults = Faults()
        self._counts: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while (request := await _Message.read(reader)) is not None:
                method, target, _ = request.first.split(" ", 2)
                if target.startswith(_CONTROL):
                    await self._steer(method, target, reader, writer, request)
                    continue
                if request.get("expect"):  # answered here: whether the store means to refuse is not what is tried
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    request.drop("expect")
                if upstream is None or upstream[1].is_closing() or upstream[0].at_eof():
                    upstream = await asyncio.open_connection("127.0.0.1", self._target_port, limit=_LIMIT_BYTES)
                if not await self._pass_on(kind_of(method, target), target, request, reader, writer, upstream):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            for stream in (writer, *(upstream[1:] if upstream else ())):
                with suppress(ConnectionError):
                    stream.close()

    async def _pass_on(
        self,
        kind: str,
        target: str,
        request: _Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        """Pass a request and its answer on, and return whether the connection goes on."""
        self._counts[kind] += 1
        fault = self._faults.fault if self._faults.meets(kind, target) else ""
        await asyncio.sleep(self._faults.delay_s)
        if fault == "reset":
            return False
        if fault == "hole":
            await reader.read()  # until the client gives up
            return False
        if fault in Faults.ANSWERS:
            async for chunk in _body(reader, request):
                self._counts["bytes_up"] += len(chunk)
            self._counts[f"fault {fault}"] += 1
            writer.write(_refusal(fault, kind))
            await writer.drain()
            return True
        if kind == "PUT":
            request.headers += self._faults.headers.items()
        far_reader, far_writer = upstream
        far_writer.write(request.encoded())
        async for chunk in _body(reader, request, self._chunk_bytes):
            self._counts["bytes_up"] += len(chunk)
            await self._at_speed(far_writer, chunk)
        answer = await _Message.read(far_reader)
        if answer is None or fault == "lost":
            return False
        if answer.status.startswith("5"):
            # moto fails now and then to list what another thread adds to. Clients ask again; S3 bills no failure.
            self._counts[f"failed {kind}"] += 1
        self._set_clock(answer)
        has_body = kind != "HEAD" and answer.status not in ("204", "304")
        length = int(answer.get("content-length") or 0)
        writer.write(answer.encoded())
        sent = 0
        async for chunk in _body(far_reader, answer, self._chunk_bytes) if has_body else _nothing():
            if fault == "cut" and sent + len(chunk) > length // 2:
                writer.write(chunk[: length // 2 - sent])
                await writer.drain()
                return False
            sent += len(chunk)
            self._counts["bytes_down"] += len(chunk)
            await self._at_speed(writer, chunk)
        await writer.drain()
        return "close" not in (request.get("connection") + answer.get("connection")).lower()

    @property
    def _chunk_bytes(self) -> int:
        return _SLOW_CHUNK_BYTES if self._faults.bytes_per_s else _CHUNK_BYTES

    async def _at_speed(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        writer.write(chunk)
        await writer.drain()
        if self._faults.bytes_per_s:
            await asyncio.sleep(len(chunk) / self._faults.bytes_per_s)

    def _set_clock(self, answer: _Message) -> None:
        for name in ("date", "last-modified"):
            if self._faults.clock_s and (text := answer.get(name)):
                answer.drop(name)
                moment = parsedate_to_datetime(text) + timedelta(seconds=self._faults.clock_s)
                answer.headers.append((name, format_datetime(moment, usegmt=True)))

    async def _steer(
        self, method: str, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: _Message
    ) -> None:
        """Set the faults, or answer with the counts; a POST sets the counts to zero."""
        content = b"".join([chunk async for chunk in _body(reader, request)])
        if target == f"{_CONTROL}faults" and method == "POST":
            self._faults = Faults(**json.loads(content))
        result = asdict(self._faults) if target == f"{_CONTROL}faults" else dict(self._counts)
        if target == f"{_CONTROL}requests" and method == "POST":
            self._counts.clear()
        writer.write(_answer(200, json.dumps(result).encode(), "application/json"))
        await writer.drain()


async def _body(reader: asyncio.StreamReader, message: _Message, chunk_bytes: int = _CHUNK_BYTES):
    """Yield the bytes of a body as they travel, with the frames of a chunked one."""
    if "chunked" in message.get("transfer-encoding").lower():
        while True:
            head = await reader.readline()
            length = int(head.split(b";")[0], 16)
            yield head + await reader.readexactly(length + 2)
            if length == 0:
                return
    left = int(message.get("content-length") or 0)
    while left:
        chunk = await reader.read(min(left, chunk_bytes))
        if not chunk:
            raise ConnectionResetError
        left -= len(chunk)
        yield chunk


async def _nothing():
    return
    yield b""


def _refusal(fault: str, kind: str) -> bytes:
    status, code, message = Faults.ANSWERS[fault]
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return _answer(status, b"" if kind == "HEAD" else text.encode(), "application/xml", code)


def _answer(status: int, content: bytes, kind: str, code: str = "") -> bytes:
    head = _Message(
        f"HTTP/1.1 {status} {code or 'OK'}",
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Date", format_datetime(datetime.now(timezone.utc), usegmt=True)),
            *([("x-ms-error-code", code)] if code else []),
        ],
    )
    return head.encoded() + content


async def main(port: int, target_port: int) -> None:
    """Serve until the process is killed."""
    server = await asyncio.start_server(_Server(target_port).serve, "127.0.0.1", port, limit=_LIMIT_BYTES)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3])))
